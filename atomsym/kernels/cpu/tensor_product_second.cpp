// Second derivatives of the convolution, as training on forces needs them: gradients of
//
//     S = F(g, ax, Y, w) + F(g, x, aY, w) + F(g, x, Y, aw),    F(g, x, Y, w) = sum_n g[n] . convolution(x, Y, w)[n],
//
// the derivative of the first gradients along (ax, aY, aw). One pass by receiver gives the one for g, one by sender
// those for x, Y and w; each reads the rows of an edge once for all three terms. With A from Y, A' from aY and, for an
// edge and path, t[i] = sum_k A[i, k] g[k], t'[i] = sum_k A'[i, k] g[k], s[i] = w ax[i] + aw x[i]:
//
//     dS/dg[k] = sum_i A[i, k] s[i] + A'[i, k] w x[i]      dS/dx[i] = w t'[i] + aw t[i]
//     dS/dw = sum_i t[i] ax[i] + t'[i] x[i]                dS/dY from M[i, k] = sum_c s[i] g[k]
//
// A direction that is missing is read from a row of zeros.
#include "tensor_product_lanes.hpp"
#include <algorithm>

namespace atomsym {
namespace {

// Rows of one edge at the current channels; for the gradients also what belongs to the next edge, to prefetch.
template <class T> struct SecondRows {
    const T *x, *along_x, *w, *along_w, *g;
    const T *next_w, *next_along_w, *next_g;
    const T *matrix, *along_matrix;  // A and A' of this edge
    T *grad_x, *grad_w;
    Vec<T> *products;  // M of this edge
    std::int64_t channels;
    bool stream_grad_w;
};

// Vectors a pass: sums (or g rows) and the operands of an edge must fit the registers.
template <int K> constexpr int forward_vectors() {
    if (K * 4 + 26 <= vector_registers) return 4;
    if (K * 2 + 14 <= vector_registers) return 2;
    return 1;
}
template <int K> constexpr int gradient_vectors() {
    if (K * 4 + 28 <= vector_registers) return 4;
    if (K * 2 + 18 <= vector_registers) return 2;
    return 1;
}

constexpr int run_length = 8;  // edges of a receiver that a path walks at once

// out += the edges of a run, for one path and V vectors of channels.
template <class T, int K, int V, bool AlongY, class Access>
[[gnu::always_inline]] inline void walk(const SecondRows<T> *edge, int n, const ProductPath &path, std::int64_t c, T *out,
                                        Access access) {
    constexpr int B = edge_block<T>, L = lanes<T>;
    const std::int64_t C = edge[0].channels;
    Vec<T> sum[K][V];
#pragma GCC unroll 16
    for (int k = 0; k < K; ++k)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) sum[k][v] = access.get(out + k * C + v * L);
    for (int e = 0; e < n; ++e) {
        const SecondRows<T> &rows = edge[e];
        const std::int64_t weight = path.weight * C + c, in = path.in * C + c;
        const T *a = rows.matrix + path.matrix * B, *b = rows.along_matrix + path.matrix * B;
        Vec<T> w[V], along_w[V];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) {
            w[v] = access.get(rows.w + weight + v * L);
            along_w[v] = access.get(rows.along_w + weight + v * L);
            __builtin_prefetch(rows.next_w + weight + v * L);
            __builtin_prefetch(rows.next_along_w + weight + v * L);
        }
        if (path.diagonal) {
#pragma GCC unroll 16
            for (int k = 0; k < K; ++k)
#pragma GCC unroll 4
                for (int v = 0; v < V; ++v) {
                    const Vec<T> x = access.get(rows.x + in + k * C + v * L);
                    sum[k][v] += *a * (w[v] * access.get(rows.along_x + in + k * C + v * L) + along_w[v] * x);
                    if constexpr (AlongY) sum[k][v] += *b * (w[v] * x);
                }
            continue;
        }
        for (int i = 0; i < path.rows; ++i, a += K * B, b += K * B) {
            Vec<T> s[V], y[V];
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) {
                const Vec<T> x = access.get(rows.x + in + i * C + v * L);
                s[v] = w[v] * access.get(rows.along_x + in + i * C + v * L) + along_w[v] * x;
                y[v] = w[v] * x;
            }
#pragma GCC unroll 16
            for (int k = 0; k < K; ++k)
#pragma GCC unroll 4
                for (int v = 0; v < V; ++v) {
                    sum[k][v] += a[k * B] * s[v];
                    if constexpr (AlongY) sum[k][v] += b[k * B] * y[v];
                }
        }
    }
