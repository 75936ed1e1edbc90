#include "neighbor_search.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>

#ifdef _OPENMP
#include <omp.h>
#endif
#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace atomsym {

// Candidates of the atoms of one bin, relative to the middle of these atoms, in float32.
struct Scratch {
    Buffer<float> x, y, z;
    Buffer<std::uint32_t> entry;
    std::size_t size = 0;

    void reserve(std::size_t more) {
        if (size + more + 16 <= x.size()) return;
        const std::size_t capacity = std::max<std::size_t>(2048, 2 * (size + more + 16));
        grow(x, capacity), grow(y, capacity), grow(z, capacity), grow(entry, capacity);
    }

  private:
    template <class T> void grow(Buffer<T> &buffer, std::size_t capacity) {
        Buffer<T> larger(capacity);
        if (size) std::memcpy(larger.data(), buffer.data(), size * sizeof(T));
        buffer = std::move(larger);
    }
};

// Edges found so far by all threads against the memory that there is.
struct Budget {
    std::atomic<std::int64_t> &total;
    double limit;
    std::int64_t mine = 0;  // found by this thread since it last looked
    bool allows();
};

namespace {

struct Box {
    double middle[3];
    float half[3];
};

int thread_number() {
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}

#if defined(__AVX2__) && !defined(__AVX512VL__)
// permutation[mask]: the set bits' lanes moved to the front.
struct CompressTable {
    alignas(64) std::uint8_t lanes[256][8];
    constexpr CompressTable() : lanes() {
        for (int mask = 0; mask < 256; ++mask) {
            int n = 0;
            for (int k = 0; k < 8; ++k) {
                if (mask >> k & 1) lanes[mask][n++] = std::uint8_t(k);
            }
        }
    }
};
constexpr CompressTable compress_table;
inline __m256i compress_lanes(int mask) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i *>(compress_table.lanes[mask])));
}
#endif

