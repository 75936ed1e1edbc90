// Sums and positions of maxima over the rows that share an index, for rows in any order; no atomics.
//
// The rows are first put in the order of their segments by a stable counting sort (skipped when they are sorted
// already); each segment is then summed by one thread in that order, so the result does not depend on the number of
// threads.
#include <cmath>
#include <vector>

#include "bindings.hpp"

namespace {

struct Order {
    std::vector<std::int64_t> offsets, rows;  // rows stays empty if the index is sorted
    std::int64_t row(std::int64_t position) const { return rows.empty() ? position : rows[position]; }
};

// Throws before anything is read or written out of range.
Order order_of(const std::int64_t *index, std::int64_t n, std::int64_t n_segments) {
    Order order;
    order.offsets.assign(n_segments + 1, 0);
    bool sorted = true;
    for (std::int64_t i = 0; i < n; ++i) {
        if (index[i] < 0 || index[i] >= n_segments) throw nb::index_error("index out of range");
        ++order.offsets[index[i] + 1];
        sorted &= i == 0 || index[i - 1] <= index[i];
    }
    for (std::int64_t s = 0; s < n_segments; ++s) order.offsets[s + 1] += order.offsets[s];
    if (!sorted) {
        std::vector<std::int64_t> next(order.offsets.begin(), order.offsets.end() - 1);
        order.rows.resize(n);
        for (std::int64_t i = 0; i < n; ++i) order.rows[next[index[i]]++] = i;
    }
    return order;
}

// Narrow rows (energies, forces, stresses) are summed in double precision, which then costs nothing: the additions
// wait for memory. Wide rows (features) have few terms per segment and stay in their own precision.
constexpr std::int64_t narrow = 16;

template <class T>
void segment_sum(Address values_, Address index_, Address sums_, std::int64_t n, std::int64_t width,
                 std::int64_t n_segments, int n_threads) {
    const T *values = input<T>(values_);
    T *sums = output<T>(sums_);
    const Order order = order_of(input<std::int64_t>(index_), n, n_segments);
#pragma omp parallel for num_threads(n_threads) schedule(static) if (n * width > 16384)
    for (std::int64_t s = 0; s < n_segments; ++s) {
        T *sum = sums + s * width;
        const std::int64_t begin = order.offsets[s], end = order.offsets[s + 1];
        if (width <= narrow) {
            double total[narrow] = {};
            for (std::int64_t p = begin; p < end; ++p) {
                const T *row = values + order.row(p) * width;
                for (std::int64_t d = 0; d < width; ++d) total[d] += row[d];
            }
            for (std::int64_t d = 0; d < width; ++d) sum[d] = T(total[d]);
        } else {
            for (std::int64_t d = 0; d < width; ++d) sum[d] = 0;
            for (std::int64_t p = begin; p < end; ++p) {
                const T *row = values + order.row(p) * width;
                for (std::int64_t d = 0; d < width; ++d) sum[d] += row[d];
            }
        }
    }
}

// Row of the first largest value (the first NaN, if there is one) in each column; n for an empty segment.
template <class T>
void segment_argmax(Address values_, Address index_, Address positions_, std::int64_t n, std::int64_t width,
                    std::int64_t n_segments, int n_threads) {
    const T *values = input<T>(values_);
    std::int64_t *positions = output<std::int64_t>(positions_);
    const Order order = order_of(input<std::int64_t>(index_), n, n_segments);
#pragma omp parallel for num_threads(n_threads) schedule(static) if (n * width > 16384)
    for (std::int64_t s = 0; s < n_segments; ++s) {
        std::int64_t *best = positions + s * width;
        for (std::int64_t d = 0; d < width; ++d) best[d] = n;
        for (std::int64_t p = order.offsets[s]; p < order.offsets[s + 1]; ++p) {
            const std::int64_t row = order.row(p);
            for (std::int64_t d = 0; d < width; ++d) {
                const T value = values[row * width + d];
                if (best[d] == n) {
                    best[d] = row;
                    continue;
                }
                const T largest = values[best[d] * width + d];
                if (value > largest || (std::isnan(value) && !std::isnan(largest))) best[d] = row;
            }
        }
    }
}

}  // namespace

void bind_segments(nb::module_ &m) {
    m.def("segment_sum_f32", &segment_sum<float>);
    m.def("segment_sum_f64", &segment_sum<double>);
    m.def("segment_argmax_f32", &segment_argmax<float>);
    m.def("segment_argmax_f64", &segment_argmax<double>);
}
