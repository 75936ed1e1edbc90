#include "neighbor_grid.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace atomsym {
namespace {

constexpr double largest_coordinate = 1e12;  // Å; beyond it float32 squares would overflow in the search
constexpr double largest_shift = 1 << 29;    // sums and differences of three such shifts fit an int32
constexpr std::int64_t small_system = 192;   // entries; up to here one bin is fastest
constexpr double bin_per_cutoff = 0.5;
constexpr double bytes_per_entry = 3 * sizeof(double) + sizeof(Image) + 1 + 2 * sizeof(std::int32_t);

struct Wrapped {
    double x[3];           // Cartesian
    double fraction[3];    // in [0, 1) along periodic directions
    std::int64_t turns[3];  // along the reduced basis
};

struct Bounds {
    double low[3], high[3], fraction_low[3], fraction_high[3], turns[3], raw = 0;
    Bounds() {
        for (int k = 0; k < 3; ++k) {
            low[k] = fraction_low[k] = std::numeric_limits<double>::infinity();
            high[k] = fraction_high[k] = -std::numeric_limits<double>::infinity();
            turns[k] = 0;
        }
    }
    void add(const Wrapped &w, int rank) {
        for (int k = 0; k < 3; ++k) {
            low[k] = std::min(low[k], w.x[k]);
            high[k] = std::max(high[k], w.x[k]);
        }
        for (int a = 0; a < rank; ++a) {
            fraction_low[a] = std::min(fraction_low[a], w.fraction[a]);
            fraction_high[a] = std::max(fraction_high[a], w.fraction[a]);
            turns[a] = std::max(turns[a], std::fabs(double(w.turns[a])));
        }
    }
    void add(const Bounds &b) {
        for (int k = 0; k < 3; ++k) {
            low[k] = std::min(low[k], b.low[k]);
            high[k] = std::max(high[k], b.high[k]);
            fraction_low[k] = std::min(fraction_low[k], b.fraction_low[k]);
            fraction_high[k] = std::max(fraction_high[k], b.fraction_high[k]);
            turns[k] = std::max(turns[k], b.turns[k]);
        }
        raw = std::max(raw, b.raw);
    }
};

// Translation along the reduced basis -> along the given lattice vectors; false if it does not fit.
bool given_shift(const Lattice &l, const std::int64_t *turns, std::int32_t *shift) {
    for (int m = 0; m < 3; ++m) {
        double exact = 0;
        std::int64_t sum = 0;
        for (int a = 0; a < l.rank; ++a) {
            exact += double(turns[a]) * double(l.step[a][m]);
            sum += turns[a] * l.step[a][m];
        }
        if (!(std::fabs(exact) < largest_shift)) return false;
        shift[m] = std::int32_t(sum);
    }
    return true;
}

bool wrap_atom(const Lattice &l, const double *x, Wrapped &w) {
    for (int k = 0; k < 3; ++k) w.x[k] = x[k];
    for (int a = 0; a < l.rank; ++a) {
        const double s = l.dual[a][0] * x[0] + l.dual[a][1] * x[1] + l.dual[a][2] * x[2];
        const double whole = std::floor(s);
        if (!(std::fabs(whole) < largest_shift)) return false;
        w.fraction[a] = s - whole;
        w.turns[a] = -std::int64_t(whole);
        for (int k = 0; k < 3; ++k) w.x[k] -= whole * l.basis[a][k];
    }
    return true;
}

// Images of one atom that can be within reach of any atom: a box of translations around it.
struct ImageBox {
    int low[3] = {0, 0, 0}, high[3] = {0, 0, 0};
    double count = 1;
    ImageBox(const Grid &g, const Bounds &b, const double *fraction) {
        for (int a = 0; a < g.lattice.rank; ++a) {
            const double margin = g.reach / g.lattice.height[a] + 1e-9;
            const double from = std::ceil(b.fraction_low[a] - margin - fraction[a]);
            const double to = std::floor(b.fraction_high[a] + margin - fraction[a]);
            low[a] = int(std::max(from, -1e9));
            high[a] = int(std::min(to, 1e9));
            count *= to - from + 1;
        }
    }
};

}  // namespace

