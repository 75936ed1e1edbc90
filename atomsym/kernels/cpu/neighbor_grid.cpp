#include "neighbor_grid.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace atomsym {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double largest_coordinate = 1e12;  // Å; beyond it float32 squares would overflow in the search
constexpr double largest_shift = 1 << 29;    // sums and differences of three such shifts fit an int32
constexpr double small_system = 192;         // entries; up to here one bin is fastest
constexpr double entries_per_bin = 14;       // measured: fewer make short runs, more make many candidates
constexpr std::int64_t atoms_per_block = 4096;

// A block is a contiguous share of the atoms. Blocks are worked on in parallel; since they are in the order of the
// atoms, so are the entries of a bin, for any number of blocks.
struct Block {
    std::int64_t begin, end;
    double low[3] = {infinity, infinity, infinity}, high[3] = {-infinity, -infinity, -infinity};  // Cartesian
    double fraction_low[3] = {infinity, infinity, infinity}, fraction_high[3] = {-infinity, -infinity, -infinity};
    double turns[3] = {0, 0, 0}, raw = 0;  // largest translation and given coordinate
    Status status = Status::ok;
    std::int64_t culprit = 0;
    std::int64_t n_entries = 0, first_entry = 0;
    double wanted = 0;
    Buffer<std::int32_t> next;  // of each bin: first the count, then the place of the next entry
};

struct Wrapped {
    double x[3];         // Cartesian
    double fraction[3];  // in [0, 1) along periodic directions
};

struct ImageRange {
    std::int32_t low[3], high[3];  // translations along the reduced basis that can bring an atom within reach
};

class Builder {
  public:
    Builder(const GridRequest &request, Image *wrap, Grid &grid)
        : request_(request), wrap_(wrap), g_(grid), rank_(0),
          n_blocks_(int(std::min<std::int64_t>(request.n_threads, request.n_atoms / atoms_per_block + 1))) {}

    void build() {
        if (!take_cell()) return;
        if (g_.n_atoms == 0) return;
        if (!wrap_atoms()) return;
        bound_errors();
        if (!count_images()) return;
        choose_bins();
        count_bins();
        place_entries();
    }

  private:
    template <class Work> void for_each_block(Work &&work) {
#pragma omp parallel for num_threads(n_blocks_) schedule(static, 1) if (n_blocks_ > 1)
        for (int b = 0; b < n_blocks_; ++b) work(blocks_[std::size_t(b)]);
    }

    bool take_cell() {
        bool good = true;
        for (int k = 0; k < 9; ++k) good &= std::fabs(request_.cell[k]) <= largest_coordinate;
        good = good && make_lattice(request_.cell, request_.pbc, g_.lattice);
        if (!good) g_.status = Status::singular_cell;
        rank_ = g_.lattice.rank;
        return good;
    }

    bool wrap_atoms() {
        wrapped_.reset(std::size_t(g_.n_atoms));
        blocks_.resize(std::size_t(n_blocks_));
        for (int b = 0; b < n_blocks_; ++b) {
            blocks_[std::size_t(b)].begin = g_.n_atoms * b / n_blocks_;
            blocks_[std::size_t(b)].end = g_.n_atoms * (b + 1) / n_blocks_;
        }
        for_each_block([&](Block &block) {
            for (std::int64_t i = block.begin; i < block.end && block.status == Status::ok; ++i) wrap_atom(i, block);
        });
        for (const Block &block : blocks_) {
            if (block.status != Status::ok) {
                g_.status = block.status;
                g_.culprit = block.culprit;
                return false;
            }
            merge(block);
        }
        return true;
    }