#pragma GCC unroll 16
    for (int k = 0; k < K; ++k)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) access.put(out + k * C + v * L, sum[k][v]);
}

// The same for the other side: gradients for x, w and, with Moments, M of one edge.
template <class T, int K, int V, bool AlongY, bool Moments, class Access>
[[gnu::always_inline]] inline void pull(const SecondRows<T> &rows, const ProductPath &path, std::int64_t c, Access access) {
    constexpr int B = edge_block<T>, L = lanes<T>;
    const std::int64_t C = rows.channels, weight = path.weight * C + c, in = path.in * C + c;
    const T *g_row = rows.g + path.out * C + c;
    const T *a = rows.matrix + path.matrix * B, *b = rows.along_matrix + path.matrix * B;
    Vec<T> *m = rows.products + path.matrix;
    Vec<T> g[K][V], w[V], along_w[V], grad_w[V] = {};
#pragma GCC unroll 16
    for (int k = 0; k < K; ++k)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) {
            g[k][v] = access.get(g_row + k * C + v * L);
            __builtin_prefetch(rows.next_g + (path.out + k) * C + c + v * L);
        }
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
        w[v] = access.get(rows.w + weight + v * L);
        along_w[v] = access.get(rows.along_w + weight + v * L);
        __builtin_prefetch(rows.next_w + weight + v * L);
        __builtin_prefetch(rows.next_along_w + weight + v * L);
    }
    const int n_rows = path.diagonal ? K : path.rows;
    for (int i = 0; i < n_rows; ++i) {
        Vec<T> t[V] = {}, u[V] = {};
        if (path.diagonal) {
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) {
                const Vec<T> own = access.get(g_row + i * C + v * L);
                t[v] = *a * own;
                if constexpr (AlongY) u[v] = *b * own;
            }
        } else {
#pragma GCC unroll 16
            for (int k = 0; k < K; ++k)
#pragma GCC unroll 4
                for (int v = 0; v < V; ++v) {
                    t[v] += a[k * B] * g[k][v];
                    if constexpr (AlongY) u[v] += b[k * B] * g[k][v];
                }
            a += K * B, b += K * B;
        }
        Vec<T> s[V];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) {
            const Vec<T> x = access.get(rows.x + in + i * C + v * L);
            const Vec<T> along_x = access.get(rows.along_x + in + i * C + v * L);
            T *target = rows.grad_x + in + i * C + v * L;
            Vec<T> total = access.get(target) + along_w[v] * t[v];
            grad_w[v] += t[v] * along_x;
            if constexpr (AlongY) {
                total += w[v] * u[v];
                grad_w[v] += u[v] * x;
            }
            access.put(target, total);
            s[v] = w[v] * along_x + along_w[v] * x;
        }
        if constexpr (Moments) {
            if (path.diagonal) {
#pragma GCC unroll 4
                for (int v = 0; v < V; ++v) m[0] += s[v] * access.get(g_row + i * C + v * L);
            } else {
#pragma GCC unroll 16
                for (int k = 0; k < K; ++k) {
                    Vec<T> moment = m[k];
#pragma GCC unroll 4
                    for (int v = 0; v < V; ++v) moment += s[v] * g[k][v];
                    m[k] = moment;
                }
                m += K;
            }
        }
    }
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
        T *target = rows.grad_w + weight + v * L;
        if (Access::whole && rows.stream_grad_w)
            stream(target, grad_w[v]);
        else
            access.put(target, grad_w[v]);
    }
}

