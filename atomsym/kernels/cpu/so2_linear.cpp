// Linear maps of rows by order: blocks of columns of the source times blocks of a weight matrix into blocks of columns
// of the target; and the weights' gradients.
//
// Blocks may share weights (orders +m and -m), sources or targets. Every element is summed in one order.
#include "bindings.hpp"
#include "matrix_tile.hpp"
#include <nanobind/stl/vector.h>

namespace atomsym {
namespace {

struct LinearBlock {
    std::int64_t in, n_in, out, n_out;  // first column and number of columns of source and target
    std::int64_t weight, stride;        // first element of the weights, and elements from one of their rows to the next
    double scale;                       // of the weights
    bool first_in, first_out, first_weight;  // no earlier block shares this source, target or these weights
};

std::vector<LinearBlock> blocks_of(const std::vector<std::int64_t> &table, const std::vector<double> &scales) {
    std::vector<LinearBlock> blocks;
    for (std::size_t i = 0; 6 * i + 6 <= table.size(); ++i) {
        const std::int64_t *t = table.data() + 6 * i;
        LinearBlock block{t[0], t[1], t[2], t[3], t[4], t[5], scales[i], true, true, true};
        for (const LinearBlock &other : blocks) {
            block.first_in &= other.in != block.in;
            block.first_out &= other.out != block.out;
            block.first_weight &= other.weight != block.weight;
        }
        blocks.push_back(block);
    }
    return blocks;
}

// target = source W block by block, or the transpose of that: rows of in_width and out_width columns.
template <class T>
void map_rows(const T *source, const T *weights, T *target, const std::vector<LinearBlock> &blocks, std::int64_t n,
              std::int64_t in_width, std::int64_t out_width, bool transpose, int n_threads) {
    constexpr std::int64_t W = panel_width<T>;
    const std::int64_t source_width = transpose ? out_width : in_width, target_width = transpose ? in_width : out_width;
    std::vector<std::int64_t> packed_at;
    std::int64_t size = 0;
    for (const LinearBlock &block : blocks) {
        packed_at.push_back(size);
        const std::int64_t columns = transpose ? block.n_in : block.n_out, inner = transpose ? block.n_out : block.n_in;
        size += (columns + W - 1) / W * W * inner;
    }
    Scratch<T> packed(std::size_t(size) + 1);
    for (std::size_t i = 0; i < blocks.size(); ++i) {
        const LinearBlock &block = blocks[i];
        const std::int64_t columns = transpose ? block.n_in : block.n_out, inner = transpose ? block.n_out : block.n_in;
        const Matrix<T> matrix{weights + block.weight, transpose ? 1 : block.stride, transpose ? block.stride : 1};
        for (std::int64_t j = 0; j < columns; j += W) {
            T *const panel = packed.get() + packed_at[i] + j * inner;
            pack_panel<T>(matrix, 0, inner, j, int(std::min(W, columns - j)), panel);
            for (std::int64_t k = 0; k < inner * W; ++k) panel[k] *= T(block.scale);
        }
    }
#pragma omp parallel for num_threads(n_threads) schedule(static) if (n_threads > 1)
    for (std::int64_t i0 = 0; i0 < n; i0 += row_block) {
        const std::int64_t i1 = std::min(i0 + row_block, n);
        for (std::size_t i = 0; i < blocks.size(); ++i) {
            const LinearBlock &block = blocks[i];
            const std::int64_t columns = transpose ? block.n_in : block.n_out;
            const std::int64_t inner = transpose ? block.n_out : block.n_in;
            const Matrix<T> rows{source + (transpose ? block.out : block.in), source_width, 1};
            T *const result = target + (transpose ? block.in : block.out);
            const bool first = transpose ? block.first_in : block.first_out;
            for (std::int64_t j = 0; j < columns; j += W)
                for (std::int64_t k0 = 0; k0 < inner; k0 += inner_block)
                    multiply_panel<T>(rows, i0, i1, k0, std::min(inner_block, inner - k0),
                                      packed.get() + packed_at[i] + j * inner + k0 * W, result + j, target_width,
                                      int(std::min(W, columns - j)), first && k0 == 0);
        }
    }
}

// Gradient for the weights: sum over rows of source columns times gradient columns.
template <class T>
void weight_gradient(const T *source, const T *grad, T *result, const std::vector<LinearBlock> &blocks, std::int64_t n,
                     std::int64_t in_width, std::int64_t out_width, int n_threads) {
    constexpr std::int64_t W = panel_width<T>;
    struct Task {
        const LinearBlock *block;
        std::int64_t column;
    };
    std::vector<Task> tasks;
    for (const LinearBlock &block : blocks)
        if (block.first_weight)
            for (std::int64_t j = 0; j < block.n_out; j += W) tasks.push_back({&block, j});
#pragma omp parallel num_threads(n_threads) if (n_threads > 1)
    {
        Scratch<T> panel(std::size_t(inner_block * W));
#pragma omp for schedule(dynamic)
        for (std::size_t i = 0; i < tasks.size(); ++i) {
            const LinearBlock &own = *tasks[i].block;
            const std::int64_t j = tasks[i].column;
            const int columns = int(std::min(W, own.n_out - j));
            T *const target = result + own.weight + j;
            if (n == 0)
                for (std::int64_t k = 0; k < own.n_in; ++k) std::fill_n(target + k * own.stride, columns, T(0));
            bool first = true;
            for (std::int64_t k0 = 0; k0 < n; k0 += inner_block)
                for (const LinearBlock &block : blocks) {
                    if (block.weight != own.weight) continue;
                    const std::int64_t count = std::min(inner_block, n - k0);
                    const Matrix<T> columns_of_source{source + block.in, 1, in_width};
                    pack_panel<T>(Matrix<T>{grad + block.out, out_width, 1}, k0, count, j, columns, panel.get());
                    if (block.scale != own.scale)
                        for (std::int64_t k = 0; k < count * W; ++k) panel.get()[k] *= T(block.scale / own.scale);
                    multiply_panel<T>(columns_of_source, 0, own.n_in, k0, count, panel.get(), target, own.stride,
                                      columns, first);
                    first = false;
                }
            for (std::int64_t k = 0; k < own.n_in; ++k)
                for (int column = 0; column < columns; ++column) target[k * own.stride + column] *= T(own.scale);
        }
    }
}

// sizes: rows, columns of the source side, columns of the target side.
template <class T>
void map_call(Address source, Address weights, Address target, const std::vector<std::int64_t> &table,
              const std::vector<double> &scales, const std::vector<std::int64_t> &sizes, bool transpose, int n_threads) {
    nb::gil_scoped_release release;
    map_rows<T>(input<T>(source), input<T>(weights), output<T>(target), blocks_of(table, scales), sizes[0], sizes[1],
                sizes[2], transpose, n_threads);
}

template <class T>
void weight_call(Address source, Address grad, Address result, const std::vector<std::int64_t> &table,
                 const std::vector<double> &scales, const std::vector<std::int64_t> &sizes, int n_threads) {
    nb::gil_scoped_release release;
    weight_gradient<T>(input<T>(source), input<T>(grad), output<T>(result), blocks_of(table, scales), sizes[0],
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
