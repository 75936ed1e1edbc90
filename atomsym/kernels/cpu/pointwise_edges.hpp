// What convolutions by rows do on a block of channels of some edges: the sum of rows times filters, and the gradients of
// an edge. See pointwise_convolution.cpp for the form.
#pragma once
#include "pointwise_tables.hpp"
#include <algorithm>

namespace atomsym {

// The matrix B as (edge_dim, padded), rows filled up with zeros to whole vectors; groups[k] are the components k of the
// edge that have the weight k.
template <class T> struct PointwiseConvolution {
    int edge_dim, rows, padded;
    Sampling<T> in, out, edge_map;
    bool by_components;  // how the gradients of an edge are taken
    std::vector<T> edge;
    std::vector<std::vector<int>> groups;
    std::vector<int> every_row;  // 0, 1, ... as far as there are rows or weights
};

// z[k, r] = (B_k Y)[r], rows padded.
template <class T> inline void edge_rows(const PointwiseConvolution<T> &plan, const T *y, T *z) {
    constexpr int L = lanes<T>;
    for (const std::vector<int> &group : plan.groups) {
        for (int r = 0; r < plan.padded; r += L) {
            Vec<T> sum = {};
            for (const int j : group) sum += y[j] * load(plan.edge.data() + std::int64_t(j) * plan.padded + r);
            store(z + r, sum);
        }
        z += plan.padded;
    }
}

// Edges that are worked on together: the rows z of each, their numbers and weights, and the rows of the node at the
// other end.
constexpr int most_edges = 16;
template <class T> struct EdgeBlock {
    int n;
    const T *z;
    std::int64_t number[most_edges];
    const T *weights[most_edges], *values[most_edges];
};

// As many edges as keep their rows z in the first cache.
template <class T> inline int edges_of_block(const PointwiseConvolution<T> &plan) {
    const std::int64_t bytes = std::int64_t(plan.groups.size()) * plan.padded * std::int64_t(sizeof(T));
    return int(std::clamp<std::int64_t>(8192 / std::max<std::int64_t>(bytes, 1), 1, most_edges));
}

template <class T> inline std::size_t z_size(const PointwiseConvolution<T> &plan) {
    return std::size_t(edges_of_block(plan)) * plan.groups.size() * std::size_t(plan.padded) + 1;
}

// K weights of an edge for V vectors of channels, in registers.
template <class T, int V, int K, class Access> struct EdgeWeights {
    Vec<T> kept[K][V];
    EdgeWeights(const T *row, std::int64_t stride, Access access) {
#pragma GCC unroll 4
        for (int k = 0; k < K; ++k)
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) kept[k][v] = access.get(row + k * stride + v * lanes<T>);
    }
};

// Rows of a tile: their sums stay in registers beside the weights and a row of the filter where the number of weights K
// is known, their filters where it is not (K = 0).
template <int V, int K> constexpr int filter_tile_rows() {
    return K > 0 ? std::min((vector_registers - 3) / V - K - 1, row_tile) : row_tile;
}

// sum[r] += sum over edges of values[r] f[r] with the filter f[r] = sum_k z[k, r] w[k], for R rows and K weights.
template <class T, int V, int R, int K, class Access>
inline void filter_tile(const EdgeBlock<T> &edges, int first, int padded, std::int64_t stride, T *sum, Access access) {
    constexpr int L = lanes<T>, W = V * L;
    Vec<T> total[R][V];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) total[r][v] = load(sum + (first + r) * W + v * L);
    for (int e = 0; e < edges.n; ++e) {
        const T *const z = edges.z + std::int64_t(e) * K * padded + first;
        const T *const values = edges.values[e] + first * W;
        const EdgeWeights<T, V, K, Access> w(edges.weights[e], stride, access);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) {
                Vec<T> f = z[r] * w.kept[0][v];
#pragma GCC unroll 4
                for (int k = 1; k < K; ++k) f += z[k * padded + r] * w.kept[k][v];
                total[r][v] += f * load(values + r * W + v * L);
            }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) store(sum + (first + r) * W + v * L, total[r][v]);
}

// The same for any number of weights.
template <class T, int V, int R, class Access>
inline void filter_tile(const EdgeBlock<T> &edges, int first, int n_weights, int padded, std::int64_t stride, T *sum,
                        Access access) {
    constexpr int L = lanes<T>, W = V * L;
    sum += first * W;
    for (int e = 0; e < edges.n; ++e) {
        const T *z = edges.z + std::int64_t(e) * n_weights * padded + first, *w = edges.weights[e];
        const T *const values = edges.values[e] + first * W;
        Vec<T> f[R][V] = {};
        for (int k = 0; k < n_weights; ++k, z += padded, w += stride) {
            Vec<T> weight[V];
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) weight[v] = access.get(w + v * L);
#pragma GCC unroll 8
            for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
                for (int v = 0; v < V; ++v) f[r][v] += z[r] * weight[v];
        }
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) {
                const int place = r * W + v * L;
                store(sum + place, load(sum + place) + f[r][v] * load(values + place));
            }
    }
}

