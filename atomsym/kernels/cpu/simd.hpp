// Fixed-width vectors for the channel axis, on the vector extensions of GCC and Clang.
#pragma once
#include <cstring>

#if defined(__AVX512F__)
#define ATOMSYM_VECTOR_BYTES 64
#elif defined(__AVX__)
#define ATOMSYM_VECTOR_BYTES 32
#else
#define ATOMSYM_VECTOR_BYTES 16
#endif

namespace atomsym {

// Vec<float>: as many floats as one register holds; arithmetic operators work element by element.
template <class T> struct VecOf {
    typedef T type __attribute__((vector_size(ATOMSYM_VECTOR_BYTES)));
};
template <class T> using Vec = typename VecOf<T>::type;
template <class T> constexpr int lanes = ATOMSYM_VECTOR_BYTES / int(sizeof(T));

template <class T> inline Vec<T> load(const T *p) {
    Vec<T> v;
    std::memcpy(&v, p, sizeof v);
    return v;
}
template <class T> inline void store(T *p, Vec<T> v) { std::memcpy(p, &v, sizeof v); }
template <class T> inline Vec<T> broadcast(T s) { return s - Vec<T>{}; }  // one vbroadcast after folding

// The first n lanes; the others are zero. For the tail of a channel count that no register width divides.
template <class T> inline Vec<T> load_first(const T *p, int n) {
    Vec<T> v{};
    std::memcpy(&v, p, n * sizeof(T));
    return v;
}
template <class T> inline void store_first(T *p, Vec<T> v, int n) { std::memcpy(p, &v, n * sizeof(T)); }

template <class T> inline T horizontal_sum(Vec<T> v) {
    T s = 0;
    for (int i = 0; i < lanes<T>; ++i) s += v[i];
    return s;
}

}  // namespace atomsym
