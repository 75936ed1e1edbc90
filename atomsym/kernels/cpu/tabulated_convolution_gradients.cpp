// Gradients of the convolution with tabulated radial weights for the node features and for the edges.
//
// Per edge and path, with t[i] = sum_k A[i, k] g[k]: grad x[i] += w t[i], grad d += w' sum_i t[i] x[i], and the moments
// M[i, k] = sum_c w x[i] g[k], which give the gradient of Y. A walk over the channels keeps the moments of up to
// R rows of A in registers, so that g is read once for M and t together.
#include "tabulated_convolution.hpp"
#include "transpose.hpp"
#include <algorithm>

namespace atomsym {
namespace {

// Rows of A whose moments fit the registers beside x, t, g, w, w' and one spare.
template <int K> constexpr int max_rows() {
    int rows = 1;
    while (rows < 3 && (rows + 1) * (K + 2) + 5 <= vector_registers) ++rows;
    return rows;
}

template <class T> struct EdgeRows {
    const T *g, *x, *coefficients, *matrix;
    T *grad_x;
    Vec<T> *moments;
    Vec<T> slope;  // partial sums of grad d
    T u;
    std::int64_t channels;
};

// One vector of channels: rows `row` to row + R of A.
template <class T, int R, int K, int N, bool HasX, class Access>
[[gnu::always_inline]] inline void add_vector(EdgeRows<T> &rows, const T *a, const T *table, const T *g_row,
                                              const T *x_row, T *grad_x, std::int64_t c, Vec<T> (&m)[R][K],
                                              Vec<T> &slope, Access access) {
    constexpr int B = edge_block<T>;
    const std::int64_t C = rows.channels;
    Vec<T> dw, w = table_value<T, N>(table_place(table, c, N), rows.u, dw);
    Vec<T> xw[R], t[R];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
        xw[r] = HasX ? access.get(x_row + r * C + c) * w : w;
        t[r] = Vec<T>{};
    }
#pragma GCC unroll 16
    for (int k = 0; k < K; ++k) {
        const Vec<T> g = access.get(g_row + k * C + c);
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) {
            m[r][k] += xw[r] * g;
            t[r] += a[(r * K + k) * B] * g;
        }
    }
    Vec<T> s{};
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
        if constexpr (HasX) {
            s += t[r] * access.get(x_row + r * C + c);
            T *target = grad_x + r * C + c;
            access.put(target, access.get(target) + w * t[r]);
        } else {
            s += t[r];
        }
    }
    slope += s * dw;
}

template <class T, int R, int K, int N, bool HasX>
void some_rows(EdgeRows<T> &rows, const ProductPath &path, int row, const T *table) {
    constexpr int B = edge_block<T>, L = lanes<T>;
    const std::int64_t C = rows.channels;
    const T *a = rows.matrix + (path.matrix + row * K) * B, *g_row = rows.g + path.out * C;
    const T *x_row = HasX ? rows.x + (path.in + row) * C : nullptr;
    T *grad_x = HasX ? rows.grad_x + (path.in + row) * C : nullptr;
    Vec<T> m[R][K] = {}, slope{};
    std::int64_t c = 0;
    for (; c + L <= C; c += L)
        add_vector<T, R, K, N, HasX>(rows, a, table, g_row, x_row, grad_x, c, m, slope, WholeVector<T>{});
    if (c < C)
        add_vector<T, R, K, N, HasX>(rows, a, table, g_row, x_row, grad_x, c, m, slope, PartVector<T>{int(C - c)});
    rows.slope += slope;
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 16
        for (int k = 0; k < K; ++k) rows.moments[path.matrix + (row + r) * K + k] = m[r][k];
}

