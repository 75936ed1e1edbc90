// out[n] = sum over the edges of receiver n of u_e D_e^T rows_e: forward, gradients and second derivatives; and the
// Python border of both operations on rows.
#include "convolution_bindings.hpp"
#include "so2_rows.hpp"

namespace atomsym {
namespace {

template <class T> struct SumScratch {
    Scratch<T> rows, h, along_h;
    Scratch<Vec<T>> sums;
    explicit SumScratch(const RowPlan &plan)
        : rows(size(plan)), h(size(plan)), along_h(size(plan)), sums(std::size_t(plan.frame_size)) {}
    static std::size_t size(const RowPlan &plan) { return std::size_t(plan.n_rows) * frame_vectors * lanes<T>; }
};

// scratch (+)= factor * rows, from their places by order.
template <class T, int V, class Access>
inline void read_rows(const RowPlan &plan, const T *rows, std::int64_t stride, T factor, T *scratch, Access access,
                      bool add = false) {
    constexpr int L = lanes<T>;
    for (int i = 0; i < plan.n_rows; ++i)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) {
            const Vec<T> product = factor * access.get(rows + plan.order_row[i] * stride + v * L);
            T *const target = scratch + (i * V + v) * L;
            store(target, add ? load(target) + product : product);
        }
}

// rows = factor * h + other * k, to their places by order.
template <class T, int V, class Access>
inline void place_rows(const RowPlan &plan, const T *h, T factor, const T *k, T other, T *rows, std::int64_t stride,
                       Access access) {
    constexpr int L = lanes<T>;
    for (int i = 0; i < plan.n_rows; ++i)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) {
            const int at = (i * V + v) * L;
            Vec<T> sum = factor * load(h + at);
            if (k) sum += other * load(k + at);
            access.put(rows + plan.order_row[i] * stride + v * L, sum);
        }
}

// sum += h . rows, lane by lane.
template <class T, int V, class Access>
inline void dot_rows(const RowPlan &plan, const T *h, const T *rows, std::int64_t stride, Vec<T> &sum, Access access) {
    constexpr int L = lanes<T>;
    for (int i = 0; i < plan.n_rows; ++i)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v)
            sum += load(h + (i * V + v) * L) * access.get(rows + plan.order_row[i] * stride + v * L);
}

}  // namespace

// Operands rows, D, u.
template <class T> void sum_forward(const RowPlan &plan, const ConvolutionCall<T> &c) {
    const ProductCall &call = c.sizes;
    const std::int64_t C = call.channels;
    for_each_node(call, [&] { return SumScratch<T>(plan); }, [&](SumScratch<T> &s, std::int64_t b, std::int64_t n) {
        T *const out = c.results[0] + (b * call.n_nodes + n) * plan.components * C;
        std::fill_n(out, plan.components * C, T(0));
        for (std::int64_t e = call.receiver_offsets[n]; e < call.receiver_offsets[n + 1]; ++e) {
            const T *const rows = c.operands[0].at(b) + e * plan.n_rows * C;
            const T *const frame = c.operands[1].at(b) + e * plan.frame_size, u = c.operands[2].at(b)[e];
            for_channel_blocks<T>(C, [&](auto vectors, std::int64_t first, auto access) {
                constexpr int V = decltype(vectors)::value;
                read_rows<T, V>(plan, rows + first, C, u, s.rows.get(), access);
                out_of_frame<T, V>(plan.slots, frame, s.rows.get(), out + first, C, access);
            });
        }
    });
}