// Appends the entries from ... to - 1 that lie within `reach` of the box.
void append_run(const Grid &g, std::size_t from, std::size_t to, const Box &box, float reach2, Scratch &s) {
    s.reserve(to - from);
    const double *X = g.x[0].data(), *Y = g.x[1].data(), *Z = g.x[2].data();
    float *x = s.x.data(), *y = s.y.data(), *z = s.z.data();
    std::uint32_t *entry = s.entry.data();
    std::size_t n = s.size;
#if defined(__AVX2__)
    const __m256 zero = _mm256_setzero_ps(), limit = _mm256_set1_ps(reach2), sign = _mm256_set1_ps(-0.0f);
    const __m256 hx = _mm256_set1_ps(box.half[0]), hy = _mm256_set1_ps(box.half[1]), hz = _mm256_set1_ps(box.half[2]);
    auto relative = [](const double *p, double middle) {
#if defined(__AVX512F__)
        return _mm512_cvtpd_ps(_mm512_sub_pd(_mm512_loadu_pd(p), _mm512_set1_pd(middle)));
#else
        const __m256d m = _mm256_set1_pd(middle);
        return _mm256_set_m128(_mm256_cvtpd_ps(_mm256_sub_pd(_mm256_loadu_pd(p + 4), m)),
                               _mm256_cvtpd_ps(_mm256_sub_pd(_mm256_loadu_pd(p), m)));
#endif
    };
    auto outside = [&](__m256 v, __m256 half) {
        return _mm256_max_ps(_mm256_sub_ps(_mm256_andnot_ps(sign, v), half), zero);
    };
    __m256i number = _mm256_add_epi32(_mm256_set1_epi32(int(from)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    for (std::size_t k = from; k < to; k += 8) {
        const __m256 vx = relative(X + k, box.middle[0]), vy = relative(Y + k, box.middle[1]),
                     vz = relative(Z + k, box.middle[2]);
        const __m256 ox = outside(vx, hx), oy = outside(vy, hy), oz = outside(vz, hz);
        const __m256 d2 = _mm256_fmadd_ps(oz, oz, _mm256_fmadd_ps(oy, oy, _mm256_mul_ps(ox, ox)));
        const unsigned valid = to - k >= 8 ? 0xffu : (1u << (to - k)) - 1;
#if defined(__AVX512VL__)
        const __mmask8 mask = __mmask8(_mm256_cmp_ps_mask(d2, limit, _CMP_LE_OQ) & valid);
        _mm256_storeu_ps(x + n, _mm256_maskz_compress_ps(mask, vx));
        _mm256_storeu_ps(y + n, _mm256_maskz_compress_ps(mask, vy));
        _mm256_storeu_ps(z + n, _mm256_maskz_compress_ps(mask, vz));
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(entry + n), _mm256_maskz_compress_epi32(mask, number));
#else
        const unsigned mask = unsigned(_mm256_movemask_ps(_mm256_cmp_ps(d2, limit, _CMP_LE_OQ))) & valid;
        const __m256i lanes = compress_lanes(int(mask));
        _mm256_storeu_ps(x + n, _mm256_permutevar8x32_ps(vx, lanes));
        _mm256_storeu_ps(y + n, _mm256_permutevar8x32_ps(vy, lanes));
        _mm256_storeu_ps(z + n, _mm256_permutevar8x32_ps(vz, lanes));
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(entry + n), _mm256_permutevar8x32_epi32(number, lanes));
#endif
        n += std::size_t(__builtin_popcount(mask));
        number = _mm256_add_epi32(number, _mm256_set1_epi32(8));
    }
#else
    for (std::size_t k = from; k < to; ++k) {
        x[n] = float(X[k] - box.middle[0]);
        y[n] = float(Y[k] - box.middle[1]);
        z[n] = float(Z[k] - box.middle[2]);
        entry[n] = std::uint32_t(k);
        const float ox = std::max(std::fabs(x[n]) - box.half[0], 0.0f), oy = std::max(std::fabs(y[n]) - box.half[1], 0.0f),
                    oz = std::max(std::fabs(z[n]) - box.half[2], 0.0f);
        n += ox * ox + oy * oy + oz * oz <= reach2;
    }
#endif
    s.size = n;
}

// Bounds of |r|² in float32 between which only the exact rule can tell.
struct Band {
    float low, high;
};

constexpr double bytes_per_edge = sizeof(std::uint32_t) + 2 * sizeof(std::int64_t) + 3 * sizeof(std::int32_t);

