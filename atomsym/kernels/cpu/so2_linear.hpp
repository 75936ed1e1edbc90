// Linear maps of rows by order: blocks of columns of the source times blocks of a weight matrix into blocks of columns
// of the target; and the weights' gradients.
//
// Blocks may share weights (orders +m and -m), sources or targets. Every element is summed in one order.
#pragma once
#include "matrix_tile.hpp"
#include <vector>

namespace atomsym {

struct LinearBlock {
    std::int64_t in, n_in, out, n_out;  // first column and number of columns of source and target
    std::int64_t weight, stride;        // first element of the weights, and elements from one of their rows to the next
    double scale;                       // of the weights
    bool first_in, first_out, first_weight;  // no earlier block shares this source, target or these weights
};

inline std::vector<LinearBlock> linear_blocks(const std::vector<std::int64_t> &table, const std::vector<double> &scales) {
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

// Weights as panels for products with many rows: source W block by block, or the transpose of that.
template <class T> class PackedLinear {
  public:
    PackedLinear(const T *weights, const std::vector<LinearBlock> &blocks, bool transpose)
        : blocks_(blocks), transpose_(transpose), packed_(size(blocks, transpose) + 1) {
        std::int64_t at = 0;
        for (const LinearBlock &block : blocks) {
            const std::int64_t n = columns(block), inner = this->inner(block);
            const Matrix<T> matrix{weights + block.weight, transpose ? 1 : block.stride, transpose ? block.stride : 1};
            for (std::int64_t j = 0; j < n; j += W, at += W * inner) {
                T *const panel = packed_.get() + at;
                pack_panel<T>(matrix, 0, inner, j, int(std::min(W, n - j)), panel);
                for (std::int64_t k = 0; k < inner * W; ++k) panel[k] *= T(block.scale);
            }
        }
    }

    // Target rows from source rows; rows of these widths follow each other in memory.
    void run(const T *source, std::int64_t source_width, T *target, std::int64_t target_width, std::int64_t n) const {
        const T *panel = packed_.get();
        for (const LinearBlock &block : blocks_) {
            const std::int64_t count = columns(block), inner = this->inner(block);
            const Matrix<T> rows{source + (transpose_ ? block.out : block.in), source_width, 1};
            T *const result = target + (transpose_ ? block.in : block.out);
            const bool first = transpose_ ? block.first_in : block.first_out;
            for (std::int64_t j = 0; j < count; j += W, panel += W * inner)
                for (std::int64_t k0 = 0; k0 < inner; k0 += inner_block)
                    multiply_panel<T>(rows, 0, n, k0, std::min(inner_block, inner - k0), panel + k0 * W, result + j,
                                      target_width, int(std::min(W, count - j)), first && k0 == 0);
        }
    }

  private:
    static constexpr std::int64_t W = panel_width<T>;
    std::int64_t columns(const LinearBlock &block) const { return transpose_ ? block.n_in : block.n_out; }
    std::int64_t inner(const LinearBlock &block) const { return transpose_ ? block.n_out : block.n_in; }
    static std::size_t size(const std::vector<LinearBlock> &blocks, bool transpose) {
        std::int64_t total = 0;
        for (const LinearBlock &block : blocks)
            total += ((transpose ? block.n_in : block.n_out) + W - 1) / W * W * (transpose ? block.n_out : block.n_in);
        return std::size_t(total);
    }

    std::vector<LinearBlock> blocks_;
    bool transpose_;
    Scratch<T> packed_;
};

// result[:, j ...] += scale * source columns of a block, transposed, times gradient columns j ... of at most inner_block
// rows; a panel's width of them.
template <class T>
void add_weight_gradient(const LinearBlock &block, std::int64_t j, const T *source, std::int64_t source_width,
                         const T *grad, std::int64_t grad_width, std::int64_t n, T *panel, T *result) {
    constexpr std::int64_t W = panel_width<T>;
    const int columns = int(std::min(W, block.n_out - j));
    pack_panel<T>(Matrix<T>{grad + block.out, grad_width, 1}, 0, n, j, columns, panel);
    for (std::int64_t k = 0; k < n * W; ++k) panel[k] *= T(block.scale);
    multiply_panel<T>(Matrix<T>{source + block.in, 1, source_width}, 0, block.n_in, 0, n, panel,
                      result + block.weight + j, block.stride, columns, false);
}

// The same for all blocks and columns.
template <class T>
void add_weight_gradients(const std::vector<LinearBlock> &blocks, const T *source, std::int64_t source_width,
                          const T *grad, std::int64_t grad_width, std::int64_t n, T *panel, T *result) {
    for (const LinearBlock &block : blocks)
        for (std::int64_t j = 0; j < block.n_out; j += panel_width<T>)
            add_weight_gradient<T>(block, j, source, source_width, grad, grad_width, n, panel, result);
}

}  // namespace atomsym
