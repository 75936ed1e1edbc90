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

// Whether four blocks from this one on are those of an order without mirror: y+ = x+ A - x- B, y- = x- A + x+ B.
inline bool is_complex(const std::vector<LinearBlock> &blocks, std::size_t i) {
    if (i + 4 > blocks.size()) return false;
    const LinearBlock &plus = blocks[i], &minus = blocks[i + 1], &up = blocks[i + 2], &down = blocks[i + 3];
    return minus.weight == plus.weight && down.weight == up.weight && up.in == plus.in && up.out == minus.out &&
           down.in == minus.in && down.out == plus.out && down.scale == -up.scale && up.scale == plus.scale;
}

// Weights as panels for products with many rows: source W block by block, or the transpose of that. An order without
// mirror takes three products in the place of four (Gauss): with t = (x+ + x-) A,
// y+ = t - x- (A + B), y- = t + x+ (B - A). Transposed it is the same with the transposes of A and -B.
template <class T> class PackedLinear {
  public:
    PackedLinear(const T *weights, const std::vector<LinearBlock> &blocks, bool transpose)
        : blocks_(blocks), transpose_(transpose), packed_(size(blocks) + 1) {
        T *panel = packed_.get();
        Scratch<T> crossed(widest(blocks) * W + 1);
        for (std::size_t i = 0; i < blocks.size(); ++i) {
            const LinearBlock &block = blocks[i];
            const bool complex = is_complex(blocks, i);
            const std::int64_t n = columns(block), length = inner(block) * W;
            const T scale = T(block.scale), turned = transpose ? -scale : scale;
            for (std::int64_t j = 0; j < n; j += W) {
                const int count = int(std::min(W, n - j));
                pack_panel<T>(matrix(weights, block), 0, inner(block), j, count, panel);
                if (complex) {
                    pack_panel<T>(matrix(weights, blocks[i + 2]), 0, inner(block), j, count, crossed.get());
                    for (std::int64_t k = 0; k < length; ++k) {
                        const T a = panel[k] * scale, b = crossed.get()[k] * turned;
                        panel[k] = a, panel[length + k] = -a - b, panel[2 * length + k] = b - a;
                    }
                } else {
                    for (std::int64_t k = 0; k < length; ++k) panel[k] *= scale;
                }
                panel += (complex ? 3 : 1) * length;
            }
            if (complex) i += 3;
        }
    }

    // Target rows from source rows; rows of these widths follow each other in memory.
    void run(const T *source, std::int64_t source_width, T *target, std::int64_t target_width, std::int64_t n) const {
        const T *panel = packed_.get();
        for (std::size_t i = 0; i < blocks_.size(); ++i) {
            const LinearBlock &block = blocks_[i];
            if (is_complex(blocks_, i)) {
                run_complex(block, blocks_[i + 1], source, source_width, target, target_width, n, panel);
                i += 3;
                continue;
            }
            const std::int64_t count = columns(block);
            const Matrix<T> rows{source + from(block), source_width, 1};
            const bool first = transpose_ ? block.first_in : block.first_out;
            for (std::int64_t j = 0; j < count; j += W, panel += W * inner(block))
                multiply(rows, n, inner(block), panel, target + to(block) + j, target_width,
                         int(std::min(W, count - j)), first);
        }
    }

  private:
    static constexpr std::int64_t W = panel_width<T>;
    std::int64_t columns(const LinearBlock &block) const { return transpose_ ? block.n_in : block.n_out; }
    std::int64_t inner(const LinearBlock &block) const { return transpose_ ? block.n_out : block.n_in; }
    std::int64_t from(const LinearBlock &block) const { return transpose_ ? block.out : block.in; }
    std::int64_t to(const LinearBlock &block) const { return transpose_ ? block.in : block.out; }
    Matrix<T> matrix(const T *weights, const LinearBlock &block) const {
        return {weights + block.weight, transpose_ ? 1 : block.stride, transpose_ ? block.stride : 1};
    }
    std::size_t size(const std::vector<LinearBlock> &blocks) const {
        std::int64_t total = 0;
        for (const LinearBlock &block : blocks) total += (columns(block) + W - 1) / W * W * inner(block);
        return std::size_t(total);
    }
    std::size_t widest(const std::vector<LinearBlock> &blocks) const {
        std::int64_t most = 0;
        for (const LinearBlock &block : blocks) most = std::max(most, inner(block));
        return std::size_t(most);
    }

    // At most W columns of the target from all columns of the source.
    static void multiply(const Matrix<T> &rows, std::int64_t n, std::int64_t inner, const T *panel, T *result,
                         std::int64_t width, int columns, bool first) {
        for (std::int64_t k = 0; k < inner; k += inner_block)
            multiply_panel<T>(rows, 0, n, k, std::min(inner_block, inner - k), panel + k * W, result, width, columns,
                              first && k == 0);
    }

    // Both signs of an order; the panel is moved behind its own.
    void run_complex(const LinearBlock &plus, const LinearBlock &minus, const T *source, std::int64_t source_width,
                     T *target, std::int64_t target_width, std::int64_t n, const T *&panel) const {
        const std::int64_t length = inner(plus), count = columns(plus);
        Scratch<T> sums(std::size_t(n * length) + 1);
        for (std::int64_t row = 0; row < n; ++row) {
            const T *const x = source + row * source_width;
            T *const sum = sums.get() + row * length;
            for (std::int64_t k = 0; k < length; ++k) sum[k] = x[from(plus) + k] + x[from(minus) + k];
        }
        const Matrix<T> both{sums.get(), length, 1}, x_plus{source + from(plus), source_width, 1},
            x_minus{source + from(minus), source_width, 1};
        for (std::int64_t j = 0; j < count; j += W, panel += 3 * W * length) {
            const int width = int(std::min(W, count - j));
            T *const y_plus = target + to(plus) + j, *const y_minus = target + to(minus) + j;
            multiply(both, n, length, panel, y_plus, target_width, width, true);
            for (std::int64_t row = 0; row < n; ++row)
                std::copy_n(y_plus + row * target_width, width, y_minus + row * target_width);
            multiply(x_minus, n, length, panel + W * length, y_plus, target_width, width, false);
            multiply(x_plus, n, length, panel + 2 * W * length, y_minus, target_width, width, false);
        }
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