// Operands g, rows, D, u; the results are for rows, D, u.
template <class T> void sum_gradients(const RowPlan &plan, const ConvolutionCall<T> &c) {
    const ProductCall &call = c.sizes;
    const std::int64_t C = call.channels;
    T *const grad_rows = c.results[0], *const grad_d = c.results[1], *const grad_u = c.results[2];
    for_each_node(call, [&] { return SumScratch<T>(plan); }, [&](SumScratch<T> &s, std::int64_t b, std::int64_t n) {
        const T *const g = c.operands[0].at(b) + n * plan.components * C;
        for (std::int64_t e = call.receiver_offsets[n]; e < call.receiver_offsets[n + 1]; ++e) {
            const std::int64_t edge = b * call.n_edges + e;
            const T *const rows = c.operands[1].at(b) + e * plan.n_rows * C;
            const T *const frame = c.operands[2].at(b) + e * plan.frame_size, u = c.operands[3].at(b)[e];
            Vec<T> product{};
            if (grad_d) std::fill_n(s.sums.get(), plan.frame_size, Vec<T>{});
            for_channel_blocks<T>(C, [&](auto vectors, std::int64_t first, auto access) {
                constexpr int V = decltype(vectors)::value;
                if (grad_rows || grad_u) into_frame<T, V>(plan.slots, frame, g + first, C, s.h.get(), access);
                if (grad_rows)
                    place_rows<T, V>(plan, s.h.get(), u, static_cast<const T *>(nullptr), T(0),
                                     grad_rows + edge * plan.n_rows * C + first, C, access);
                if (grad_u) dot_rows<T, V>(plan, s.h.get(), rows + first, C, product, access);
                if (grad_d) {
                    read_rows<T, V>(plan, rows + first, C, u, s.rows.get(), access);
                    outer<T, V>(plan.slots, s.rows.get(), g + first, C, s.sums.get(), access);
                }
            });
            if (grad_d) sum_lanes<T>(s.sums.get(), plan.frame_size, grad_d + edge * plan.frame_size);
            if (grad_u) grad_u[edge] = horizontal_sum<T>(product);
        }
    });
}

// Operands g, rows, D, u and the directions of rows, D, u; the results are for g, rows, D, u.
template <class T> void sum_second(const RowPlan &plan, const ConvolutionCall<T> &c) {
    const ProductCall &call = c.sizes;
    const std::int64_t C = call.channels;
    T *const grad_g = c.results[0], *const grad_rows = c.results[1], *const grad_d = c.results[2],
             *const grad_u = c.results[3];
    const bool has_rows = c.has(4), has_d = c.has(5), has_u = c.has(6);
    for_each_node(call, [&] { return SumScratch<T>(plan); }, [&](SumScratch<T> &s, std::int64_t b, std::int64_t n) {
        const T *const g = c.operands[0].at(b) + n * plan.components * C;
        T *const out = grad_g ? grad_g + (b * call.n_nodes + n) * plan.components * C : nullptr;
        if (grad_g) std::fill_n(out, plan.components * C, T(0));
        for (std::int64_t e = call.receiver_offsets[n]; e < call.receiver_offsets[n + 1]; ++e) {
            const std::int64_t edge = b * call.n_edges + e;
            const auto at = [&](int i, std::int64_t size) { return c.operands[i].at(b) + e * size; };
            const T *const rows = at(1, plan.n_rows * C), *const frame = at(2, plan.frame_size), u = *at(3, 1);
            const T *const along_rows = has_rows ? at(4, plan.n_rows * C) : nullptr;
            const T *const along_frame = has_d ? at(5, plan.frame_size) : nullptr;
            const T along_u = has_u ? *at(6, 1) : T(0);
            Vec<T> product{};
            if (grad_d) std::fill_n(s.sums.get(), plan.frame_size, Vec<T>{});
            for_channel_blocks<T>(C, [&](auto vectors, std::int64_t first, auto access) {
                constexpr int V = decltype(vectors)::value;
                if (grad_g || grad_d) {  // u' rows + u rows'
                    read_rows<T, V>(plan, rows + first, C, along_u, s.rows.get(), access);
                    if (has_rows) read_rows<T, V>(plan, along_rows + first, C, u, s.rows.get(), access, true);
                    if (grad_g) out_of_frame<T, V>(plan.slots, frame, s.rows.get(), out + first, C, access);
                    if (grad_d) outer<T, V>(plan.slots, s.rows.get(), g + first, C, s.sums.get(), access);
                }
                if (grad_g && has_d) {
                    read_rows<T, V>(plan, rows + first, C, u, s.rows.get(), access);
                    out_of_frame<T, V>(plan.slots, along_frame, s.rows.get(), out + first, C, access);
                }
                if (!grad_rows && !grad_u) return;
                into_frame<T, V>(plan.slots, frame, g + first, C, s.h.get(), access);
                if (has_d) into_frame<T, V>(plan.slots, along_frame, g + first, C, s.along_h.get(), access);
                if (grad_rows)
                    place_rows<T, V>(plan, s.h.get(), along_u, has_d ? s.along_h.get() : nullptr, u,
                                     grad_rows + edge * plan.n_rows * C + first, C, access);
                if (!grad_u) return;
                if (has_rows) dot_rows<T, V>(plan, s.h.get(), along_rows + first, C, product, access);
                if (has_d) dot_rows<T, V>(plan, s.along_h.get(), rows + first, C, product, access);
            });
            if (grad_d) sum_lanes<T>(s.sums.get(), plan.frame_size, grad_d + edge * plan.frame_size);
            if (grad_u) grad_u[edge] = horizontal_sum<T>(product);
        }
    });
}

