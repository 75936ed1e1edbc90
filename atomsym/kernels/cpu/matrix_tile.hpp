// Register tiles of a matrix product C = op(A) op(B): B comes packed in panels a few vectors wide, elements of A are
// broadcast from where they lie, and a tile of C stays in registers while the inner axis is walked.
#pragma once
#include "tensor_product_lanes.hpp"

#include <algorithm>
#include <cstring>

namespace atomsym {

constexpr int tile_vectors = 2;
constexpr int tile_rows = vector_registers >= 32 ? 14 : 6;  // tile_rows * tile_vectors sums, B and A in registers
constexpr std::int64_t inner_block = 256;                   // a packed panel of B stays in the caches
constexpr std::int64_t row_block = 16 * tile_rows;          // rows of A that one packed panel meets in turn

// Element (i, k) of op(A) or (k, j) of op(B), by strides.
template <class T> struct Matrix {
    const T *data;
    std::int64_t row, column;
    const T *at(std::int64_t i, std::int64_t j) const { return data + i * row + j * column; }
};

template <class T> constexpr int panel_width = tile_vectors * lanes<T>;

// Columns j0 ... of op(B), rows k0 ... k0 + n_inner, as [k][panel_width], padded with zeros.
template <class T>
void pack_panel(const Matrix<T> &b, std::int64_t k0, std::int64_t n_inner, std::int64_t j0, int columns, T *panel) {
    constexpr int W = panel_width<T>;
    if (columns < W) std::fill_n(panel, n_inner * W, T(0));
    if (b.column == 1) {
        for (std::int64_t k = 0; k < n_inner; ++k) std::memcpy(panel + k * W, b.at(k0 + k, j0), columns * sizeof(T));
        return;
    }
    for (int j = 0; j < columns; ++j) {
        const T *source = b.at(k0, j0 + j);
        for (std::int64_t k = 0; k < n_inner; ++k) panel[k * W + j] = source[k * b.row];
    }
}

// R rows and V vectors of C; `columns` of them exist. Adds to C unless this is the first block of the inner axis.
template <class T, int R, int V, bool UnitColumn>
void tile(const Matrix<T> &a, std::int64_t i0, std::int64_t k0, std::int64_t n_inner, const T *panel, T *c,
          std::int64_t c_stride, int columns, bool first) {
    constexpr int L = lanes<T>, W = panel_width<T>;
    Vec<T> sum[R][V] = {};
    const std::int64_t row = a.row, column = UnitColumn ? 1 : a.column;
    const T *source = a.at(i0, k0);
    for (std::int64_t k = 0; k < n_inner; ++k, source += column, panel += W) {
        Vec<T> b[V];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) b[v] = load(panel + v * L);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) {
            const T x = source[r * row];
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) sum[r][v] += x * b[v];
        }
    }
    if (columns == V * L) {
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) {
                T *target = c + r * c_stride + v * L;
                store(target, first ? sum[r][v] : load(target) + sum[r][v]);
            }
        return;
    }
    for (int r = 0; r < R; ++r) {
        T part[V * L];
        for (int v = 0; v < V; ++v) store(part + v * L, sum[r][v]);
        for (int j = 0; j < columns; ++j) c[r * c_stride + j] = first ? part[j] : c[r * c_stride + j] + part[j];
    }
}

// Rows i0 ... i1 of one panel of C: whole tiles, then one of the rows that are left.
template <class T, int V, bool UnitColumn, int R = tile_rows>
void rows_of_panel(const Matrix<T> &a, std::int64_t i0, std::int64_t i1, std::int64_t k0, std::int64_t n_inner,
                   const T *panel, T *c, std::int64_t c_stride, int columns, bool first) {
    for (; i1 - i0 >= R; i0 += R)
        tile<T, R, V, UnitColumn>(a, i0, k0, n_inner, panel, c + i0 * c_stride, c_stride, columns, first);
    if constexpr (R > 1) {
        if (i0 < i1) rows_of_panel<T, V, UnitColumn, R - 1>(a, i0, i1, k0, n_inner, panel, c, c_stride, columns, first);
    }
}

// Rows i0 ... i1 of a panel of at most panel_width columns.
template <class T>
void multiply_panel(const Matrix<T> &a, std::int64_t i0, std::int64_t i1, std::int64_t k0, std::int64_t n_inner,
                    const T *panel, T *c, std::int64_t c_stride, int columns, bool first) {
    const auto run = [&](auto call) { call(a, i0, i1, k0, n_inner, panel, c, c_stride, columns, first); };
    if (columns <= lanes<T>)
        a.column == 1 ? run(rows_of_panel<T, 1, true>) : run(rows_of_panel<T, 1, false>);
    else
        a.column == 1 ? run(rows_of_panel<T, tile_vectors, true>) : run(rows_of_panel<T, tile_vectors, false>);
}

}  // namespace atomsym