void Grid::build(const Atoms &atoms, std::int64_t first_atom, std::int64_t n, const double *cell, const bool *pbc,
                 double rc, double memory_limit, Image *wrap, int n_threads) {
    first = first_atom;
    n_atoms = n;
    cutoff = rc;
    for (int k = 0; k < 9; ++k) {
        if (!(std::fabs(cell[k]) <= largest_coordinate)) {
            status = Status::singular_cell;
            return;
        }
    }
    if (!make_lattice(cell, pbc, lattice)) {
        status = Status::singular_cell;
        return;
    }
    if (n == 0) return;
    const int rank = lattice.rank;
    const int n_blocks = n < 4096 ? 1 : n_threads;  // contiguous, so that the order of entries is that of the atoms
    auto block_start = [&](int block) { return n * block / n_blocks; };

    // 1. Wrap.
    Buffer<Wrapped> wrapped(n);
    std::vector<Bounds> block_bounds(n_blocks);
    std::vector<std::int64_t> bad(n_blocks, -1);
    std::vector<Status> why(n_blocks, Status::ok);
#pragma omp parallel for num_threads(n_blocks) schedule(static, 1) if (n_blocks > 1)
    for (int block = 0; block < n_blocks; ++block) {
        Bounds &bounds = block_bounds[block];
        for (std::int64_t i = block_start(block); i < block_start(block + 1); ++i) {
            double given[3];
            atoms.position(first + i, given);
            const double raw = std::max({std::fabs(given[0]), std::fabs(given[1]), std::fabs(given[2])});
            // the sum is not finite if any coordinate is not, which max() alone would hide
            const bool finite = std::isfinite(given[0] + given[1] + given[2]) && raw <= largest_coordinate;
            Image &w = wrap[first + i];
            w.atom = 0;
            if (!finite || !wrap_atom(lattice, given, wrapped[i]) || !given_shift(lattice, wrapped[i].turns, w.shift)) {
                why[block] = finite ? Status::shift_overflow : Status::not_finite;
                bad[block] = first + i;
                break;
            }
            bounds.raw = std::max(bounds.raw, raw);
            bounds.add(wrapped[i], rank);
        }
    }
    Bounds bounds;
    for (int block = 0; block < n_blocks; ++block) {
        if (bad[block] >= 0) {
            status = why[block];
            culprit = bad[block];
            return;
        }
        bounds.add(block_bounds[block]);
    }

    // 2. Bound the rounding errors: terms of the size `magnitude` were added up to get an entry.
    double magnitude = bounds.raw;
    for (int a = 0; a < rank; ++a) {
        magnitude += (bounds.turns[a] + rc / lattice.height[a] + 2) * lattice.scale[a];
    }
    rounding = 64 * std::numeric_limits<double>::epsilon() * magnitude;
    reach = rc * (1 + 1e-6) + 2 * rounding;

    // 3. Count images.
    double wanted = 0;
    if (rank == 0) {
        wanted = double(n);
    } else {
#pragma omp parallel for num_threads(n_blocks) schedule(static) reduction(+ : wanted) if (n_blocks > 1)
        for (std::int64_t i = 0; i < n; ++i) wanted += ImageBox(*this, bounds, wrapped[i].fraction).count;
    }
    if (!(wanted < 2.0e9) || wanted * bytes_per_entry > memory_limit) {
        status = Status::too_many_images;
        images_wanted = wanted;
        return;
    }

    // 4. Choose bins: rows along the longest direction.
    double length[3], low[3];
    for (int k = 0; k < 3; ++k) {
        low[k] = bounds.low[k] - reach;
        length[k] = bounds.high[k] + reach - low[k];
        axis[k] = k;
    }
    std::stable_sort(axis, axis + 3, [&](int a, int b) { return length[a] > length[b]; });
    const double most_bins = wanted <= small_system ? 1 : std::max(64.0, 2 * wanted);
    double bin = bin_per_cutoff * rc, total;
    do {
        total = 1;
        for (int k = 0; k < 3; ++k) {
            n_bins[k] = std::int64_t(std::min(std::max(std::floor(length[axis[k]] / bin), 1.0), 1e6));
            total *= double(n_bins[k]);
        }
        bin *= 1.2;
    } while (total > most_bins);
    for (int k = 0; k < 3; ++k) {
        origin[k] = low[axis[k]];
        width[k] = length[axis[k]] / double(n_bins[k]);
    }

    // 5. Make the images, atom by atom, and sort them into bins by counting.
    const std::int64_t bins = n_all_bins();
    auto for_each_entry = [&](std::int64_t i, auto &&use) {
        const Wrapped &w = wrapped[i];
        const ImageBox box(*this, bounds, w.fraction);
        for (int p = box.low[0]; p <= box.high[0]; ++p) {
            for (int q = box.low[1]; q <= box.high[1]; ++q) {
                for (int r = box.low[2]; r <= box.high[2]; ++r) {
                    const int turns[3] = {p, q, r};
                    double x_cartesian[3] = {w.x[0], w.x[1], w.x[2]};
                    for (int a = 0; a < rank; ++a) {
                        for (int k = 0; k < 3; ++k) x_cartesian[k] += turns[a] * lattice.basis[a][k];
                    }
                    double entry[3];
                    std::int64_t index[3];
                    bool inside = true;
                    for (int k = 0; k < 3; ++k) {
                        entry[k] = x_cartesian[axis[k]];
                        const double t = std::floor((entry[k] - origin[k]) / width[k]);
                        // an image outside the box is out of reach; an atom at its edge is kept
                        inside &= t >= -0.5 && t <= double(n_bins[k]) + 0.5;
                        index[k] = std::min(std::max(std::int64_t(t), std::int64_t(0)), n_bins[k] - 1);
                    }
                    const bool self = p == 0 && q == 0 && r == 0;
                    if (inside || self) use((index[2] * n_bins[1] + index[1]) * n_bins[0] + index[0], entry, turns, self);
                }
            }
        }
    };
    std::vector<Buffer<std::int32_t>> counts(n_blocks);
    Buffer<std::int32_t> bin_of(std::size_t(wanted) + 1);
    std::vector<std::int64_t> block_entry(n_blocks + 1, 0);
    if (n_blocks > 1) {
#pragma omp parallel for num_threads(n_blocks) schedule(static, 1)
        for (int block = 0; block < n_blocks; ++block) {
            double sum = 0;
            for (std::int64_t i = block_start(block); i < block_start(block + 1); ++i) {
                sum += ImageBox(*this, bounds, wrapped[i].fraction).count;
            }
            block_entry[block + 1] = std::int64_t(sum);
        }
        for (int block = 0; block < n_blocks; ++block) block_entry[block + 1] += block_entry[block];
    }
#pragma omp parallel for num_threads(n_blocks) schedule(static, 1) if (n_blocks > 1)
    for (int block = 0; block < n_blocks; ++block) {
        counts[block].reset(bins);
        std::int32_t *count = counts[block].data();
        std::fill(count, count + bins, 0);
        std::int32_t *out = bin_of.data() + block_entry[block];
        for (std::int64_t i = block_start(block); i < block_start(block + 1); ++i) {
            for_each_entry(i, [&](std::int64_t b, const double *, const int *, bool) {
                ++count[b];
                *out++ = std::int32_t(b);
            });
        }
    }
    bin_start.reset(bins + 1);
    std::int32_t running = 0;
    for (std::int64_t b = 0; b < bins; ++b) {
        bin_start[b] = running;
        for (int block = 0; block < n_blocks; ++block) {
            const std::int32_t here = counts[block][b];
            counts[block][b] = running;
            running += here;
        }
    }
    bin_start[bins] = running;
    n_entries = running;
    const std::int64_t padded = n_entries + 16;  // the search reads whole vectors
    for (auto &coordinate : x) coordinate.reset(padded);
    for (auto &coordinate : x) std::fill(coordinate.data() + n_entries, coordinate.data() + padded, 0.0);
    image.reset(padded);
    is_atom.reset(padded);
    std::vector<char> overflow(n_blocks, 0);
#pragma omp parallel for num_threads(n_blocks) schedule(static, 1) if (n_blocks > 1)
    for (int block = 0; block < n_blocks; ++block) {
        std::int32_t *next = counts[block].data();
        const std::int32_t *in = bin_of.data() + block_entry[block];
        for (std::int64_t i = block_start(block); i < block_start(block + 1); ++i) {
            const Image &w = wrap[first + i];
            for_each_entry(i, [&](std::int64_t, const double *entry, const int *turns, bool self) {
                const std::int32_t p = next[*in++]++;
                for (int k = 0; k < 3; ++k) x[k][p] = entry[k];
                const std::int64_t wide[3] = {turns[0], turns[1], turns[2]};
                Image made{std::int32_t(first + i), {0, 0, 0}};
                if (!self && !given_shift(lattice, wide, made.shift)) overflow[block] = 1;
                for (int k = 0; k < 3; ++k) made.shift[k] += w.shift[k];
                image[p] = made;
                is_atom[p] = self;
            });
        }
    }
    if (std::count(overflow.begin(), overflow.end(), 1)) {
        status = Status::shift_overflow;
        culprit = first;
    }
}

}  // namespace atomsym
