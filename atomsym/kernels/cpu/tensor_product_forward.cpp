// Convolution with a channel-wise tensor product: the sum over the edges of each receiver.
//
// A block of edges gets its matrices A (no channels) first. Then, for the consecutive edges of one receiver and a
// block of channels, every path keeps its output rows in registers while it walks those edges:
// (2 l_in + 1)(2 l_out + 1) multiply-adds a channel vector and edge, no intermediate per edge and channel.
#include "tensor_product_lanes.hpp"
#include <algorithm>

namespace atomsym {
namespace {

constexpr int run_length = 8;      // edges that a path walks at once: their x and w rows stay in the L1 cache
constexpr int block_vectors = 4;   // channel vectors that are carried through all paths together

// Vectors a pass: accumulators, weighted input, weights and one broadcast must fit the registers.
template <int K> constexpr int pass_vectors() {
    if (K * 4 + 9 <= vector_registers) return 4;
    if (K * 2 + 5 <= vector_registers) return 2;
    return 1;
}

template <class T> struct Run {
    int n;                          // edges
    const T *x[run_length];         // rows of the senders, at this channel block
    const T *w[run_length];         // weight rows, at this channel block
    const T *w_later;               // a weight row to prefetch, as far as the array reaches
    std::int64_t w_later_n, w_stride;
    const T *matrix;                // A of the first edge
    std::int64_t channels;
};

template <class T, int K, int V, class Access>
inline void walk_general(const Run<T> &run, const ProductPath &path, std::int64_t c, T *out, Access access) {
    constexpr int B = edge_block<T>, L = lanes<T>;
    const std::int64_t C = run.channels;
    Vec<T> sum[K][V];
#pragma GCC unroll 16
    for (int k = 0; k < K; ++k)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) sum[k][v] = access.get(out + k * C + v * L);
    for (int e = 0; e < run.n; ++e) {
        const T *w_row = run.w[e] + path.weight * C + c;
        const T *x_row = run.x[e] + path.in * C + c;
        const T *a = run.matrix + path.matrix * B + e;
        Vec<T> w[V];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) w[v] = access.get(w_row + v * L);
        if (e < run.w_later_n) {
            const T *later = run.w_later + e * run.w_stride + path.weight * C + c;
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) __builtin_prefetch(later + v * L);
        }
        if constexpr (K == 1) {  // contract first, weight once
            Vec<T> y[V] = {};
            for (int i = 0; i < path.rows; ++i, a += B)
#pragma GCC unroll 4
                for (int v = 0; v < V; ++v) y[v] += *a * access.get(x_row + i * C + v * L);
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) sum[0][v] += y[v] * w[v];
        } else {
            for (int i = 0; i < path.rows; ++i, a += K * B) {
                Vec<T> y[V];
#pragma GCC unroll 4
                for (int v = 0; v < V; ++v) y[v] = access.get(x_row + i * C + v * L) * w[v];
#pragma GCC unroll 16
                for (int k = 0; k < K; ++k)
#pragma GCC unroll 4
                    for (int v = 0; v < V; ++v) sum[k][v] += a[k * B] * y[v];
            }
        }
    }
#pragma GCC unroll 16
    for (int k = 0; k < K; ++k)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) access.put(out + k * C + v * L, sum[k][v]);
}

// A scalar edge component couples equal components only: A is a number times the identity.
template <class T, int K, int V, class Access>
inline void walk_diagonal(const Run<T> &run, const ProductPath &path, std::int64_t c, T *out, Access access) {
    constexpr int B = edge_block<T>, L = lanes<T>;
    const std::int64_t C = run.channels;
    Vec<T> sum[K][V];
#pragma GCC unroll 16
    for (int k = 0; k < K; ++k)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) sum[k][v] = access.get(out + k * C + v * L);
    for (int e = 0; e < run.n; ++e) {
        const T *w_row = run.w[e] + path.weight * C + c;
        const T *x_row = run.x[e] + path.in * C + c;
        const T a = run.matrix[path.matrix * B + e];
        Vec<T> w[V];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) w[v] = a * access.get(w_row + v * L);
        if (e < run.w_later_n) {
            const T *later = run.w_later + e * run.w_stride + path.weight * C + c;
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) __builtin_prefetch(later + v * L);
        }
#pragma GCC unroll 16
        for (int k = 0; k < K; ++k)
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) sum[k][v] += w[v] * access.get(x_row + k * C + v * L);
    }
#pragma GCC unroll 16
    for (int k = 0; k < K; ++k)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) access.put(out + k * C + v * L, sum[k][v]);
}

template <class T, int K, int V, class Access>
inline void walk(const Run<T> &run, const ProductPath &path, std::int64_t c, T *out, Access access) {
    if (path.diagonal)
        walk_diagonal<T, K, V>(run, path, c, out, access);
    else
        walk_general<T, K, V>(run, path, c, out, access);
}

