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
    Sampling<T> in, out;
    std::vector<T> edge;
    std::vector<std::vector<int>> groups;
    std::vector<int> every_row;
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

// Weights of an edge for V vectors of channels: in registers where their number K is a constant (not 0).
template <class T, int V, int K, class Access> struct EdgeWeights {
    static constexpr int L = lanes<T>;
    const T *row;
    std::int64_t stride;
    int count;
    Access access;
    Vec<T> kept[K > 0 ? K : 1][V];

    EdgeWeights(const T *row, std::int64_t stride, int count, Access access)
        : row(row), stride(stride), count(K > 0 ? K : count), access(access) {
        if constexpr (K > 0)
#pragma GCC unroll 4
            for (int k = 0; k < K; ++k)
#pragma GCC unroll 4
                for (int v = 0; v < V; ++v) kept[k][v] = access.get(row + k * stride + v * L);
    }
    Vec<T> get(int k, int v) const {
        if constexpr (K > 0)
            return kept[k][v];
        else
            return access.get(row + k * stride + v * L);
    }
};

// sum[r] += values[r] * f[r]
template <class T, int V, int K, class Access>
inline void add_filtered(int rows, int padded, const T *z, const EdgeWeights<T, V, K, Access> &w, const T *values,
                         T *sum) {
    constexpr int L = lanes<T>;
    for (int r = 0; r < rows; ++r, ++z, values += V * L, sum += V * L) {
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) {
            Vec<T> f = z[0] * w.get(0, v);
#pragma GCC unroll 4
            for (int k = 1; k < w.count; ++k) f += z[k * padded] * w.get(k, v);
            store(sum + v * L, load(sum + v * L) + load(values + v * L) * f);
        }
    }
}

// gradient[k] = sum_r z[k, r] u[r] g[r]
template <class T, int V, int K, class Access>
inline void weight_gradient(int rows, int padded, const T *z, int count, const T *u, const T *g, T *gradient,
                            std::int64_t stride, Access access) {
    constexpr int L = lanes<T>, N = K > 0 ? K : 1;
    for (int first = 0; first < count; first += N, z += N * std::int64_t(padded)) {
        Vec<T> sum[N][V] = {};
        for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) {
                const Vec<T> product = load(u + (r * V + v) * L) * load(g + (r * V + v) * L);
#pragma GCC unroll 4
                for (int k = 0; k < N; ++k) sum[k][v] += z[k * padded + r] * product;
            }
#pragma GCC unroll 4
        for (int k = 0; k < N; ++k)
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) access.put(gradient + (first + k) * stride + v * L, sum[k][v]);
    }
}

// q[k, r] = sum over the vectors of u[r] g[r] w[k]: a vector of partial sums over the channels.
template <class T, int V, int K, class Access>
inline void row_moments(int rows, const EdgeWeights<T, V, K, Access> &w, const T *u, const T *g, T *q) {
    constexpr int L = lanes<T>;
    for (int r = 0; r < rows; ++r) {
        Vec<T> product[V];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) product[v] = load(u + (r * V + v) * L) * load(g + (r * V + v) * L);
#pragma GCC unroll 4
        for (int k = 0; k < w.count; ++k) {
            Vec<T> sum = product[0] * w.get(k, 0);
#pragma GCC unroll 4
            for (int v = 1; v < V; ++v) sum += product[v] * w.get(k, v);
            store(q + (std::int64_t(k) * rows + r) * L, sum);
        }
    }
}

// Both at once, where the sums of all weights stay in registers.
template <class T, int V, int K, class Access>
inline void weight_gradient_and_moments(int rows, int padded, const T *z, const EdgeWeights<T, V, K, Access> &w,
                                        const T *u, const T *g, T *gradient, std::int64_t stride, T *q,
                                        Access access) {
    constexpr int L = lanes<T>;
    Vec<T> sum[K][V] = {};
    for (int r = 0; r < rows; ++r) {
        Vec<T> product[V], moment[K];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) product[v] = load(u + (r * V + v) * L) * load(g + (r * V + v) * L);
#pragma GCC unroll 4
        for (int k = 0; k < K; ++k) {
            moment[k] = product[0] * w.get(k, 0);
            sum[k][0] += z[k * padded + r] * product[0];
#pragma GCC unroll 4
            for (int v = 1; v < V; ++v) {
                moment[k] += product[v] * w.get(k, v);
                sum[k][v] += z[k * padded + r] * product[v];
            }
            store(q + (std::int64_t(k) * rows + r) * L, moment[k]);
        }
    }
#pragma GCC unroll 4
    for (int k = 0; k < K; ++k)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) access.put(gradient + k * stride + v * L, sum[k][v]);
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

// The gradient for Y from the moments: first over the rows, then over the lanes.
template <class T>
inline void edge_gradient(const PointwiseConvolution<T> &plan, const T *q, T *sums, T *gradient, LaneSums<T> &lane) {
    constexpr int L = lanes<T>;
    for (const std::vector<int> &group : plan.groups) {
        if (!group.empty())
            map_rows<T, 1>(plan.edge.data() + std::int64_t(group[0]) * plan.padded, 1, plan.padded,
                           plan.every_row.data(), plan.rows, q, L, group.data(), int(group.size()), sums, L,
                           WholeVector<T>{}, WholeVector<T>{});
        q += std::int64_t(plan.rows) * L;
    }
    for (int j = 0; j < plan.edge_dim; ++j) lane.add(load(sums + j * L), gradient + j);
}

