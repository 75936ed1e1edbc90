// Convolutions by rows: nodes are sampled once for a block of channels, an edge costs a few products a row and channel,
// and the sum over the edges of a receiver is projected once. Nothing is kept per edge and row.
//
//     out[n] = P^T sum_{e: receiver n} (S x[sender e]) * f(e),   f(e)[r, c] = sum_k w[e, k, c] (B_k Y[e])[r]
#include "pointwise_tables.hpp"
#include <algorithm>
#include <memory>

namespace atomsym {
namespace {

// The matrix B as (edge_dim, padded), rows filled up with zeros to whole vectors; groups[k] are the components k of the
// edge that have the weight k.
template <class T> struct PointwiseConvolution {
    int edge_dim, rows, padded;
    Sampling<T> in, out, edge_map;
    bool by_components;  // how the gradients of an edge are taken
    std::vector<T> edge;
    std::vector<std::vector<int>> groups;
    std::vector<int> every_row;  // 0, 1, ... as far as there are rows or weights
};

// Operands and results of the gradients; a result whose address is null is not wanted.
template <class T> struct Gradients {
    Operand<T> g, x, edge, weight;
    T *grad_x, *grad_edge, *grad_weight;
};

// z[k, r] = (B_k Y)[r], rows padded.
template <class T> inline void edge_rows(const PointwiseConvolution<T> &plan, const T *y, T *z) {
    constexpr int L = lanes<T>;
    for (const std::vector<int> &group : plan.groups) {
        for (int r = 0; r < plan.padded; r += L) {
            Vec<T> sum = {};
            for (const int j : group) sum += y[j] * load(plan.edge.data() + std::int64_t(j) * plan.padded + r);
            store(z + r, sum);
        }
        z += plan.padded;
    }
}

// sum += values * f: rows of a filter f, met with those of another array, which lie `values` further.
template <class T> struct AddTimes {
    std::ptrdiff_t values;
    void put(T *sum, Vec<T> f) const { store(sum, load(sum) + load(sum + values) * f); }
};

// The filter of an edge, f[r] = sum_k z[k, r] w[k], row by row to where `write` wants it.
template <class T, int V, class Access, class Write>
inline void filter_rows(const PointwiseConvolution<T> &plan, const T *z, const T *weights, std::int64_t stride, T *to,
                        Access access, Write write) {
    map_rows<T, V>(z, plan.padded, 1, plan.every_row.data(), int(plan.groups.size()), weights, stride,
                   plan.every_row.data(), plan.rows, to, V * lanes<T>, access, write);
}

// Sums over the lanes of many vectors, each added to (or set as) a number somewhere: as many vectors at once as a
// vector has lanes, by the same tree at every register width.
template <class T> class LaneSums {
  public:
    explicit LaneSums(bool set) : set_(set) {}
    void add(Vec<T> v, T *target) {
        part_[count_] = v;
        target_[count_] = target;
        if (++count_ == lanes<T>) flush();
    }
    void flush() {
        constexpr int L = lanes<T>;
        for (int i = count_; i < L; ++i) part_[i] = Vec<T>{};
        transpose_square<T>(part_);
        for (int half = L / 2; half > 0; half /= 2)
#pragma GCC unroll 16
            for (int i = 0; i < half; ++i) part_[i] += part_[i + half];
        for (int i = 0; i < count_; ++i) *target_[i] = set_ ? part_[0][i] : *target_[i] + part_[0][i];
        count_ = 0;
    }

  private:
    Vec<T> part_[lanes<T>];
    T *target_[lanes<T>];
    int count_ = 0;
    bool set_;
};

// Gradients of an edge; null: not wanted.
template <class T> struct OnEdge {
    const T *y, *z, *weights;
    T *grad_edge, *grad_weight;
    std::int64_t stride;
};

// From the products p of the rows at both ends, by components of the edge: h = B^T p costs what a sampling does, and
// both gradients are then short sums. Good where the sampling goes in two steps, or there are few components.
template <class T, int V, class Access>
inline void edge_gradients_by_components(const PointwiseConvolution<T> &plan, const OnEdge<T> &on, const T *p,
                                         T *middle, T *h, LaneSums<T> &lane, Access access) {
    constexpr int L = lanes<T>, W = V * L;
    project<T, V>(plan.edge_map, p, middle, h, W, WholeVector<T>{});
    for (std::size_t k = 0; k < plan.groups.size(); ++k) {
        Vec<T> w[V], sum[V] = {};
        const std::int64_t place = std::int64_t(k) * on.stride;
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) w[v] = access.get(on.weights + place + v * L);
        for (const int j : plan.groups[k]) {
            const T *const component = h + j * W;
            Vec<T> product = load(component) * w[0];
            sum[0] += on.y[j] * load(component);
#pragma GCC unroll 4
            for (int v = 1; v < V; ++v) {
                const Vec<T> value = load(component + v * L);
                product += value * w[v];
                sum[v] += on.y[j] * value;
            }
            if (on.grad_edge) lane.add(product, on.grad_edge + j);
        }
        if (on.grad_weight)
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) access.put(on.grad_weight + place + v * L, sum[v]);
    }
}