// A scalar edge component: A is a number times the identity, one moment.
template <class T, int K, int N, bool HasX, class Access>
inline void add_diagonal(EdgeRows<T> &rows, const ProductPath &path, const T *table, std::int64_t c, Vec<T> &moment,
                         Access access) {
    const std::int64_t C = rows.channels;
    const T a = rows.matrix[path.matrix * edge_block<T>];
    Vec<T> dw, w = table_value<T, N>(table_place(table, c, N), rows.u, dw), s{};
    const Vec<T> wa = a * w;
#pragma GCC unroll 16
    for (int k = 0; k < K; ++k) {
        const Vec<T> g = access.get(rows.g + (path.out + k) * C + c);
        if constexpr (HasX) {
            s += g * access.get(rows.x + (path.in + k) * C + c);
            T *target = rows.grad_x + (path.in + k) * C + c;
            access.put(target, access.get(target) + wa * g);
        } else {
            s += g;
        }
    }
    moment += w * s;
    rows.slope += (a * dw) * s;
}

template <class T, int K, int N, bool HasX>
void one_path(EdgeRows<T> &rows, const ProductPath &path, std::int64_t path_size) {
    constexpr int L = lanes<T>, R = HasX ? max_rows<K>() : 1;
    const std::int64_t C = rows.channels;
    const T *table = rows.coefficients + path.weight * path_size;
    if (path.diagonal) {
        Vec<T> moment{};
        std::int64_t c = 0;
        for (; c + L <= C; c += L) add_diagonal<T, K, N, HasX>(rows, path, table, c, moment, WholeVector<T>{});
        if (c < C) add_diagonal<T, K, N, HasX>(rows, path, table, c, moment, PartVector<T>{int(C - c)});
        rows.moments[path.matrix] = moment;
        return;
    }
    int row = 0;
    for (; row + R <= path.rows; row += R) some_rows<T, R, K, N, HasX>(rows, path, row, table);
    if constexpr (R > 2)
        for (; row + 2 <= path.rows; row += 2) some_rows<T, 2, K, N, HasX>(rows, path, row, table);
    if constexpr (R > 1)
        for (; row < path.rows; ++row) some_rows<T, 1, K, N, HasX>(rows, path, row, table);
}

template <class T, int N, bool HasX>
void all_paths(const ProductPlan &plan, EdgeRows<T> &rows, std::int64_t path_size) {
    for (const ProductPath &path : plan.paths) {
        switch (path.columns) {
        case 1: one_path<T, 1, N, HasX>(rows, path, path_size); break;
        case 3: one_path<T, 3, N, HasX>(rows, path, path_size); break;
        case 5: one_path<T, 5, N, HasX>(rows, path, path_size); break;
        case 7: one_path<T, 7, N, HasX>(rows, path, path_size); break;
        case 9: one_path<T, 9, N, HasX>(rows, path, path_size); break;
        }
    }
}

// Moments -> gradient of the edge components; as many sums over lanes at a time as there are lanes.
template <class T>
inline void contract_moments(const Couplings<T> &couplings, int edge_dim, const Vec<T> *moments, T *grad_edge,
                             bool add) {
    constexpr int L = lanes<T>;
    for (int f0 = 0; f0 < edge_dim; f0 += L) {
        Vec<T> sums[L] = {};
        const int n = std::min(L, edge_dim - f0);
        for (int f = 0; f < n; ++f) {
            Vec<T> sum{};
            for (int t = couplings.start[f0 + f]; t < couplings.start[f0 + f + 1]; ++t)
                sum += couplings.coefficient[t] * moments[couplings.source[t]];
            sums[f] = sum;
        }
        transpose_square<T>(sums);
#pragma GCC unroll 8
        for (int half = L / 2; half > 0; half /= 2)
#pragma GCC unroll 16
            for (int i = 0; i < half; ++i) sums[i] += sums[i + half];
        T *target = grad_edge + f0;
        if (n == L) {
            store(target, add ? load(target) + sums[0] : sums[0]);
        } else {
            for (int f = 0; f < n; ++f) target[f] = add ? target[f] + sums[0][f] : sums[0][f];
        }
    }
}

