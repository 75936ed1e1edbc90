// The description of a channel-wise product as the kernels read it: paths, and the couplings between the edge
// components and the small matrices A[i, k] = coefficient * sum_f C[i, f, k] Y[f] of each path.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace atomsym {

struct ProductPath {
    int in;        // first component of the input irrep
    int out;       // first component of the output irrep
    int rows;      // 2 l_in + 1
    int columns;   // 2 l_out + 1
    int weight;    // position on the weight axis
    int matrix;    // first element of A (row-major); a diagonal path (scalar edge component) has one element
    bool diagonal;
};

// Sparse couplings sorted by target: target t is the sum over terms start[t] .. start[t + 1] of
// coefficient * source.
template <class T> struct Couplings {
    std::vector<int> start, source;
    std::vector<T> coefficient;
};

struct ProductPlan {
    int in_dim, edge_dim, out_dim, n_weights, n_matrix;
    std::vector<ProductPath> paths;
    Couplings<float> to_matrix_float, to_edge_float;
    Couplings<double> to_matrix_double, to_edge_double;

    ProductPlan(int in_dim, int edge_dim, int out_dim, int n_weights, int n_matrix, const std::vector<int> &paths,
                const std::vector<int> &element, const std::vector<int> &component,
                const std::vector<double> &coefficient);

    template <class T> const Couplings<T> &to_matrix() const;
    template <class T> const Couplings<T> &to_edge() const;
};

template <> inline const Couplings<float> &ProductPlan::to_matrix<float>() const { return to_matrix_float; }
template <> inline const Couplings<double> &ProductPlan::to_matrix<double>() const { return to_matrix_double; }
template <> inline const Couplings<float> &ProductPlan::to_edge<float>() const { return to_edge_float; }
template <> inline const Couplings<double> &ProductPlan::to_edge<double>() const { return to_edge_double; }

// Sizes and wiring of one call. Each operand has a batch stride, zero where it is shared by the whole batch.
struct ProductCall {
    std::int64_t batch, n_nodes, n_edges, channels;
    const std::int64_t *receiver, *sender, *receiver_offsets, *sender_order, *sender_offsets;
    int n_threads;
};

template <class T> struct Operand {
    const T *data;
    std::int64_t stride;
    const T *at(std::int64_t batch) const { return data + batch * stride; }
};

// What a kernel of a convolution is called with.
template <class T> struct ConvolutionCall {
    ProductCall sizes;
    std::vector<Operand<T>> operands;  // address null: not there
    std::vector<T *> results;          // null: not wanted
    bool has(int i) const { return operands[i].data != nullptr; }
};

// out[n, k, c] = sum over edges of n and paths of A[i, k] x[sender, i, c] w[edge, path, c]
template <class T>
void product_forward(const ProductPlan &, const ProductCall &, Operand<T> x, Operand<T> edge, Operand<T> weight,
                     T *out);

// Gradients of sum(g * out) for x, edge and weight in one pass over the edges of each sender; null: not wanted.
template <class T>
void product_gradients(const ProductPlan &, const ProductCall &, Operand<T> g, Operand<T> x, Operand<T> edge,
                       Operand<T> weight, T *grad_x, T *grad_edge, T *grad_weight);

// Operands and results of the second derivatives; a direction or result whose address is null is not there.
template <class T> struct SecondCall {
    Operand<T> g, x, edge, weight, along_x, along_edge, along_weight;
    T *grad_g, *grad_x, *grad_edge, *grad_weight;
};

// Gradients for g, x, edge and weight of the sum over the directions of sum(g * out) with one operand replaced.
template <class T> void product_second(const ProductPlan &, const ProductCall &, const SecondCall<T> &);

}  // namespace atomsym
