// Channel-wise tensor products: the plan of a product and the Python border.
#include "bindings.hpp"
#include "tensor_product_plan.hpp"
#include <algorithm>
#include <memory>
#include <nanobind/stl/vector.h>
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

// Operands come as addresses with batch strides, the wiring as the five addresses of an EdgeTopology.


ProductCall make_call(const std::vector<Address> &wiring, const std::vector<std::int64_t> &sizes, int n_threads) {
    const auto at = [&](int i) { return input<std::int64_t>(wiring[i]); };
    return {sizes[0], sizes[1], sizes[2], sizes[3], at(0), at(1), at(2), at(3), at(4), n_threads};
}

template <class T> Operand<T> operand(const std::vector<Address> &data, const std::vector<std::int64_t> &stride, int i) {
    return {input<T>(data[i]), stride[i]};
}

// The address of a plan that lives as long as the process; Python keeps one a product.
Address make_plan(int in_dim, int edge_dim, int out_dim, int n_weights, int n_matrix, const std::vector<int> &paths,
                  const std::vector<int> &element, const std::vector<int> &component,
                  const std::vector<double> &coefficient) {
    static std::vector<std::unique_ptr<ProductPlan>> plans;
    plans.push_back(std::make_unique<ProductPlan>(in_dim, edge_dim, out_dim, n_weights, n_matrix, paths, element,
                                                  component, coefficient));
    return reinterpret_cast<Address>(plans.back().get());
}

template <class T>
void forward(Address plan, const std::vector<Address> &wiring, const std::vector<std::int64_t> &sizes,
             const std::vector<Address> &data, const std::vector<std::int64_t> &stride, Address out, int n_threads) {
    const ProductCall call = make_call(wiring, sizes, n_threads);
    nb::gil_scoped_release release;
    product_forward<T>(*input<ProductPlan>(plan), call, operand<T>(data, stride, 0), operand<T>(data, stride, 1),
                       operand<T>(data, stride, 2), output<T>(out));
}

template <class T>
void gradients(Address plan, const std::vector<Address> &wiring, const std::vector<std::int64_t> &sizes,
               const std::vector<Address> &data, const std::vector<std::int64_t> &stride, Address grad_x,
               Address grad_edge, Address grad_weight, int n_threads) {
    const ProductCall call = make_call(wiring, sizes, n_threads);
    nb::gil_scoped_release release;
    product_gradients<T>(*input<ProductPlan>(plan), call, operand<T>(data, stride, 0), operand<T>(data, stride, 1),
                         operand<T>(data, stride, 2), operand<T>(data, stride, 3), output<T>(grad_x),
                         output<T>(grad_edge), output<T>(grad_weight));
}

template <class T>
void second(Address plan, const std::vector<Address> &wiring, const std::vector<std::int64_t> &sizes,
            const std::vector<Address> &data, const std::vector<std::int64_t> &stride, const std::vector<Address> &results,
            int n_threads) {
    const ProductCall call = make_call(wiring, sizes, n_threads);
    const auto at = [&](int i) { return operand<T>(data, stride, i); };
    const auto result = [&](int i) { return output<T>(results[i]); };
    nb::gil_scoped_release release;
    product_second<T>(*input<ProductPlan>(plan), call,
                      {at(0), at(1), at(2), at(3), at(4), at(5), at(6), result(0), result(1), result(2), result(3)});
}

}  // namespace

void bind_tensor_product(nb::module_ &m) {
    m.def("channelwise_plan", &make_plan);
    m.def("channelwise_forward_float32", &forward<float>);
    m.def("channelwise_forward_float64", &forward<double>);
    m.def("channelwise_gradients_float32", &gradients<float>);
    m.def("channelwise_gradients_float64", &gradients<double>);
    m.def("channelwise_second_float32", &second<float>);
    m.def("channelwise_second_float64", &second<double>);
}