template <class T, int N, bool HasX>
void gradients(const ProductPlan &plan, const ProductCall &call, const RadialTables<T> &tables, const T *g, const T *x,
               const T *edge, T *grad_x, T *grad_edge, T *grad_distance, bool add) {
    constexpr int B = edge_block<T>;
    const std::int64_t C = call.channels, n_nodes = call.n_nodes;
    const std::int64_t in_size = plan.in_dim * C, out_size = plan.out_dim * C;
    // By sender where the features' gradient is summed over its edges, otherwise in the order of the edges.
    const std::int64_t *offsets = HasX ? call.sender_offsets : call.receiver_offsets;
    const std::int64_t per_task = std::clamp<std::int64_t>(128 * n_nodes / std::max<std::int64_t>(call.n_edges, 1), 1, 4096);
    const std::int64_t tasks = (n_nodes + per_task - 1) / per_task;
#pragma omp parallel num_threads(call.n_threads) if (call.n_threads > 1)
    {
        Scratch<T> components(std::size_t(plan.edge_dim) * B + 1), matrix(std::size_t(plan.n_matrix) * B + 1);
        Scratch<Vec<T>> moments(std::size_t(plan.n_matrix) + 1);
#pragma omp for schedule(dynamic)
        for (std::int64_t task = 0; task < tasks; ++task) {
            const std::int64_t n = task * per_task, n_end = std::min(n + per_task, n_nodes);
            if constexpr (HasX) std::fill(grad_x + n * in_size, grad_x + n_end * in_size, T(0));
            TabulatedEdge<T> live[B];
            const T *y_row[B];
            for (std::int64_t s = offsets[n]; s < offsets[n_end];) {
                int count = 0;
                for (; s < offsets[n_end] && count < B; ++s) {
                    const std::int64_t number = HasX ? call.sender_order[s] : s;
                    if (tabulated_edge(tables, call, number, live[count])) {
                        y_row[count++] = edge + number * plan.edge_dim;
                    } else if (!add) {
                        std::fill_n(grad_edge + number * plan.edge_dim, plan.edge_dim, T(0));
                        grad_distance[number] = 0;
                    }
                }
                make_matrices(plan.to_matrix<T>(), plan.n_matrix, plan.edge_dim, y_row, count, components.get(),
                              matrix.get());
                for (int e = 0; e < count; ++e) {
                    EdgeRows<T> rows;
                    rows.g = g + live[e].receiver * out_size;
                    rows.x = HasX ? x + live[e].sender * in_size : nullptr;
                    rows.grad_x = HasX ? grad_x + live[e].sender * in_size : nullptr;
                    rows.coefficients = live[e].coefficients;
                    rows.u = live[e].u;
                    rows.matrix = matrix.get() + e;
                    rows.moments = moments.get();
                    rows.slope = Vec<T>{};
                    rows.channels = C;
                    all_paths<T, N, HasX>(plan, rows, tables.path_size);
                    contract_moments(plan.to_edge<T>(), plan.edge_dim, moments.get(),
                                     grad_edge + live[e].number * plan.edge_dim, add);
                    const T slope = live[e].du * horizontal_sum<T>(rows.slope);
                    T &target = grad_distance[live[e].number];
                    target = add ? target + slope : slope;
                }
            }
        }
    }
}

}  // namespace

template <class T>
void tabulated_gradients(const ProductPlan &plan, const ProductCall &call, const RadialTables<T> &tables, const T *g,
                         const T *x, const T *edge, T *grad_x, T *grad_edge, T *grad_distance, bool add) {
    constexpr int N = table_coefficients<T>;
    if (x)
        gradients<T, N, true>(plan, call, tables, g, x, edge, grad_x, grad_edge, grad_distance, add);
    else
        gradients<T, N, false>(plan, call, tables, g, x, edge, grad_x, grad_edge, grad_distance, add);
}

template void tabulated_gradients<float>(const ProductPlan &, const ProductCall &, const RadialTables<float> &,
                                         const float *, const float *, const float *, float *, float *, float *, bool);
template void tabulated_gradients<double>(const ProductPlan &, const ProductCall &, const RadialTables<double> &,
                                          const double *, const double *, const double *, double *, double *, double *,
                                          bool);

}  // namespace atomsym