// Numbers of the candidates within the cutoff of (rx, ry, rz), in their order; `decide` is asked about those in the
// band. Writes up to 16 numbers beyond the last.
template <class Decide>
std::size_t select_hits(const Scratch &s, float rx, float ry, float rz, std::uint32_t self, Band band, std::uint32_t *out,
                        Decide &&decide) {
    std::size_t n = 0;
    const float *x = s.x.data(), *y = s.y.data(), *z = s.z.data();
    const std::uint32_t *entry = s.entry.data();
#if defined(__AVX512F__)
    const __m512 vx = _mm512_set1_ps(rx), vy = _mm512_set1_ps(ry), vz = _mm512_set1_ps(rz);
    const __m512 low = _mm512_set1_ps(band.low), high = _mm512_set1_ps(band.high);
    const __m512i vself = _mm512_set1_epi32(int(self));
    for (std::size_t k = 0; k < s.size; k += 16) {
        const __m512 dx = _mm512_sub_ps(_mm512_loadu_ps(x + k), vx), dy = _mm512_sub_ps(_mm512_loadu_ps(y + k), vy),
                     dz = _mm512_sub_ps(_mm512_loadu_ps(z + k), vz);
        const __m512 d2 = _mm512_fmadd_ps(dz, dz, _mm512_fmadd_ps(dy, dy, _mm512_mul_ps(dx, dx)));
        const __m512i number = _mm512_loadu_si512(entry + k);
        const unsigned valid = s.size - k >= 16 ? 0xffffu : (1u << (s.size - k)) - 1;
        unsigned mask = _mm512_mask_cmp_ps_mask(_mm512_cmpneq_epi32_mask(number, vself), d2, high, _CMP_LT_OQ) & valid;
        unsigned unsure = _mm512_mask_cmp_ps_mask(__mmask16(mask), d2, low, _CMP_GE_OQ);
        for (; __builtin_expect(unsure != 0, 0); unsure &= unsure - 1) {
            const int lane = __builtin_ctz(unsure);
            if (!decide(entry[k + std::size_t(lane)])) mask &= ~(1u << lane);
        }
        _mm512_storeu_si512(out + n, _mm512_maskz_compress_epi32(__mmask16(mask), number));
        n += std::size_t(__builtin_popcount(mask));
    }
#elif defined(__AVX2__)
    const __m256 vx = _mm256_set1_ps(rx), vy = _mm256_set1_ps(ry), vz = _mm256_set1_ps(rz);
    const __m256 low = _mm256_set1_ps(band.low), high = _mm256_set1_ps(band.high);
    const __m256i vself = _mm256_set1_epi32(int(self));
    for (std::size_t k = 0; k < s.size; k += 8) {
        const __m256 dx = _mm256_sub_ps(_mm256_loadu_ps(x + k), vx), dy = _mm256_sub_ps(_mm256_loadu_ps(y + k), vy),
                     dz = _mm256_sub_ps(_mm256_loadu_ps(z + k), vz);
        const __m256 d2 = _mm256_fmadd_ps(dz, dz, _mm256_fmadd_ps(dy, dy, _mm256_mul_ps(dx, dx)));
        const __m256i number = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(entry + k));
        const unsigned valid = s.size - k >= 8 ? 0xffu : (1u << (s.size - k)) - 1;
        const __m256 is_self = _mm256_castsi256_ps(_mm256_cmpeq_epi32(number, vself));
        unsigned mask = unsigned(_mm256_movemask_ps(_mm256_andnot_ps(is_self, _mm256_cmp_ps(d2, high, _CMP_LT_OQ)))) & valid;
        unsigned unsure = mask & unsigned(_mm256_movemask_ps(_mm256_cmp_ps(d2, low, _CMP_GE_OQ)));
        for (; __builtin_expect(unsure != 0, 0); unsure &= unsure - 1) {
            const int lane = __builtin_ctz(unsure);
            if (!decide(entry[k + std::size_t(lane)])) mask &= ~(1u << lane);
        }
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(out + n),
                            _mm256_permutevar8x32_epi32(number, compress_lanes(int(mask))));
        n += std::size_t(__builtin_popcount(mask));
    }
#else
    for (std::size_t k = 0; k < s.size; ++k) {
        const float dx = x[k] - rx, dy = y[k] - ry, dz = z[k] - rz;
        const float d2 = dx * dx + dy * dy + dz * dz;
        bool hit = d2 < band.high && entry[k] != self;
        if (__builtin_expect(hit && d2 >= band.low, 0)) hit = decide(entry[k]);
        out[n] = entry[k];
        n += hit;
    }
#endif
    return n;
}

// Smallest box around the atoms among the entries from ... to - 1; false if there are none.
bool box_around_atoms(const Grid &g, std::size_t from, std::size_t to, Box &box) {
    double low[3], high[3];
    bool any = false;
    for (std::size_t p = from; p < to; ++p) {
        if (!g.is_atom[p]) continue;
        for (int k = 0; k < 3; ++k) {
            low[k] = any ? std::min(low[k], g.x[k][p]) : g.x[k][p];
            high[k] = any ? std::max(high[k], g.x[k][p]) : g.x[k][p];
        }
        any = true;
    }
    if (!any) return false;
    for (int k = 0; k < 3; ++k) {
        box.middle[k] = 0.5 * (low[k] + high[k]);
        box.half[k] = float(0.5 * (high[k] - low[k]) * (1 + 1e-6));
    }
    return true;
}

