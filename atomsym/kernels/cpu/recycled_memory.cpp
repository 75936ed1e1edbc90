// Large result arrays whose memory is used again.
//
// The system's allocator gives blocks of tens of MB back to the operating system at once, and every call then pays
// for zeroed pages anew: more than the arithmetic of a convolution's gradients. Blocks freed here wait for the next
// array of about their size, up to a limit.
#include "bindings.hpp"
#include <algorithm>
#include <mutex>
#include <nanobind/ndarray.h>
#include <new>
#include <vector>
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace {

constexpr std::size_t granule = std::size_t(1) << 21;  // a huge page

struct Block {
    void *data;
    std::size_t size;
};

class Pool {
  public:
    // The smallest waiting block that holds the size without wasting a quarter of it, or a new one.
    Block take(std::size_t wanted) {
        const std::size_t size = (wanted + granule - 1) / granule * granule;
        {
            std::lock_guard<std::mutex> lock(mutex_);
            auto best = waiting_.end();
            for (auto block = waiting_.begin(); block != waiting_.end(); ++block)
                if (block->size >= size && block->size - size <= size / 4 &&
                    (best == waiting_.end() || block->size < best->size))
                    best = block;
            if (best != waiting_.end()) {
                const Block found = *best;
                waiting_.erase(best);
                kept_ -= found.size;
                return found;
            }
        }
        void *data = ::operator new(size, std::align_val_t(granule));
#if defined(__linux__) && defined(MADV_HUGEPAGE)
        madvise(data, size, MADV_HUGEPAGE);  // a wish; refusal does no harm
#endif
        return {data, size};
    }

    // Keeps the block if the limit allows; the oldest ones make room.
    void give_back(Block block) {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            waiting_.push_back(block);
            kept_ += block.size;
        }
        trim();
    }

    std::size_t set_limit(std::size_t limit) {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            std::swap(limit, limit_);
        }
        trim();
        return limit;
    }

    std::size_t kept() {
        std::lock_guard<std::mutex> lock(mutex_);
        return kept_;
    }

  private:
    void trim() {
        std::lock_guard<std::mutex> lock(mutex_);
        while (kept_ > limit_) {
            kept_ -= waiting_.front().size;
            ::operator delete(waiting_.front().data, std::align_val_t(granule));
            waiting_.erase(waiting_.begin());
        }
    }

    std::mutex mutex_;
    std::vector<Block> waiting_;
    std::size_t kept_ = 0, limit_ = std::size_t(512) << 20;
};

Pool &pool() {
    static Pool *const instance = new Pool;  // never destroyed: arrays may outlive static objects
    return *instance;
}

nb::ndarray<nb::pytorch, std::uint8_t, nb::ndim<1>, nb::device::cpu> recycled_bytes(std::size_t size) {
    auto *const block = new Block(pool().take(size));
    nb::capsule owner(block, [](void *p) noexcept {
        auto *const finished = static_cast<Block *>(p);
        pool().give_back(*finished);
        delete finished;
    });
    return {block->data, {size}, owner};
}

}  // namespace

void bind_recycled_memory(nb::module_ &m) {
    m.def("recycled_bytes", &recycled_bytes);
    m.def("recycled_limit", [](std::size_t limit) { return pool().set_limit(limit); });
    m.def("recycled_kept", [] { return pool().kept(); });
}
