// Linear maps of rows by order: the loops over all rows and the Python border.
#include "bindings.hpp"
#include "so2_linear.hpp"
#include <nanobind/stl/vector.h>

namespace atomsym {
namespace {

template <class T>
void map_rows(const T *source, const T *weights, T *target, const std::vector<LinearBlock> &blocks, std::int64_t n,
              std::int64_t in_width, std::int64_t out_width, bool transpose, int n_threads) {
    const std::int64_t source_width = transpose ? out_width : in_width, target_width = transpose ? in_width : out_width;
    const PackedLinear<T> linear(weights, blocks, transpose);
#pragma omp parallel for num_threads(n_threads) schedule(static) if (n_threads > 1)
    for (std::int64_t i = 0; i < n; i += row_block)
        linear.run(source + i * source_width, source_width, target + i * target_width, target_width,
                   std::min(row_block, n - i));
}

// Gradient for the weights: sum over rows of source columns times gradient columns.
template <class T>
void weight_gradient(const T *source, const T *grad, T *result, const std::vector<LinearBlock> &blocks, std::int64_t n,
                     std::int64_t in_width, std::int64_t out_width, int n_threads) {
    struct Task {
        const LinearBlock *block;
        std::int64_t column;
    };
    std::vector<Task> tasks;
    for (const LinearBlock &block : blocks) {
        if (!block.first_weight) continue;
        for (std::int64_t j = 0; j < block.n_out; j += panel_width<T>) tasks.push_back({&block, j});
        for (std::int64_t k = 0; k < block.n_in; ++k)
            std::fill_n(result + block.weight + k * block.stride, block.n_out, T(0));
    }
#pragma omp parallel num_threads(n_threads) if (n_threads > 1)
    {
        Scratch<T> panel(std::size_t(inner_block * panel_width<T>));
#pragma omp for schedule(dynamic)
        for (std::size_t i = 0; i < tasks.size(); ++i)
            for (std::int64_t k0 = 0; k0 < n; k0 += inner_block)
                for (const LinearBlock &block : blocks)
                    if (block.weight == tasks[i].block->weight)
                        add_weight_gradient<T>(block, tasks[i].column, source + k0 * in_width, in_width,
                                               grad + k0 * out_width, out_width, std::min(inner_block, n - k0),
                                               panel.get(), result);
    }
}

// sizes: rows, columns of the source side, columns of the target side.
template <class T>
void map_call(Address source, Address weights, Address target, const std::vector<std::int64_t> &table,
              const std::vector<double> &scales, const std::vector<std::int64_t> &sizes, bool transpose, int n_threads) {
    nb::gil_scoped_release release;
    map_rows<T>(input<T>(source), input<T>(weights), output<T>(target), linear_blocks(table, scales), sizes[0], sizes[1],
                sizes[2], transpose, n_threads);
}

template <class T>
void weight_call(Address source, Address grad, Address result, const std::vector<std::int64_t> &table,
                 const std::vector<double> &scales, const std::vector<std::int64_t> &sizes, int n_threads) {
    nb::gil_scoped_release release;
    weight_gradient<T>(input<T>(source), input<T>(grad), output<T>(result), linear_blocks(table, scales), sizes[0],
                       sizes[1], sizes[2], n_threads);
}

}  // namespace
}  // namespace atomsym

void bind_so2_linear(nb::module_ &m) {
    using namespace atomsym;
    m.def("so2_linear_float32", &map_call<float>);
    m.def("so2_linear_float64", &map_call<double>);
    m.def("so2_linear_weight_float32", &weight_call<float>);
    m.def("so2_linear_weight_float64", &weight_call<double>);
}