    void wrap_atom(std::int64_t i, Block &block) {
        const Lattice &l = g_.lattice;
        double given[3];
        request_.atoms.position(g_.first + i, given);
        Wrapped &w = wrapped_[std::size_t(i)];
        bool finite = true;
        for (int k = 0; k < 3; ++k) {
            finite &= std::fabs(given[k]) <= largest_coordinate;
            block.raw = std::max(block.raw, std::fabs(given[k]));
            w.x[k] = given[k];
        }
        double turns[3] = {0, 0, 0};
        for (int a = 0; a < rank_; ++a) {
            const double s = l.dual[a][0] * given[0] + l.dual[a][1] * given[1] + l.dual[a][2] * given[2];
            turns[a] = -std::floor(s);
            w.fraction[a] = s + turns[a];
            for (int k = 0; k < 3; ++k) w.x[k] += turns[a] * l.basis[a][k];
            block.turns[a] = std::max(block.turns[a], std::fabs(turns[a]));
            block.fraction_low[a] = std::min(block.fraction_low[a], w.fraction[a]);
            block.fraction_high[a] = std::max(block.fraction_high[a], w.fraction[a]);
        }
        for (int k = 0; k < 3; ++k) {
            block.low[k] = std::min(block.low[k], w.x[k]);
            block.high[k] = std::max(block.high[k], w.x[k]);
        }
        Image &shift = wrap_[g_.first + i];
        shift.atom = 0;
        if (!finite || !given_shift(turns, shift.shift)) {
            block.status = finite ? Status::shift_overflow : Status::not_finite;
            block.culprit = g_.first + i;
        }
    }

    // Translation along the reduced basis -> along the given lattice vectors; false if it does not fit. The numbers
    // are integers far below 2^53, so the arithmetic is exact where it matters.
    bool given_shift(const double *turns, std::int32_t *shift) const {
        double sum[3] = {0, 0, 0};
        for (int a = 0; a < rank_; ++a) {
            for (int m = 0; m < 3; ++m) sum[m] += turns[a] * double(g_.lattice.step[a][m]);
        }
        bool fits = true;
        for (int m = 0; m < 3; ++m) {
            fits &= std::fabs(sum[m]) < largest_shift;
            shift[m] = fits ? std::int32_t(sum[m]) : 0;
        }
        for (int a = 0; a < rank_; ++a) fits &= std::fabs(turns[a]) < largest_shift;
        return fits;
    }

    void merge(const Block &b) {
        for (int k = 0; k < 3; ++k) {
            all_.low[k] = std::min(all_.low[k], b.low[k]);
            all_.high[k] = std::max(all_.high[k], b.high[k]);
            all_.fraction_low[k] = std::min(all_.fraction_low[k], b.fraction_low[k]);
            all_.fraction_high[k] = std::max(all_.fraction_high[k], b.fraction_high[k]);
            all_.turns[k] = std::max(all_.turns[k], b.turns[k]);
        }
        all_.raw = std::max(all_.raw, b.raw);
    }

    // Terms of the size `magnitude` are added up to get an entry.
    void bound_errors() {
        double magnitude = all_.raw;
        for (int a = 0; a < rank_; ++a) {
            magnitude += (all_.turns[a] + g_.cutoff / g_.lattice.height[a] + 2) * g_.lattice.scale[a];
        }
        g_.rounding = 64 * std::numeric_limits<double>::epsilon() * magnitude;
        g_.reach = g_.cutoff * (1 + 1e-6) + 2 * g_.rounding;
    }

    bool count_images() {
        double from[3] = {0, 0, 0}, to[3] = {0, 0, 0}, most = double(g_.n_atoms);
        for (int a = 0; a < rank_; ++a) {
            const double margin = g_.reach / g_.lattice.height[a] + 1e-9;
            from[a] = all_.fraction_low[a] - margin;
            to[a] = all_.fraction_high[a] + margin;
            most *= to[a] - from[a] + 1;
        }
        if (!(most < 1e18)) return refuse_images(most);
        ranges_.reset(std::size_t(g_.n_atoms));
        for_each_block([&](Block &block) {
            for (std::int64_t i = block.begin; i < block.end; ++i) {
                ImageRange &range = ranges_[std::size_t(i)];
                double count = 1;
                for (int a = 0; a < 3; ++a) {
                    const double f = a < rank_ ? wrapped_[std::size_t(i)].fraction[a] : 0.0;
                    range.low[a] = std::int32_t(std::ceil(std::max(from[a] - f, -1e9)));
                    range.high[a] = std::int32_t(std::floor(std::min(to[a] - f, 1e9)));
                    count *= double(range.high[a] - range.low[a] + 1);
                }
                block.wanted += count;
            }
        });
        wanted_ = 0;
        for (const Block &block : blocks_) wanted_ += block.wanted;
        // two more int32: bin of each entry and, at most, two bins per entry
        const double bytes = Grid::bytes_per_entry + 3 * sizeof(std::int32_t);
        if (!(wanted_ < 2.0e9) || wanted_ * bytes > request_.memory_limit) return refuse_images(wanted_);
        return true;
    }

