// Products taken row by row after linear maps: on the points of a grid (Gaunt), or over the terms of a decomposition
// (CP). Here are the maps between components of features and rows, for V vectors of channels.
//
// Rows lie in scratch memory, V whole vectors a row; components of features are `stride` elements apart and may end in
// a partial vector (V = 1 then).
#pragma once
#include "tensor_product_lanes.hpp"
#include <cstdint>
#include <type_traits>
#include <vector>

namespace atomsym {

constexpr int row_vectors = vector_registers >= 32 ? 4 : 2;  // widest block of channels
constexpr int row_tile = 6;                                  // rows of sums in registers: 6 V + V + 1 of them

// target[t] = sum_s matrix[t, s] source[s] between some rows of one array and some of another.
template <class T> struct RowMap {
    std::vector<int> target, source;
    std::vector<T> matrix;
};

// From components to rows, at once or by way of some rows between (order by order, then angle by angle). The
// transposed maps go back: to each component from the one map that reads it, or from several (`shared`: their sum).
template <class T> struct Sampling {
    int dim = 0, middle = 0, rows = 0;
    std::vector<RowMap<T>> first, second;  // second is empty where one step is all
    std::vector<int> unread;               // components that no map reads
    bool shared = false;
};

// Adds to what is there already.
template <class T, class Access> struct PlusVector {
    Access access;
    void put(T *p, Vec<T> v) const { access.put(p, access.get(p) + v); }
};

// Multiplications a channel.
template <class T> inline std::int64_t products_of(const Sampling<T> &sampling) {
    std::int64_t count = 0;
    for (const auto *maps : {&sampling.first, &sampling.second})
        for (const RowMap<T> &map : *maps) count += std::int64_t(map.matrix.size());
    return count;
}

template <class T, int V, int R, class Source, class Target>
inline void map_tile(const T *a, std::int64_t a_source, std::int64_t a_target, const int *source, int n, const T *from,
                     std::int64_t from_stride, const int *target, T *to, std::int64_t to_stride, Source read,
                     Target write) {
    constexpr int L = lanes<T>;
    Vec<T> sum[R][V] = {};
    for (int i = 0; i < n; ++i, a += a_source) {
        const T *const row = from + source[i] * from_stride;
        Vec<T> x[V];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) x[v] = read.get(row + v * L);
#pragma GCC unroll 8
        for (int k = 0; k < R; ++k)
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) sum[k][v] += a[k * a_target] * x[v];
    }
#pragma GCC unroll 8
    for (int k = 0; k < R; ++k)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) write.put(to + target[k] * to_stride + v * L, sum[k][v]);
}

// to[target] = A from[source], with A[t, s] at a + t * a_target + s * a_source.
template <class T, int V, class Source, class Target>
inline void map_rows(const T *a, std::int64_t a_source, std::int64_t a_target, const int *source, int n,
                     const T *from, std::int64_t from_stride, const int *target, int n_targets, T *to,
                     std::int64_t to_stride, Source read, Target write) {
    for (int tiles = (n_targets + row_tile - 1) / row_tile; n_targets > 0; --tiles) {
        const int rows = (n_targets + tiles - 1) / tiles;
        const auto run = [&](auto count) {
            map_tile<T, V, decltype(count)::value>(a, a_source, a_target, source, n, from, from_stride, target, to,
                                                   to_stride, read, write);
        };
        switch (rows) {
        case 1: run(std::integral_constant<int, 1>{}); break;
        case 2: run(std::integral_constant<int, 2>{}); break;
        case 3: run(std::integral_constant<int, 3>{}); break;
        case 4: run(std::integral_constant<int, 4>{}); break;
        case 5: run(std::integral_constant<int, 5>{}); break;
        default: run(std::integral_constant<int, 6>{}); break;
        }
        n_targets -= rows;
        a += rows * a_target;
        target += rows;
    }
}

// For what has nothing to do between maps.
struct Nothing {
    void operator()() const {}
};

