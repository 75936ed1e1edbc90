// Convolution with tabulated radial weights: the sum over the edges of each receiver.
//
// As tensor_product_forward.cpp, with the weights of a vector of channels evaluated from the table where they are
// needed: each is used once, so none is ever stored.
#include "tabulated_convolution.hpp"
#include <algorithm>

namespace atomsym {
namespace {

constexpr int run_length = 8;     // edges that a path walks at once: their x rows stay in the L1 cache
constexpr int block_vectors = 4;  // channel vectors that are carried through all paths together

// Vectors a pass: accumulators, weighted input, weights and one broadcast must fit the registers.
template <int K> constexpr int pass_vectors() {
    if (K * 4 + 9 <= vector_registers) return 4;
    if (K * 2 + 5 <= vector_registers) return 2;
    return 1;
}

template <class T> struct Run {
    int n;
    const T *x[run_length];             // rows of the senders; null: ones
    const T *coefficients[run_length];  // of the paths
    T u[run_length];
    const T *matrix;                    // A of the first edge
    std::int64_t channels, path_size;
};

template <class T, int K, int V, int N, bool HasX, class Access>
inline void walk(const Run<T> &run, const ProductPath &path, std::int64_t c, T *out, Access access) {
    constexpr int B = edge_block<T>, L = lanes<T>;
    const std::int64_t C = run.channels, table = path.weight * run.path_size;
    Vec<T> sum[K][V];
#pragma GCC unroll 16
    for (int k = 0; k < K; ++k)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) sum[k][v] = access.get(out + k * C + v * L);
    for (int e = 0; e < run.n; ++e) {
        const T *a = run.matrix + path.matrix * B + e;
        const T *x_row = HasX ? run.x[e] + path.in * C + c : nullptr;
        Vec<T> w[V];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v)
            w[v] = table_value<T, N>(table_place(run.coefficients[e] + table, c + v * L, N), run.u[e]);
        if (path.diagonal) {  // A is a number times the identity
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) w[v] *= *a;
#pragma GCC unroll 16
            for (int k = 0; k < K; ++k)
#pragma GCC unroll 4
                for (int v = 0; v < V; ++v)
                    sum[k][v] += HasX ? w[v] * access.get(x_row + k * C + v * L) : w[v];
        } else if constexpr (!HasX) {
#pragma GCC unroll 16
            for (int k = 0; k < K; ++k)
#pragma GCC unroll 4
                for (int v = 0; v < V; ++v) sum[k][v] += a[k * B] * w[v];
        } else if constexpr (K == 1) {  // contract first, weight once
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

// One path over the channels from `first` on: n_vectors whole vectors, or one partial vector (n_vectors = 0).
template <class T, int K, int N, bool HasX>
void walk_block(const Run<T> &run, const ProductPath &path, T *out, std::int64_t first, int n_vectors, int tail) {
    constexpr int V = pass_vectors<K>(), L = lanes<T>;
    out += first;
    if (n_vectors == 0) return walk<T, K, 1, N, HasX>(run, path, first, out, PartVector<T>{tail});
    int v = 0;
    for (; v + V <= n_vectors; v += V) walk<T, K, V, N, HasX>(run, path, first + v * L, out + v * L, WholeVector<T>{});
    if constexpr (V > 2)
        for (; v + 2 <= n_vectors; v += 2)
            walk<T, K, 2, N, HasX>(run, path, first + v * L, out + v * L, WholeVector<T>{});
    if constexpr (V > 1)
        for (; v < n_vectors; ++v) walk<T, K, 1, N, HasX>(run, path, first + v * L, out + v * L, WholeVector<T>{});
}

template <class T, int N, bool HasX>
void all_paths(const ProductPlan &plan, const Run<T> &run, T *out, std::int64_t first, int n_vectors, int tail) {
    for (const ProductPath &path : plan.paths) {
        T *rows = out + path.out * run.channels;
        switch (path.columns) {
        case 1: walk_block<T, 1, N, HasX>(run, path, rows, first, n_vectors, tail); break;
        case 3: walk_block<T, 3, N, HasX>(run, path, rows, first, n_vectors, tail); break;
        case 5: walk_block<T, 5, N, HasX>(run, path, rows, first, n_vectors, tail); break;
        case 7: walk_block<T, 7, N, HasX>(run, path, rows, first, n_vectors, tail); break;
        case 9: walk_block<T, 9, N, HasX>(run, path, rows, first, n_vectors, tail); break;
        }
    }
}

// The block's edges, receiver by receiver in runs.
template <class T, int N, bool HasX>
void add_block(const ProductPlan &plan, const ProductCall &call, const RadialTables<T> &tables, const T *x,
               const TabulatedEdge<T> *edges, int n_edges, const T *matrix, T *out) {
    constexpr int L = lanes<T>;
    const std::int64_t C = call.channels, whole = C / L;
    for (int e = 0; e < n_edges;) {
        const std::int64_t node = edges[e].receiver;
        Run<T> run;
        for (run.n = 0; run.n < run_length && e + run.n < n_edges && edges[e + run.n].receiver == node; ++run.n) {
            const TabulatedEdge<T> &edge = edges[e + run.n];
            run.x[run.n] = HasX ? x + edge.sender * plan.in_dim * C : nullptr;
            run.coefficients[run.n] = edge.coefficients;
            run.u[run.n] = edge.u;
        }
        run.matrix = matrix + e;
        run.channels = C;
        run.path_size = tables.path_size;
        T *const rows = out + node * plan.out_dim * C;
        for (std::int64_t v = 0; v < whole; v += block_vectors)
            all_paths<T, N, HasX>(plan, run, rows, v * L, int(std::min<std::int64_t>(block_vectors, whole - v)), 0);
        if (C % L) all_paths<T, N, HasX>(plan, run, rows, whole * L, 0, int(C % L));
        e += run.n;
    }
}

template <class T, int N, bool HasX>
void forward(const ProductPlan &plan, const ProductCall &call, const RadialTables<T> &tables, const T *x,
             const T *edge, T *out) {
    constexpr int B = edge_block<T>;
    const std::int64_t size = plan.out_dim * call.channels;
    // Receivers of one task: about 128 edges. The split does not change any sum.
    const std::int64_t per_task =
        std::clamp<std::int64_t>(128 * call.n_nodes / std::max<std::int64_t>(call.n_edges, 1), 1, 4096);
    const std::int64_t tasks = (call.n_nodes + per_task - 1) / per_task;
#pragma omp parallel num_threads(call.n_threads) if (call.n_threads > 1)
    {
        Scratch<T> components(std::size_t(plan.edge_dim) * B + 1), matrix(std::size_t(plan.n_matrix) * B + 1);
#pragma omp for schedule(dynamic)
        for (std::int64_t task = 0; task < tasks; ++task) {
            const std::int64_t n = task * per_task, n_end = std::min(n + per_task, call.n_nodes);
            std::fill(out + n * size, out + n_end * size, T(0));
            TabulatedEdge<T> live[B];
            const T *y_row[B];
            const std::int64_t e_end = call.receiver_offsets[n_end];
            for (std::int64_t e = call.receiver_offsets[n]; e < e_end;) {
                int count = 0;
                for (; e < e_end && count < B; ++e)
                    if (tabulated_edge(tables, call, e, live[count])) y_row[count++] = edge + e * plan.edge_dim;
                make_matrices(plan.to_matrix<T>(), plan.n_matrix, plan.edge_dim, y_row, count, components.get(),
                              matrix.get());
                add_block<T, N, HasX>(plan, call, tables, x, live, count, matrix.get(), out);
            }
        }
    }
}

}  // namespace

template <class T>
void tabulated_forward(const ProductPlan &plan, const ProductCall &call, const RadialTables<T> &tables, const T *x,
                       const T *edge, T *out) {
    if (x)
        forward<T, table_coefficients<T>, true>(plan, call, tables, x, edge, out);
    else
        forward<T, table_coefficients<T>, false>(plan, call, tables, x, edge, out);
}

template void tabulated_forward<float>(const ProductPlan &, const ProductCall &, const RadialTables<float> &,
                                       const float *, const float *, float *);
template void tabulated_forward<double>(const ProductPlan &, const ProductCall &, const RadialTables<double> &,
                                        const double *, const double *, double *);

}  // namespace atomsym