// All channels: whole vectors, V at a time and then one, and the tail.
template <class T, int V, class Call> inline void over_channels(std::int64_t C, Call call) {
    constexpr int L = lanes<T>;
    using std::integral_constant;
    std::int64_t c = 0;
    for (; c + V * L <= C; c += V * L) call(integral_constant<int, V>{}, c, WholeVector<T>{});
    if constexpr (V > 2)
        for (; c + 2 * L <= C; c += 2 * L) call(integral_constant<int, 2>{}, c, WholeVector<T>{});
    if constexpr (V > 1)
        for (; c + L <= C; c += L) call(integral_constant<int, 1>{}, c, WholeVector<T>{});
    if (c < C) call(integral_constant<int, 1>{}, c, PartVector<T>{int(C - c)});
}

template <class T, int K, bool AlongY>
void walk_channels(const SecondRows<T> *edge, int n, const ProductPath &path, T *out) {
    over_channels<T, forward_vectors<K>()>(edge[0].channels, [&](auto vectors, std::int64_t c, auto access) {
        walk<T, K, decltype(vectors)::value, AlongY>(edge, n, path, c, out + path.out * edge[0].channels + c, access);
    });
}

template <class T, int K, bool AlongY, bool Moments>
void pull_channels(const SecondRows<T> &rows, const ProductPath &path) {
    over_channels<T, gradient_vectors<K>()>(rows.channels, [&](auto vectors, std::int64_t c, auto access) {
        pull<T, K, decltype(vectors)::value, AlongY, Moments>(rows, path, c, access);
    });
}

// Calls with the number of output components of a path as a constant.
template <class Call> inline void with_columns(int columns, Call call) {
    using std::integral_constant;
    switch (columns) {
    case 1: call(integral_constant<int, 1>{}); break;
    case 3: call(integral_constant<int, 3>{}); break;
    case 5: call(integral_constant<int, 5>{}); break;
    case 7: call(integral_constant<int, 7>{}); break;
    case 9: call(integral_constant<int, 9>{}); break;
    case 11: call(integral_constant<int, 11>{}); break;
    case 13: call(integral_constant<int, 13>{}); break;
    }
}

// Where the rows of an edge lie in the batch entry; missing directions have a zero stride and a row of zeros.
template <class T> struct Source {
    const T *row0;
    std::int64_t size;
    const T *at(std::int64_t index) const { return row0 + index * size; }
    static Source of(const Operand<T> &operand, std::int64_t batch, std::int64_t size, const T *zeros) {
        return operand.data ? Source{operand.at(batch), size} : Source{zeros, 0};
    }
};

// Everything one thread needs: matrices A and A' of a block of edges, moments, and a row for unwanted gradients.
template <class T> struct Workspace {
    const ProductPlan &plan;
    Scratch<T> components, matrix, along_matrix, unwanted;
    Scratch<Vec<T>> products;
    Workspace(const ProductPlan &plan, std::int64_t row)
        : plan(plan), components(std::size_t(plan.edge_dim) * edge_block<T> + 1),
          matrix(std::size_t(plan.n_matrix) * edge_block<T> + 1),
          along_matrix(std::size_t(plan.n_matrix) * edge_block<T> + 1), unwanted(std::size_t(row) + 1),
          products(std::size_t(plan.n_matrix) + 1) {
        std::fill_n(unwanted.get(), row, T(0));
    }
    void make(const Source<T> &edge, const Source<T> *along, const std::int64_t *number, int n) {
        const T *row[edge_block<T>];
        for (int e = 0; e < n; ++e) row[e] = edge.at(number[e]);
        make_matrices(plan.to_matrix<T>(), plan.n_matrix, plan.edge_dim, row, n, components.get(), matrix.get());
        if (along == nullptr) return;
        for (int e = 0; e < n; ++e) row[e] = along->at(number[e]);
        make_matrices(plan.to_matrix<T>(), plan.n_matrix, plan.edge_dim, row, n, components.get(), along_matrix.get());
    }
};