// The same by rows: the weights' gradient is sum_r z[k, r] p[r], that for Y goes by the moments q[k, r] = w[k] p[r],
// summed over the vectors of a block only, so that its map costs the same whatever the block. Good for few weights.
template <class T, int V, class Access>
inline void edge_gradients_by_rows(const PointwiseConvolution<T> &plan, const OnEdge<T> &on, const T *p, T *q, T *sums,
                                   LaneSums<T> &lane, Access access) {
    constexpr int L = lanes<T>, W = V * L;
    if (on.grad_weight)
        map_rows<T, V>(on.z, 1, plan.padded, plan.every_row.data(), plan.rows, p, W, plan.every_row.data(),
                       int(plan.groups.size()), on.grad_weight, on.stride, WholeVector<T>{}, access);
    if (!on.grad_edge) return;
    for (std::size_t k = 0; k < plan.groups.size(); ++k) {
        const std::vector<int> &group = plan.groups[k];
        if (group.empty()) continue;
        Vec<T> w[V];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) w[v] = access.get(on.weights + std::int64_t(k) * on.stride + v * L);
        for (int r = 0; r < plan.rows; ++r) {
            Vec<T> sum = load(p + r * W) * w[0];
#pragma GCC unroll 4
            for (int v = 1; v < V; ++v) sum += load(p + r * W + v * L) * w[v];
            store(q + r * L, sum);
        }
        map_rows<T, 1>(plan.edge.data() + std::int64_t(group[0]) * plan.padded, 1, plan.padded, plan.every_row.data(),
                       plan.rows, q, L, group.data(), int(group.size()), sums, L, WholeVector<T>{}, WholeVector<T>{});
    }
    for (int j = 0; j < plan.edge_dim; ++j) lane.add(load(sums + j * L), on.grad_edge + j);
}

