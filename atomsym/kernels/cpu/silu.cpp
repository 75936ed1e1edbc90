// The activation x s(x), s(x) = 1 / (1 + exp(-x)), with the derivatives that training on forces needs, each in one
// pass over its operands.
#include "bindings.hpp"
#include "logistic.hpp"

#include <algorithm>
#include <cstdint>

namespace atomsym {
namespace {

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
