// The pairs' part of the Hessian head, a tile of pairs with one receiver at a time: one pair a lane where all do the same.
#include "hessian_head.hpp"
#include "logistic.hpp"

#include <cmath>

namespace atomsym {
namespace {

constexpr double core = 0.1;  // Å; lengths are rounded off below, as in atomsym.nn.edge_lengths

template <class T> struct PairTile {
    static constexpr int size = edge_block<T>;
    int count = 0;
    std::int64_t sender[size] = {};  // counted within the system
    T x[size] = {}, y[size] = {}, z[size] = {};
};

// Lengths, envelopes and harmonics (component normalised, polar axis y) of a tile.
template <class T> struct Geometry {
    static constexpr int B = PairTile<T>::size;
    T distance[B], envelope[B], harmonics[head_components][B];

    Geometry(const PairTile<T> &pair, T cutoff, std::int64_t order) {
        const T root3 = std::sqrt(T(3)), root5 = std::sqrt(T(5)), root15 = std::sqrt(T(15));
        for (int b = 0; b < B; ++b) {
            const T squared = pair.x[b] * pair.x[b] + pair.y[b] * pair.y[b] + pair.z[b] * pair.z[b];
            const T length = std::sqrt(squared), inverse = squared > 0 ? 1 / length : T(0);
            distance[b] = squared >= T(core * core) ? length : T(core / 2) + squared / T(2 * core);
            const T part = distance[b] / cutoff, rest = std::max(1 - part * part, T(0));
            envelope[b] = 1;
            for (std::int64_t n = 0; n < order; ++n) envelope[b] *= rest;
            const T x = pair.x[b] * inverse, y = pair.y[b] * inverse, z = pair.z[b] * inverse;
            harmonics[0][b] = 1;
            harmonics[1][b] = root3 * x;
            harmonics[2][b] = root3 * y;
            harmonics[3][b] = root3 * z;
            harmonics[4][b] = root15 * x * z;
            harmonics[5][b] = root15 * x * y;
            harmonics[6][b] = root5 * (y * y - (x * x + z * z) / 2);
            harmonics[7][b] = root15 * y * z;
            harmonics[8][b] = root15 / 2 * (z * z - x * x);
        }
    }
};

// sin(k pi d / cutoff) / d for k = 1 ... n, by turning (cos, sin) on: the error grows with k only.
template <class T> void bessel_functions(T distance, T cutoff, std::int64_t n, T *basis) {
    const double angle = 3.14159265358979323846 * double(distance) / double(cutoff), c1 = std::cos(angle), s1 = std::sin(angle);
    double c = c1, s = s1;
    for (std::int64_t k = 0; k < n; ++k) {
        basis[k] = T(s / double(distance));
        const double next = s * c1 + c * s1;
        c = c * c1 - s * s1;
        s = next;
    }
}

// The hidden layer of a pair: silu(of receiver + of sender + basis W) times the envelope.
template <class T>
void hidden_layer(const HeadWeights<T> &w, const T *receiver, const T *sender, const T *basis, T envelope, T *hidden) {
    constexpr int L = lanes<T>, group = 64 / int(sizeof(T)) / L;  // a multiple of them fits: see HeadWeights
    for (std::int64_t h = 0; h < w.hidden; h += group * L) {
        Vec<T> sum[group];
        for (int v = 0; v < group; ++v) sum[v] = load(receiver + h + v * L) + load(sender + h + v * L);
        const T *radial = w.radial + h;
        for (std::int64_t k = 0; k < w.n_radial; ++k, radial += w.hidden)
            for (int v = 0; v < group; ++v) sum[v] += basis[k] * load(radial + v * L);
        for (int v = 0; v < group; ++v) store(hidden + h + v * L, sum[v] * logistic<T>(sum[v]) * envelope);
    }
}

// t_q = sum_h hidden_h (V[q, h] + V'[q, h]), lanes of as many q as a vector has lanes summed together.
template <class T>
void contract_hidden(const T *hidden, const T *sender, const T *receiver, std::int64_t n_terms, std::int64_t n_hidden, T *term,
                     int stride) {
    constexpr int L = lanes<T>;
    for (std::int64_t q0 = 0; q0 < n_terms; q0 += L) {
        const int count = int(std::min<std::int64_t>(L, n_terms - q0));
        Vec<T> sum[L] = {};
        for (int r = 0; r < count; ++r) {
            const T *a = sender + (q0 + r) * n_hidden, *b = receiver + (q0 + r) * n_hidden;
            for (std::int64_t h = 0; h < n_hidden; h += L) sum[r] += load(hidden + h) * (load(a + h) + load(b + h));
        }
        transpose_square<T>(sum);
        for (int half = L / 2; half > 0; half /= 2)
            for (int r = 0; r < half; ++r) sum[r] += sum[r + half];
        for (int r = 0; r < count; ++r) term[(q0 + r) * stride] = sum[0][r];
    }
}

// Blocks of a tile: 9 entries of B pairs each.
template <class T, int B>
void blocks_of(const HeadWeights<T> &w, const T (*harmonics)[B], const T *terms, T (*block)[B]) {
    T found[head_components][B] = {};
    for (std::int64_t c = 0; c < w.n_couplings; ++c) {
        const HeadCoupling &at = w.coupling[c];
        const T *t = terms + at.term * B;
        for (int b = 0; b < B; ++b) found[at.component][b] += w.coefficient[c] * (harmonics[at.harmonic][b] * t[b]);
    }
    for (int ab = 0; ab < head_components; ++ab) {
        for (int b = 0; b < B; ++b) block[ab][b] = 0;
        for (int m = 0; m < head_components; ++m)
            for (int b = 0; b < B; ++b) block[ab][b] += w.pair_basis[m * head_components + ab] * found[m][b];
    }
}

template <class T>
void add_tile(const HeadWeights<T> &w, const AtomTerms<T> &atoms, const PairTile<T> &pair, std::int64_t n, std::int64_t i,
              T *work, T *matrix) {
    constexpr int B = PairTile<T>::size;
    const std::int64_t H = w.hidden, n_terms = atoms.n_terms, size = n_terms * H;
    T *const hidden = work, *const basis = hidden + H, *const terms = basis + w.n_radial;
    const Geometry<T> geometry(pair, w.cutoff, w.envelope_order);
    for (int b = 0; b < pair.count; ++b) {
        const T *const sender = atoms.scalars.get() + (3 * pair.sender[b] + 1) * H;
        bessel_functions(geometry.distance[b], w.cutoff, w.n_radial, basis);
        hidden_layer(w, atoms.scalars.get() + 3 * i * H, sender, basis, geometry.envelope[b], hidden);
        const T *const of_sender = atoms.terms.get() + 2 * pair.sender[b] * size;
        contract_hidden(hidden, of_sender, atoms.terms.get() + (2 * i + 1) * size, n_terms, H, terms + b, B);
    }
    T block[head_components][B];
    blocks_of<T, B>(w, geometry.harmonics, terms, block);
    for (int b = 0; b < pair.count; ++b)
        for (int a = 0; a < 3; ++a)
            for (int c = 0; c < 3; ++c) matrix[(3 * i + a) * 3 * n + 3 * pair.sender[b] + c] += block[3 * a + c][b];
}

}  // namespace

template <class T>
void add_pair_blocks(const HeadWeights<T> &w, const HeadInput<T> &input, const AtomTerms<T> &atoms, std::int64_t first,
                     std::int64_t n, std::int64_t i, T *matrix) {
    constexpr int B = PairTile<T>::size;
    Scratch<T> work(w.hidden + w.n_radial + atoms.n_terms * B);
    std::fill_n(work.get(), w.hidden + w.n_radial + atoms.n_terms * B, T(0));  // a tile may have pairs missing
    PairTile<T> pair;
    const auto add_pair = [&](std::int64_t j, T x, T y, T z) {
        if (x * x + y * y + z * z >= w.cutoff * w.cutoff) return;
        pair.sender[pair.count] = j;
        pair.x[pair.count] = x, pair.y[pair.count] = y, pair.z[pair.count] = z;
        if (++pair.count < B) return;
        add_tile(w, atoms, pair, n, i, work.get(), matrix);
        pair.count = 0;
    };
    if (input.offsets) {
        for (std::int64_t e = input.offsets[first + i]; e < input.offsets[first + i + 1]; ++e) {
            const T *const r = input.vectors + 3 * e;
            add_pair(input.sender[e] - first, r[0], r[1], r[2]);
        }
    } else {
        const T *const own = input.positions + 3 * (first + i);
        for (std::int64_t j = 0; j < n; ++j) {
            const T *const other = input.positions + 3 * (first + j);
            if (j != i) add_pair(j, other[0] - own[0], other[1] - own[1], other[2] - own[2]);
        }
    }
    if (pair.count) add_tile(w, atoms, pair, n, i, work.get(), matrix);
}

template void add_pair_blocks(const HeadWeights<float> &, const HeadInput<float> &, const AtomTerms<float> &, std::int64_t,
                              std::int64_t, std::int64_t, float *);
template void add_pair_blocks(const HeadWeights<double> &, const HeadInput<double> &, const AtomTerms<double> &, std::int64_t,
                              std::int64_t, std::int64_t, double *);

}  // namespace atomsym