template <class T>
void forward(const PointwiseConvolution<T> &plan, const ProductCall &call, Operand<T> x, Operand<T> edge,
             Operand<T> weight, T *out) {
    const std::int64_t C = call.channels, w_row = std::int64_t(plan.groups.size()) * C;
    const std::int64_t per_task = nodes_per_task(call), tasks = (call.n_nodes + per_task - 1) / per_task;
    const int widest = widest_block<T>(plan.rows), most = std::max(plan.in.middle, plan.out.middle);
    const std::int64_t block = std::int64_t(widest) * lanes<T>;
    Scratch<T> sampled(std::size_t(call.n_nodes * plan.rows * block + 1));
    for (std::int64_t b = 0; b < call.batch; ++b)
        for_channels<T>(C, widest, [&](auto vectors, std::int64_t c, auto access) {
            constexpr int V = decltype(vectors)::value;
            const std::int64_t size = std::int64_t(plan.rows) * V * lanes<T>;
#pragma omp parallel num_threads(call.n_threads) if (call.n_threads > 1)
            {
                Scratch<T> middle(std::size_t(most * block + 1)), sum(std::size_t(plan.rows * block + 1));
                Scratch<T> z(plan.groups.size() * std::size_t(plan.padded) + 1);
#pragma omp for schedule(static)
                for (std::int64_t n = 0; n < call.n_nodes; ++n)
                    sample<T, V>(plan.in, x.at(b) + n * plan.in.dim * C + c, C, middle.get(), sampled.get() + n * size,
                                 access);
#pragma omp for schedule(dynamic)
                for (std::int64_t task = 0; task < tasks; ++task) {
                    const std::int64_t n_end = std::min((task + 1) * per_task, call.n_nodes);
                    for (std::int64_t n = task * per_task; n < n_end; ++n) {
                        std::fill_n(sum.get(), size, T(0));
                        for (std::int64_t e = call.receiver_offsets[n]; e < call.receiver_offsets[n + 1]; ++e) {
                            edge_rows(plan, edge.at(b) + e * plan.edge_dim, z.get());
                            const T *const sent = sampled.get() + call.sender[e] * size;
                            filter_rows<T, V>(plan, z.get(), weight.at(b) + e * w_row + c, C, sum.get(), access,
                                              AddTimes<T>{sent - sum.get()});
                        }
                        project<T, V>(plan.out, sum.get(), middle.get(),
                                      out + (b * call.n_nodes + n) * plan.out.dim * C + c, C, access);
                    }
                }
            }
        });
}

template <class T>
void gradients(const PointwiseConvolution<T> &plan, const ProductCall &call, const Gradients<T> &on) {
    const std::int64_t C = call.channels, n_weights = std::int64_t(plan.groups.size()), w_row = n_weights * C;
    const std::int64_t per_task = nodes_per_task(call), tasks = (call.n_nodes + per_task - 1) / per_task;
    const int widest = widest_block<T>(plan.rows), most = std::max({plan.in.middle, plan.out.middle, plan.edge_map.middle});
    const std::int64_t block = std::int64_t(widest) * lanes<T>;
    const bool on_edges = on.grad_edge || on.grad_weight;
    Scratch<T> received(std::size_t(call.n_nodes * plan.rows * block + 1));
    for (std::int64_t b = 0; b < call.batch; ++b)
        for_channels<T>(C, widest, [&](auto vectors, std::int64_t c, auto access) {
            constexpr int V = decltype(vectors)::value;
            const std::int64_t size = std::int64_t(plan.rows) * V * lanes<T>;
#pragma omp parallel num_threads(call.n_threads) if (call.n_threads > 1)
            {
                Scratch<T> middle(std::size_t(most * block + 1)), sum(std::size_t(plan.rows * block + 1));
                Scratch<T> u(std::size_t(plan.rows * block + 1)), p(std::size_t(plan.rows * block + 1));
                Scratch<T> z(std::size_t(n_weights * plan.padded) + 1), q(std::size_t(plan.rows * lanes<T>) + 1);
                Scratch<T> h(std::size_t(plan.edge_dim * block + 1));
#pragma omp for schedule(static)
                for (std::int64_t n = 0; n < call.n_nodes; ++n)
                    sample<T, V>(plan.out, on.g.at(b) + n * plan.out.dim * C + c, C, middle.get(),
                                 received.get() + n * size, access);
#pragma omp for schedule(dynamic)
                for (std::int64_t task = 0; task < tasks; ++task) {
                    const std::int64_t n_end = std::min((task + 1) * per_task, call.n_nodes);
                    LaneSums<T> lane(c == 0);
                    for (std::int64_t n = task * per_task; n < n_end; ++n) {
                        if (on_edges)
                            sample<T, V>(plan.in, on.x.at(b) + n * plan.in.dim * C + c, C, middle.get(), u.get(),
                                         access);
                        std::fill_n(sum.get(), size, T(0));
                        for (std::int64_t i = call.sender_offsets[n]; i < call.sender_offsets[n + 1]; ++i) {
                            const std::int64_t e = call.sender_order[i], place = b * call.n_edges + e;
                            const T *const g = received.get() + call.receiver[e] * size;
                            const OnEdge<T> edge{on.edge.at(b) + e * plan.edge_dim,
                                                 z.get(),
                                                 on.weight.at(b) + e * w_row + c,
                                                 on.grad_edge ? on.grad_edge + place * plan.edge_dim : nullptr,
                                                 on.grad_weight ? on.grad_weight + place * w_row + c : nullptr,
                                                 C};
                            if (on.grad_x || !plan.by_components) edge_rows(plan, edge.y, z.get());
                            if (on.grad_x)
                                filter_rows<T, V>(plan, z.get(), edge.weights, C, sum.get(), access,
                                                  AddTimes<T>{g - sum.get()});
                            if (!on_edges) continue;
                            for (std::int64_t k = 0; k < size; k += lanes<T>)
                                store(p.get() + k, load(u.get() + k) * load(g + k));
                            if (plan.by_components)
                                edge_gradients_by_components<T, V>(plan, edge, p.get(), middle.get(), h.get(), lane,
                                                                   access);
                            else
                                edge_gradients_by_rows<T, V>(plan, edge, p.get(), q.get(), h.get(), lane, access);
                        }
                        if (on.grad_x)
                            project<T, V>(plan.in, sum.get(), middle.get(),
                                          on.grad_x + (b * call.n_nodes + n) * plan.in.dim * C + c, C, access);
                    }
                    lane.flush();
                }
            }
        });
}