template <class T, int V, class Source, class Target, class Call = Nothing>
inline void apply(const std::vector<RowMap<T>> &maps, const T *from, std::int64_t from_stride, T *to,
                  std::int64_t to_stride, Source read, Target write, Call before_map = {}) {
    for (const RowMap<T> &m : maps) {
        before_map();
        map_rows<T, V>(m.matrix.data(), 1, std::int64_t(m.source.size()), m.source.data(), int(m.source.size()), from,
                       from_stride, m.target.data(), int(m.target.size()), to, to_stride, read, write);
    }
}

template <class T, int V, class Source, class Target>
inline void apply_transposed(const std::vector<RowMap<T>> &maps, const T *from, std::int64_t from_stride, T *to,
                             std::int64_t to_stride, Source read, Target write) {
    for (const RowMap<T> &m : maps)
        map_rows<T, V>(m.matrix.data(), std::int64_t(m.source.size()), 1, m.target.data(), int(m.target.size()), from,
                       from_stride, m.source.data(), int(m.source.size()), to, to_stride, read, write);
}

// Rows of features. Calls `before_map` so many times as there are maps.
template <class T, int V, class Access, class Call = Nothing>
inline void sample(const Sampling<T> &map, const T *features, std::int64_t stride, T *middle, T *rows, Access access,
                   Call before_map = {}) {
    const WholeVector<T> write;
    constexpr int W = V * lanes<T>;
    if (map.second.empty()) {
        apply<T, V>(map.first, features, stride, rows, W, access, write, before_map);
    } else {
        apply<T, V>(map.first, features, stride, middle, W, access, write, before_map);
        apply<T, V>(map.second, middle, W, rows, W, write, write, before_map);
    }
}

template <class T, int V, class Access>
inline void back_to_features(const Sampling<T> &map, const T *rows, T *features, std::int64_t stride, Access access) {
    constexpr int L = lanes<T>, W = V * L;
    const auto clear = [&](int component) {
        for (int v = 0; v < V; ++v) access.put(features + component * stride + v * L, Vec<T>{});
    };
    if (map.shared) {
        for (int i = 0; i < map.dim; ++i) clear(i);
        apply_transposed<T, V>(map.first, rows, W, features, stride, WholeVector<T>{}, PlusVector<T, Access>{access});
    } else {
        for (const int i : map.unread) clear(i);
        apply_transposed<T, V>(map.first, rows, W, features, stride, WholeVector<T>{}, access);
    }
}

// Features = transposed map of rows.
template <class T, int V, class Access>
inline void project(const Sampling<T> &map, const T *rows, T *middle, T *features, std::int64_t stride,
                    Access access) {
    constexpr int W = V * lanes<T>;
    if (!map.second.empty()) {
        apply_transposed<T, V>(map.second, rows, W, middle, W, WholeVector<T>{}, WholeVector<T>{});
        rows = middle;
    }
    back_to_features<T, V>(map, rows, features, stride, access);
}

// Calls with the number of vectors as a constant, at most `widest` (and `Most`) of them, the first channel and how to
// reach them.
template <class T, int Most = row_vectors, class Call>
inline void for_channels(std::int64_t channels, int widest, Call call) {
    constexpr int L = lanes<T>;
    std::int64_t c = 0;
    const auto blocks = [&](auto vectors) {
        constexpr int V = decltype(vectors)::value;
        if constexpr (V <= Most)
            for (; V <= widest && c + V * L <= channels; c += V * L) call(vectors, c, WholeVector<T>{});
    };
    blocks(std::integral_constant<int, 8>{});
    blocks(std::integral_constant<int, 4>{});
    blocks(std::integral_constant<int, 2>{});
    blocks(std::integral_constant<int, 1>{});
    if (c < channels) call(std::integral_constant<int, 1>{}, c, PartVector<T>{int(channels - c)});
}

// Blocks of rows of this width stay in the first cache.
template <class T> inline int widest_block(std::int64_t rows) {
    constexpr std::int64_t bytes = 24576;
    int vectors = row_vectors;
    while (vectors > 1 && rows * vectors * ATOMSYM_VECTOR_BYTES > bytes) vectors /= 2;
    return vectors;
}

}  // namespace atomsym