// Calls with the number of weights as a constant, or with 0 where there are many.
template <class Call> inline void for_weights(std::size_t count, Call call) {
    switch (count) {
    case 1: call(std::integral_constant<int, 1>{}); break;
    case 2: call(std::integral_constant<int, 2>{}); break;
    case 3: call(std::integral_constant<int, 3>{}); break;
    case 4: call(std::integral_constant<int, 4>{}); break;
    default: call(std::integral_constant<int, 0>{}); break;
    }
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
                                 access, WholeVector<T>{});
#pragma omp for schedule(dynamic)
                for (std::int64_t task = 0; task < tasks; ++task) {
                    const std::int64_t n_end = std::min((task + 1) * per_task, call.n_nodes);
                    for (std::int64_t n = task * per_task; n < n_end; ++n) {
                        std::fill_n(sum.get(), size, T(0));
                        for (std::int64_t e = call.receiver_offsets[n]; e < call.receiver_offsets[n + 1]; ++e) {
                            edge_rows(plan, edge.at(b) + e * plan.edge_dim, z.get());
                            for_weights(plan.groups.size(), [&](auto count) {
                                constexpr int K = decltype(count)::value;
                                const EdgeWeights<T, V, K, decltype(access)> w(
                                    weight.at(b) + e * w_row + c, C, int(plan.groups.size()), access);
                                add_filtered<T, V, K>(plan.rows, plan.padded, z.get(), w,
                                                      sampled.get() + call.sender[e] * size, sum.get());
                            });
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
    const int widest = widest_block<T>(plan.rows), most = std::max(plan.in.middle, plan.out.middle);
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
                Scratch<T> u(std::size_t(plan.rows * block + 1)), z(std::size_t(n_weights * plan.padded) + 1);
                Scratch<T> q(std::size_t(n_weights * plan.rows * lanes<T>) + 1);
                Scratch<T> sums(std::size_t(plan.edge_dim * lanes<T>) + 1);
#pragma omp for schedule(static)
                for (std::int64_t n = 0; n < call.n_nodes; ++n)
                    sample<T, V>(plan.out, on.g.at(b) + n * plan.out.dim * C + c, C, middle.get(),
                                 received.get() + n * size, access, WholeVector<T>{});
#pragma omp for schedule(dynamic)
                for (std::int64_t task = 0; task < tasks; ++task) {
                    const std::int64_t n_end = std::min((task + 1) * per_task, call.n_nodes);
                    LaneSums<T> lane(c == 0);
                    for (std::int64_t n = task * per_task; n < n_end; ++n) {
                        if (on_edges)
                            sample<T, V>(plan.in, on.x.at(b) + n * plan.in.dim * C + c, C, middle.get(), u.get(),
                                         access, WholeVector<T>{});
                        std::fill_n(sum.get(), size, T(0));
                        for (std::int64_t i = call.sender_offsets[n]; i < call.sender_offsets[n + 1]; ++i) {
                            const std::int64_t e = call.sender_order[i], place = b * call.n_edges + e;
                            const T *const g = received.get() + call.receiver[e] * size;
                            if (on.grad_x || on.grad_weight)
                                edge_rows(plan, on.edge.at(b) + e * plan.edge_dim, z.get());
                            for_weights(plan.groups.size(), [&](auto count) {
                                constexpr int K = decltype(count)::value;
                                const EdgeWeights<T, V, K, decltype(access)> w(on.weight.at(b) + e * w_row + c, C,
                                                                               int(n_weights), access);
                                if (on.grad_x) add_filtered<T, V, K>(plan.rows, plan.padded, z.get(), w, g, sum.get());
                                T *const grad_weight = on.grad_weight ? on.grad_weight + place * w_row + c : nullptr;
                                if constexpr (K > 0 && 2 * K * V + V < vector_registers)
                                    if (on.grad_weight && on.grad_edge) {
                                        weight_gradient_and_moments<T, V, K>(plan.rows, plan.padded, z.get(), w,
                                                                             u.get(), g, grad_weight, C, q.get(),
                                                                             access);
                                        edge_gradient(plan, q.get(), sums.get(),
                                                      on.grad_edge + place * plan.edge_dim, lane);
                                        return;
                                    }
                                if (on.grad_weight)
                                    weight_gradient<T, V, K>(plan.rows, plan.padded, z.get(), int(n_weights), u.get(),
                                                             g, grad_weight, C, access);
                                if (on.grad_edge) {
                                    row_moments<T, V, K>(plan.rows, w, u.get(), g, q.get());
                                    edge_gradient(plan, q.get(), sums.get(),
                                                  on.grad_edge + place * plan.edge_dim, lane);
                                }
                            });
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

// edge: (edge_dim, rows), row-major; widths: how many components of the edge have each weight, in their order.
template <class T>
Address make_plan(const SamplingTable &in, const SamplingTable &out, const std::vector<double> &edge,
                  const std::vector<int> &widths) {
    static std::vector<std::unique_ptr<PointwiseConvolution<T>>> plans;
    constexpr int L = lanes<T>;
    auto plan = std::make_unique<PointwiseConvolution<T>>();
    plan->in = sampling_of<T>(in);
    plan->out = sampling_of<T>(out);
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
    for (int r = 0; r < plan->rows; ++r) plan->every_row.push_back(r);
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