    bool refuse_images(double count) {
        g_.status = Status::too_many_images;
        g_.images_wanted = count;
        return false;
    }

    // Rows along the longest direction; bins hold a dozen entries, however large or empty the box is.
    void choose_bins() {
        double length[3], volume = 1;
        for (int k = 0; k < 3; ++k) {
            length[k] = all_.high[k] - all_.low[k] + 2 * g_.reach;
            volume *= length[k];
            g_.axis[k] = k;
        }
        std::stable_sort(g_.axis, g_.axis + 3, [&](int a, int b) { return length[a] > length[b]; });
        const double most_bins = wanted_ <= small_system ? 1 : std::max(64.0, 2 * wanted_);
        const double fit = std::cbrt(volume / wanted_ * entries_per_bin);
        double side = std::min(std::max(fit, g_.cutoff / 3), 1.5 * g_.cutoff), total;
        do {
            total = 1;
            for (int k = 0; k < 3; ++k) {
                g_.n_bins[k] = std::int64_t(std::min(std::max(std::floor(length[g_.axis[k]] / side), 1.0), 1e6));
                total *= double(g_.n_bins[k]);
            }
            side *= 1.2;
        } while (total > most_bins);
        for (int k = 0; k < 3; ++k) {
            g_.origin[k] = all_.low[g_.axis[k]] - g_.reach;
            g_.width[k] = length[g_.axis[k]] / double(g_.n_bins[k]);
        }
    }

    // The geometry of the grid by value: the loops over entries store doubles, which might alias members.
    struct Frame {
        int axis[3], rank;
        double basis[3][3], origin[3], per_width[3], bins[3], last[3];
        explicit Frame(const Grid &g) : rank(g.lattice.rank) {
            for (int k = 0; k < 3; ++k) {
                axis[k] = g.axis[k];
                origin[k] = g.origin[k];
                per_width[k] = 1 / g.width[k];
                bins[k] = double(g.n_bins[k]);
                last[k] = bins[k] - 1;
                for (int a = 0; a < rank; ++a) basis[a][k] = g.lattice.basis[a][axis[k]];
            }
        }
        // Bin of an entry; false if it is outside of the box. Whole numbers below 2^53 in double: exact, and faster.
        bool bin(const double *entry, std::int64_t &number) const {
            bool inside = true;
            double index[3];
            for (int k = 0; k < 3; ++k) {
                const double t = (entry[k] - origin[k]) * per_width[k];
                inside &= t >= 0 && t <= bins[k];
                index[k] = std::floor(std::min(std::max(t, 0.0), last[k]));
            }
            number = std::int64_t((index[2] * bins[1] + index[1]) * bins[0] + index[0]);
            return inside;
        }
    };

    // Calls use(bin, position along the grid directions, translation) for atom i and its images within reach.
    template <class Use> void for_each_entry(const Frame &f, std::int64_t i, Use &&use) const {
        const ImageRange range = ranges_[std::size_t(i)];
        const double *x = wrapped_[std::size_t(i)].x;
        const double home[3] = {x[f.axis[0]], x[f.axis[1]], x[f.axis[2]]}, none[3] = {0, 0, 0};
        std::int64_t bin;
        f.bin(home, bin);
        use(bin, home, none, true);
        int any = 0;
        for (int a = 0; a < 3; ++a) any |= range.low[a] | range.high[a];
        if (!any) return;
        for (int p = range.low[0]; p <= range.high[0]; ++p) {
            for (int q = range.low[1]; q <= range.high[1]; ++q) {
                for (int r = range.low[2]; r <= range.high[2]; ++r) {
                    if ((p | q | r) == 0) continue;
                    const double turns[3] = {double(p), double(q), double(r)};
                    double entry[3] = {home[0], home[1], home[2]};
                    for (int a = 0; a < f.rank; ++a) {
                        for (int k = 0; k < 3; ++k) entry[k] += turns[a] * f.basis[a][k];
                    }
                    if (f.bin(entry, bin)) use(bin, entry, turns, false);
                }
            }
        }
    }

