// Convolutions in edge frames: the sum over the edges of each receiver, its gradients, and the Python border.
//
// An edge's features are turned into the frame, mixed and turned back in scratch memory, for a block of channels at a
// time; nothing is kept per edge and component.
#include "convolution_bindings.hpp"
#include "so2_convolution_blocks.hpp"
#include <memory>

namespace atomsym {

template <class T>
void frame_forward(const FramePlan &plan, const ProductCall &call, Operand<T> x, Operand<T> frame_in,
                   Operand<T> weight, Operand<T> frame_out, T *out) {
    constexpr int width = frame_vectors * lanes<T>;
    const std::int64_t C = call.channels, w_row = plan.n_weights * C;
    const std::int64_t per_task = nodes_per_task(call), tasks = (call.n_nodes + per_task - 1) / per_task;
#pragma omp parallel num_threads(call.n_threads) if (call.n_threads > 1)
    {
        Scratch<T> z(std::size_t(plan.in_rows) * width + 1), y(std::size_t(plan.out_rows) * width + 1);
#pragma omp for schedule(dynamic) collapse(2)
        for (std::int64_t b = 0; b < call.batch; ++b)
            for (std::int64_t task = 0; task < tasks; ++task) {
                const std::int64_t n_end = std::min((task + 1) * per_task, call.n_nodes);
                for (std::int64_t n = task * per_task; n < n_end; ++n) {
                    T *const rows = out + (b * call.n_nodes + n) * plan.out_dim * C;
                    std::fill_n(rows, plan.out_dim * C, T(0));
                    for (std::int64_t e = call.receiver_offsets[n]; e < call.receiver_offsets[n + 1]; ++e) {
                        const T *const sent = x.at(b) + call.sender[e] * plan.in_dim * C;
                        const T *const d_in = frame_in.at(b) + e * plan.frame_size;
                        const T *const d_out = frame_out.at(b) + e * plan.frame_size;
                        const std::int64_t next = e + 1 < call.n_edges ? w_row : 0;
                        for_channel_blocks<T>(C, [&](auto vectors, std::int64_t c, auto access) {
                            constexpr int V = decltype(vectors)::value;
                            into_frame<T, V>(plan.in, d_in, sent + c, C, z.get(), access);
                            mix<T, V>(plan, weight.at(b) + e * w_row + c, C, z.get(), y.get(), next, access);
                            out_of_frame<T, V>(plan.out, d_out, y.get(), rows + c, C, access);
                        });
                    }
                }
            }
    }
}

template <class T>
void frame_gradients(const FramePlan &plan, const ProductCall &call, Operand<T> g, Operand<T> x, Operand<T> frame_in,
                     Operand<T> weight, Operand<T> frame_out, T *grad_x, T *grad_frame_in, T *grad_weight,
                     T *grad_frame_out) {
    constexpr int width = frame_vectors * lanes<T>;
    const std::int64_t C = call.channels, w_row = plan.n_weights * C;
    const std::int64_t per_task = nodes_per_task(call), tasks = (call.n_nodes + per_task - 1) / per_task;
    const bool back = grad_x || grad_frame_in || grad_weight;
#pragma omp parallel num_threads(call.n_threads) if (call.n_threads > 1)
    {
        Scratch<T> z(std::size_t(plan.in_rows) * width + 1), y(std::size_t(plan.out_rows) * width + 1);
        Scratch<T> grad_z(std::size_t(plan.in_rows) * width + 1);
        Scratch<Vec<T>> sums_in(std::size_t(plan.frame_size) + 1), sums_out(std::size_t(plan.frame_size) + 1);
#pragma omp for schedule(dynamic) collapse(2)
        for (std::int64_t b = 0; b < call.batch; ++b)
            for (std::int64_t task = 0; task < tasks; ++task) {
                const std::int64_t n_end = std::min((task + 1) * per_task, call.n_nodes);
                for (std::int64_t n = task * per_task; n < n_end; ++n) {
                    const T *const sent = x.at(b) + n * plan.in_dim * C;
                    T *const grad_sent = grad_x ? grad_x + (b * call.n_nodes + n) * plan.in_dim * C : nullptr;
                    if (grad_x) std::fill_n(grad_sent, plan.in_dim * C, T(0));
                    for (std::int64_t i = call.sender_offsets[n]; i < call.sender_offsets[n + 1]; ++i) {
                        const std::int64_t e = call.sender_order[i], edge = b * call.n_edges + e;
                        const T *const received = g.at(b) + call.receiver[e] * plan.out_dim * C;
                        const T *const d_in = frame_in.at(b) + e * plan.frame_size;
                        const T *const d_out = frame_out.at(b) + e * plan.frame_size;
                        if (grad_frame_in) std::fill_n(sums_in.get(), plan.frame_size, Vec<T>{});
                        if (grad_frame_out) std::fill_n(sums_out.get(), plan.frame_size, Vec<T>{});
                        for_channel_blocks<T>(C, [&](auto vectors, std::int64_t c, auto access) {
                            constexpr int V = decltype(vectors)::value;
                            const T *const w = weight.at(b) + e * w_row + c;
                            if (grad_weight || grad_frame_out)
                                into_frame<T, V>(plan.in, d_in, sent + c, C, z.get(), access);
                            if (grad_frame_out) {
                                mix<T, V>(plan, w, C, z.get(), y.get(), 0, access);
                                outer<T, V>(plan.out, y.get(), received + c, C, sums_out.get(), access);
                            }
                            if (!back) return;
                            into_frame<T, V>(plan.out, d_out, received + c, C, y.get(), access);
                            std::fill_n(grad_z.get(), plan.in_rows * V * lanes<T>, T(0));
                            mix_gradients<T, V>(plan, w, C, z.get(), y.get(),
                                                grad_weight ? grad_weight + edge * w_row + c : nullptr, grad_z.get(),
                                                access);
                            if (grad_x) out_of_frame<T, V>(plan.in, d_in, grad_z.get(), grad_sent + c, C, access);
                            if (grad_frame_in) outer<T, V>(plan.in, grad_z.get(), sent + c, C, sums_in.get(), access);
                        });
                        if (grad_frame_in)
                            sum_lanes<T>(sums_in.get(), plan.frame_size, grad_frame_in + edge * plan.frame_size);
                        if (grad_frame_out)
                            sum_lanes<T>(sums_out.get(), plan.frame_size, grad_frame_out + edge * plan.frame_size);
                    }
                }
            }
    }
}

namespace {

std::vector<FrameSlot> slots_of(const std::vector<int> &table) {
    std::vector<FrameSlot> slots;
    for (std::size_t i = 0; i + 5 <= table.size(); i += 5)
        slots.push_back({table[i], table[i + 1], table[i + 2], table[i + 3], table[i + 4]});
    return slots;
}

// The address of a plan that lives as long as the process; Python keeps one a product.
// sizes: the six numbers of FramePlan in their order.
Address make_plan(const std::vector<int> &sizes, const std::vector<int> &in, const std::vector<int> &out,
                  const std::vector<int> &groups, const std::vector<int> &entries, const std::vector<double> &factors) {
    static std::vector<std::unique_ptr<FramePlan>> plans;
    auto plan = std::make_unique<FramePlan>(
        FramePlan{sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], sizes[5], slots_of(in), slots_of(out), {}, {}});
    for (std::size_t i = 0; i + 4 <= groups.size(); i += 4)
        plan->groups.push_back({groups[i], groups[i + 1], groups[i + 2], groups[i + 3]});
    for (std::size_t i = 0; 3 * i + 3 <= entries.size(); ++i)
        plan->entries.push_back(
            {entries[3 * i], entries[3 * i + 1], entries[3 * i + 2], factors[2 * i], factors[2 * i + 1]});
    plans.push_back(std::move(plan));
    return reinterpret_cast<Address>(plans.back().get());
}

template <class T> void forward(const FramePlan &plan, const ConvolutionCall<T> &c) {
    const auto &of = c.operands;
    frame_forward<T>(plan, c.sizes, of[0], of[1], of[2], of[3], c.results[0]);
}

template <class T> void gradients(const FramePlan &plan, const ConvolutionCall<T> &c) {
    const auto &of = c.operands;
    frame_gradients<T>(plan, c.sizes, of[0], of[1], of[2], of[3], of[4], c.results[0], c.results[1], c.results[2],
                       c.results[3]);
}

}  // namespace
}  // namespace atomsym

void bind_so2_convolution(nb::module_ &m) {
    using namespace atomsym;
    m.def("so2_plan", &make_plan);
    m.def("so2_forward_float32", &call_with_plan<float, FramePlan, forward<float>>);
    m.def("so2_forward_float64", &call_with_plan<double, FramePlan, forward<double>>);
    m.def("so2_gradients_float32", &call_with_plan<float, FramePlan, gradients<float>>);
    m.def("so2_gradients_float64", &call_with_plan<double, FramePlan, gradients<double>>);
}
