// Compiled with -ffp-contract=off (see CMakeLists.txt): the rounding of every operation is part of the rule.
#include "neighbor_lattice.hpp"

namespace atomsym {

bool is_edge(const double *xi, const double *xj, const double (&cell)[3][3], const std::int32_t *shift, double cutoff) {
    double r[3];
    for (int k = 0; k < 3; ++k) {
        const double t = (shift[0] * cell[0][k] + shift[1] * cell[1][k]) + shift[2] * cell[2][k];
        r[k] = (xj[k] - xi[k]) + t;
    }
    return (r[0] * r[0] + r[1] * r[1]) + r[2] * r[2] < cutoff * cutoff;
}

}  // namespace atomsym