template <class T, int V, int K, class Access>
inline void filter_rows(const PointwiseConvolution<T> &plan, const EdgeBlock<T> &edges, std::int64_t stride, T *sum,
                        Access access) {
    constexpr int most = filter_tile_rows<V, K>();
    int first = 0;
    for (int tiles = (plan.rows + most - 1) / most; tiles > 0; --tiles) {
        const int rows = (plan.rows - first + tiles - 1) / tiles;
        const auto run = [&](auto count) {
            constexpr int R = decltype(count)::value;
            if constexpr (K == 0)
                filter_tile<T, V, R>(edges, first, int(plan.groups.size()), plan.padded, stride, sum, access);
            else if constexpr (R <= most)
                filter_tile<T, V, R, K>(edges, first, plan.padded, stride, sum, access);
        };
        switch (rows) {
        case 1: run(std::integral_constant<int, 1>{}); break;
        case 2: run(std::integral_constant<int, 2>{}); break;
        case 3: run(std::integral_constant<int, 3>{}); break;
        case 4: run(std::integral_constant<int, 4>{}); break;
        case 5: run(std::integral_constant<int, 5>{}); break;
        default: run(std::integral_constant<int, 6>{}); break;
        }
        first += rows;
    }
}

template <class T, int V, class Access>
inline void add_filtered(const PointwiseConvolution<T> &plan, const EdgeBlock<T> &edges, std::int64_t stride, T *sum,
                         Access access) {
    if constexpr (V == row_vectors) {
        const auto n_weights = plan.groups.size();
        if (n_weights == 1) return filter_rows<T, V, 1>(plan, edges, stride, sum, access);
        if (n_weights == 2) return filter_rows<T, V, 2>(plan, edges, stride, sum, access);
        if (n_weights == 3) return filter_rows<T, V, 3>(plan, edges, stride, sum, access);
        if (n_weights == 4) return filter_rows<T, V, 4>(plan, edges, stride, sum, access);
    }
    if (!plan.groups.empty()) filter_rows<T, V, 0>(plan, edges, stride, sum, access);
}

// Asks for memory that an edge needs later; where it is written it is read, too.
template <class T, int V> inline void fetch(const T *weights, std::int64_t stride, int n_weights) {
    constexpr int line = 64 / int(sizeof(T));
    for (int k = 0; k < n_weights; ++k)
        for (int i = 0; i < V * lanes<T>; i += line) __builtin_prefetch(weights + k * stride + i);
}

// Sums over the lanes of many vectors, each added to (or set as) a number somewhere: as many vectors at once as a
// vector has lanes, by the same tree at every register width.
template <class T> class LaneSums {
  public:
    explicit LaneSums(bool set) : set_(set) {}
    void add(Vec<T> v, T *target) {
        part_[count_] = v;
        target_[count_] = target;
        if (++count_ == lanes<T>) flush();
    }
    void flush() {
        constexpr int L = lanes<T>;
        for (int i = count_; i < L; ++i) part_[i] = Vec<T>{};
        transpose_square<T>(part_);
        for (int half = L / 2; half > 0; half /= 2)
#pragma GCC unroll 16
            for (int i = 0; i < half; ++i) part_[i] += part_[i + half];
        for (int i = 0; i < count_; ++i) *target_[i] = set_ ? part_[0][i] : *target_[i] + part_[0][i];
        count_ = 0;
    }

  private:
    Vec<T> part_[lanes<T>];
    T *target_[lanes<T>];
    int count_ = 0;
    bool set_;
};

// Gradients of an edge; null: not wanted.
template <class T> struct OnEdge {
    const T *y, *z, *weights;
    T *grad_edge, *grad_weight;
    std::int64_t stride;
};

// For a block of channels of an edge.
template <class T> struct EdgeScratch {
    Scratch<T> middle, products, components;
    EdgeScratch(const PointwiseConvolution<T> &plan, std::int64_t block)
        : middle(std::size_t(std::max({plan.in.middle, plan.out.middle, plan.edge_map.middle}) * block + 1)),
          products(std::size_t(plan.rows * std::max<std::int64_t>(block, 3 * lanes<T>) + 1)),
          components(std::size_t(plan.edge_dim * block + 1)) {}
};

