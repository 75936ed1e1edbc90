// Gates of rows of any degree, with the derivatives that training on forces needs, each in one pass over its operands.
//
// An item of the input holds scalars, the last G times C of them being gates, then rows of C channels. Rows of degree 0
// go through f; those of degree l > 0 are multiplied with f of the gate l - 1, channel by channel. f is x s(x), s the
// logistic function, times a gain.
#include "bindings.hpp"
#include "logistic.hpp"
#include "tensor_product_lanes.hpp"
#include <nanobind/stl/vector.h>
#include <vector>

namespace atomsym {
namespace {

struct GateSizes {
    std::int64_t n, channels, skipped;  // skipped: scalars before the gates, which belong to others
    std::vector<std::vector<std::int64_t>> rows_of;  // of each degree: where their channels begin, behind the scalars
    std::int64_t n_rows;

    GateSizes(std::int64_t n, std::int64_t channels, std::int64_t skipped, const std::vector<std::int64_t> &degrees)
        : n(n), channels(channels), skipped(skipped), rows_of(1), n_rows(std::int64_t(degrees.size())) {
        for (std::size_t row = 0; row < degrees.size(); ++row) {
            if (std::size_t(degrees[row]) >= rows_of.size()) rows_of.resize(degrees[row] + 1);
            rows_of[degrees[row]].push_back(std::int64_t(row) * channels);
        }
    }
    int degree() const { return int(rows_of.size()) - 1; }
    std::int64_t rows() const { return skipped + degree() * channels; }
    std::int64_t in_width() const { return rows() + n_rows * channels; }
    std::int64_t out_width() const { return n_rows * channels; }
};

// f and its derivatives at x.
template <class T> struct Activation {
    Vec<T> value, first, second;
    Activation(Vec<T> x, T gain) {
        const Vec<T> s = logistic<T>(x), rest = T(1) - s;
        value = gain * (x * s);
        first = gain * (s * (T(1) + x * rest));
        second = gain * (s * rest * (T(2) + x * (rest - s)));
    }
};

template <class T, class Body> void for_channels(const GateSizes &sizes, Body body) {
    std::int64_t c = 0;
    for (; c + lanes<T> <= sizes.channels; c += lanes<T>) body(c, WholeVector<T>{});
    if (c < sizes.channels) body(c, PartVector<T>{int(sizes.channels - c)});
}

template <class T> void value(const GateSizes &sizes, T gain, const T *x, T *out, int n_threads) {
#pragma omp parallel for num_threads(n_threads) schedule(static) if (n_threads > 1)
    for (std::int64_t i = 0; i < sizes.n; ++i) {
        const T *const row = x + i * sizes.in_width(), *const a = row + sizes.rows();
        T *const y = out + i * sizes.out_width();
        for_channels<T>(sizes, [&](std::int64_t c, auto access) {
            for (const std::int64_t at : sizes.rows_of[0])
                access.put(y + at + c, Activation<T>(access.get(a + at + c), gain).value);
            for (int l = 1; l <= sizes.degree(); ++l) {
                const Vec<T> f =
                    Activation<T>(access.get(row + sizes.skipped + (l - 1) * sizes.channels + c), gain).value;
                for (const std::int64_t at : sizes.rows_of[l]) access.put(y + at + c, access.get(a + at + c) * f);
            }
        });
    }
}

template <class T> void gradient(const GateSizes &sizes, T gain, const T *g, const T *x, T *grad_x, int n_threads) {
#pragma omp parallel for num_threads(n_threads) schedule(static) if (n_threads > 1)
    for (std::int64_t i = 0; i < sizes.n; ++i) {
        const T *const row = x + i * sizes.in_width(), *const a = row + sizes.rows();
        const T *const gs = g + i * sizes.out_width();
        T *const out = grad_x + i * sizes.in_width(), *const grad_a = out + sizes.rows();
        std::fill_n(out, sizes.skipped, T(0));
        for_channels<T>(sizes, [&](std::int64_t c, auto access) {
            for (const std::int64_t at : sizes.rows_of[0])
                access.put(grad_a + at + c, access.get(gs + at + c) * Activation<T>(access.get(a + at + c), gain).first);
            for (int l = 1; l <= sizes.degree(); ++l) {
                const std::int64_t gate = sizes.skipped + (l - 1) * sizes.channels + c;
                const Activation<T> f(access.get(row + gate), gain);
                Vec<T> sum{};
                for (const std::int64_t at : sizes.rows_of[l]) {
                    const Vec<T> upper = access.get(gs + at + c);
                    sum += upper * access.get(a + at + c);
                    access.put(grad_a + at + c, upper * f.value);
                }
                access.put(out + gate, sum * f.first);
            }
        });
    }
}

// Derivatives of the gradient along v, for g and x.
template <class T>
void second(const GateSizes &sizes, T gain, const T *g, const T *x, const T *along, T *grad_g, T *grad_x,
            int n_threads) {
#pragma omp parallel for num_threads(n_threads) schedule(static) if (n_threads > 1)
    for (std::int64_t i = 0; i < sizes.n; ++i) {
        const std::int64_t start = i * sizes.in_width();
        const T *const row = x + start, *const a = row + sizes.rows(), *const v = along + start;
        const T *const va = v + sizes.rows(), *const gs = g + i * sizes.out_width();
        T *const in_g = grad_g + i * sizes.out_width(), *const out = grad_x + start, *const in_a = out + sizes.rows();
        std::fill_n(out, sizes.skipped, T(0));
        for_channels<T>(sizes, [&](std::int64_t c, auto access) {
            for (const std::int64_t at : sizes.rows_of[0]) {
                const Activation<T> own(access.get(a + at + c), gain);
                const Vec<T> direction = access.get(va + at + c);
                access.put(in_g + at + c, direction * own.first);
                access.put(in_a + at + c, direction * access.get(gs + at + c) * own.second);
            }
            for (int l = 1; l <= sizes.degree(); ++l) {
                const std::int64_t gate = sizes.skipped + (l - 1) * sizes.channels + c;
                const Activation<T> f(access.get(row + gate), gain);
                const Vec<T> along_gate = access.get(v + gate), slope = along_gate * f.first;
                Vec<T> with_a{}, with_v{};
                for (const std::int64_t at : sizes.rows_of[l]) {
                    const Vec<T> upper = access.get(gs + at + c), lower = access.get(a + at + c);
                    const Vec<T> direction = access.get(va + at + c);
                    with_a += upper * lower;
                    with_v += upper * direction;
                    access.put(in_g + at + c, direction * f.value + slope * lower);
                    access.put(in_a + at + c, slope * upper);
                }
                access.put(out + gate, with_v * f.first + with_a * along_gate * f.second);
            }
        });
    }
}

// sizes: items, channels, scalars before the gates, then the degree of each row.
GateSizes sizes_of(const std::vector<std::int64_t> &s) {
    return {s[0], s[1], s[2], std::vector<std::int64_t>(s.begin() + 3, s.end())};
}

template <class T>
void value_call(const std::vector<std::int64_t> &sizes, double gain, Address x, Address out, int n_threads) {
    nb::gil_scoped_release release;
    value<T>(sizes_of(sizes), T(gain), input<T>(x), output<T>(out), n_threads);
}

template <class T>
void gradient_call(const std::vector<std::int64_t> &sizes, double gain, Address g, Address x, Address grad_x,
                   int n_threads) {
    nb::gil_scoped_release release;
    gradient<T>(sizes_of(sizes), T(gain), input<T>(g), input<T>(x), output<T>(grad_x), n_threads);
}

template <class T>
void second_call(const std::vector<std::int64_t> &sizes, double gain, Address g, Address x, Address along,
                 Address grad_g, Address grad_x, int n_threads) {
    nb::gil_scoped_release release;
    second<T>(sizes_of(sizes), T(gain), input<T>(g), input<T>(x), input<T>(along), output<T>(grad_g),
              output<T>(grad_x), n_threads);
}

}  // namespace
}  // namespace atomsym

void bind_so2_gate(nb::module_ &m) {
    using namespace atomsym;
    m.def("so2_gate_float32", &value_call<float>);
    m.def("so2_gate_float64", &value_call<double>);
    m.def("so2_gate_gradient_float32", &gradient_call<float>);
    m.def("so2_gate_gradient_float64", &gradient_call<double>);
    m.def("so2_gate_second_float32", &second_call<float>);
    m.def("so2_gate_second_float64", &second_call<double>);
}
