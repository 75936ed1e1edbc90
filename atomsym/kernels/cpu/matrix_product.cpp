// Products of a tall matrix with a small one, and of two tall ones over their long axis: linear layers on edges and
// nodes, their backward pass and their weight gradients.
//
// C = op(A) op(B), row-major. Every element of C is summed in one order, whatever the number of threads.
#include "bindings.hpp"
#include "matrix_tile.hpp"

namespace atomsym {
namespace {

template <class T>
void multiply(Matrix<T> a, Matrix<T> b, T *c, std::int64_t m, std::int64_t n, std::int64_t inner, int n_threads) {
    constexpr int W = panel_width<T>;
    const std::int64_t n_panels = (n + W - 1) / W, n_blocks = (m + row_block - 1) / row_block;
    Scratch<T> packed(std::size_t(n_panels * W * std::min(inner, inner_block)) + 1);
#pragma omp parallel num_threads(n_threads) if (n_threads > 1)
    for (std::int64_t k0 = 0; k0 < inner; k0 += inner_block) {
        const std::int64_t n_inner = std::min(inner_block, inner - k0);
#pragma omp for schedule(static)
        for (std::int64_t p = 0; p < n_panels; ++p)
            pack_panel<T>(b, k0, n_inner, p * W, int(std::min<std::int64_t>(W, n - p * W)), packed.get() + p * W * n_inner);
#pragma omp for schedule(static) collapse(2)
        for (std::int64_t block = 0; block < n_blocks; ++block)
            for (std::int64_t p = 0; p < n_panels; ++p) {
                const std::int64_t i0 = block * row_block, i1 = std::min(i0 + row_block, m);
                const int columns = int(std::min<std::int64_t>(W, n - p * W));
                multiply_panel<T>(a, i0, i1, k0, n_inner, packed.get() + p * W * n_inner, c + p * W, n, columns, k0 == 0);
            }
    }
    if (inner == 0) std::fill_n(c, m * n, T(0));
}

// Transposed operands are stored the other way round: op(A) of shape (m, inner) lies in memory as (inner, m).
template <class T>
void call(Address a, Address b, Address c, std::int64_t m, std::int64_t n, std::int64_t inner, bool transpose_a,
          bool transpose_b, int n_threads) {
    const auto matrix = [](Address data, std::int64_t rows, std::int64_t columns, bool transposed) -> Matrix<T> {
        return {input<T>(data), transposed ? 1 : columns, transposed ? rows : 1};
    };
    nb::gil_scoped_release release;
    multiply<T>(matrix(a, m, inner, transpose_a), matrix(b, inner, n, transpose_b), output<T>(c), m, n, inner, n_threads);
}

}  // namespace
}  // namespace atomsym

void bind_matrix_product(nb::module_ &m) {
    m.def("matrix_product_float32", &atomsym::call<float>);
    m.def("matrix_product_float64", &atomsym::call<double>);
}
