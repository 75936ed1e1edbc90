// Convolutions by rows: nodes are sampled once for a block of channels, an edge costs a few products a row and channel,
// and the sum over the edges of a receiver is projected once. Nothing is kept per edge and row.
//
//     out[n] = P^T sum_{e: receiver n} (S x[sender e]) * f(e),   f(e)[r, c] = sum_k w[e, k, c] (B_k Y[e])[r]
#include "convolution_bindings.hpp"
#include "pointwise_edges.hpp"
#include <memory>

namespace atomsym {
namespace {

// The edges start <= i < start + edges.n of a walk, whose numbers are order[i] (null: i), with their rows z, where they
// are needed, and the weights of the edges after those on their way to the caches.
template <class T, int V>
inline void gather(const PointwiseConvolution<T> &plan, const ProductCall &call, const std::int64_t *order,
                   const std::int64_t *partner, std::int64_t start, std::int64_t end, const T *y, const T *weights,
                   const T *grad_weight, const T *rows, T *z, EdgeBlock<T> &edges) {
    const std::int64_t n_weights = std::int64_t(plan.groups.size()), stride = call.channels;
    const std::int64_t row = plan.rows * V * lanes<T>, w_row = n_weights * stride, at_once = edges_of_block(plan);
    edges.n = int(std::min(at_once, end - start));
    for (int i = 0; i < edges.n; ++i) {
        const std::int64_t e = order ? order[start + i] : start + i;
        edges.number[i] = e;
        edges.weights[i] = weights + e * w_row;
        edges.values[i] = rows + partner[e] * row;
        if (z) edge_rows(plan, y + e * plan.edge_dim, z + i * n_weights * plan.padded);
        if (start + i + at_once >= call.n_edges) continue;
        const std::int64_t later = (order ? order[start + i + at_once] : start + i + at_once) * w_row;
        fetch<T, V>(weights + later, stride, int(n_weights));
        if (grad_weight) fetch<T, V>(grad_weight + later, stride, int(n_weights));
    }
}

// Operands: x, Y, w.
template <class T> void forward(const PointwiseConvolution<T> &plan, const ConvolutionCall<T> &on) {
    const ProductCall &call = on.sizes;
    const std::int64_t C = call.channels;
    const std::int64_t per_task = nodes_per_task(call), tasks = (call.n_nodes + per_task - 1) / per_task;
    const int widest = widest_block<T>(plan.rows), most = std::max(plan.in.middle, plan.out.middle);
    const std::int64_t block = std::int64_t(widest) * lanes<T>;
    Scratch<T> sampled(std::size_t(call.n_nodes * plan.rows * block + 1));
    for (std::int64_t b = 0; b < call.batch; ++b)
        for_channels<T>(C, widest, [&](auto vectors, std::int64_t c, auto access) {
            constexpr int V = decltype(vectors)::value;
            const std::int64_t size = std::int64_t(plan.rows) * V * lanes<T>;
            const T *const x = on.operands[0].at(b) + c, *const y = on.operands[1].at(b);
            const T *const weights = on.operands[2].at(b) + c;
            T *const out = on.results[0] + b * call.n_nodes * plan.out.dim * C + c;
#pragma omp parallel num_threads(call.n_threads) if (call.n_threads > 1)
            {
                Scratch<T> middle(std::size_t(most * block + 1)), sum(std::size_t(plan.rows * block + 1));
                Scratch<T> z(z_size(plan));
                EdgeBlock<T> edges{0, z.get(), {}, {}, {}};
#pragma omp for schedule(static)
                for (std::int64_t n = 0; n < call.n_nodes; ++n)
                    sample<T, V>(plan.in, x + n * plan.in.dim * C, C, middle.get(), sampled.get() + n * size, access);
#pragma omp for schedule(dynamic)
                for (std::int64_t task = 0; task < tasks; ++task) {
                    const std::int64_t n_end = std::min((task + 1) * per_task, call.n_nodes);
                    for (std::int64_t n = task * per_task; n < n_end; ++n) {
                        std::fill_n(sum.get(), size, T(0));
                        const std::int64_t end = call.receiver_offsets[n + 1];
                        for (std::int64_t e = call.receiver_offsets[n]; e < end; e += edges.n) {
                            gather<T, V>(plan, call, nullptr, call.sender, e, end, y, weights, nullptr, sampled.get(),
                                         z.get(), edges);
                            add_filtered<T, V>(plan, edges, C, sum.get(), access);
                        }
                        project<T, V>(plan.out, sum.get(), middle.get(), out + n * plan.out.dim * C, C, access);
                    }
                }
            }
        });
}

// Operands: g, x, Y, w; results: for x, Y, w.
template <class T> void gradients(const PointwiseConvolution<T> &plan, const ConvolutionCall<T> &on) {
    const ProductCall &call = on.sizes;
    const std::int64_t C = call.channels, w_row = std::int64_t(plan.groups.size()) * C;
    const std::int64_t per_task = nodes_per_task(call), tasks = (call.n_nodes + per_task - 1) / per_task;
    const int widest = widest_block<T>(plan.rows);
    const std::int64_t block = std::int64_t(widest) * lanes<T>;
    const bool on_edges = on.results[1] || on.results[2], by_rows = on_edges && !plan.by_components;
    Scratch<T> received(std::size_t(call.n_nodes * plan.rows * block + 1));
    for (std::int64_t b = 0; b < call.batch; ++b)
        for_channels<T>(C, widest, [&](auto vectors, std::int64_t c, auto access) {
            constexpr int V = decltype(vectors)::value;
            const std::int64_t size = std::int64_t(plan.rows) * V * lanes<T>;
            const T *const g = on.operands[0].at(b) + c, *const x = on.operands[1].at(b) + c;
            const T *const y = on.operands[2].at(b), *const weights = on.operands[3].at(b) + c;
            const auto to = [&](int i, std::int64_t member, std::int64_t first) {
                return on.results[i] ? on.results[i] + b * member + first : nullptr;
            };
            T *const grad_x = to(0, call.n_nodes * plan.in.dim * C, c);
            T *const grad_y = to(1, call.n_edges * plan.edge_dim, 0), *const grad_weight = to(2, call.n_edges * w_row, c);
#pragma omp parallel num_threads(call.n_threads) if (call.n_threads > 1)
            {
                EdgeScratch<T> scratch(plan, block);
                Scratch<T> sum(std::size_t(plan.rows * block + 1)), u(std::size_t(plan.rows * block + 1));
                Scratch<T> z(z_size(plan));
                EdgeBlock<T> edges{0, z.get(), {}, {}, {}};
#pragma omp for schedule(static)
                for (std::int64_t n = 0; n < call.n_nodes; ++n)
                    sample<T, V>(plan.out, g + n * plan.out.dim * C, C, scratch.middle.get(),
                                 received.get() + n * size, access);
#pragma omp for schedule(dynamic)
                for (std::int64_t task = 0; task < tasks; ++task) {
                    const std::int64_t n_end = std::min((task + 1) * per_task, call.n_nodes);
                    LaneSums<T> lane(c == 0);
                    for (std::int64_t n = task * per_task; n < n_end; ++n) {
                        if (on_edges)
                            sample<T, V>(plan.in, x + n * plan.in.dim * C, C, scratch.middle.get(), u.get(), access);
                        std::fill_n(sum.get(), size, T(0));
                        const std::int64_t end = call.sender_offsets[n + 1];
                        for (std::int64_t e = call.sender_offsets[n]; e < end; e += edges.n) {
                            gather<T, V>(plan, call, call.sender_order, call.receiver, e, end, y, weights, grad_weight,
                                         received.get(), grad_x || by_rows ? z.get() : nullptr, edges);
                            if (grad_x) add_filtered<T, V>(plan, edges, C, sum.get(), access);
                            for (int i = 0; on_edges && i < edges.n; ++i)
                                edge_gradients<T, V>(plan, edges, i, y, u.get(), grad_y, grad_weight, C, scratch, lane,
                                                     access);
                        }
                        if (grad_x)
                            project<T, V>(plan.in, sum.get(), scratch.middle.get(), grad_x + n * plan.in.dim * C, C,
                                          access);
                    }
                    lane.flush();
                }
            }
        });
}

// edge: the matrix of the map of edges, (edge_dim, rows); widths: how many components of the edge have each weight, in
// their order.
template <class T>
Address make_plan(const SamplingTable &in, const SamplingTable &out, const SamplingTable &edge_map,
                  const std::vector<double> &edge, const std::vector<int> &widths) {
    static std::vector<std::unique_ptr<PointwiseConvolution<T>>> plans;
    constexpr int L = lanes<T>;
    auto plan = std::make_unique<PointwiseConvolution<T>>();
    plan->in = sampling_of<T>(in);
    plan->out = sampling_of<T>(out);
    plan->edge_map = sampling_of<T>(edge_map);
    plan->rows = plan->in.rows;
    plan->padded = (plan->rows + L - 1) / L * L;
    plan->edge_dim = int(edge.size()) / std::max(plan->rows, 1);
    plan->edge.assign(std::size_t(plan->edge_dim) * std::size_t(plan->padded), T(0));
    for (int j = 0; j < plan->edge_dim; ++j)
        for (int r = 0; r < plan->rows; ++r) plan->edge[j * plan->padded + r] = T(edge[j * plan->rows + r]);
    int component = 0;
    for (const int width : widths) {
        plan->groups.emplace_back();
        for (int i = 0; i < width; ++i) plan->groups.back().push_back(component++);
    }
    const std::int64_t n_weights = std::int64_t(widths.size()), most = std::max<std::int64_t>(plan->rows, n_weights);
    for (int r = 0; r < int(most); ++r) plan->every_row.push_back(r);
    // About the time of an edge and vector of channels: what goes by components is stored in between, which costs half
    // as much again as its products.
    const double vectors = widest_block<T>(plan->rows), rows = plan->rows, dim = plan->edge_dim;
    const double components = 1.5 * (double(products_of(plan->edge_map)) + rows + 2 * dim);
    plan->by_components = components <= rows * (2.5 * double(n_weights) + dim / vectors);
    plans.push_back(std::move(plan));
    return reinterpret_cast<Address>(plans.back().get());
}

}  // namespace
}  // namespace atomsym

void bind_pointwise_convolution(nb::module_ &m) {
    using namespace atomsym;
    m.def("pointwise_plan_float32", &make_plan<float>);
    m.def("pointwise_plan_float64", &make_plan<double>);
    m.def("pointwise_forward_float32", &call_with_plan<float, PointwiseConvolution<float>, forward<float>>);
    m.def("pointwise_forward_float64", &call_with_plan<double, PointwiseConvolution<double>, forward<double>>);
    m.def("pointwise_gradients_float32", &call_with_plan<float, PointwiseConvolution<float>, gradients<float>>);
    m.def("pointwise_gradients_float64", &call_with_plan<double, PointwiseConvolution<double>, gradients<double>>);
}
