// Uninitialised memory for large arrays, in huge pages where the system has them: first touches then cost one page
// fault in 2 MiB instead of 512.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace atomsym {

constexpr std::size_t huge_page = std::size_t(1) << 21;

// A hint about memory that anybody allocated: its whole huge pages may be backed as such.
inline void prefer_huge_pages(void *address, std::size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    const std::uintptr_t begin = (reinterpret_cast<std::uintptr_t>(address) + huge_page - 1) & ~(huge_page - 1);
    const std::uintptr_t end = (reinterpret_cast<std::uintptr_t>(address) + bytes) & ~(huge_page - 1);
    if (end > begin) madvise(reinterpret_cast<void *>(begin), end - begin, MADV_HUGEPAGE);
#else
    (void)address;
    (void)bytes;
#endif
}

template <class T> class Buffer {
  public:
    Buffer() = default;
    explicit Buffer(std::size_t count) { reset(count); }
    Buffer(Buffer &&other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
    Buffer &operator=(Buffer &&other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    ~Buffer() { std::free(data_); }

    // Makes room for `count` elements; what was in it is lost.
    void reset(std::size_t count) {
        if (count <= size_) return;
        std::free(data_);
        data_ = nullptr;
        size_ = 0;
        const std::size_t bytes = count * sizeof(T);
        const std::size_t alignment = bytes >= 2 * huge_page ? huge_page : 64;
        data_ = static_cast<T *>(std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment));
        if (!data_) throw std::bad_alloc();
        if (alignment == huge_page) prefer_huge_pages(data_, bytes);
        size_ = count;
    }

    T *data() { return data_; }
    const T *data() const { return data_; }
    std::size_t size() const { return size_; }
    T &operator[](std::size_t k) { return data_[k]; }
    const T &operator[](std::size_t k) const { return data_[k]; }

  private:
    T *data_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace atomsym