namespace {

// degrees: the three numbers of RowPlan; operands and results as the function names them.
template <class T, void (*function)(const RowPlan &, const ConvolutionCall<T> &)>
void call(const std::vector<int> &degrees, const std::vector<Address> &wiring, const std::vector<std::int64_t> &sizes,
          const std::vector<Address> &data, const std::vector<std::int64_t> &strides,
          const std::vector<Address> &results, int n_threads) {
    const ConvolutionCall<T> c = convolution_call<T>(wiring, sizes, data, strides, results, n_threads);
    nb::gil_scoped_release release;
    function(RowPlan(degrees[0], degrees[1], degrees[2]), c);
}

// The same with the blocks of a linear map, as the functions of so2_linear.cpp take them.
template <class T, void (*function)(const RowPlan &, const std::vector<LinearBlock> &, const ConvolutionCall<T> &)>
void call_with_map(const std::vector<int> &degrees, const std::vector<std::int64_t> &table,
                   const std::vector<double> &scales, const std::vector<Address> &wiring,
                   const std::vector<std::int64_t> &sizes, const std::vector<Address> &data,
                   const std::vector<std::int64_t> &strides, const std::vector<Address> &results, int n_threads) {
    const ConvolutionCall<T> c = convolution_call<T>(wiring, sizes, data, strides, results, n_threads);
    nb::gil_scoped_release release;
    function(RowPlan(degrees[0], degrees[1], degrees[2]), linear_blocks(table, scales), c);
}

}  // namespace
}  // namespace atomsym

void bind_so2_rows(nb::module_ &m) {
    using namespace atomsym;
    m.def("so2_gather_forward_float32", &call_with_map<float, gather_forward<float>>);
    m.def("so2_gather_forward_float64", &call_with_map<double, gather_forward<double>>);
    m.def("so2_gather_gradients_float32", &call_with_map<float, gather_gradients<float>>);
    m.def("so2_gather_gradients_float64", &call_with_map<double, gather_gradients<double>>);
    m.def("so2_gather_second_float32", &call_with_map<float, gather_second<float>>);
    m.def("so2_gather_second_float64", &call_with_map<double, gather_second<double>>);
    m.def("so2_sum_forward_float32", &call<float, sum_forward<float>>);
    m.def("so2_sum_forward_float64", &call<double, sum_forward<double>>);
    m.def("so2_sum_gradients_float32", &call<float, sum_gradients<float>>);
    m.def("so2_sum_gradients_float64", &call<double, sum_gradients<double>>);
    m.def("so2_sum_second_float32", &call<float, sum_second<float>>);
    m.def("so2_sum_second_float64", &call<double, sum_second<double>>);
}
