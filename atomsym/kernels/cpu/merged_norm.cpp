// x / sqrt(sum_k,c a_k x_kc^2 + epsilon) after the mean over the channels was taken from component 0, with the
// derivatives that training on forces needs, each in one pass.
//
// z = P x with the projection P that takes the mean away, r = (z . A z + epsilon)^(-1/2), n = r z. With u = P v:
//   gradient        P (r g - r^3 (g . z) A z)
//   along v, for g  r u - r^3 (u . A z) z
//   along v, for x  P (-r^3 [(u . g) A z + (u . A z) g + (g . z) A u] + 3 r^5 (g . z) (u . A z) A z)
#include "bindings.hpp"
#include "tensor_product_lanes.hpp"
#include <cmath>
#include <nanobind/stl/vector.h>
#include <vector>

namespace atomsym {
namespace {

template <class T> struct NormSizes {
    std::int64_t n, channels;
    std::vector<T> shares;  // a_k
    T epsilon;
    std::int64_t components() const { return std::int64_t(shares.size()); }
    std::int64_t size() const { return components() * channels; }
};

// The mean over the channels taken from the first component, in place.
template <class T> void centre(const NormSizes<T> &sizes, T *x) {
    T sum = 0;
    for (std::int64_t c = 0; c < sizes.channels; ++c) sum += x[c];
    const T mean = sum / T(sizes.channels);
    for (std::int64_t c = 0; c < sizes.channels; ++c) x[c] -= mean;
}

// sum over all of share * a * b; shares of 1 where `weighted` is false.
template <class T> T dot(const NormSizes<T> &sizes, const T *a, const T *b, bool weighted) {
    T total = 0;
    for (std::int64_t k = 0; k < sizes.components(); ++k) {
        const T *const p = a + k * sizes.channels, *const q = b + k * sizes.channels;
        Vec<T> part{};
        std::int64_t c = 0;
        for (; c + lanes<T> <= sizes.channels; c += lanes<T>) part += load(p + c) * load(q + c);
        T sum = horizontal_sum<T>(part);
        for (; c < sizes.channels; ++c) sum += p[c] * q[c];
        total += weighted ? sizes.shares[k] * sum : sum;
    }
    return total;
}

template <class T> T inverse_length(const NormSizes<T> &sizes, const T *z) {
    return 1 / std::sqrt(dot(sizes, z, z, true) + sizes.epsilon);
}

template <class T, class Body> void for_each_item(const NormSizes<T> &sizes, int n_threads, int n_copies, Body body) {
#pragma omp parallel num_threads(n_threads) if (n_threads > 1)
    {
        Scratch<T> scratch(std::size_t(n_copies * sizes.size()) + 1);
#pragma omp for schedule(static)
        for (std::int64_t i = 0; i < sizes.n; ++i) body(i * sizes.size(), scratch.get());
    }
}

template <class T> void value(const NormSizes<T> &sizes, const T *x, T *out, int n_threads) {
    for_each_item(sizes, n_threads, 0, [&](std::int64_t at, T *) {
        std::copy_n(x + at, sizes.size(), out + at);
        centre(sizes, out + at);
        const T r = inverse_length(sizes, out + at);
        for (std::int64_t i = 0; i < sizes.size(); ++i) out[at + i] *= r;
    });
}

template <class T> void gradient(const NormSizes<T> &sizes, const T *g, const T *x, T *grad_x, int n_threads) {
    for_each_item(sizes, n_threads, 1, [&](std::int64_t at, T *z) {
        std::copy_n(x + at, sizes.size(), z);
        centre(sizes, z);
        const T r = inverse_length(sizes, z), factor = r * r * r * dot(sizes, g + at, z, false);
        for (std::int64_t k = 0, i = 0; k < sizes.components(); ++k) {
            const T own = factor * sizes.shares[k];
            for (const std::int64_t end = i + sizes.channels; i < end; ++i) grad_x[at + i] = r * g[at + i] - own * z[i];
        }
        centre(sizes, grad_x + at);
    });
}

template <class T>
void second(const NormSizes<T> &sizes, const T *g, const T *x, const T *v, T *grad_g, T *grad_x, int n_threads) {
    for_each_item(sizes, n_threads, 2, [&](std::int64_t at, T *z) {
        T *const u = z + sizes.size();
        std::copy_n(x + at, sizes.size(), z);
        std::copy_n(v + at, sizes.size(), u);
        centre(sizes, z);
        centre(sizes, u);
        const T r = inverse_length(sizes, z), cube = r * r * r;
        const T gz = dot(sizes, g + at, z, false), uz = dot(sizes, u, z, true), ug = dot(sizes, u, g + at, false);
        const T of_z = 3 * cube * r * r * gz * uz - cube * ug;
        for (std::int64_t k = 0, i = 0; k < sizes.components(); ++k)
            for (const std::int64_t end = i + sizes.channels; i < end; ++i) {
                grad_g[at + i] = r * u[i] - cube * uz * z[i];
                grad_x[at + i] = sizes.shares[k] * (of_z * z[i] - cube * gz * u[i]) - cube * uz * g[at + i];
            }
        centre(sizes, grad_x + at);
    });
}

// sizes: items and channels; shares: a_k of each component.
template <class T>
NormSizes<T> sizes_of(const std::vector<std::int64_t> &sizes, const std::vector<double> &shares, double epsilon) {
    return {sizes[0], sizes[1], std::vector<T>(shares.begin(), shares.end()), T(epsilon)};
}

template <class T>
void value_call(const std::vector<std::int64_t> &sizes, const std::vector<double> &shares, double epsilon, Address x,
                Address out, int n_threads) {
    nb::gil_scoped_release release;
    value<T>(sizes_of<T>(sizes, shares, epsilon), input<T>(x), output<T>(out), n_threads);
}

template <class T>
void gradient_call(const std::vector<std::int64_t> &sizes, const std::vector<double> &shares, double epsilon, Address g,
                   Address x, Address grad_x, int n_threads) {
    nb::gil_scoped_release release;
    gradient<T>(sizes_of<T>(sizes, shares, epsilon), input<T>(g), input<T>(x), output<T>(grad_x), n_threads);
}

template <class T>
void second_call(const std::vector<std::int64_t> &sizes, const std::vector<double> &shares, double epsilon, Address g,
                 Address x, Address v, Address grad_g, Address grad_x, int n_threads) {
    nb::gil_scoped_release release;
    second<T>(sizes_of<T>(sizes, shares, epsilon), input<T>(g), input<T>(x), input<T>(v), output<T>(grad_g),
              output<T>(grad_x), n_threads);
}

}  // namespace
}  // namespace atomsym

void bind_merged_norm(nb::module_ &m) {
    using namespace atomsym;
    m.def("merged_norm_float32", &value_call<float>);
    m.def("merged_norm_float64", &value_call<double>);
    m.def("merged_norm_gradient_float32", &gradient_call<float>);
    m.def("merged_norm_gradient_float64", &gradient_call<double>);
    m.def("merged_norm_second_float32", &second_call<float>);
    m.def("merged_norm_second_float64", &second_call<double>);
}
