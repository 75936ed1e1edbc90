// Gradients of <g, convolution(x, Y, w)> for x, Y and w in one pass over the edges of each sender.
//
// With t[i] = sum_k A[i, k] g[k] per edge and path: grad w = sum_i t[i] x[i], grad x[i] += w t[i]. The gradient of Y
// needs M[i, k] = sum_c w x[i] g[k], kept as vectors of partial sums over all channels and contracted with the
// couplings before the one horizontal sum a component.
#include "tensor_product_lanes.hpp"
#include <algorithm>

namespace atomsym {
namespace {

// Vectors a pass: g rows, weights, weight gradient, t and weighted input must fit the registers.
template <int K> constexpr int pass_vectors() {
    if (K * 4 + 18 <= vector_registers) return 4;
    if (K * 2 + 10 <= vector_registers) return 2;
    return 1;
}

template <class T> struct EdgeRows {
    const T *g, *x, *w;
    const T *next_g, *next_w;  // of the next edge, to prefetch: they lie scattered
    T *grad_x, *grad_w;
    const T *matrix;     // A of this edge
    Vec<T> *products;    // M of this edge
    std::int64_t channels;
    bool stream_grad_w;
};

// Moments: M is wanted. Inputs: grad x and grad w are wanted.
template <class T, int K, int V, bool Moments, bool Inputs, class Access>
[[gnu::always_inline]] inline void pass(const EdgeRows<T> &rows, const ProductPath &path, std::int64_t c, Access access) {
    constexpr int B = edge_block<T>, L = lanes<T>;
    const std::int64_t C = rows.channels;
    const T *g_row = rows.g + path.out * C + c, *x_row = rows.x + path.in * C + c;
    const T *a = rows.matrix + path.matrix * B;
    Vec<T> *m = rows.products + path.matrix;
    Vec<T> g[K][V], w[V], grad_w[V] = {};
#pragma GCC unroll 16
    for (int k = 0; k < K; ++k)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) g[k][v] = access.get(g_row + k * C + v * L);
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) w[v] = access.get(rows.w + path.weight * C + c + v * L);
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
        __builtin_prefetch(rows.next_w + path.weight * C + c + v * L);
#pragma GCC unroll 16
        for (int k = 0; k < K; ++k) __builtin_prefetch(rows.next_g + (path.out + k) * C + c + v * L);
    }
    T *grad_x = rows.grad_x + path.in * C + c;
    if (path.diagonal) {
        Vec<T> moment{};
#pragma GCC unroll 16
        for (int i = 0; i < K; ++i)
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) {
                const Vec<T> x = access.get(x_row + i * C + v * L);
                if constexpr (Inputs) {
                    const Vec<T> t = *a * g[i][v];
                    grad_w[v] += t * x;
                    access.put(grad_x + i * C + v * L, access.get(grad_x + i * C + v * L) + w[v] * t);
                }
                if constexpr (Moments) moment += (w[v] * x) * g[i][v];
            }
        if constexpr (Moments) m[0] += moment;
    } else {
        for (int i = 0; i < path.rows; ++i, a += K * B, m += K) {
            Vec<T> x[V];
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) x[v] = access.get(x_row + i * C + v * L);
            if constexpr (Inputs) {
                Vec<T> t[V] = {};
#pragma GCC unroll 16
                for (int k = 0; k < K; ++k)
#pragma GCC unroll 4
                    for (int v = 0; v < V; ++v) t[v] += a[k * B] * g[k][v];
#pragma GCC unroll 4
                for (int v = 0; v < V; ++v) {
                    grad_w[v] += t[v] * x[v];
                    T *target = grad_x + i * C + v * L;
                    access.put(target, access.get(target) + w[v] * t[v]);
                }
            }
            if constexpr (Moments) {
#pragma GCC unroll 4
                for (int v = 0; v < V; ++v) x[v] *= w[v];
#pragma GCC unroll 16
                for (int k = 0; k < K; ++k) {
                    Vec<T> sum = m[k];
#pragma GCC unroll 4
                    for (int v = 0; v < V; ++v) sum += x[v] * g[k][v];
                    m[k] = sum;
                }
            }
        }
    }
    if constexpr (Inputs)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) {
            T *target = rows.grad_w + path.weight * C + c + v * L;
            if (Access::whole && rows.stream_grad_w)
                stream(target, grad_w[v]);
            else
                access.put(target, grad_w[v]);
        }
}

template <class T, int K, bool Moments, bool Inputs>
void one_path(const EdgeRows<T> &rows, const ProductPath &path) {
    constexpr int V = pass_vectors<K>(), L = lanes<T>;
    const std::int64_t C = rows.channels;
    std::int64_t c = 0;
    for (; c + V * L <= C; c += V * L) pass<T, K, V, Moments, Inputs>(rows, path, c, WholeVector<T>{});
    if constexpr (V > 2)
        for (; c + 2 * L <= C; c += 2 * L) pass<T, K, 2, Moments, Inputs>(rows, path, c, WholeVector<T>{});
    if constexpr (V > 1)
        for (; c + L <= C; c += L) pass<T, K, 1, Moments, Inputs>(rows, path, c, WholeVector<T>{});
    if (c < C) pass<T, K, 1, Moments, Inputs>(rows, path, c, PartVector<T>{int(C - c)});
}