template <class T, bool AlongY>
void by_receiver(const ProductPlan &plan, const ProductCall &call, const SecondCall<T> &second) {
    constexpr int B = edge_block<T>;
    const std::int64_t C = call.channels, N = call.n_nodes, in_size = plan.in_dim * C, w_size = plan.n_weights * C;
    const std::int64_t out_size = plan.out_dim * C, last_edge = call.n_edges - 1;
    const std::int64_t per_task = nodes_per_task(call), tasks = (N + per_task - 1) / per_task;
#pragma omp parallel num_threads(call.n_threads) if (call.n_threads > 1)
    {
        Workspace<T> work(plan, std::max(in_size, w_size));
        const T *const zeros = work.unwanted.get();
#pragma omp for schedule(dynamic) collapse(2)
        for (std::int64_t b = 0; b < call.batch; ++b)
            for (std::int64_t task = 0; task < tasks; ++task) {
                const std::int64_t n_begin = task * per_task, n_end = std::min(n_begin + per_task, N);
                T *const out = second.grad_g + b * N * out_size;
                std::fill(out + n_begin * out_size, out + n_end * out_size, T(0));
                const auto x = Source<T>::of(second.x, b, in_size, zeros);
                const auto along_x = Source<T>::of(second.along_x, b, in_size, zeros);
                const auto w = Source<T>::of(second.weight, b, w_size, zeros);
                const auto along_w = Source<T>::of(second.along_weight, b, w_size, zeros);
                const auto edge = Source<T>::of(second.edge, b, plan.edge_dim, zeros);
                const auto along_edge = Source<T>::of(second.along_edge, b, plan.edge_dim, zeros);
                const std::int64_t e_end = call.receiver_offsets[n_end];
                for (std::int64_t e0 = call.receiver_offsets[n_begin]; e0 < e_end; e0 += B) {
                    const int n_block = int(std::min<std::int64_t>(B, e_end - e0));
                    std::int64_t number[B];
                    for (int e = 0; e < n_block; ++e) number[e] = e0 + e;
                    work.make(edge, AlongY ? &along_edge : nullptr, number, n_block);
                    for (int e = 0; e < n_block;) {
                        const std::int64_t node = call.receiver[e0 + e];
                        const std::int64_t last = std::min(call.receiver_offsets[node + 1], e0 + n_block);
                        const int n = int(std::min<std::int64_t>(last - (e0 + e), run_length));
                        SecondRows<T> rows[run_length] = {};
                        for (int r = 0; r < n; ++r) {
                            const std::int64_t own = e0 + e + r, later = std::min(own + n, last_edge);
                            const std::int64_t sender = call.sender[own];
                            rows[r].x = x.at(sender), rows[r].along_x = along_x.at(sender);
                            rows[r].w = w.at(own), rows[r].along_w = along_w.at(own);
                            rows[r].next_w = w.at(later), rows[r].next_along_w = along_w.at(later);
                            rows[r].matrix = work.matrix.get() + e + r;
                            rows[r].along_matrix = work.along_matrix.get() + e + r;
                            rows[r].channels = C;
                        }
                        for (const ProductPath &path : plan.paths)
                            with_columns(path.columns, [&](auto columns) {
                                walk_channels<T, decltype(columns)::value, AlongY>(rows, n, path, out + node * out_size);
                            });
                        e += n;
                    }
                }
            }
    }
}

