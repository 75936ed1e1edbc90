// What becomes of the rows of two slots of a product: cross products of fields, or products of matrices.
#pragma once
#include "tensor_product_lanes.hpp"
#include <algorithm>
#include <cstdint>
#include <type_traits>

namespace atomsym {

// In the order in which Python counts them. Only plain products have more than three slots.
enum class Join : int { product, cross, anticommutator, commutator };

// values = the cross product of two fields.
template <class T, int V> inline void cross_rows(const T *x, const T *y, T *values, int points) {
    constexpr int L = lanes<T>, W = V * L;
    const std::int64_t next = std::int64_t(points) * W;
    for (std::int64_t i = 0; i < next; i += L) {
        const Vec<T> x0 = load(x + i), x1 = load(x + next + i), x2 = load(x + 2 * next + i);
        const Vec<T> y0 = load(y + i), y1 = load(y + next + i), y2 = load(y + 2 * next + i);
        store(values + i, x1 * y2 - x2 * y1);
        store(values + next + i, x2 * y0 - x0 * y2);
        store(values + 2 * next + i, x0 * y1 - x1 * y0);
    }
}

// Entries of matrices whose sums are in registers.
constexpr int most_tile_rows = vector_registers >= 32 ? 4 : 3, most_tile_columns = vector_registers >= 32 ? 5 : 3;

// sum += or -= left right, with the first row of the tile of left, and its first column of right.
template <class T, int R, int C, bool minus>
inline void add_product(const T *left, const T *right, int size, std::int64_t width, Vec<T> (&sum)[R][C]) {
    for (int k = 0; k < size; ++k, left += width, right += size * width) {
        Vec<T> b[C];
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) b[c] = load(right + c * width);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
            const Vec<T> a = load(left + r * size * width);
#pragma GCC unroll 8
            for (int c = 0; c < C; ++c) sum[r][c] = minus ? sum[r][c] - a * b[c] : sum[r][c] + a * b[c];
        }
    }
}

template <class T, int R, int C>
void commute_tile(const T *x, const T *y, T *values, int row, int column, int size, std::int64_t width, bool minus) {
    const std::int64_t rows = row * size * width, columns = column * width;
    for (std::int64_t v = 0; v < width; v += lanes<T>) {
        Vec<T> sum[R][C] = {};
        add_product<T, R, C, false>(x + rows + v, y + columns + v, size, width, sum);
        if (minus)
            add_product<T, R, C, true>(y + rows + v, x + columns + v, size, width, sum);
        else
            add_product<T, R, C, false>(y + rows + v, x + columns + v, size, width, sum);
        T *const out = values + rows + columns + v;
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
            for (int c = 0; c < C; ++c) store(out + (r * size + c) * width, sum[r][c]);
    }
}

// Calls with n as a constant, 1 <= n <= Most.
template <int Most, class Call> inline void with_constant(int n, Call call) {
    if constexpr (Most > 1) {
        if (n < Most) return with_constant<Most - 1>(n, call);
    }
    call(std::integral_constant<int, Most>{});
}

// Calls with the first index and the number of indices of parts of 0 ... size - 1, at most Most of them in each.
template <int Most, class Call> inline void in_parts(int size, Call call) {
    for (int parts = (size + Most - 1) / Most, first = 0; parts > 0; --parts) {
        const int n = (size - first + parts - 1) / parts;
        with_constant<Most>(n, [&](auto count) { call(first, count); });
        first += n;
    }
}

inline int commute_tiles(int size) {
    return ((size + most_tile_rows - 1) / most_tile_rows) * ((size + most_tile_columns - 1) / most_tile_columns);
}

// values = x y + y x of square matrices, or minus: x y - y x; entries row by row, `width` channels each. Calls
// `before_tile` so many times as there are tiles.
template <class T, class Call>
void commute(const T *x, const T *y, T *values, int size, std::int64_t width, bool minus, Call before_tile) {
    in_parts<most_tile_rows>(size, [&](int row, auto rows) {
        in_parts<most_tile_columns>(size, [&](int column, auto columns) {
            before_tile();
            commute_tile<T, decltype(rows)::value, decltype(columns)::value>(x, y, values, row, column, size, width,
                                                                             minus);
        });
    });
}

}  // namespace atomsym
