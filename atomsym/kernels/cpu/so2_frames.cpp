// Frames of edges: D^l of the turn of each edge to the polar axis, and how they change when the edge turns.
//
// D(R (1 + w x)) = D(R) (1 + w . G), with the generators G of each degree: the form <g, D (w . G)> is linear in all
// three, and as G is antisymmetric, its derivatives are the two kernels below again.
#include "bindings.hpp"
#include "tensor_product_lanes.hpp"
#include <algorithm>
#include <cmath>
#include <nanobind/stl/vector.h>
#include <vector>

namespace atomsym {
namespace {

// Tables of one degree, made in Python. D^l[k, k'] is the sum over pairs of couplings of the product of their
// coefficients with D^(l-1)[i, i'] R[j, j'], the factor 2 l + 1 being in the coefficients.
struct Coupling {
    int i, j, k;
    double coefficient;
};
struct Generator {
    int axis, row, column;
    double element;
};
struct FrameTables {
    int degree, order;  // of the frames: rows |m| <= order
    std::vector<std::vector<Coupling>> couplings;
    std::vector<std::vector<Generator>> generators;
    int rows(int l) const { return 2 * std::min(l, order) + 1; }
    int size() const {
        int total = 0;
        for (int l = 0; l <= degree; ++l) total += rows(l) * (2 * l + 1);
        return total;
    }
};

// counts: entries of each degree; numbers: three for each entry.
template <class Entry>
std::vector<std::vector<Entry>> entries_of(const std::vector<int> &counts, const std::vector<int> &numbers,
                                           const std::vector<double> &values) {
    std::vector<std::vector<Entry>> result;
    std::size_t at = 0;
    for (int count : counts) {
        result.emplace_back();
        for (int i = 0; i < count; ++i, ++at)
            result.back().push_back({numbers[3 * at], numbers[3 * at + 1], numbers[3 * at + 2], values[at]});
    }
    return result;
}

// The address of tables that live as long as the process; Python keeps one a pair of degree and order.
Address make_tables(int degree, int order, const std::vector<int> &n_couplings, const std::vector<int> &couplings,
                    const std::vector<double> &coefficients, const std::vector<int> &n_generators,
                    const std::vector<int> &generators, const std::vector<double> &elements) {
    static std::vector<std::unique_ptr<FrameTables>> tables;
    tables.push_back(std::make_unique<FrameTables>(
        FrameTables{degree, order, entries_of<Coupling>(n_couplings, couplings, coefficients),
                    entries_of<Generator>(n_generators, generators, elements)}));
    return reinterpret_cast<Address>(tables.back().get());
}

// The shortest turn to +y for v_y >= 0, else a half turn about x and then the shortest turn; row-major.
template <class T> void turn_to_polar_axis(const T *v, T *rotation) {
    T x = v[0], y = v[1], z = v[2];
    // Divided by the largest component first: squares neither overflow nor vanish.
    const T largest = std::max({std::abs(x), std::abs(y), std::abs(z)});
    x /= largest, y /= largest, z /= largest;
    const T length = std::sqrt(x * x + y * y + z * z);
    x /= length, y /= length, z /= length;
    const T sign = y < 0 ? T(-1) : T(1);
    y *= sign, z *= sign;
    const T scale = 1 / (1 + y);
    const T rows[9] = {1 - x * x * scale, -x * sign, -x * z * scale * sign, x, y * sign, z * sign,
                       -x * z * scale,    -z * sign, (1 - z * z * scale) * sign};
    std::copy_n(rows, 9, rotation);
}

template <class T>
void frames(const FrameTables &tables, const T *vectors, T *out, std::int64_t n, int n_threads) {
    const int size = tables.size(), width = 2 * tables.degree + 1;
#pragma omp parallel num_threads(n_threads) if (n_threads > 1)
    {
        std::vector<T> lower(width * width + 9), here(width * width + 9);
#pragma omp for schedule(static)
        for (std::int64_t e = 0; e < n; ++e) {
            const T *const v = vectors + 3 * e;
            T *target = out + e * size, rotation[9];
            if (v[0] == 0 && v[1] == 0 && v[2] == 0) {  // no direction: degree 0 alone
                std::fill_n(target, size, T(0));
                target[0] = 1;
                continue;
            }
            turn_to_polar_axis(v, rotation);
            *target++ = 1;
            for (int l = 1; l <= tables.degree; ++l) {
                const int columns = 2 * l + 1;
                if (l == 1) {
                    std::copy_n(rotation, 9, here.data());
                } else {
                    std::swap(lower, here);
                    std::fill_n(here.data(), columns * columns, T(0));
                    for (const Coupling &a : tables.couplings[l])
                        for (const Coupling &b : tables.couplings[l])
                            here[a.k * columns + b.k] += T(a.coefficient * b.coefficient) *
                                                         lower[a.i * (columns - 2) + b.i] * rotation[a.j * 3 + b.j];
                }
                const int kept = tables.rows(l);
                target = std::copy_n(here.data() + (columns - kept) / 2 * columns, kept * columns, target);
            }
        }
    }
}

// out = D (w . G), degree by degree.
template <class T>
void turn(const FrameTables &tables, const T *d, const T *w, T *out, std::int64_t n, int n_threads) {
    const int size = tables.size();
#pragma omp parallel for num_threads(n_threads) schedule(static) if (n_threads > 1)
    for (std::int64_t e = 0; e < n; ++e) {
        const T *source = d + e * size, *const spin = w + 3 * e;
        T *target = out + e * size;
        std::fill_n(target, size, T(0));
        for (int l = 0; l <= tables.degree; ++l) {
            const int columns = 2 * l + 1, rows = tables.rows(l);
            for (const Generator &g : tables.generators[l]) {
                const T factor = spin[g.axis] * T(g.element);
                for (int r = 0; r < rows; ++r) target[r * columns + g.column] += source[r * columns + g.row] * factor;
            }
            source += rows * columns;
            target += rows * columns;
        }
    }
}

// out[axis] = <g, D G_axis>, all degrees together.
template <class T>
void torque(const FrameTables &tables, const T *g, const T *d, T *out, std::int64_t n, int n_threads) {
    const int size = tables.size();
#pragma omp parallel for num_threads(n_threads) schedule(static) if (n_threads > 1)
    for (std::int64_t e = 0; e < n; ++e) {
        const T *upper = g + e * size, *source = d + e * size;
        T sums[3] = {};
        for (int l = 0; l <= tables.degree; ++l) {
            const int columns = 2 * l + 1, rows = tables.rows(l);
            for (const Generator &entry : tables.generators[l]) {
                T sum = 0;
                for (int r = 0; r < rows; ++r) sum += upper[r * columns + entry.column] * source[r * columns + entry.row];
                sums[entry.axis] += sum * T(entry.element);
            }
            upper += rows * columns;
            source += rows * columns;
        }
        std::copy_n(sums, 3, out + 3 * e);
    }
}

template <class T> void frames_call(Address tables, Address vectors, Address out, std::int64_t n, int n_threads) {
    nb::gil_scoped_release release;
    frames<T>(*input<FrameTables>(tables), input<T>(vectors), output<T>(out), n, n_threads);
}
template <class T> void turn_call(Address tables, Address d, Address w, Address out, std::int64_t n, int n_threads) {
    nb::gil_scoped_release release;
    turn<T>(*input<FrameTables>(tables), input<T>(d), input<T>(w), output<T>(out), n, n_threads);
}
template <class T> void torque_call(Address tables, Address g, Address d, Address out, std::int64_t n, int n_threads) {
    nb::gil_scoped_release release;
    torque<T>(*input<FrameTables>(tables), input<T>(g), input<T>(d), output<T>(out), n, n_threads);
}

}  // namespace
}  // namespace atomsym

void bind_so2_frames(nb::module_ &m) {
    using namespace atomsym;
    m.def("so2_frame_tables", &make_tables);
    m.def("so2_frames_float32", &frames_call<float>);
    m.def("so2_frames_float64", &frames_call<double>);
    m.def("so2_frame_turn_float32", &turn_call<float>);
    m.def("so2_frame_turn_float64", &turn_call<double>);
    m.def("so2_frame_torque_float32", &torque_call<float>);
    m.def("so2_frame_torque_float64", &torque_call<double>);
}