template <class T, bool Moments, bool Inputs>
void all_paths(const ProductPlan &plan, const EdgeRows<T> &rows) {
    for (const ProductPath &path : plan.paths) {
        switch (path.columns) {
        case 1: one_path<T, 1, Moments, Inputs>(rows, path); break;
        case 3: one_path<T, 3, Moments, Inputs>(rows, path); break;
        case 5: one_path<T, 5, Moments, Inputs>(rows, path); break;
        case 7: one_path<T, 7, Moments, Inputs>(rows, path); break;
        case 9: one_path<T, 9, Moments, Inputs>(rows, path); break;
        case 11: one_path<T, 11, Moments, Inputs>(rows, path); break;
        case 13: one_path<T, 13, Moments, Inputs>(rows, path); break;
        }
    }
}

}  // namespace

template <class T>
void product_gradients(const ProductPlan &plan, const ProductCall &call, Operand<T> g, Operand<T> x, Operand<T> edge,
                       Operand<T> weight, T *grad_x, T *grad_edge, T *grad_weight) {
    constexpr int B = edge_block<T>;
    const std::int64_t C = call.channels, N = call.n_nodes, w_size = plan.n_weights * C;
    const std::int64_t in_size = plan.in_dim * C, out_size = plan.out_dim * C;
    const bool inputs = grad_x != nullptr || grad_weight != nullptr;
    const bool stream_grad_w = streams(grad_weight, C, call.batch * call.n_edges * w_size);
    const std::int64_t per_task = nodes_per_task(call), tasks = (N + per_task - 1) / per_task;
#pragma omp parallel num_threads(call.n_threads) if (call.n_threads > 1)
    {
        Scratch<T> components(std::size_t(plan.edge_dim) * B + 1), matrix(std::size_t(plan.n_matrix) * B + 1);
        Scratch<Vec<T>> products(std::size_t(plan.n_matrix) + 1);
        Scratch<T> unwanted(std::size_t(std::max(in_size, w_size)) + 1);  // takes a gradient nobody asked for
#pragma omp for schedule(dynamic) collapse(2)
        for (std::int64_t b = 0; b < call.batch; ++b)
            for (std::int64_t task = 0; task < tasks; ++task) {
                const std::int64_t n_begin = task * per_task, n_end = std::min(n_begin + per_task, N);
                if (grad_x != nullptr)
                    std::fill(grad_x + (b * N + n_begin) * in_size, grad_x + (b * N + n_end) * in_size, T(0));
                const T *const g_b = g.at(b), *const x_b = x.at(b), *const y_b = edge.at(b), *const w_b = weight.at(b);
                const std::int64_t s_end = call.sender_offsets[n_end];
                for (std::int64_t s0 = call.sender_offsets[n_begin]; s0 < s_end; s0 += B) {
                    const int n_block = int(std::min<std::int64_t>(B, s_end - s0));
                    const std::int64_t *const order = call.sender_order + s0;
                    const T *y_row[B];
                    for (int e = 0; e < n_block; ++e) y_row[e] = y_b + order[e] * plan.edge_dim;
                    if (inputs)
                        make_matrices(plan.to_matrix<T>(), plan.n_matrix, plan.edge_dim, y_row, n_block,
                                      components.get(), matrix.get());
                    for (int e = 0; e < n_block; ++e) {
                        const std::int64_t number = order[e], node = call.sender[number];
                        const std::int64_t next = s0 + e + 1 < s_end ? order[e + 1] : number;
                        EdgeRows<T> rows;
                        rows.next_g = g_b + call.receiver[next] * out_size;
                        rows.next_w = w_b + next * w_size;
                        rows.g = g_b + call.receiver[number] * out_size;
                        rows.x = x_b + node * in_size;
                        rows.w = w_b + number * w_size;
                        rows.grad_x = grad_x != nullptr ? grad_x + (b * N + node) * in_size : unwanted.get();
                        rows.grad_w = grad_weight != nullptr ? grad_weight + (b * call.n_edges + number) * w_size
                                                             : unwanted.get();
                        rows.matrix = matrix.get() + e;
                        rows.products = products.get();
                        rows.channels = C;
                        rows.stream_grad_w = stream_grad_w;
                        if (grad_x == nullptr && inputs) std::fill_n(unwanted.get(), in_size, T(0));
                        if (grad_edge == nullptr) {
                            all_paths<T, false, true>(plan, rows);
                            continue;
                        }
                        std::fill_n(products.get(), plan.n_matrix, Vec<T>{});
                        if (inputs)
                            all_paths<T, true, true>(plan, rows);
                        else
                            all_paths<T, true, false>(plan, rows);
                        contract_moments(plan.to_edge<T>(), plan.edge_dim, products.get(),
                                         grad_edge + (b * call.n_edges + number) * plan.edge_dim);
                    }
                }
            }
        if (stream_grad_w) stream_fence();
    }
}

template void product_gradients<float>(const ProductPlan &, const ProductCall &, Operand<float>, Operand<float>,
                                       Operand<float>, Operand<float>, float *, float *, float *);
template void product_gradients<double>(const ProductPlan &, const ProductCall &, Operand<double>, Operand<double>,
                                        Operand<double>, Operand<double>, double *, double *, double *);

}  // namespace atomsym
