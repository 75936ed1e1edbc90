// What the product kernels share: whole and partial channel vectors, and the matrices A of a block of edges.
#pragma once
#include "simd.hpp"
#include "tensor_product_plan.hpp"
#include "transpose.hpp"
#include <algorithm>
#include <memory>
#include <new>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace atomsym {

// Edges whose matrices are made together: one cache line of values a matrix element, whatever the register width,
// so that results do not depend on the instruction set's lanes.
template <class T> constexpr int edge_block = 64 / int(sizeof(T));

#if defined(__AVX512F__)
constexpr int vector_registers = 32;
#else
constexpr int vector_registers = 16;
#endif

// Access to a whole vector of channels, or to the first n lanes of one (the tail of the channel axis).
template <class T> struct WholeVector {
    static constexpr bool whole = true;
    Vec<T> get(const T *p) const { return load(p); }
    void put(T *p, Vec<T> v) const { store(p, v); }
};

template <class T> struct PartVector {
    static constexpr bool whole = false;
    int n;
#if defined(__AVX512F__)
    Vec<T> get(const T *p) const {
        if constexpr (sizeof(T) == 4)
            return (Vec<T>)_mm512_maskz_loadu_ps(__mmask16((1u << n) - 1), p);
        else
            return (Vec<T>)_mm512_maskz_loadu_pd(__mmask8((1u << n) - 1), p);
    }
    void put(T *p, Vec<T> v) const {
        if constexpr (sizeof(T) == 4)
            _mm512_mask_storeu_ps(p, __mmask16((1u << n) - 1), (__m512)v);
        else
            _mm512_mask_storeu_pd(p, __mmask8((1u << n) - 1), (__m512d)v);
    }
#else
    Vec<T> get(const T *p) const {
        alignas(ATOMSYM_VECTOR_BYTES) T lane[lanes<T>] = {};
        for (int i = 0; i < n; ++i) lane[i] = p[i];
        return load(lane);
    }
    void put(T *p, Vec<T> v) const {
        alignas(ATOMSYM_VECTOR_BYTES) T lane[lanes<T>];
        store(lane, v);
        for (int i = 0; i < n; ++i) p[i] = lane[i];
    }
#endif
};

// Stores past the caches, for results too large to be read back from them: saves reading the lines first. Needs whole
// vectors at multiples of their size, and stream_fence() before another thread may read.
#if defined(__AVX512F__)
constexpr bool can_stream = true;
inline void stream(float *p, Vec<float> v) { _mm512_stream_ps(p, (__m512)v); }
inline void stream(double *p, Vec<double> v) { _mm512_stream_pd(p, (__m512d)v); }
inline void stream_fence() { _mm_sfence(); }
#else
constexpr bool can_stream = false;
template <class T> inline void stream(T *p, Vec<T> v) { store(p, v); }
inline void stream_fence() {}
#endif
constexpr std::int64_t stream_from_bytes = std::int64_t(32) << 20;  // about a last-level cache

// Whether an array of rows of `channels` is large enough, and laid out, to be written past the caches.
template <class T> inline bool streams(const T *array, std::int64_t channels, std::int64_t size) {
    return can_stream && array != nullptr && channels * std::int64_t(sizeof(T)) % 64 == 0 &&
           reinterpret_cast<std::uintptr_t>(array) % 64 == 0 && size * std::int64_t(sizeof(T)) >= stream_from_bytes;
}

// Nodes of one task: about 128 edges. The split does not change any sum.
inline std::int64_t nodes_per_task(const ProductCall &call) {
    return std::clamp<std::int64_t>(128 * call.n_nodes / std::max<std::int64_t>(call.n_edges, 1), 1, 4096);
}

// Scratch memory aligned to cache lines.
template <class T> class Scratch {
  public:
    explicit Scratch(std::size_t size)
        : data_(static_cast<T *>(::operator new(size * sizeof(T) + 64, std::align_val_t(64)))) {}
    T *get() const { return data_.get(); }

  private:
    struct Free {
        void operator()(T *p) const { ::operator delete(p, std::align_val_t(64)); }
    };
    std::unique_ptr<T, Free> data_;
};

// A[element * edge_block + e] for the n edges whose Y rows are given; unused places are zero.
template <class T>
inline void make_matrices(const Couplings<T> &couplings, int n_matrix, int edge_dim, const T *const *row, int n,
                          T *components, T *matrix) {
    constexpr int B = edge_block<T>, L = lanes<T>;
    for (int f = 0; f < edge_dim; ++f)
        for (int e = 0; e < B; ++e) components[f * B + e] = e < n ? row[e][f] : T(0);
    for (int m = 0; m < n_matrix; ++m) {
        Vec<T> sum[B / L] = {};
        for (int t = couplings.start[m]; t < couplings.start[m + 1]; ++t) {
            const T *y = components + couplings.source[t] * B;
            for (int v = 0; v < B / L; ++v) sum[v] += couplings.coefficient[t] * load(y + v * L);
        }
        for (int v = 0; v < B / L; ++v) store(matrix + m * B + v * L, sum[v]);
    }
}

// The gradient for the Y row of an edge from its moments M, vectors of partial sums over the channels. The lanes of as
// many components as a vector has lanes are summed together, by halving: the same tree at every register width.
template <class T>
inline void contract_moments(const Couplings<T> &couplings, int edge_dim, const Vec<T> *products, T *grad_edge) {
    constexpr int L = lanes<T>;
    for (int first = 0; first < edge_dim; first += L) {
        const int count = std::min(L, edge_dim - first);
        Vec<T> sum[L] = {};
        for (int f = 0; f < count; ++f)
            for (int t = couplings.start[first + f]; t < couplings.start[first + f + 1]; ++t)
                sum[f] += couplings.coefficient[t] * products[couplings.source[t]];
        transpose_square<T>(sum);
        for (int half = L / 2; half > 0; half /= 2)
#pragma GCC unroll 16
            for (int i = 0; i < half; ++i) sum[i] += sum[i + half];
        store_first(grad_edge + first, sum[0], count);
    }
}

}  // namespace atomsym
