// How the kernels of convolutions over edges are called from Python, for all of them: (what describes the convolution,
// wiring, sizes, operands, their batch strides, results, threads).
//
// The wiring are the five addresses of an EdgeTopology; sizes are those of the batch, nodes, edges and channels; the
// address of an operand that is not there, or of a result that is not wanted, is zero.
#pragma once
#include "bindings.hpp"
#include "tensor_product_plan.hpp"
#include <nanobind/stl/vector.h>

namespace atomsym {

using Addresses = std::vector<Address>;
using Numbers = std::vector<std::int64_t>;

inline ProductCall product_call(const Addresses &wiring, const Numbers &sizes, int n_threads) {
    const auto at = [&](int i) { return input<std::int64_t>(wiring[i]); };
    return {sizes[0], sizes[1], sizes[2], sizes[3], at(0), at(1), at(2), at(3), at(4), n_threads};
}

template <class T>
ConvolutionCall<T> convolution_call(const Addresses &wiring, const Numbers &sizes, const Addresses &data,
                                    const Numbers &strides, const Addresses &results, int n_threads) {
    ConvolutionCall<T> call{product_call(wiring, sizes, n_threads), {}, {}};
    for (std::size_t i = 0; i < data.size(); ++i) call.operands.push_back({input<T>(data[i]), strides[i]});
    for (const Address result : results) call.results.push_back(output<T>(result));
    return call;
}

// A kernel of convolutions that a plan describes.
template <class T, class Plan, void (*kernel)(const Plan &, const ConvolutionCall<T> &)>
void call_with_plan(Address plan, const Addresses &wiring, const Numbers &sizes, const Addresses &data,
                    const Numbers &strides, const Addresses &results, int n_threads) {
    const ConvolutionCall<T> call = convolution_call<T>(wiring, sizes, data, strides, results, n_threads);
    nb::gil_scoped_release release;
    kernel(*input<Plan>(plan), call);
}

}  // namespace atomsym
