// Linear maps of the channels of features (rows, components, channels), one matrix for each pair of equal irreps:
//
//     y[n, out_b + m, :] += x[n, in_b + m, :] W[b],   m = 0 ... dim_b - 1,   for all blocks b,
//
// their transpose (from y to x with the matrices transposed), and the gradients of the matrices. Components are read
// and written where they lie: nothing is gathered, joined or transposed in memory.
#include "bindings.hpp"
#include "matrix_tile.hpp"

#include <nanobind/stl/vector.h>
#include <vector>

namespace atomsym {
namespace {

// A matrix between a slot of the source and one of the target. The slots' first components, and their number.
struct Block {
    std::int64_t source, target, components;
    bool first;  // nothing was written to the target slot before
};

std::vector<Block> blocks_of(const std::vector<std::int64_t> &table, bool transpose, std::int64_t target_dim) {
    std::vector<Block> blocks;
    std::vector<bool> written(target_dim, false);
    for (std::size_t b = 0; b + 3 <= table.size(); b += 3) {
        Block block{table[b], table[b + 1], table[b + 2], true};
        if (transpose) std::swap(block.source, block.target);
        block.first = !written[block.target];
        written[block.target] = true;
        blocks.push_back(block);
    }
    return blocks;
}

struct Sizes {
    std::int64_t rows, source_dim, target_dim, source_channels, target_channels;
};

template <class T>
void map_rows(const std::vector<Block> &blocks, const Sizes &size, const T *x, const T *weight, bool transpose, T *y,
              int n_threads) {
    constexpr int W = panel_width<T>;
    const std::int64_t K = size.source_channels, C = size.target_channels, n_panels = (C + W - 1) / W;
    const std::int64_t x_row = size.source_dim * K, y_row = size.target_dim * C, n_blocks = std::int64_t(blocks.size());
    const std::int64_t per_task = 4 * tile_rows, tasks = (size.rows + per_task - 1) / per_task;
    std::vector<bool> reached(size.target_dim, false);
    for (const Block &block : blocks)
        for (std::int64_t m = 0; m < block.components; ++m) reached[block.target + m] = true;
    Scratch<T> packed(std::size_t(n_blocks * n_panels * W * K) + 1);
#pragma omp parallel num_threads(n_threads) if (n_threads > 1)
    {
#pragma omp for schedule(static) collapse(2)
        for (std::int64_t b = 0; b < n_blocks; ++b)
            for (std::int64_t p = 0; p < n_panels; ++p) {
                const Matrix<T> matrix{weight + b * K * C, transpose ? 1 : C, transpose ? K : 1};
                pack_panel<T>(matrix, 0, K, p * W, int(std::min<std::int64_t>(W, C - p * W)),
                              packed.get() + (b * n_panels + p) * W * K);
            }
#pragma omp for schedule(static)
        for (std::int64_t task = 0; task < tasks; ++task) {
            const std::int64_t i0 = task * per_task, i1 = std::min(i0 + per_task, size.rows);
            for (std::int64_t component = 0; component < size.target_dim; ++component)
                for (std::int64_t i = i0; i < i1 && !reached[component]; ++i) std::fill_n(y + i * y_row + component * C, C, T(0));
            for (std::int64_t b = 0; b < n_blocks; ++b)
                for (std::int64_t p = 0; p < n_panels; ++p) {
                    const T *panel = packed.get() + (b * n_panels + p) * W * K;
                    const int columns = int(std::min<std::int64_t>(W, C - p * W));
                    for (std::int64_t m = 0; m < blocks[b].components; ++m) {
                        const Matrix<T> a{x + (blocks[b].source + m) * K, x_row, 1};
                        T *c = y + (blocks[b].target + m) * C + p * W;
                        multiply_panel<T>(a, i0, i1, 0, K, panel, c, y_row, columns, blocks[b].first);
                    }
                }
        }
    }
}

// gradient[b] = sum over rows and components of x[source]^T g[target].
template <class T>
void weight_gradient(const std::vector<Block> &blocks, const Sizes &size, const T *x, const T *g, T *gradient,
                     int n_threads) {
    constexpr int W = panel_width<T>;
    const std::int64_t K = size.source_channels, C = size.target_channels, n_panels = (C + W - 1) / W;
    const std::int64_t x_row = size.source_dim * K, g_row = size.target_dim * C, n_blocks = std::int64_t(blocks.size());
    if (size.rows == 0) std::fill_n(gradient, n_blocks * K * C, T(0));
#pragma omp parallel num_threads(n_threads) if (n_threads > 1)
    {
        Scratch<T> panel(std::size_t(inner_block * W));
#pragma omp for schedule(dynamic) collapse(2)
        for (std::int64_t b = 0; b < n_blocks; ++b)
            for (std::int64_t p = 0; p < n_panels; ++p) {
                const int columns = int(std::min<std::int64_t>(W, C - p * W));
                T *target = gradient + b * K * C + p * W;
                for (std::int64_t m = 0; m < blocks[b].components; ++m) {
                    const Matrix<T> a{x + (blocks[b].source + m) * K, 1, x_row};
                    const Matrix<T> matrix{g + (blocks[b].target + m) * C, g_row, 1};
                    for (std::int64_t n0 = 0; n0 < size.rows; n0 += inner_block) {
                        const std::int64_t n = std::min(inner_block, size.rows - n0);
                        pack_panel<T>(matrix, n0, n, p * W, columns, panel.get());
                        multiply_panel<T>(a, 0, K, n0, n, panel.get(), target, C, columns, m == 0 && n0 == 0);
                    }
                }
            }
    }
}

// sizes: rows, dim_in, dim_out, channels_in, channels_out of the map itself, transposed or not.
template <class T>
void call_map(Address x, Address weight, Address y, const std::vector<std::int64_t> &table,
              const std::vector<std::int64_t> &sizes, bool transpose, int n_threads) {
    Sizes size{sizes[0], sizes[1], sizes[2], sizes[3], sizes[4]};
    if (transpose) std::swap(size.source_dim, size.target_dim), std::swap(size.source_channels, size.target_channels);
    nb::gil_scoped_release release;
    map_rows<T>(blocks_of(table, transpose, size.target_dim), size, input<T>(x), input<T>(weight), transpose, output<T>(y),
                n_threads);
}

template <class T>
void call_weight_gradient(Address x, Address g, Address gradient, const std::vector<std::int64_t> &table,
                          const std::vector<std::int64_t> &sizes, int n_threads) {
    const Sizes size{sizes[0], sizes[1], sizes[2], sizes[3], sizes[4]};
    nb::gil_scoped_release release;
    weight_gradient<T>(blocks_of(table, false, size.target_dim), size, input<T>(x), input<T>(g), output<T>(gradient),
                       n_threads);
}

}  // namespace
}  // namespace atomsym

void bind_irreps_linear(nb::module_ &m) {
    using namespace atomsym;
    m.def("irreps_linear_float32", &call_map<float>);
    m.def("irreps_linear_float64", &call_map<double>);
    m.def("irreps_linear_weight_float32", &call_weight_gradient<float>);
    m.def("irreps_linear_weight_float64", &call_weight_gradient<double>);
}