// All entries within reach of the box.
void gather(const Grid &g, std::int64_t bin, const Box &box, Scratch &s) {
    s.size = 0;
    double radius = 0;
    for (float half : box.half) radius = std::max(radius, double(half));
    const double single = 8 * double(std::numeric_limits<float>::epsilon()) * (radius + g.reach);
    const double reach = g.reach + single, reach2 = reach * reach;
    const float float_reach2 = float(reach2 * (1 + 1e-6));
    const std::int64_t nx = g.n_bins[0], by = bin / nx % g.n_bins[1], bz = bin / nx / g.n_bins[1];
    // distance of the box from the strip of bins number b along direction k
    auto gap = [&](int k, std::int64_t b) {
        const double low = g.origin[k] + double(b) * g.width[k] - box.middle[k], half = double(box.half[k]);
        return std::max({low - half, -half - (low + g.width[k]), 0.0});
    };
    auto span = [&](int k, std::int64_t b, std::int64_t &from, std::int64_t &to) {
        const auto bins = std::int64_t(std::min(reach / g.width[k], 1e7)) + 1;
        from = std::max<std::int64_t>(b - bins, 0);
        to = std::min(b + bins, g.n_bins[k] - 1);
    };
    std::int64_t y0, y1, z0, z1;
    span(1, by, y0, y1);
    span(2, bz, z0, z1);
    for (std::int64_t z = z0; z <= z1; ++z) {
        const double dz = gap(2, z);
        for (std::int64_t y = y0; y <= y1; ++y) {
            const double dy = gap(1, y), left = reach2 - dz * dz - dy * dy;
            if (left < 0) continue;
            const double along = std::sqrt(left) + double(box.half[0]);
            const double first = std::floor((box.middle[0] - along - g.origin[0]) / g.width[0]);
            const double last = std::floor((box.middle[0] + along - g.origin[0]) / g.width[0]);
            const auto x0 = std::int64_t(std::max(first, 0.0)), x1 = std::int64_t(std::min(last, double(nx - 1)));
            if (x1 < x0) continue;
            const std::int64_t row = (z * g.n_bins[1] + y) * nx;
            const std::int32_t from = g.bin_start[row + x0], to = g.bin_start[row + x1 + 1];
            if (to > from) append_run(g, std::size_t(from), std::size_t(to), box, float_reach2, s);
        }
    }
}

}  // namespace

bool Budget::allows() {
    const std::int64_t all = total += mine;
    mine = 0;
    return bytes_per_edge * double(all) <= limit;
}

NeighborSearch::NeighborSearch(Atoms atoms, std::int64_t n_atoms, const double *cell, const bool *pbc,
                               const std::int64_t *system_index, std::int64_t n_systems, double cutoff,
                               double memory_limit, int n_threads)
    : atoms_(atoms), n_atoms_(n_atoms), cutoff_(cutoff), n_threads_(n_threads), grids_(n_systems), wrap_(n_atoms + 1),
      hits_(n_atoms + 1), pools_(n_threads) {
    std::vector<std::int64_t> start(n_systems + 1, n_atoms);
    start[0] = 0;
    if (system_index) {
        std::int64_t system = 0;
        for (std::int64_t i = 0; i < n_atoms; ++i) {
            if (system_index[i] < system || system_index[i] >= n_systems) {
                status = Status::bad_system_index;
                culprit = i;
                return;
            }
            while (system < system_index[i]) start[++system] = i;
        }
    }
    // Many systems: one thread each. Few: all threads on each.
    const bool by_system = n_systems >= 2 * n_threads;
#pragma omp parallel for num_threads(n_threads) schedule(dynamic) if (by_system)
    for (std::int64_t s = 0; s < n_systems; ++s) {
        grids_[s] = build_grid({atoms_, start[s], start[s + 1] - start[s], cell + 9 * s, pbc + 3 * s, cutoff, memory_limit,
                                by_system ? 1 : n_threads},
                               wrap_.data());
    }
    for (std::int64_t s = 0; s < n_systems; ++s) {
        if (grids_[s].status == Status::ok) continue;
        status = grids_[s].status;
        culprit = status == Status::singular_cell || status == Status::too_many_images ? s : grids_[s].culprit;
        wanted = grids_[s].images_wanted;
        return;
    }
    search(memory_limit);
}

