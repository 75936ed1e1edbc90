// Real spherical harmonics, their gradient form and its gradient: one vector per SIMD lane.
//
// Inside, the solid harmonics are scaled so that derivatives cost no multiplication (polar axis y):
//     C(l, m) = P_l^m (z + i x)^m / (l + m)!  with P in y and r²,   c(l, m) = Re C, s(l, m) = Im C, m >= 0
//     d/dy C(l, m) = C(l-1, m)
//     d/dz C(l, m) = [C(l-1, m-1) - C(l-1, m+1)] / 2,    C(l, -1) = -conj C(l, 1)
//     d/dx C(l, m) = i [C(l-1, m-1) + C(l-1, m+1)] / 2
// so a derivative of degree l is a constant combination of degree l - 1 and three forms do everything:
//     gradient(g, c): sum g dC,   directional(p, c): (p . d) C,   lower(g, p): the adjoint, on degree l - 1.
// Component k = l² + l + m holds c(l, m) for m >= 0 and s(l, |m|) for m < 0.
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "bindings.hpp"
#include "transpose.hpp"

using namespace atomsym;

namespace {

constexpr int max_degree = 8;
constexpr int components(int degree) { return (degree + 1) * (degree + 1); }
constexpr int at(int l, int m) { return l * l + l + m; }

template <class T> struct Vectors {
    Vec<T> x, y, z;
};
template <class T> inline Vec<T> dot(const Vectors<T> &a, const Vectors<T> &b) {
    return a.x * b.x + a.y * b.y + a.z * b.z;
}
template <class T> inline Vectors<T> operator*(Vec<T> s, const Vectors<T> &a) { return {s * a.x, s * a.y, s * a.z}; }
template <class T> inline Vectors<T> operator+(const Vectors<T> &a, const Vectors<T> &b) {
    return {a.x + b.x, a.y + b.y, a.z + b.z};
}
template <class T> inline Vectors<T> operator-(const Vectors<T> &a, const Vectors<T> &b) {
    return {a.x - b.x, a.y - b.y, a.z - b.z};
}

// Through small arrays, which compilers turn into shuffles; element-wise access to a register they do not.
template <class T, bool full> inline Vectors<T> load_vectors(const T *p, int count) {
    constexpr int W = lanes<T>;
    T x[W] = {}, y[W] = {}, z[W] = {};
    for (int i = 0; i < (full ? W : count); ++i) {
        x[i] = p[3 * i];
        y[i] = p[3 * i + 1];
        z[i] = p[3 * i + 2];
    }
    return {load(x), load(y), load(z)};
}
template <class T, bool full> inline void store_vectors(const Vectors<T> &v, T *p, int count) {
    constexpr int W = lanes<T>;
    T x[W], y[W], z[W];
    store(x, v.x);
    store(y, v.y);
    store(z, v.z);
    for (int i = 0; i < (full ? W : count); ++i) {
        p[3 * i] = x[i];
        p[3 * i + 1] = y[i];
        p[3 * i + 2] = z[i];
    }
}
template <class T> inline Vec<T> square_root(Vec<T> v) {
    T s[lanes<T>];
    store(s, v);
    for (int i = 0; i < lanes<T>; ++i) s[i] = std::sqrt(s[i]);
    return load(s);
}

// Factor from C to a real harmonic: component (0), norm (1) or integral (2) normalisation.
struct Factors {
    double value[3][components(max_degree)];
    Factors() {
        double factorial[2 * max_degree + 1] = {1};
        for (int i = 1; i <= 2 * max_degree; ++i) factorial[i] = i * factorial[i - 1];
        for (int l = 0; l <= max_degree; ++l)
            for (int m = -l; m <= l; ++m) {
                const int a = m < 0 ? -m : m;
                const double norm = a == 0 ? factorial[l] : std::sqrt(2 * factorial[l - a] * factorial[l + a]);
                value[0][at(l, m)] = std::sqrt(2.0 * l + 1) * norm;
                value[1][at(l, m)] = norm;
                value[2][at(l, m)] = std::sqrt((2.0 * l + 1) / (4 * 3.14159265358979323846)) * norm;
            }
    }
};
template <class T> struct TypedFactors {
    T value[components(max_degree)];
    explicit TypedFactors(int normalization) {
        static const Factors exact;
        for (int k = 0; k < components(max_degree); ++k) value[k] = T(exact.value[normalization][k]);
    }
};

// Powers of two near 1 / s for s >= 0, read off the exponent: exact, and no division.
template <class T> inline Vec<T> power_of_two_below(Vec<T> s) {
    using Bits = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;
    typedef Bits Integers __attribute__((vector_size(ATOMSYM_VECTOR_BYTES)));
    constexpr Bits unit = Bits(1) << (sizeof(T) == 4 ? 23 : 52), largest = sizeof(T) == 4 ? 255 : 2047;
    Integers exponent;
    std::memcpy(&exponent, &s, sizeof s);
    exponent &= largest * unit;
    exponent = exponent < unit ? Integers{} + unit : exponent;  // zero and subnormal numbers
    exponent = largest * unit - exponent;
    std::memcpy(&s, &exponent, sizeof s);
    return s;
}

// Direction, inverse length and |direction|² (1, or 0 for a zero vector), without overflow or underflow on the way.
template <class T> struct Direction {
    Vectors<T> unit;
    Vec<T> inverse, square;
};
template <class T> inline Direction<T> direction_of(const Vectors<T> &v, bool normalize) {
    const Vec<T> one = broadcast<T>(1), none{};
    if (!normalize) return {v, one, dot(v, v)};
    const auto absolute = [&](Vec<T> a) { return a < none ? -a : a; };
    const auto larger = [](Vec<T> a, Vec<T> b) { return a > b ? a : b; };
    const Vec<T> shrink = power_of_two_below<T>(larger(larger(absolute(v.x), absolute(v.y)), absolute(v.z)));
    const Vectors<T> w = shrink * v;
    const Vec<T> squared = dot(w, w);
    const auto zero = squared == none;
    const Vec<T> inverse = one / square_root<T>(zero ? one : squared);
    return {inverse * w, zero ? none : shrink * inverse, zero ? none : one};
}

template <class T, int L> inline void scaled_harmonics(const Vectors<T> &v, Vec<T> square, Vec<T> *c) {
    Vec<T> re = broadcast<T>(1), im{};
#pragma GCC unroll 9
    for (int m = 0; m <= L; ++m) {
        if (m > 0) {  // C(m, m) = (z + i x)^m / (2^m m!)
            const T half = T(0.5 / m);
            const Vec<T> next = (v.z * re - v.x * im) * half;
            im = (v.z * im + v.x * re) * half;
            re = next;
        }
        Vec<T> before{}, q = broadcast<T>(1);
#pragma GCC unroll 9
        for (int l = m; l <= L; ++l) {
            if (l > m) {
                const T scale = T(1.0 / ((l - m) * (l + m)));
                const Vec<T> next = (T(2 * l - 1) * scale) * v.y * q - scale * square * before;
                before = q;
                q = next;
            }
            c[at(l, m)] = q * re;
            if (m > 0) c[at(l, -m)] = q * im;
        }
    }
}

template <class T, int L> inline Vectors<T> gradient(const Vec<T> *g, const Vec<T> *c) {
    Vectors<T> sum{}, axial{};
#pragma GCC unroll 9
    for (int l = 1; l <= L; ++l) {
        sum.y += g[at(l, 0)] * c[at(l - 1, 0)];
        if (l > 1) {
            axial.z += g[at(l, 0)] * c[at(l - 1, 1)];
            axial.x += g[at(l, 0)] * c[at(l - 1, -1)];
        }
#pragma GCC unroll 9
        for (int m = 1; m <= l; ++m) {
            const Vec<T> even = g[at(l, m)], odd = g[at(l, -m)];
            if (m < l) sum.y += even * c[at(l - 1, m)] + odd * c[at(l - 1, -m)];
            const bool upper = m + 1 < l;
            const Vec<T> cl = c[at(l - 1, m - 1)], cu = upper ? c[at(l - 1, m + 1)] : Vec<T>{};
            const Vec<T> sl = m > 1 ? c[at(l - 1, 1 - m)] : Vec<T>{}, su = upper ? c[at(l - 1, -m - 1)] : Vec<T>{};
            sum.z += even * (cl - cu) + odd * (sl - su);
            sum.x += odd * (cl + cu) - even * (sl + su);
        }
    }
    return {T(0.5) * sum.x - axial.x, sum.y, T(0.5) * sum.z - axial.z};
}

template <class T, int L> inline void directional(const Vectors<T> &p, const Vec<T> *c, Vec<T> *d) {
    const Vec<T> hx = T(0.5) * p.x, hz = T(0.5) * p.z;
    d[0] = Vec<T>{};
#pragma GCC unroll 9
    for (int l = 1; l <= L; ++l) {
        d[at(l, 0)] = p.y * c[at(l - 1, 0)];
        if (l > 1) d[at(l, 0)] -= p.z * c[at(l - 1, 1)] + p.x * c[at(l - 1, -1)];
#pragma GCC unroll 9
        for (int m = 1; m <= l; ++m) {
            const bool upper = m + 1 < l;
            const Vec<T> cl = c[at(l - 1, m - 1)], cu = upper ? c[at(l - 1, m + 1)] : Vec<T>{};
            const Vec<T> sl = m > 1 ? c[at(l - 1, 1 - m)] : Vec<T>{}, su = upper ? c[at(l - 1, -m - 1)] : Vec<T>{};
            d[at(l, m)] = hz * (cl - cu) - hx * (sl + su);
            d[at(l, -m)] = hz * (sl - su) + hx * (cl + cu);
            if (m < l) {
                d[at(l, m)] += p.y * c[at(l - 1, m)];
                d[at(l, -m)] += p.y * c[at(l - 1, -m)];
            }
        }
    }
}

// h on degrees 0 ... L - 1 with sum h C = sum g (p . d) C.
template <class T, int L> inline void lower(const Vec<T> *g, const Vectors<T> &p, Vec<T> *h) {
    const Vec<T> hx = T(0.5) * p.x, hz = T(0.5) * p.z;
#pragma GCC unroll 9
    for (int l = 1; l <= L; ++l) {
        h[at(l - 1, 0)] = p.y * g[at(l, 0)] + hz * g[at(l, 1)] + hx * g[at(l, -1)];
#pragma GCC unroll 9
        for (int m = 1; m < l; ++m) {
            const Vec<T> cu = g[at(l, m + 1)], su = g[at(l, -m - 1)];
            const Vec<T> cl = m > 1 ? g[at(l, m - 1)] : T(2) * g[at(l, 0)], sl = m > 1 ? g[at(l, 1 - m)] : Vec<T>{};
            h[at(l - 1, m)] = p.y * g[at(l, m)] + hz * (cu - cl) + hx * (su + sl);
            h[at(l - 1, -m)] = p.y * g[at(l, -m)] + hz * (su - sl) - hx * (cu + cl);
        }
    }
}

// The part of a vector that turns a direction, per length: the derivative of the normalisation, which is symmetric.
template <class T> inline Vectors<T> turning(const Direction<T> &d, const Vectors<T> &u, bool normalize) {
    return normalize ? d.inverse * (u - dot(d.unit, u) * d.unit) : u;
}

template <class T, int L, bool full>
void forward_block(const T *vectors, T *values, int count, bool normalize, const T *factor) {
    constexpr int K = components(L);
    Vec<T> c[K];
    const Direction<T> d = direction_of<T>(load_vectors<T, full>(vectors, count), normalize);
    scaled_harmonics<T, L>(d.unit, d.square, c);
#pragma GCC unroll 81
    for (int k = 0; k < K; ++k) c[k] *= factor[k];
    store_columns<T, K, full>(c, values, count);
}

template <class T, int L, bool full>
void vjp_block(const T *grad, const T *vectors, T *grad_vectors, int count, bool normalize, const T *factor) {
    constexpr int K = components(L);
    Vec<T> c[K], g[K];
    const Direction<T> d = direction_of<T>(load_vectors<T, full>(vectors, count), normalize);
    load_columns<T, K, full>(grad, count, g);
#pragma GCC unroll 81
    for (int k = 0; k < K; ++k) g[k] *= factor[k];
    if constexpr (L > 0) scaled_harmonics<T, L - 1>(d.unit, d.square, c);
    store_vectors<T, full>(turning(d, gradient<T, L>(g, c), normalize), grad_vectors, count);
}

// Gradient of u . vjp(grad, vectors) with respect to grad and vectors.
template <class T, int L, bool full>
void vjp_vjp_block(const T *grad, const T *vectors, const T *u_, T *grad_grad, T *grad_vectors, int count,
                   bool normalize, const T *factor) {
    constexpr int K = components(L);
    Vec<T> c[K], g[K], h[K];
    const Direction<T> d = direction_of<T>(load_vectors<T, full>(vectors, count), normalize);
    const Vectors<T> u = load_vectors<T, full>(u_, count), p = turning(d, u, normalize);
    load_columns<T, K, full>(grad, count, g);
#pragma GCC unroll 81
    for (int k = 0; k < K; ++k) g[k] *= factor[k];
    if constexpr (L > 0) scaled_harmonics<T, L - 1>(d.unit, d.square, c);

    directional<T, L>(p, c, h);
#pragma GCC unroll 81
    for (int k = 0; k < K; ++k) h[k] *= factor[k];
    store_columns<T, K, full>(h, grad_grad, count);

    Vectors<T> result{};
    if constexpr (L > 0) {
        lower<T, L>(g, p, h);
        result = turning(d, gradient<T, L - 1>(h, c), normalize);
    }
    if (normalize) {  // p itself depends on the vector
        const Vectors<T> w = gradient<T, L>(g, c);
        const Vec<T> wu = dot(w, u), wn = dot(w, d.unit), un = dot(u, d.unit);
        const Vectors<T> bend = (T(3) * wn * un - wu) * d.unit - un * w - wn * u;
        result = result + (d.inverse * d.inverse) * bend;
    }
    store_vectors<T, full>(result, grad_vectors, count);
}

// Runs body(first, count, full) over blocks of one register width of vectors.
template <class T, class Body> void over_blocks(std::int64_t n, int n_threads, const Body &body) {
    constexpr int W = lanes<T>;
    const std::int64_t whole = n / W;
#pragma omp parallel for num_threads(n_threads) schedule(static) if (n >= 2048)
    for (std::int64_t b = 0; b < whole; ++b) body(b * W, W, std::true_type{});
    if (n % W) body(whole * W, int(n % W), std::false_type{});
}

template <class Function, int... L>
void with_degree(int degree, const Function &function, std::integer_sequence<int, L...>) {
    ((degree == L ? function(std::integral_constant<int, L>{}) : void()), ...);
}
template <class Function> void with_degree(int degree, const Function &function) {
    if (degree < 0 || degree > max_degree) throw nb::value_error("degree out of range");
    with_degree(degree, function, std::make_integer_sequence<int, max_degree + 1>{});
}

template <class T>
void forward(Address vectors_, Address values_, std::int64_t n, int degree, bool normalize, int normalization,
             int n_threads) {
    const T *vectors = input<T>(vectors_);
    T *values = output<T>(values_);
    const TypedFactors<T> factors(normalization);
    with_degree(degree, [&](auto L) {
        constexpr int K = components(L);
        over_blocks<T>(n, n_threads, [&](std::int64_t i, int count, auto full) {
            forward_block<T, L, full>(vectors + 3 * i, values + K * i, count, normalize, factors.value);
        });
    });
}

template <class T>
void vjp(Address grad_, Address vectors_, Address grad_vectors_, std::int64_t n, int degree, bool normalize,
         int normalization, int n_threads) {
    const T *grad = input<T>(grad_), *vectors = input<T>(vectors_);
    T *grad_vectors = output<T>(grad_vectors_);
    const TypedFactors<T> factors(normalization);
    with_degree(degree, [&](auto L) {
        constexpr int K = components(L);
        over_blocks<T>(n, n_threads, [&](std::int64_t i, int count, auto full) {
            vjp_block<T, L, full>(grad + K * i, vectors + 3 * i, grad_vectors + 3 * i, count, normalize,
                                  factors.value);
        });
    });
}

template <class T>
void vjp_vjp(Address grad_, Address vectors_, Address u_, Address grad_grad_, Address grad_vectors_, std::int64_t n,
             int degree, bool normalize, int normalization, int n_threads) {
    const T *grad = input<T>(grad_), *vectors = input<T>(vectors_), *u = input<T>(u_);
    T *grad_grad = output<T>(grad_grad_), *grad_vectors = output<T>(grad_vectors_);
    const TypedFactors<T> factors(normalization);
    with_degree(degree, [&](auto L) {
        constexpr int K = components(L);
        over_blocks<T>(n, n_threads, [&](std::int64_t i, int count, auto full) {
            vjp_vjp_block<T, L, full>(grad + K * i, vectors + 3 * i, u + 3 * i, grad_grad + K * i,
                                      grad_vectors + 3 * i, count, normalize, factors.value);
        });
    });
}

}  // namespace

void bind_spherical_harmonics(nb::module_ &m) {
    m.attr("spherical_harmonics_max_degree") = max_degree;
    const auto release = nb::call_guard<nb::gil_scoped_release>();
    m.def("spherical_harmonics_f32", &forward<float>, release);
    m.def("spherical_harmonics_f64", &forward<double>, release);
    m.def("spherical_harmonics_vjp_f32", &vjp<float>, release);
    m.def("spherical_harmonics_vjp_f64", &vjp<double>, release);
    m.def("spherical_harmonics_vjp_vjp_f32", &vjp_vjp<float>, release);
    m.def("spherical_harmonics_vjp_vjp_f64", &vjp_vjp<double>, release);
}
