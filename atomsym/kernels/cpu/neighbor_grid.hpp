// Atoms of one system and their periodic images within reach, sorted into bins.
//
// Positions are wrapped (in float64), images are made explicitly, and both are called entries. Bins lie in rows along
// the longest direction, so that the entries of neighboring bins of a row are one run in memory.
#pragma once
#include "buffer.hpp"
#include "neighbor_lattice.hpp"

namespace atomsym {

// What an entry is in terms of the given atoms: atom number and the lattice translation from its given position.
struct alignas(16) Image {
    std::int32_t atom, shift[3];
};

enum class Status {
    ok,
    not_finite,
    singular_cell,
    shift_overflow,
    too_many_images,
    too_many_edges,
    bad_system_index,
    no_memory
};

struct Atoms {  // what the caller gave
    const void *positions;
    bool single_precision;
    void position(std::int64_t i, double *x) const {
        for (int k = 0; k < 3; ++k) {
            x[k] = single_precision ? static_cast<const float *>(positions)[3 * i + k]
                                    : static_cast<const double *>(positions)[3 * i + k];
        }
    }
};

struct Grid {
    Lattice lattice;
    std::int64_t first = 0, n_atoms = 0;  // atoms first ... first + n_atoms - 1 of the batch
    double cutoff = 0;
    double reach = 0;     // cutoff plus what rounding may take away
    double rounding = 0;  // bound of the error of the distance of two entries

    int axis[3] = {0, 1, 2};  // Cartesian direction of grid direction 0 (along rows), 1, 2
    double origin[3] = {0, 0, 0}, width[3] = {1, 1, 1};
    std::int64_t n_bins[3] = {0, 0, 0};

    std::int64_t n_entries = 0;
    Buffer<double> x[3];             // entry positions along the grid directions, sorted by bin
    Buffer<Image> image;             // the same order
    Buffer<unsigned char> is_atom;   // 1: the atom itself, 0: one of its images
    Buffer<std::int32_t> bin_start;  // entries of bin b: bin_start[b] ... bin_start[b + 1] - 1

    Status status = Status::ok;
    std::int64_t culprit = 0;  // atom of a bad position or shift
    double images_wanted = 0;  // for too_many_images

    static constexpr double bytes_per_entry = 3 * sizeof(double) + sizeof(Image) + 1;

    std::int64_t n_all_bins() const { return n_bins[0] * n_bins[1] * n_bins[2]; }
};

struct GridRequest {
    Atoms atoms;
    std::int64_t first, n_atoms;
    const double *cell;
    const bool *pbc;
    double cutoff, memory_limit;  // Å, bytes
    int n_threads;
};

// `wrap` receives for each atom {0, w0, w1, w2}: the translation that wraps it, in the layout of Image. Errors are in
// the status of the grid.
Grid build_grid(const GridRequest &request, Image *wrap);

}  // namespace atomsym