// Sizes of the batch, nodes, edges and channels; the wiring as the five addresses of an EdgeTopology.
ProductCall make_call(const std::vector<Address> &wiring, const std::vector<std::int64_t> &sizes, int n_threads) {
    const auto at = [&](int i) { return input<std::int64_t>(wiring[i]); };
    return {sizes[0], sizes[1], sizes[2], sizes[3], at(0), at(1), at(2), at(3), at(4), n_threads};
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
    const std::int64_t vectors = widest_block<T>(plan->rows);
    plan->by_components = products_of(plan->edge_map) * vectors <=
                          plan->rows * (2 * n_weights * vectors + plan->edge_dim);
    plans.push_back(std::move(plan));
    return reinterpret_cast<Address>(plans.back().get());
}

template <class T>
void call_forward(Address plan, const std::vector<Address> &wiring, const std::vector<std::int64_t> &sizes,
                  const std::vector<Address> &data, const std::vector<std::int64_t> &stride, Address out,
                  int n_threads) {
    const ProductCall call = make_call(wiring, sizes, n_threads);
    const auto at = [&](int i) { return Operand<T>{input<T>(data[i]), stride[i]}; };
    nb::gil_scoped_release release;
    forward<T>(*input<PointwiseConvolution<T>>(plan), call, at(0), at(1), at(2), output<T>(out));
}

template <class T>
void call_gradients(Address plan, const std::vector<Address> &wiring, const std::vector<std::int64_t> &sizes,
                    const std::vector<Address> &data, const std::vector<std::int64_t> &stride,
                    const std::vector<Address> &results, int n_threads) {
    const ProductCall call = make_call(wiring, sizes, n_threads);
    const auto at = [&](int i) { return Operand<T>{input<T>(data[i]), stride[i]}; };
    const auto to = [&](int i) { return output<T>(results[i]); };
    nb::gil_scoped_release release;
    gradients<T>(*input<PointwiseConvolution<T>>(plan), call, {at(0), at(1), at(2), at(3), to(0), to(1), to(2)});
}

}  // namespace
}  // namespace atomsym

void bind_pointwise_convolution(nb::module_ &m) {
    using namespace atomsym;
    m.def("pointwise_convolution_plan_float32", &make_plan<float>);
    m.def("pointwise_convolution_plan_float64", &make_plan<double>);
    m.def("pointwise_convolution_forward_float32", &call_forward<float>);
    m.def("pointwise_convolution_forward_float64", &call_forward<double>);
    m.def("pointwise_convolution_gradients_float32", &call_gradients<float>);
    m.def("pointwise_convolution_gradients_float64", &call_gradients<double>);
}
