#include "neighbor_lattice.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace atomsym {
namespace {

double dot(const double *a, const double *b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

void cross(const double *a, const double *b, double *c) {
    c[0] = a[1] * b[2] - a[2] * b[1];
    c[1] = a[2] * b[0] - a[0] * b[2];
    c[2] = a[0] * b[1] - a[1] * b[0];
}

// basis[a] from its integer combination, always from the given cell so that errors do not add up.
void rebuild(Lattice &l, int a) {
    for (int k = 0; k < 3; ++k) {
        l.basis[a][k] = 0;
        for (int m = 0; m < 3; ++m) l.basis[a][k] += double(l.step[a][m]) * l.cell[m][k];
    }
}

void add_multiple(Lattice &l, int a, int b, std::int64_t times) {
    for (int m = 0; m < 3; ++m) l.step[a][m] += times * l.step[b][m];
    rebuild(l, a);
}

// Takes multiples of b from a where that shortens a.
bool shorten(Lattice &l, int a, int b) {
    const double times = std::nearbyint(dot(l.basis[a], l.basis[b]) / dot(l.basis[b], l.basis[b]));
    if (times == 0.0 || std::fabs(times) > 1e15) return false;
    Lattice trial = l;
    add_multiple(trial, a, b, -std::int64_t(times));
    if (dot(trial.basis[a], trial.basis[a]) >= dot(l.basis[a], l.basis[a]) * (1 - 1e-12)) return false;
    l = trial;
    return true;
}

// a ± b ± c, which pairwise steps alone do not reach.
bool shorten_by_both(Lattice &l, int a, int b, int c) {
    for (int p = -1; p <= 1; p += 2) {
        for (int q = -1; q <= 1; q += 2) {
            Lattice trial = l;
            add_multiple(trial, a, b, p);
            add_multiple(trial, a, c, q);
            if (dot(trial.basis[a], trial.basis[a]) < dot(l.basis[a], l.basis[a]) * (1 - 1e-12)) {
                l = trial;
                return true;
            }
        }
    }
    return false;
}

// Needle cells have many images within a small radius along their long diagonal; a reduced basis has few.
void reduce(Lattice &l) {
    for (int round = 0; round < 500; ++round) {
        bool changed = false;
        for (int a = 0; a < l.rank; ++a) {
            for (int b = 0; b < l.rank; ++b) {
                if (a != b) changed |= shorten(l, a, b);
            }
        }
        if (l.rank == 3 && !changed) {
            for (int a = 0; a < 3 && !changed; ++a) changed = shorten_by_both(l, a, (a + 1) % 3, (a + 2) % 3);
        }
        if (!changed) return;
    }
}

// Volume, area or length spanned by the periodic vectors, relative to the product of their lengths.
double relative_volume(const double (*v)[3], int rank) {
    double product = 1, n[3];
    for (int a = 0; a < rank; ++a) product *= std::sqrt(dot(v[a], v[a]));
    if (!(product > 0)) return 0;
    if (rank == 1) return 1;
    cross(v[0], v[1], n);
    return (rank == 2 ? std::sqrt(dot(n, n)) : std::fabs(dot(n, v[2]))) / product;
}

void make_duals(Lattice &l) {
    double full[3][3] = {};
    for (int a = 0; a < l.rank; ++a) std::copy(l.basis[a], l.basis[a] + 3, full[a]);
    if (l.rank == 1) {  // two directions across the line; their length does not matter
        int small = 0;
        for (int k = 1; k < 3; ++k) {
            if (std::fabs(full[0][k]) < std::fabs(full[0][small])) small = k;
        }
        const double unit[3] = {double(small == 0), double(small == 1), double(small == 2)};
        cross(full[0], unit, full[1]);
    }
    if (l.rank <= 2) cross(full[0], full[1], full[2]);
    for (int a = 0; a < l.rank; ++a) {
        double n[3];
        cross(full[(a + 1) % 3], full[(a + 2) % 3], n);
        const double volume = dot(full[a], n);
        for (int k = 0; k < 3; ++k) l.dual[a][k] = n[k] / volume;
        l.height[a] = 1 / std::sqrt(dot(l.dual[a], l.dual[a]));
    }
}

}  // namespace

bool make_lattice(const double *cell, const bool *pbc, Lattice &l) {
    std::copy(cell, cell + 9, &l.cell[0][0]);
    l.rank = 0;
    for (int k = 0; k < 3; ++k) {
        if (!pbc[k]) continue;
        for (int m = 0; m < 3; ++m) l.step[l.rank][m] = m == k;
        rebuild(l, l.rank++);
    }
    if (l.rank == 0) return true;
    if (relative_volume(l.basis, l.rank) < 1e-10) return false;
    reduce(l);
    make_duals(l);
    for (int a = 0; a < l.rank; ++a) {
        l.scale[a] = 0;
        for (int m = 0; m < 3; ++m) {
            const double *c = l.cell[m];
            l.scale[a] += std::fabs(double(l.step[a][m])) * std::max({std::fabs(c[0]), std::fabs(c[1]), std::fabs(c[2])});
        }
    }
    return true;
}

}  // namespace atomsym
