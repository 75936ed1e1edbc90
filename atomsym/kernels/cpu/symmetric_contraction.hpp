// Symmetric contraction as a sparse polynomial over channel vectors: tables, and arithmetic of mixed derivatives.
//
// B[o] = sum_e c_e X[prefix_e] A[factor_e], where c_e = sum_p fold_ep W[species, p]; see polynomial.py for the tables.
//
// Derivatives of any order come from evaluating the same polynomial with jets. A jet over K directions holds the 2^K
// mixed derivatives of a number along subsets of the directions; component S belongs to the subset with the bits of S.
// Products follow Leibniz' rule: (xy)_S = sum over U within S of x_U y_{S \ U}. The component of all directions, "top",
// of B and of its gradients are the derivatives of order K of the forward and of the first backward pass.
#pragma once
#include <cstdint>
#include <vector>

#include "simd.hpp"

namespace atomsym {

struct ContractionTable {
    int dim_in = 0, dim_out = 0, n_paths = 0;
    std::vector<std::int32_t> product_parent, product_factor;
    std::vector<std::int32_t> row_output, row_factor, row_start, entry_prefix;
    std::vector<std::int32_t> fold_start, fold_path;
    std::vector<double> fold_coefficient;
    std::vector<std::int32_t> group_factor, group_prefix, group_start, member_entry, member_output;

    int n_products() const { return 1 + dim_in + int(product_parent.size()); }
    int n_entries() const { return int(entry_prefix.size()); }
    int n_rows() const { return int(row_output.size()); }
    int n_groups() const { return int(group_factor.size()); }
};

// One operand of a batched call: element [b, row, component, channel]; stride 0 if all batch members share it.
template <class T> struct Operand {
    const T *data = nullptr;
    std::int64_t batch_stride = 0;
};

constexpr int max_directions = 2;

template <class T> struct ContractionCall {
    std::int64_t n_batch, n_nodes, n_species, channels;
    const std::int64_t *species;
    int n_directions = 0;
    bool weight_directions = false;              // else the directions leave the weights alone
    Operand<T> cotangent, features, weights;     // the cotangent is unused in the forward pass
    Operand<T> feature_direction[max_directions], weight_direction[max_directions];
    T *value = nullptr;                          // (n_batch, n_nodes, dim_out, channels)
    T *feature_gradient = nullptr;               // (n_batch, n_nodes, dim_in, channels); null: not wanted
    T *weight_gradient = nullptr;                // (n_batch, n_species, n_paths, channels); null: not wanted
    int n_threads = 1;
};

// A block of R jets over K directions, one per node: v[S][r].
template <class T, int K, int R> struct Jets {
    Vec<T> v[1 << K][R];
};

// acc += x y with C components of x (the others are zero).
template <class T, int K, int R, int C = (1 << K)>
inline void add_product(Jets<T, K, R> &acc, const Vec<T> (*x)[R], const Vec<T> (*y)[R]) {
    for (int s = 0; s < (1 << K); ++s)
        for (int u = 0; u < C; ++u)
            if ((u & s) == u)
                for (int r = 0; r < R; ++r) acc.v[s][r] += x[u][r] * y[s ^ u][r];
}

// acc += top component of x y.
template <class T, int K, int R, int C = (1 << K)>
inline void add_top_product(Vec<T> *acc, const Vec<T> (*x)[R], const Vec<T> (*y)[R]) {
    constexpr int top = (1 << K) - 1;
    for (int u = 0; u < C; ++u)
        for (int r = 0; r < R; ++r) acc[r] += x[u][r] * y[top ^ u][r];
}

}  // namespace atomsym
