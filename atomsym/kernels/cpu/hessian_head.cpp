// Matrices of the Hessian head: assembly of the blocks, sum rule, and the Python border.
#include "hessian_head.hpp"
#include "bindings.hpp"

#include <nanobind/stl/vector.h>
#include <vector>

namespace atomsym {
namespace {

constexpr std::int64_t assembly_tile = 16;  // atoms; so that transposed blocks meet in the cache

// From the sums M of the pairs' blocks to H_ij = M_ij + M_ji^T. Every pair acts as a spring, whose symmetric part is
// taken from both diagonal blocks; of an atom and its own image nothing is left.
template <class T> void assemble(const T *own, std::int64_t n, T *matrix) {
    const std::int64_t row = 3 * n;
    std::vector<T> diagonal(own, own + n * head_components);
    const auto join = [&](std::int64_t i, std::int64_t j) {
        T *const upper = matrix + 3 * i * row + 3 * j, *const lower = matrix + 3 * j * row + 3 * i;
        T h[3][3];
        for (int a = 0; a < 3; ++a)
            for (int b = 0; b < 3; ++b) upper[a * row + b] = lower[b * row + a] = h[a][b] = upper[a * row + b] + lower[b * row + a];
        for (int a = 0; a < 3; ++a)
            for (int b = 0; b < 3; ++b) {
                const T spring = (h[a][b] + h[b][a]) / 2;
                diagonal[i * head_components + 3 * a + b] -= spring;
                diagonal[j * head_components + 3 * a + b] -= spring;
            }
    };
    for (std::int64_t i0 = 0; i0 < n; i0 += assembly_tile)
        for (std::int64_t j0 = i0; j0 < n; j0 += assembly_tile)
            for (std::int64_t i = i0; i < std::min(i0 + assembly_tile, n); ++i)
                for (std::int64_t j = std::max(i + 1, j0); j < std::min(j0 + assembly_tile, n); ++j) join(i, j);
    for (std::int64_t i = 0; i < n; ++i)
        for (int a = 0; a < 3; ++a)
            for (int b = 0; b < 3; ++b) matrix[(3 * i + a) * row + 3 * i + b] = diagonal[i * head_components + 3 * a + b];
}

// H <- P H P: from a symmetric matrix the means over the atoms of one side, of the other, and plus those over both.
template <class T> void apply_sum_rule(std::int64_t n, T *matrix, int n_threads) {
    const std::int64_t row = 3 * n;
    std::vector<T> mean(n * head_components, T(0));
    T total[3][3] = {};
#pragma omp parallel for num_threads(n_threads) schedule(static) if (n_threads > 1)
    for (std::int64_t r = 0; r < row; ++r) {
        T sum[3] = {};
        for (std::int64_t j = 0; j < n; ++j)
            for (int b = 0; b < 3; ++b) sum[b] += matrix[r * row + 3 * j + b];
        for (int b = 0; b < 3; ++b) mean[3 * r + b] = sum[b] / T(n);
    }
    for (std::int64_t r = 0; r < row; ++r)
        for (int b = 0; b < 3; ++b) {
            total[r % 3][b] += mean[3 * r + b] / T(2 * n);
            total[b][r % 3] += mean[3 * r + b] / T(2 * n);
        }
#pragma omp parallel for num_threads(n_threads) schedule(static) if (n_threads > 1)
    for (std::int64_t r = 0; r < row; ++r) {
        const int a = int(r % 3);
        for (std::int64_t j = 0; j < n; ++j)
            for (int b = 0; b < 3; ++b)
                matrix[r * row + 3 * j + b] -= mean[3 * r + b] + mean[3 * (3 * j + b) + a] - total[a][b];
    }
}

template <class T>
void one_system(const HeadWeights<T> &weights, const HeadInput<T> &input, std::int64_t first, std::int64_t n, bool sum_rule,
                T *matrix, int n_threads) {
    const std::int64_t row = 3 * n, per_task = 4 * tile_rows, tasks = (n + per_task - 1) / per_task;
    AtomTerms<T> atoms(weights, n);
#pragma omp parallel num_threads(n_threads) if (n_threads > 1)
    {
#pragma omp for schedule(static)
        for (std::int64_t task = 0; task < tasks; ++task)
            make_atom_terms(weights, input, first, task * per_task, std::min((task + 1) * per_task, n), atoms);
#pragma omp for schedule(dynamic)
        for (std::int64_t i = 0; i < n; ++i) {
            std::fill_n(matrix + 3 * i * row, 3 * row, T(0));
            add_pair_blocks(weights, input, atoms, first, n, i, matrix);
        }
    }
    assemble(atoms.own.get(), n, matrix);
    if (sum_rule) apply_sum_rule(n, matrix, n_threads);
}

// The matrices lie one after the other. A batch has a system a thread, which is no different for the results.
template <class T>
void all_systems(const HeadWeights<T> &weights, const HeadInput<T> &input, const std::vector<std::int64_t> &n_atoms,
                 bool sum_rule, T *out, int n_threads) {
    const std::int64_t n_systems = std::int64_t(n_atoms.size());
    std::vector<std::int64_t> first(n_systems + 1, 0), start(n_systems + 1, 0);
    for (std::int64_t s = 0; s < n_systems; ++s) {
        first[s + 1] = first[s] + n_atoms[s];
        start[s + 1] = start[s] + 9 * n_atoms[s] * n_atoms[s];
    }
    const bool each = n_systems > 1 && n_threads > 1;
#pragma omp parallel for num_threads(n_threads) schedule(dynamic) if (each)
    for (std::int64_t s = 0; s < n_systems; ++s)
        one_system(weights, input, first[s], n_atoms[s], sum_rule, out + start[s], each ? 1 : n_threads);
}

// Addresses in the order of the structs' members.
template <class T>
void call(const std::vector<std::int64_t> &sizes, double cutoff, const std::vector<Address> &weights,
          const std::vector<Address> &inputs, const std::vector<std::int64_t> &n_atoms, bool sum_rule, Address out,
          int n_threads) {
    const auto at = [&](int k) { return input<T>(weights[k]); };
    const HeadWeights<T> head{sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5], T(cutoff), at(0), at(1), at(2), at(3),
                              at(4), at(5), at(6), at(7), at(8), input<HeadPath>(weights[9]), input<HeadCoupling>(weights[10])};
    const HeadInput<T> given{output<T>(inputs[0]), input<T>(inputs[1]), input<T>(inputs[2]), input<std::int64_t>(inputs[3]),
                             input<std::int64_t>(inputs[4]), input<T>(inputs[5])};
    nb::gil_scoped_release release;
    all_systems<T>(head, given, n_atoms, sum_rule, output<T>(out), n_threads);
}

}  // namespace
}  // namespace atomsym

void bind_hessian_head(nb::module_ &m) {
    using namespace atomsym;
    m.attr("panel_width_float32") = panel_width<float>;
    m.attr("panel_width_float64") = panel_width<double>;
    m.def("hessian_head_float32", &call<float>);
    m.def("hessian_head_float64", &call<double>);
}
