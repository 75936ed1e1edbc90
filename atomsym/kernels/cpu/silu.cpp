// The activation x s(x), s(x) = 1 / (1 + exp(-x)), with the derivatives that training on forces needs, each in one
// pass over its operands.
#include "bindings.hpp"
#include "simd.hpp"

#include <algorithm>
#include <cstdint>

namespace atomsym {
namespace {

// Constants of exp: 2^n by the bits of a float, and a power series on |r| <= ln(2) / 2.
template <class T> struct Exponential;
template <> struct Exponential<float> {
    using Integer = std::int32_t;
    static constexpr int mantissa = 23, terms = 7;
    static constexpr float shift = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number
    static constexpr float high = 0.693145751953125f, low = 1.428606765330187e-6f, limit = 87.0f;
};
template <> struct Exponential<double> {
    using Integer = std::int64_t;
    static constexpr int mantissa = 52, terms = 13;
    static constexpr double shift = 6755399441055744.0;  // 1.5 * 2^52
    static constexpr double high = 0.6931471803691238, low = 1.9082149292705877e-10, limit = 700.0;
};

// exp(x) for |x| <= limit, beyond it that of the limit; NaN stays NaN.
template <class T> inline Vec<T> exponential(Vec<T> x) {
    using E = Exponential<T>;
    typedef typename E::Integer Integers __attribute__((vector_size(ATOMSYM_VECTOR_BYTES)));
    const Vec<T> limit = broadcast<T>(E::limit);
    x = x > limit ? limit : x;
    x = x < -limit ? -limit : x;
    const Vec<T> shifted = x * T(1.4426950408889634) + E::shift, n = shifted - E::shift;
    const Vec<T> r = (x - n * E::high) - n * E::low;
    Vec<T> series = broadcast<T>(1);
    for (int k = E::terms; k >= 1; --k) series = series * r * (T(1) / T(k)) + T(1);
    return (Vec<T>)((Integers)series + ((Integers)shifted << E::mantissa));
}

template <class T> inline Vec<T> logistic(Vec<T> x) { return T(1) / (T(1) + exponential<T>(-x)); }

// All elements of arrays of one size: whole vectors, then the rest in a padded one.
template <class T, class Body> void for_each(std::int64_t size, int n_threads, Body body) {
    constexpr int L = lanes<T>;
    const std::int64_t whole = size / L;
#pragma omp parallel for num_threads(n_threads) schedule(static) if (n_threads > 1 && size > 32768)
    for (std::int64_t v = 0; v < whole; ++v) body(v * L, L);
    if (size > whole * L) body(whole * L, int(size - whole * L));
}
template <class T> inline Vec<T> get(const T *p, int n) { return n == lanes<T> ? load(p) : load_first(p, n); }
template <class T> inline void put(T *p, Vec<T> v, int n) { n == lanes<T> ? store(p, v) : store_first(p, v, n); }

template <class T> void value(Address x, Address out, std::int64_t size, int n_threads) {
    const T *const in = input<T>(x);
    T *const result = output<T>(out);
    nb::gil_scoped_release release;
    for_each<T>(size, n_threads, [=](std::int64_t i, int n) {
        const Vec<T> v = get(in + i, n);
        put(result + i, v * logistic<T>(v), n);
    });
}

// g f'(x), with f' = s (1 + x (1 - s)).
template <class T> void slope(Address g, Address x, Address out, std::int64_t size, int n_threads) {
    const T *const gs = input<T>(g), *const xs = input<T>(x);
    T *const result = output<T>(out);
    nb::gil_scoped_release release;
    for_each<T>(size, n_threads, [=](std::int64_t i, int n) {
        const Vec<T> v = get(xs + i, n), s = logistic<T>(v);
        put(result + i, get(gs + i, n) * (s * (T(1) + v * (T(1) - s))), n);
    });
}

// u f'(x) and u g f''(x), with f'' = s (1 - s) (2 + x (1 - 2 s)).
template <class T>
void curvature(Address g, Address x, Address u, Address in_g, Address in_x, std::int64_t size, int n_threads) {
    const T *const gs = input<T>(g), *const xs = input<T>(x), *const us = input<T>(u);
    T *const first = output<T>(in_g), *const second = output<T>(in_x);
    nb::gil_scoped_release release;
    for_each<T>(size, n_threads, [=](std::int64_t i, int n) {
        const Vec<T> v = get(xs + i, n), s = logistic<T>(v), along = get(us + i, n), rest = T(1) - s;
        put(first + i, along * (s * (T(1) + v * rest)), n);
        put(second + i, along * get(gs + i, n) * (s * rest * (T(2) + v * (rest - s))), n);
    });
}

}  // namespace
}  // namespace atomsym

void bind_silu(nb::module_ &m) {
    using namespace atomsym;
    m.def("silu_float32", &value<float>);
    m.def("silu_float64", &value<double>);
    m.def("silu_slope_float32", &slope<float>);
    m.def("silu_slope_float64", &slope<double>);
    m.def("silu_curvature_float32", &curvature<float>);
    m.def("silu_curvature_float64", &curvature<double>);
}
