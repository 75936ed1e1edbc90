// Between rows in memory (one item after the other) and lanes (one item per vector lane).
#pragma once
#include <cstdint>
#include <utility>

#include "simd.hpp"

namespace atomsym {

// One step of the transposition of a square of registers: exchange blocks of size S between rows i and i + S.
template <class T, int S, bool upper, int... J>
inline Vec<T> exchange(Vec<T> a, Vec<T> b, std::integer_sequence<int, J...>) {
    constexpr int W = lanes<T>;
    return __builtin_shufflevector(a, b, (upper ? ((J & S) ? W + J : J + S) : ((J & S) ? W + J - S : J))...);
}

template <class T, int S> inline void transpose_step(Vec<T> *rows) {
    constexpr int W = lanes<T>;
    if constexpr (S < W) {
        using Lanes = std::make_integer_sequence<int, W>;
#pragma GCC unroll 16
        for (int i = 0; i < W; ++i) {
            if (i & S) continue;
            const Vec<T> a = rows[i], b = rows[i + S];
            rows[i] = exchange<T, S, false>(a, b, Lanes{});
            rows[i + S] = exchange<T, S, true>(a, b, Lanes{});
        }
        transpose_step<T, 2 * S>(rows);
    }
}

// In place: lane j of row i <-> lane i of row j, in log2(W) steps of two-source shuffles.
template <class T> inline void transpose_square(Vec<T> *rows) { transpose_step<T, 1>(rows); }

// column[k] gets component k of items 0 ... count - 1, one per lane; K components lie together for each item.
// Whole squares are moved; the last square overlaps the one before it, so no partial registers are needed for K >= W.
template <class T, int K, bool full> inline void load_columns(const T *items, int count, Vec<T> *column) {
    constexpr int W = lanes<T>, width = K < W ? K : W, squares = (K + W - 1) / W;
    for (int s = 0; s < squares; ++s) {
        const int start = K < W ? 0 : (s * W < K - W ? s * W : K - W);
        Vec<T> rows[W];
#pragma GCC unroll 16
        for (int i = 0; i < W; ++i) {
            rows[i] = Vec<T>{};
            if (full || i < count) std::memcpy(&rows[i], items + std::int64_t(i) * K + start, width * sizeof(T));
        }
        transpose_square<T>(rows);
#pragma GCC unroll 16
        for (int i = 0; i < width; ++i) column[start + i] = rows[i];
    }
}

// The inverse: writes the items from their columns.
template <class T, int K, bool full> inline void store_columns(const Vec<T> *column, T *items, int count) {
    constexpr int W = lanes<T>, width = K < W ? K : W, squares = (K + W - 1) / W;
    for (int s = 0; s < squares; ++s) {
        const int start = K < W ? 0 : (s * W < K - W ? s * W : K - W);
        Vec<T> rows[W];
#pragma GCC unroll 16
        for (int i = 0; i < W; ++i) rows[i] = i < width ? column[start + i] : Vec<T>{};
        transpose_square<T>(rows);
#pragma GCC unroll 16
        for (int i = 0; i < W; ++i)
            if (full || i < count) std::memcpy(items + std::int64_t(i) * K + start, &rows[i], width * sizeof(T));
    }
}

}  // namespace atomsym