// Hits of the atoms of one bin; false if they would not fit.
bool NeighborSearch::search_bin(const Grid &g, std::int64_t bin, HitPool &pool, Scratch &scratch, Budget &budget) {
    const auto from = std::size_t(g.bin_start[std::size_t(bin)]), to = std::size_t(g.bin_start[std::size_t(bin) + 1]);
    Box box;
    if (from == to || !box_around_atoms(g, from, to, box)) return true;
    gather(g, bin, box, scratch);
    const float widest = std::max({box.half[0], box.half[1], box.half[2]});
    const double error = g.rounding + 32 * double(std::numeric_limits<float>::epsilon()) * (g.reach + double(widest));
    const double high = cutoff_ + error, low = std::max(cutoff_ - error, 0.0);
    const Band band{float(low * low), float(high * high)};
    for (std::size_t p = from; p < to; ++p) {
        if (!g.is_atom[p]) continue;
        const std::int64_t i = g.image[p].atom;
        const Image &wrap = wrap_[std::size_t(i)];
        auto decide = [&](std::uint32_t q) {
            double xi[3], xj[3];
            const Image &j = g.image[q];
            atoms_.position(i, xi);
            atoms_.position(j.atom, xj);
            const std::int32_t shift[3] = {j.shift[0] - wrap.shift[0], j.shift[1] - wrap.shift[1],
                                           j.shift[2] - wrap.shift[2]};
            return is_edge(xi, xj, g.lattice.cell, shift, cutoff_);
        };
        const std::size_t room = scratch.size + 16;
        if (pool.full(room) && !budget.allows()) return false;
        std::uint32_t *out = pool.reserve(room);
        const std::size_t n = select_hits(scratch, float(g.x[0][p] - box.middle[0]), float(g.x[1][p] - box.middle[1]),
                                          float(g.x[2][p] - box.middle[2]), std::uint32_t(p), band, out, decide);
        pool.commit(n);
        hits_[std::size_t(i)] = {out, std::int64_t(n)};
        budget.mine += std::int64_t(n);
    }
    return true;
}

void NeighborSearch::search(double memory_limit) {
    // Work is cut into runs of bins; a thread takes the next run when it is done with one.
    struct Run {
        std::size_t system;
        std::int64_t from, to;
    };
    std::vector<Run> runs;
    double entry_bytes = 0;
    for (std::size_t s = 0; s < grids_.size(); ++s) {
        const std::int64_t bins = grids_[s].n_all_bins(), step = 256;
        for (std::int64_t b = 0; b < bins; b += step) runs.push_back({s, b, std::min(b + step, bins)});
        entry_bytes += double(grids_[s].n_entries) * Grid::bytes_per_entry;
    }
    std::atomic<std::int64_t> total{0}, runs_done{0};
    std::atomic<bool> stop{false}, failed{false};
#pragma omp parallel num_threads(n_threads_) if (runs.size() > 1)
    {
        HitPool &pool = pools_[std::size_t(thread_number())];
        Scratch scratch;
        Budget budget{total, memory_limit - entry_bytes};
#pragma omp for schedule(dynamic)
        for (std::size_t r = 0; r < runs.size(); ++r) {
            try {
                for (std::int64_t b = runs[r].from; b < runs[r].to && !stop; ++b) {
                    if (!search_bin(grids_[runs[r].system], b, pool, scratch, budget)) stop = true;
                }
            } catch (const std::bad_alloc &) {  // must not leave the parallel region
                failed = stop = true;
            }
            if (!stop) ++runs_done;
        }
        budget.allows();
    }
    n_edges = total;
    working_bytes = std::int64_t(entry_bytes) + 4 * n_edges;
    if (failed) status = Status::no_memory;
    else if (stop || entry_bytes + bytes_per_edge * double(n_edges) > memory_limit) status = Status::too_many_edges;
    wanted = double(n_edges) * double(runs.size()) / double(std::max<std::int64_t>(runs_done, 1));
}