// One path over n_vectors whole vectors, or over one partial vector (n_vectors = 0).
template <class T, int K>
void walk_block(const Run<T> &run, const ProductPath &path, T *out, int n_vectors, int tail) {
    constexpr int V = pass_vectors<K>(), L = lanes<T>;
    if (n_vectors == 0) return walk<T, K, 1>(run, path, 0, out, PartVector<T>{tail});
    int v = 0;
    for (; v + V <= n_vectors; v += V) walk<T, K, V>(run, path, v * L, out + v * L, WholeVector<T>{});
    if constexpr (V > 2)
        for (; v + 2 <= n_vectors; v += 2) walk<T, K, 2>(run, path, v * L, out + v * L, WholeVector<T>{});
    if constexpr (V > 1)
        for (; v < n_vectors; ++v) walk<T, K, 1>(run, path, v * L, out + v * L, WholeVector<T>{});
}

template <class T>
void all_paths(const ProductPlan &plan, const Run<T> &run, T *out, int n_vectors, int tail) {
    for (const ProductPath &path : plan.paths) {
        T *rows = out + path.out * run.channels;
        switch (path.columns) {
        case 1: walk_block<T, 1>(run, path, rows, n_vectors, tail); break;
        case 3: walk_block<T, 3>(run, path, rows, n_vectors, tail); break;
        case 5: walk_block<T, 5>(run, path, rows, n_vectors, tail); break;
        case 7: walk_block<T, 7>(run, path, rows, n_vectors, tail); break;
        case 9: walk_block<T, 9>(run, path, rows, n_vectors, tail); break;
        case 11: walk_block<T, 11>(run, path, rows, n_vectors, tail); break;
        case 13: walk_block<T, 13>(run, path, rows, n_vectors, tail); break;
        }
    }
}

}  // namespace

template <class T>
void product_forward(const ProductPlan &plan, const ProductCall &call, Operand<T> x, Operand<T> edge,
                     Operand<T> weight, T *out) {
    constexpr int B = edge_block<T>, L = lanes<T>;
    const std::int64_t C = call.channels, whole = C / L, w_stride = plan.n_weights * C;
    const int tail = int(C % L);
    const std::int64_t per_task = nodes_per_task(call), tasks = (call.n_nodes + per_task - 1) / per_task;
#pragma omp parallel num_threads(call.n_threads) if (call.n_threads > 1)
    {
        Scratch<T> components(std::size_t(plan.edge_dim) * B + 1), matrix(std::size_t(plan.n_matrix) * B + 1);
#pragma omp for schedule(dynamic) collapse(2)
        for (std::int64_t b = 0; b < call.batch; ++b)
            for (std::int64_t task = 0; task < tasks; ++task) {
                std::int64_t n = task * per_task;
                const std::int64_t n_end = std::min(n + per_task, call.n_nodes);
                T *const out_b = out + b * call.n_nodes * plan.out_dim * C;
                std::fill(out_b + n * plan.out_dim * C, out_b + n_end * plan.out_dim * C, T(0));
                const T *const w_b = weight.at(b), *const x_b = x.at(b), *const y_b = edge.at(b);
                const std::int64_t e_end = call.receiver_offsets[n_end];
                for (std::int64_t e0 = call.receiver_offsets[n]; e0 < e_end; e0 += B) {
                    const int n_block = int(std::min<std::int64_t>(B, e_end - e0));
                    const T *y_row[B];
                    for (int e = 0; e < n_block; ++e) y_row[e] = y_b + (e0 + e) * plan.edge_dim;
                    make_matrices(plan.to_matrix<T>(), plan.n_matrix, plan.edge_dim, y_row, n_block,
                                  components.get(), matrix.get());
                    for (int e = 0; e < n_block;) {
                        const std::int64_t node = call.receiver[e0 + e];
                        const std::int64_t last = std::min(call.receiver_offsets[node + 1], e0 + n_block);
                        Run<T> run;
                        run.n = int(std::min<std::int64_t>(last - (e0 + e), run_length));
                        run.matrix = matrix.get() + e;
                        run.channels = C;
                        run.w_stride = w_stride;
                        run.w_later_n = call.n_edges - (e0 + e + run.n);
                        T *const rows = out_b + node * plan.out_dim * C;
                        const auto add_block = [&](std::int64_t v, int n_vectors) {
                            for (int r = 0; r < run.n; ++r) {
                                run.x[r] = x_b + call.sender[e0 + e + r] * plan.in_dim * C + v * L;
                                run.w[r] = w_b + (e0 + e + r) * w_stride + v * L;
                            }
                            run.w_later = w_b + (e0 + e + run.n) * w_stride + v * L;
                            all_paths(plan, run, rows + v * L, n_vectors, tail);
                        };
                        for (std::int64_t v = 0; v < whole; v += block_vectors)
                            add_block(v, int(std::min<std::int64_t>(block_vectors, whole - v)));
                        if (tail > 0) add_block(whole, 0);
                        e += run.n;
                    }
                }
            }
    }
}

template void product_forward<float>(const ProductPlan &, const ProductCall &, Operand<float>, Operand<float>,
                                     Operand<float>, float *);
template void product_forward<double>(const ProductPlan &, const ProductCall &, Operand<double>, Operand<double>,
                                      Operand<double>, double *);

}  // namespace atomsym