// From the products p = u g of the rows at both ends, by components of the edge: h = B^T p costs what a sampling does,
// and both gradients are then short sums. Good where the sampling goes in two steps, or there are few components.
template <class T, int V, class Access>
inline void edge_gradients_by_components(const PointwiseConvolution<T> &plan, const OnEdge<T> &on, const T *u,
                                         const T *g, const EdgeScratch<T> &scratch, LaneSums<T> &lane, Access access) {
    constexpr int L = lanes<T>, W = V * L;
    T *const p = scratch.products.get(), *const h = scratch.components.get();
    for (int k = 0; k < plan.rows * W; k += L) store(p + k, load(u + k) * load(g + k));
    project<T, V>(plan.edge_map, p, scratch.middle.get(), h, W, WholeVector<T>{});
    for (std::size_t k = 0; k < plan.groups.size(); ++k) {
        Vec<T> w[V], sum[V] = {};
        const std::int64_t place = std::int64_t(k) * on.stride;
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) w[v] = access.get(on.weights + place + v * L);
        for (const int j : plan.groups[k]) {
            const T *const component = h + j * W;
            Vec<T> product = load(component) * w[0];
            sum[0] += on.y[j] * load(component);
#pragma GCC unroll 4
            for (int v = 1; v < V; ++v) {
                const Vec<T> value = load(component + v * L);
                product += value * w[v];
                sum[v] += on.y[j] * value;
            }
            if (on.grad_edge) lane.add(product, on.grad_edge + j);
        }
        if (on.grad_weight)
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) access.put(on.grad_weight + place + v * L, sum[v]);
    }
}

// The same by rows, for K weights from k on: the weights' gradient is sum_r z[k, r] p[r], that for Y goes by the moments
// q[k, r] = w[k] p[r], summed over the vectors of a block only, so that its map costs the same whatever the block.
template <class T, int V, int K, class Access>
inline void moments(const PointwiseConvolution<T> &plan, const OnEdge<T> &on, int k, const T *u, const T *g, T *q,
                    Access access) {
    constexpr int L = lanes<T>, W = V * L;
    const T *const z = on.z + k * plan.padded;
    const EdgeWeights<T, V, K, Access> w(on.weights + k * on.stride, on.stride, access);
    Vec<T> sum[K][V] = {};
    for (int r = 0; r < plan.rows; ++r) {
        Vec<T> p[V];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) p[v] = load(u + r * W + v * L) * load(g + r * W + v * L);
#pragma GCC unroll 4
        for (int i = 0; i < K; ++i) {
            Vec<T> moment = p[0] * w.kept[i][0];
#pragma GCC unroll 4
            for (int v = 1; v < V; ++v) moment += p[v] * w.kept[i][v];
            store(q + (std::int64_t(i) * plan.rows + r) * L, moment);
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) sum[i][v] += z[i * plan.padded + r] * p[v];
        }
    }
    if (!on.grad_weight) return;
#pragma GCC unroll 4
    for (int i = 0; i < K; ++i)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) access.put(on.grad_weight + (k + i) * on.stride + v * L, sum[i][v]);
}

template <class T, int V, class Access>
inline void edge_gradients_by_rows(const PointwiseConvolution<T> &plan, const OnEdge<T> &on, const T *u, const T *g,
                                   const EdgeScratch<T> &scratch, LaneSums<T> &lane, Access access) {
    constexpr int L = lanes<T>;
    T *const q = scratch.products.get(), *const sums = scratch.components.get();
    const int n_weights = int(plan.groups.size());
    for (int k = 0, width; k < n_weights; k += width) {
        const int left = n_weights - k;
        width = left == 3 ? 3 : std::min(left, 2);
        if (width == 3)
            moments<T, V, 3>(plan, on, k, u, g, q, access);
        else if (width == 2)
            moments<T, V, 2>(plan, on, k, u, g, q, access);
        else
            moments<T, V, 1>(plan, on, k, u, g, q, access);
        if (!on.grad_edge) continue;
        for (int i = 0; i < width; ++i) {
            const std::vector<int> &group = plan.groups[std::size_t(k + i)];
            if (group.empty()) continue;
            map_rows<T, 1>(plan.edge.data() + std::int64_t(group[0]) * plan.padded, 1, plan.padded,
                           plan.every_row.data(), plan.rows, q + std::int64_t(i) * plan.rows * L, L, group.data(),
                           int(group.size()), sums, L, WholeVector<T>{}, WholeVector<T>{});
        }
    }
    if (on.grad_edge)
        for (int j = 0; j < plan.edge_dim; ++j) lane.add(load(sums + j * L), on.grad_edge + j);
}

// Gradients of the edge i of a block; u: rows of the node that all of them share.
template <class T, int V, class Access>
inline void edge_gradients(const PointwiseConvolution<T> &plan, const EdgeBlock<T> &edges, int i, const T *y, const T *u,
                           T *grad_edge, T *grad_weight, std::int64_t stride, const EdgeScratch<T> &scratch,
                           LaneSums<T> &lane, Access access) {
    const std::int64_t e = edges.number[i], n_weights = std::int64_t(plan.groups.size());
    const OnEdge<T> on{y + e * plan.edge_dim,
                       edges.z + i * n_weights * plan.padded,
                       edges.weights[i],
                       grad_edge ? grad_edge + e * plan.edge_dim : nullptr,
                       grad_weight ? grad_weight + e * n_weights * stride : nullptr,
                       stride};
    if (plan.by_components)
        edge_gradients_by_components<T, V>(plan, on, u, edges.values[i], scratch, lane, access);
    else
        edge_gradients_by_rows<T, V>(plan, on, u, edges.values[i], scratch, lane, access);
}

}  // namespace atomsym