namespace {

// The edges of one receiver: their entry numbers -> sender and shift.
void write_edges(const Image *image, const Hits &hits, const Image &wrap, std::int64_t *sender, std::int32_t *shift) {
    const std::uint32_t *entry = hits.entry;
    const std::int64_t n = hits.count;
    std::int64_t k = 0;
#if defined(__AVX512F__) && defined(__AVX512VL__)
    const __m512i wraps = _mm512_broadcast_i32x4(_mm_load_si128(reinterpret_cast<const __m128i *>(&wrap)));
    auto load = [&](std::int64_t q) { return _mm_load_si128(reinterpret_cast<const __m128i *>(image + entry[q])); };
    for (; k + 4 <= n; k += 4) {  // four images of {atom, s0, s1, s2}; wrap has 0 in the place of the atom
        __m512i v = _mm512_castsi128_si512(load(k));
        v = _mm512_inserti32x4(v, load(k + 1), 1);
        v = _mm512_inserti32x4(v, load(k + 2), 2);
        v = _mm512_inserti32x4(v, load(k + 3), 3);
        v = _mm512_sub_epi32(v, wraps);
        const __m128i atom = _mm512_castsi512_si128(_mm512_maskz_compress_epi32(0x1111, v));
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(sender + k), _mm256_cvtepi32_epi64(atom));
        _mm512_mask_storeu_epi32(shift + 3 * k, 0x0fff, _mm512_maskz_compress_epi32(0xeeee, v));
    }
#endif
    for (; k < n; ++k) {
        const Image &j = image[entry[k]];
        sender[k] = j.atom;
        for (int m = 0; m < 3; ++m) shift[3 * k + m] = j.shift[m] - wrap.shift[m];
    }
}

}  // namespace

void NeighborSearch::fill(std::int64_t *receiver, std::int64_t *sender, std::int32_t *shift, std::int64_t *offsets) const {
    offsets[0] = 0;
    for (std::int64_t i = 0; i < n_atoms_; ++i) offsets[i + 1] = offsets[i] + hits_[std::size_t(i)].count;
    prefer_huge_pages(receiver, std::size_t(n_edges) * sizeof(*receiver));
    prefer_huge_pages(sender, std::size_t(n_edges) * sizeof(*sender));
    prefer_huge_pages(shift, std::size_t(n_edges) * 3 * sizeof(*shift));
    // In the order of the bins: what is read then lies close together, and each receiver is a stretch to write.
    struct Part {
        const Grid *grid;
        std::int64_t from, to;
    };
    std::vector<Part> parts;
    for (const Grid &g : grids_) {
        constexpr std::int64_t step = 4096;
        for (std::int64_t p = 0; p < g.n_entries; p += step) parts.push_back({&g, p, std::min(p + step, g.n_entries)});
    }
#pragma omp parallel for num_threads(n_threads_) schedule(dynamic) if (n_edges > 20000)
    for (std::size_t part = 0; part < parts.size(); ++part) {
        const Grid &g = *parts[part].grid;
        for (std::int64_t p = parts[part].from; p < parts[part].to; ++p) {
            if (!g.is_atom[std::size_t(p)]) continue;
            const std::int64_t i = g.image[std::size_t(p)].atom, e = offsets[i];
            const Hits &hits = hits_[std::size_t(i)];
            std::fill(receiver + e, receiver + e + hits.count, i);
            write_edges(g.image.data(), hits, wrap_[std::size_t(i)], sender + e, shift + 3 * e);
        }
    }
}

}  // namespace atomsym