template <class T, bool AlongY, bool Moments>
void by_sender(const ProductPlan &plan, const ProductCall &call, const SecondCall<T> &second) {
    constexpr int B = edge_block<T>;
    const std::int64_t C = call.channels, N = call.n_nodes, in_size = plan.in_dim * C, w_size = plan.n_weights * C;
    const std::int64_t out_size = plan.out_dim * C;
    const bool stream_grad_w = streams(second.grad_weight, C, call.batch * call.n_edges * w_size);
    const std::int64_t per_task = nodes_per_task(call), tasks = (N + per_task - 1) / per_task;
#pragma omp parallel num_threads(call.n_threads) if (call.n_threads > 1)
    {
        Workspace<T> work(plan, std::max(in_size, w_size));
        Scratch<T> none(std::size_t(std::max(in_size, w_size)) + 1);
        const T *const zeros = none.get();
        std::fill_n(none.get(), std::max(in_size, w_size), T(0));
#pragma omp for schedule(dynamic) collapse(2)
        for (std::int64_t b = 0; b < call.batch; ++b)
            for (std::int64_t task = 0; task < tasks; ++task) {
                const std::int64_t n_begin = task * per_task, n_end = std::min(n_begin + per_task, N);
                if (second.grad_x != nullptr)
                    std::fill(second.grad_x + (b * N + n_begin) * in_size, second.grad_x + (b * N + n_end) * in_size, T(0));
                const auto g = Source<T>::of(second.g, b, out_size, zeros);
                const auto x = Source<T>::of(second.x, b, in_size, zeros);
                const auto along_x = Source<T>::of(second.along_x, b, in_size, zeros);
                const auto w = Source<T>::of(second.weight, b, w_size, zeros);
                const auto along_w = Source<T>::of(second.along_weight, b, w_size, zeros);
                const auto edge = Source<T>::of(second.edge, b, plan.edge_dim, zeros);
                const auto along_edge = Source<T>::of(second.along_edge, b, plan.edge_dim, zeros);
                const std::int64_t s_end = call.sender_offsets[n_end];
                for (std::int64_t s0 = call.sender_offsets[n_begin]; s0 < s_end; s0 += B) {
                    const int n_block = int(std::min<std::int64_t>(B, s_end - s0));
                    const std::int64_t *const order = call.sender_order + s0;
                    work.make(edge, AlongY ? &along_edge : nullptr, order, n_block);
                    for (int e = 0; e < n_block; ++e) {
                        const std::int64_t own = order[e], node = call.sender[own];
                        const std::int64_t next = s0 + e + 1 < s_end ? order[e + 1] : own;
                        SecondRows<T> rows = {};
                        rows.x = x.at(node), rows.along_x = along_x.at(node);
                        rows.w = w.at(own), rows.along_w = along_w.at(own);
                        rows.g = g.at(call.receiver[own]), rows.next_g = g.at(call.receiver[next]);
                        rows.next_w = w.at(next), rows.next_along_w = along_w.at(next);
                        rows.matrix = work.matrix.get() + e, rows.along_matrix = work.along_matrix.get() + e;
                        rows.grad_x = second.grad_x ? second.grad_x + (b * N + node) * in_size : work.unwanted.get();
                        rows.grad_w = second.grad_weight ? second.grad_weight + (b * call.n_edges + own) * w_size
                                                         : work.unwanted.get();
                        rows.products = work.products.get();
                        rows.channels = C;
                        rows.stream_grad_w = stream_grad_w;
                        if (second.grad_x == nullptr) std::fill_n(work.unwanted.get(), in_size, T(0));
                        if constexpr (Moments) std::fill_n(work.products.get(), plan.n_matrix, Vec<T>{});
                        for (const ProductPath &path : plan.paths)
                            with_columns(path.columns, [&](auto columns) {
                                pull_channels<T, decltype(columns)::value, AlongY, Moments>(rows, path);
                            });
                        if constexpr (Moments)
                            contract_moments(plan.to_edge<T>(), plan.edge_dim, work.products.get(),
                                             second.grad_edge + (b * call.n_edges + own) * plan.edge_dim);
                    }
                }
            }
        if (stream_grad_w) stream_fence();
    }
}

}  // namespace

template <class T>
void product_second(const ProductPlan &plan, const ProductCall &call, const SecondCall<T> &second) {
    const bool along_y = second.along_edge.data != nullptr;
    if (second.grad_g != nullptr) along_y ? by_receiver<T, true>(plan, call, second) : by_receiver<T, false>(plan, call, second);
    if (second.grad_edge != nullptr)
        along_y ? by_sender<T, true, true>(plan, call, second) : by_sender<T, false, true>(plan, call, second);
    else if (second.grad_x != nullptr || second.grad_weight != nullptr)
        along_y ? by_sender<T, true, false>(plan, call, second) : by_sender<T, false, false>(plan, call, second);
}

template void product_second<float>(const ProductPlan &, const ProductCall &, const SecondCall<float> &);
template void product_second<double>(const ProductPlan &, const ProductCall &, const SecondCall<double> &);

}  // namespace atomsym
