// Channel-wise tensor products: the plan of a product and the Python border.
#include "convolution_bindings.hpp"
#include <algorithm>
#include <memory>
#include <numeric>

namespace atomsym {
namespace {

template <class T>
Couplings<T> sorted_couplings(int n_targets, const std::vector<int> &target, const std::vector<int> &source,
                              const std::vector<double> &coefficient) {
    std::vector<int> order(target.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return target[a] < target[b]; });
    Couplings<T> result;
    result.start.assign(n_targets + 1, 0);
    for (int t : target) ++result.start[t + 1];
    std::partial_sum(result.start.begin(), result.start.end(), result.start.begin());
    for (int number : order) {
        result.source.push_back(source[number]);
        result.coefficient.push_back(T(coefficient[number]));
    }
    return result;
}

}  // namespace

ProductPlan::ProductPlan(int in_dim, int edge_dim, int out_dim, int n_weights, int n_matrix,
                         const std::vector<int> &path_table, const std::vector<int> &element,
                         const std::vector<int> &component, const std::vector<double> &coefficient)
    : in_dim(in_dim), edge_dim(edge_dim), out_dim(out_dim), n_weights(n_weights), n_matrix(n_matrix) {
    constexpr std::size_t width = 7;
    for (std::size_t p = 0; p + width <= path_table.size(); p += width) {
        const int *row = path_table.data() + p;
        paths.push_back({row[0], row[1], row[2], row[3], row[4], row[5], row[6] != 0});
    }
    to_matrix_float = sorted_couplings<float>(n_matrix, element, component, coefficient);
    to_matrix_double = sorted_couplings<double>(n_matrix, element, component, coefficient);
    to_edge_float = sorted_couplings<float>(edge_dim, component, element, coefficient);
    to_edge_double = sorted_couplings<double>(edge_dim, component, element, coefficient);
}

}  // namespace atomsym

using namespace atomsym;

namespace {

// The address of a plan that lives as long as the process; Python keeps one a product.
Address make_plan(int in_dim, int edge_dim, int out_dim, int n_weights, int n_matrix, const std::vector<int> &paths,
                  const std::vector<int> &element, const std::vector<int> &component,
                  const std::vector<double> &coefficient) {
    static std::vector<std::unique_ptr<ProductPlan>> plans;
    plans.push_back(std::make_unique<ProductPlan>(in_dim, edge_dim, out_dim, n_weights, n_matrix, paths, element,
                                                  component, coefficient));
    return reinterpret_cast<Address>(plans.back().get());
}

template <class T> void forward(const ProductPlan &plan, const ConvolutionCall<T> &c) {
    const auto &of = c.operands;
    product_forward<T>(plan, c.sizes, of[0], of[1], of[2], c.results[0]);
}

template <class T> void gradients(const ProductPlan &plan, const ConvolutionCall<T> &c) {
    const auto &of = c.operands;
    product_gradients<T>(plan, c.sizes, of[0], of[1], of[2], of[3], c.results[0], c.results[1], c.results[2]);
}

template <class T> void second(const ProductPlan &plan, const ConvolutionCall<T> &c) {
    const auto &of = c.operands;
    product_second<T>(plan, c.sizes, {of[0], of[1], of[2], of[3], of[4], of[5], of[6], c.results[0], c.results[1],
                                      c.results[2], c.results[3]});
}

}  // namespace

void bind_tensor_product(nb::module_ &m) {
    m.def("channelwise_plan", &make_plan);
    m.def("channelwise_forward_float32", &call_with_plan<float, ProductPlan, forward<float>>);
    m.def("channelwise_forward_float64", &call_with_plan<double, ProductPlan, forward<double>>);
    m.def("channelwise_gradients_float32", &call_with_plan<float, ProductPlan, gradients<float>>);
    m.def("channelwise_gradients_float64", &call_with_plan<double, ProductPlan, gradients<double>>);
    m.def("channelwise_second_float32", &call_with_plan<float, ProductPlan, second<float>>);
    m.def("channelwise_second_float64", &call_with_plan<double, ProductPlan, second<double>>);
}
