// The lattice of one system as the neighbor search sees it: reduced periodic vectors, their duals, and the one test
// that decides whether a pair is an edge.
#pragma once
#include <cstdint>

namespace atomsym {

struct Lattice {
    int rank = 0;           // number of periodic directions
    double cell[3][3];      // as given, lattice vectors in rows
    double basis[3][3];     // the first `rank` rows: short, nearly orthogonal vectors that span the same lattice
    double dual[3][3];      // dual[a] . basis[b] = (a == b); fractional coordinate a of x is dual[a] . x
    double height[3];       // distance of neighboring lattice planes, 1 / |dual[a]|
    std::int64_t step[3][3];  // basis[a] = sum_k step[a][k] cell[k]
    double scale[3];        // bound of the terms in that sum, for rounding errors
};

// False if a periodic vector is zero or the periodic vectors are linearly dependent.
bool make_lattice(const double *cell, const bool *pbc, Lattice &lattice);

// The rule for edges, in float64 and without fused multiply-add, so that every backend decides alike:
// r = (xj - xi) + ((s0 c0 + s1 c1) + s2 c2),  (rx rx + ry ry) + rz rz < cutoff cutoff.
bool is_edge(const double *xi, const double *xj, const double (&cell)[3][3], const std::int32_t *shift, double cutoff);

}  // namespace atomsym