    void count_bins() {
        const std::int64_t bins = g_.n_all_bins();
        double before = 0;
        for (Block &block : blocks_) {
            block.first_entry = std::int64_t(before);
            before += block.wanted;
        }
        bin_of_.reset(std::size_t(before) + 1);
        for (Block &block : blocks_) block.next.reset(std::size_t(bins));  // not in parallel: it may throw
        for_each_block([&](Block &block) {
            std::int32_t *count = block.next.data(), *out = bin_of_.data() + block.first_entry;
            std::fill(count, count + bins, 0);
            const Frame frame(g_);
            for (std::int64_t i = block.begin; i < block.end; ++i) {
                for_each_entry(frame, i, [&](std::int64_t bin, const double *, const double *, bool) {
                    ++count[bin];
                    *out++ = std::int32_t(bin);
                });
            }
        });
        g_.bin_start.reset(std::size_t(bins) + 1);
        std::int32_t running = 0;
        for (std::int64_t bin = 0; bin < bins; ++bin) {
            g_.bin_start[std::size_t(bin)] = running;
            for (Block &block : blocks_) {
                const std::int32_t here = block.next[std::size_t(bin)];
                block.next[std::size_t(bin)] = running;
                running += here;
            }
        }
        g_.bin_start[std::size_t(bins)] = running;
        g_.n_entries = running;
    }

    void place_entries() {
        const auto n = std::size_t(g_.n_entries), padded = n + 16;  // the search reads whole vectors
        for (auto &coordinate : g_.x) {
            coordinate.reset(padded);
            std::fill(coordinate.data() + n, coordinate.data() + padded, 0.0);
        }
        g_.image.reset(padded);
        g_.is_atom.reset(padded);
        double *const x[3] = {g_.x[0].data(), g_.x[1].data(), g_.x[2].data()};
        Image *const image = g_.image.data();
        unsigned char *const is_atom = g_.is_atom.data();
        for_each_block([&](Block &block) {
            std::int32_t *next = block.next.data();
            const std::int32_t *in = bin_of_.data() + block.first_entry;
            const Frame frame(g_);
            for (std::int64_t i = block.begin; i < block.end; ++i) {
                const Image wrap = wrap_[g_.first + i];
                const auto number = std::int32_t(g_.first + i);
                for_each_entry(frame, i, [&](std::int64_t, const double *entry, const double *turns, bool self) {
                    const auto p = std::size_t(next[*in++]++);
                    for (int k = 0; k < 3; ++k) x[k][p] = entry[k];
                    std::int32_t shift[3] = {0, 0, 0};
                    if (!self && !given_shift(turns, shift)) {
                        block.status = Status::shift_overflow;
                        block.culprit = number;
                    }
                    image[p] = {number, {wrap.shift[0] + shift[0], wrap.shift[1] + shift[1], wrap.shift[2] + shift[2]}};
                    is_atom[p] = self;
                });
            }
        });
        for (const Block &block : blocks_) {
            if (block.status != Status::ok) g_.status = block.status, g_.culprit = block.culprit;
        }
    }

    const GridRequest &request_;
    Image *wrap_;
    Grid &g_;
    int rank_, n_blocks_;
    std::vector<Block> blocks_;
    Block all_{};
    double wanted_ = 0;
    Buffer<Wrapped> wrapped_;
    Buffer<ImageRange> ranges_;
    Buffer<std::int32_t> bin_of_;
};

}  // namespace

Grid build_grid(const GridRequest &request, Image *wrap) {
    Grid grid;
    grid.first = request.first;
    grid.n_atoms = request.n_atoms;
    grid.cutoff = request.cutoff;
    try {
        Builder(request, wrap, grid).build();
    } catch (const std::bad_alloc &) {  // must not leave a parallel region
        grid.status = Status::no_memory;
    }
    return grid;
}

}  // namespace atomsym
