// The Hessian head: from features of the atoms to the matrices of whole systems.
//
// A pair's block is B = sum_m basis_m f_m, f_m = sum over (q, k) of c_qkm t_q Y_k, with the harmonics Y of its direction
// and one number t for each path and input component, q = (path, i):
//
//     t_q = sum_c w[path, c] x[i, c],   w[path, c] = sum_h hidden_h W[h, path, c],   x = ends of sender + of receiver.
//
// Sums over channels do not depend on the pair: V[q, h] = sum_c W[h, path, c] x[i, c] is made once for each atom and
// end, and t_q = sum_h hidden_h (V[q, h] of the sender + V[q, h] of the receiver) is all that is left to a pair.
#pragma once
#include "matrix_tile.hpp"

#include <cstdint>

namespace atomsym {

constexpr int head_degrees = 3;     // l = 0, 1, 2
constexpr int head_components = 9;  // of features, harmonics and blocks
constexpr int atom_components = 6;  // l = 0 and 2: of a symmetric block

struct HeadPath {
    std::int64_t first, rows;  // components of x
};
struct HeadCoupling {
    std::int64_t term, harmonic, component;  // q, k, m
};

// Matrices come packed in panels (see pack_panel), one after the other; `hidden` is a multiple of the widest vectors.
template <class T> struct HeadWeights {
    std::int64_t channels, hidden, n_radial, n_paths, n_couplings, envelope_order;
    T cutoff;
    const T *down;        // packed, for each l: (channels, channels), of the products
    const T *ends;        // packed, for each l: (channels, 2 channels), of sender and receiver
    const T *scalars;     // packed (channels, 3 hidden): what a receiver, a sender and an atom's gate read
    const T *gates;       // packed (hidden, 2 channels): of the scalar and of the tensor
    const T *pairs;       // packed, for each path: (channels, hidden), W transposed
    const T *radial;      // (n_radial, hidden), of sin(k pi d / cutoff) / d
    const T *pair_basis;  // (9, 9): m to the entries of a block
    const T *atom_basis;  // (6, 9)
    const T *coefficient;
    const HeadPath *path;
    const HeadCoupling *coupling;

    std::int64_t n_terms() const {
        std::int64_t n = 0;
        for (std::int64_t p = 0; p < n_paths; ++p) n += path[p].rows;
        return n;
    }
};

// Features (n_atoms, 9, channels) and places of all atoms. Pairs come as lists (offsets of the receivers, senders,
// vectors), or, without offsets, are those of all atoms of a system in free space.
template <class T> struct HeadInput {
    T *mixed;  // the products' part is added to it
    const T *products, *positions;
    const std::int64_t *offsets, *sender;
    const T *vectors;
};

// What the pairs of a system read of its atoms.
template <class T> struct AtomTerms {
    AtomTerms(const HeadWeights<T> &weights, std::int64_t n_atoms)
        : n_terms(weights.n_terms()), scalars(n_atoms * 3 * weights.hidden), terms(n_atoms * 2 * n_terms * weights.hidden),
          own(n_atoms * head_components) {}
    std::int64_t n_terms;
    Scratch<T> scalars;  // (n_atoms, 3, hidden), see HeadWeights
    Scratch<T> terms;    // V: (n_atoms, 2, n_terms, hidden), as a sender and as a receiver
    Scratch<T> own;      // blocks of the atoms, (n_atoms, 9)
};

// c = a times a packed matrix, or c += unless `first`.
template <class T>
inline void multiply_packed(const T *a, std::int64_t a_row, std::int64_t rows, std::int64_t inner, const T *panels,
                            std::int64_t columns, T *c, std::int64_t c_row, bool first = true) {
    constexpr int W = panel_width<T>;
    for (std::int64_t j = 0; j < columns; j += W)
        multiply_panel<T>({a, a_row, 1}, 0, rows, 0, inner, panels + j * inner, c + j, c_row,
                          int(std::min<std::int64_t>(W, columns - j)), first);
}
template <class T> inline std::int64_t packed_size(std::int64_t inner, std::int64_t columns) {
    return (columns + panel_width<T> - 1) / panel_width<T> * panel_width<T> * inner;
}

// Terms of the atoms i0 ... i1 of the system whose first atom is `first`.
template <class T>
void make_atom_terms(const HeadWeights<T> &, const HeadInput<T> &, std::int64_t first, std::int64_t i0, std::int64_t i1,
                     AtomTerms<T> &);

// Adds the blocks of all pairs that atom i of the system receives from to its three rows of the matrix (3 n, 3 n).
template <class T>
void add_pair_blocks(const HeadWeights<T> &, const HeadInput<T> &, const AtomTerms<T> &, std::int64_t first, std::int64_t n,
                     std::int64_t i, T *matrix);

}  // namespace atomsym
