// The atoms' part of the Hessian head.
#include "hessian_head.hpp"
#include "logistic.hpp"

namespace atomsym {
namespace {

// out = x s(x), for a multiple of the lanes.
template <class T> void silu(const T *x, std::int64_t size, T *out) {
    for (std::int64_t h = 0; h < size; h += lanes<T>) {
        const Vec<T> v = load(x + h);
        store(out + h, v * logistic<T>(v));
    }
}

template <class T> T dot(const T *a, const T *b, std::int64_t n) {
    T sum = 0;
    for (std::int64_t c = 0; c < n; ++c) sum += a[c] * b[c];
    return sum;
}

// Blocks of the atoms' own: gates times the scalar and the tensor of their features.
template <class T>
void own_blocks(const HeadWeights<T> &w, const T *features, const T *scalars, std::int64_t rows, T *own) {
    const std::int64_t C = w.channels, H = w.hidden;
    Scratch<T> gate(rows * H), gates(rows * 2 * C);
    for (std::int64_t i = 0; i < rows; ++i) silu(scalars + (3 * i + 2) * H, H, gate.get() + i * H);
    multiply_packed<T>(gate.get(), H, rows, H, w.gates, 2 * C, gates.get(), 2 * C);
    for (std::int64_t i = 0; i < rows; ++i) {
        const T *g = gates.get() + i * 2 * C, *x = features + i * head_components * C;
        T found[atom_components] = {dot(g, x, C)};
        for (int m = 1; m < atom_components; ++m) found[m] = dot(g + C, x + (3 + m) * C, C);  // l = 2 begins at 4
        for (int ab = 0; ab < head_components; ++ab) {
            T sum = 0;
            for (int m = 0; m < atom_components; ++m) sum += found[m] * w.atom_basis[m * head_components + ab];
            own[i * head_components + ab] = sum;
        }
    }
}

}  // namespace

template <class T>
void make_atom_terms(const HeadWeights<T> &w, const HeadInput<T> &input, std::int64_t first, std::int64_t i0,
                     std::int64_t i1, AtomTerms<T> &to) {
    const std::int64_t C = w.channels, H = w.hidden, rows = i1 - i0, row = head_components * C, n_terms = to.n_terms;
    T *const features = input.mixed + (first + i0) * row, *const scalars = to.scalars.get() + i0 * 3 * H;
    const T *const products = input.products + (first + i0) * row;
    Scratch<T> ends(rows * 2 * row);
    for (std::int64_t l = 0; l < head_degrees; ++l)
        for (std::int64_t k = l * l; k < (l + 1) * (l + 1); ++k) {
            const T *const down = w.down + l * packed_size<T>(C, C), *const both = w.ends + l * packed_size<T>(C, 2 * C);
            multiply_packed<T>(products + k * C, row, rows, C, down, C, features + k * C, row, false);
            multiply_packed<T>(features + k * C, row, rows, C, both, 2 * C, ends.get() + k * 2 * C, 2 * row);
        }
    multiply_packed<T>(features, row, rows, C, w.scalars, 3 * H, scalars, 3 * H);
    for (int end = 0; end < 2; ++end) {
        T *term = to.terms.get() + (i0 * 2 + end) * n_terms * H;
        for (std::int64_t p = 0; p < w.n_paths; ++p)
            for (std::int64_t i = w.path[p].first; i < w.path[p].first + w.path[p].rows; ++i, term += H)
                multiply_packed<T>(ends.get() + (2 * i + end) * C, 2 * row, rows, C, w.pairs + p * packed_size<T>(C, H), H,
                                   term, 2 * n_terms * H);
    }
    own_blocks(w, features, scalars, rows, to.own.get() + i0 * head_components);
}

template void make_atom_terms(const HeadWeights<float> &, const HeadInput<float> &, std::int64_t, std::int64_t, std::int64_t,
                              AtomTerms<float> &);
template void make_atom_terms(const HeadWeights<double> &, const HeadInput<double> &, std::int64_t, std::int64_t,
                              std::int64_t, AtomTerms<double> &);

}  // namespace atomsym
