// out[e, :] = (w[e, q(r), :] * D_e [x_sender, x_receiver]) W: forward, gradients and second derivatives.
//
// Rows in the frames exist for a block of edges at a time, in the caches. Both ends of an edge are two halves of its
// channels. Sums over senders and weight gradients are taken group by group of receivers, then over the groups in
// their order, so that no sum depends on the number of threads.
#include "so2_rows.hpp"

namespace atomsym {
namespace {

constexpr std::int64_t edges_of_block = 112;  // their rows stay in the second cache
constexpr std::int64_t edges_of_group = 1024, most_groups = 8;

template <class T> struct GatherScratch {
    Scratch<T> z, along_z, u, along_u;  // rows of one edge and block of channels
    Scratch<Vec<T>> sums;
    Scratch<T> rows, panel;  // of a block of edges
    GatherScratch(const RowPlan &plan, std::int64_t channels)
        : z(own(plan)), along_z(own(plan)), u(own(plan)), along_u(own(plan)), sums(std::size_t(plan.frame_size)),
          rows(block(plan, channels)), panel(inner_block * panel_width<T>) {}
    static std::size_t own(const RowPlan &plan) { return std::size_t(plan.n_rows) * frame_vectors * lanes<T>; }
    static std::size_t block(const RowPlan &plan, std::int64_t channels) {
        return std::size_t(edges_of_block * plan.n_rows * 2 * channels) + 1;
    }
};

// u (+)= g w, row by row; g by order, w by factor.
template <class T, int V, class Access>
inline void times_factors(const RowPlan &plan, const T *g, const T *w, std::int64_t stride, T *u, Access access,
                          bool add = false) {
    constexpr int L = lanes<T>;
    for (int i = 0; i < plan.n_rows; ++i)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) {
            const Vec<T> product =
                access.get(g + plan.order_row[i] * stride + v * L) * access.get(w + plan.factor[i] * stride + v * L);
            T *const target = u + (i * V + v) * L;
            store(target, add ? load(target) + product : product);
        }
}

// out (+)= z w, row by row.
template <class T, int V, class Access>
inline void write_rows(const RowPlan &plan, const T *z, const T *w, std::int64_t stride, T *out, Access access,
                       bool add = false) {
    constexpr int L = lanes<T>;
    for (int i = 0; i < plan.n_rows; ++i)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) {
            const Vec<T> product = load(z + (i * V + v) * L) * access.get(w + plan.factor[i] * stride + v * L);
            T *const target = out + plan.order_row[i] * stride + v * L;
            access.put(target, add ? access.get(target) + product : product);
        }
}

// grad_w[q] = sum of g z over the rows of the factor.
template <class T, int V, class Access>
inline void write_factors(const RowPlan &plan, const T *g, const T *z, std::int64_t stride, T *grad_w, Access access) {
    constexpr int L = lanes<T>;
    for (int q = 0; q < plan.n_factors; ++q)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) {
            const int plus = plan.plus_row[q], minus = plan.minus_row[q];
            Vec<T> sum = access.get(g + plan.order_row[plus] * stride + v * L) * load(z + (plus * V + v) * L);
            if (minus >= 0) sum += access.get(g + plan.order_row[minus] * stride + v * L) * load(z + (minus * V + v) * L);
            access.put(grad_w + q * stride + v * L, sum);
        }
}

// Addresses of the operands of one batch member, and those of one of its edges.
template <class T> struct Member {
    const RowPlan &plan;
    const ProductCall &call;
    const T *x, *d, *w, *along_x, *along_d, *along_w;  // directions may be null
    std::int64_t channels() const { return call.channels; }
    std::int64_t pair() const { return 2 * call.channels; }
    std::int64_t node_size() const { return plan.components * call.channels; }
    const T *frame(const T *frames, std::int64_t e) const { return frames + e * plan.frame_size; }
    const T *factors(const T *all, std::int64_t e) const { return all + e * plan.n_factors * pair(); }
    std::int64_t end(std::int64_t e, int half) const { return half ? call.receiver[e] : call.sender[e]; }
};

// Where the gradients of one batch member go; null: not wanted. Those of nodes are added to.
template <class T> struct Targets {
    T *received, *sent, *d, *w;
    bool any() const { return received || d || w; }
};

// Rows of one edge.
template <class T> void edge_rows(const Member<T> &m, GatherScratch<T> &s, std::int64_t e, T *out) {
    for (int half = 0; half < 2; ++half)
        for_channel_blocks<T>(m.channels(), [&](auto vectors, std::int64_t first, auto access) {
            constexpr int V = decltype(vectors)::value;
            const std::int64_t at = half * m.channels() + first;
            into_frame<T, V>(m.plan.slots, m.frame(m.d, e), m.x + m.end(e, half) * m.node_size() + first, m.channels(),
                             s.z.get(), access);
            write_rows<T, V>(m.plan, s.z.get(), m.factors(m.w, e) + at, m.pair(), out + at, access);
        });
}

// Gradients of one edge from those of its rows.
template <class T>
void edge_gradients(const Member<T> &m, GatherScratch<T> &s, std::int64_t e, const T *g, const Targets<T> &to) {
    const RowPlan &plan = m.plan;
    const std::int64_t C = m.channels();
    const T *const frame = m.frame(m.d, e);
    if (to.d) std::fill_n(s.sums.get(), plan.frame_size, Vec<T>{});
    for (int half = 0; half < 2; ++half) {
        const std::int64_t node = m.end(e, half) * m.node_size();
        T *const target = to.received ? (half ? to.received : to.sent) + node : nullptr;
        for_channel_blocks<T>(C, [&](auto vectors, std::int64_t first, auto access) {
            constexpr int V = decltype(vectors)::value;
            const std::int64_t at = half * C + first;
            if (to.w) {
                into_frame<T, V>(plan.slots, frame, m.x + node + first, C, s.z.get(), access);
                write_factors<T, V>(plan, g + at, s.z.get(), m.pair(), to.w + e * plan.n_factors * m.pair() + at, access);
            }
            if (!to.d && !target) return;
            times_factors<T, V>(plan, g + at, m.factors(m.w, e) + at, m.pair(), s.u.get(), access);
            if (to.d) outer<T, V>(plan.slots, s.u.get(), m.x + node + first, C, s.sums.get(), access);
            if (target) out_of_frame<T, V>(plan.slots, frame, s.u.get(), target + first, C, access);
        });
    }
    if (to.d) sum_lanes<T>(s.sums.get(), plan.frame_size, to.d + e * plan.frame_size);
}

// The change of an edge's rows along the directions.
template <class T> void edge_rows_along(const Member<T> &m, GatherScratch<T> &s, std::int64_t e, T *out) {
    const RowPlan &plan = m.plan;
    const std::int64_t C = m.channels();
    for (int half = 0; half < 2; ++half) {
        const std::int64_t node = m.end(e, half) * m.node_size();
        for_channel_blocks<T>(C, [&](auto vectors, std::int64_t first, auto access) {
            constexpr int V = decltype(vectors)::value;
            const std::int64_t at = half * C + first;
            T *const along_z = s.along_z.get();
            if (m.along_x)
                into_frame<T, V>(plan.slots, m.frame(m.d, e), m.along_x + node + first, C, along_z, access);
            else
                std::fill_n(along_z, plan.n_rows * V * lanes<T>, T(0));
            if (m.along_d)
                into_frame<T, V>(plan.slots, m.frame(m.along_d, e), m.x + node + first, C, along_z, access, true);
            write_rows<T, V>(plan, along_z, m.factors(m.w, e) + at, m.pair(), out + at, access);
            if (!m.along_w) return;
            into_frame<T, V>(plan.slots, m.frame(m.d, e), m.x + node + first, C, s.z.get(), access);
            write_rows<T, V>(plan, s.z.get(), m.factors(m.along_w, e) + at, m.pair(), out + at, access, true);
        });
    }
}

// Gradients of <g, that change> for x, D, w.
template <class T>
void edge_second(const Member<T> &m, GatherScratch<T> &s, std::int64_t e, const T *g, const Targets<T> &to) {
    const RowPlan &plan = m.plan;
    const std::int64_t C = m.channels();
    if (to.d) std::fill_n(s.sums.get(), plan.frame_size, Vec<T>{});
    for (int half = 0; half < 2; ++half) {
        const std::int64_t node = m.end(e, half) * m.node_size();
        T *const target = to.received ? (half ? to.received : to.sent) + node : nullptr;
        for_channel_blocks<T>(C, [&](auto vectors, std::int64_t first, auto access) {
            constexpr int V = decltype(vectors)::value;
            const std::int64_t at = half * C + first;
            const T *const x = m.x + node + first, *const factors = m.factors(m.w, e) + at;
            if (to.w) {
                T *const along_z = s.along_z.get();
                if (m.along_x)
                    into_frame<T, V>(plan.slots, m.frame(m.d, e), m.along_x + node + first, C, along_z, access);
                else
                    std::fill_n(along_z, plan.n_rows * V * lanes<T>, T(0));
                if (m.along_d) into_frame<T, V>(plan.slots, m.frame(m.along_d, e), x, C, along_z, access, true);
                write_factors<T, V>(plan, g + at, along_z, m.pair(), to.w + e * plan.n_factors * m.pair() + at, access);
            }
            if (m.along_w && (to.d || target)) {
                times_factors<T, V>(plan, g + at, m.factors(m.along_w, e) + at, m.pair(), s.along_u.get(), access);
                if (to.d) outer<T, V>(plan.slots, s.along_u.get(), x, C, s.sums.get(), access);
                if (target) out_of_frame<T, V>(plan.slots, m.frame(m.d, e), s.along_u.get(), target + first, C, access);
            }
            if (!(to.d && m.along_x) && !(target && m.along_d)) return;
            times_factors<T, V>(plan, g + at, factors, m.pair(), s.u.get(), access);
            if (to.d && m.along_x)
                outer<T, V>(plan.slots, s.u.get(), m.along_x + node + first, C, s.sums.get(), access);
            if (target && m.along_d)
                out_of_frame<T, V>(plan.slots, m.frame(m.along_d, e), s.u.get(), target + first, C, access);
        });
    }
    if (to.d) sum_lanes<T>(s.sums.get(), plan.frame_size, to.d + e * plan.frame_size);
}

// Groups of receivers, by the number of edges alone: first node of each, and the end.
inline std::vector<std::int64_t> groups_of(const ProductCall &call) {
    const std::int64_t n = std::clamp<std::int64_t>(call.n_edges / edges_of_group, 1, most_groups);
    std::vector<std::int64_t> starts{0};
    for (std::int64_t group = 1; group < n; ++group) {
        const auto *const end = call.receiver_offsets + call.n_nodes;
        starts.push_back(std::lower_bound(call.receiver_offsets, end, group * call.n_edges / n) - call.receiver_offsets);
    }
    starts.push_back(call.n_nodes);
    return starts;
}

// Calls body(scratch, first edge, last edge, sums over senders, weight gradients) for all blocks of edges of each
// group, and adds up both kinds of sums. Null: not wanted.
template <class T, class Body>
void for_each_block(const RowPlan &plan, const ProductCall &call, T *nodes, T *weights, std::int64_t n_weights,
                    Body body) {
    const std::vector<std::int64_t> starts = groups_of(call);
    const int n_groups = int(starts.size()) - 1;
    const bool parallel = call.n_threads > 1 && n_groups > 1;
    const std::int64_t node_size = nodes ? call.n_nodes * plan.components * call.channels : 0;
    const std::int64_t own = node_size + (weights ? n_weights : 0), copies = parallel ? n_groups : 1;
    Scratch<T> parts(std::size_t(own * copies) + 1), total(std::size_t(own) + 1);
    std::fill_n(total.get(), own, T(0));
    const auto run = [&](GatherScratch<T> &s, int group, T *part) {
        std::fill_n(part, own, T(0));
        const std::int64_t first = call.receiver_offsets[starts[group]], last = call.receiver_offsets[starts[group + 1]];
        for (std::int64_t e = first; e < last; e += edges_of_block)
            body(s, e, std::min(e + edges_of_block, last), nodes ? part : nullptr, weights ? part + node_size : nullptr);
    };
    const auto add = [&](const T *part) {
        for (std::int64_t i = 0; i < own; ++i) total.get()[i] += part[i];
    };
    if (!parallel) {
        GatherScratch<T> s(plan, call.channels);
        for (int group = 0; group < n_groups; ++group) {
            run(s, group, parts.get());
            add(parts.get());
        }
    } else {
#pragma omp parallel num_threads(call.n_threads)
        {
            GatherScratch<T> s(plan, call.channels);
#pragma omp for schedule(dynamic)
            for (int group = 0; group < n_groups; ++group) run(s, group, parts.get() + group * own);
        }
        for (int group = 0; group < n_groups; ++group) add(parts.get() + group * own);
    }
    for (std::int64_t i = 0; i < node_size; ++i) nodes[i] += total.get()[i];
    if (weights) std::copy_n(total.get() + node_size, n_weights, weights);
}

inline std::int64_t out_width_of(const std::vector<LinearBlock> &blocks) {
    std::int64_t width = 0;
    for (const LinearBlock &block : blocks) width = std::max(width, block.out + block.n_out);
    return width;
}
inline std::int64_t weights_of(const std::vector<LinearBlock> &blocks) {
    std::int64_t count = 0;
    for (const LinearBlock &block : blocks)
        count = std::max(count, block.weight + (block.n_in - 1) * block.stride + block.n_out);
    return count;
}

}  // namespace

// Operands x, D, w, W.
template <class T>
void gather_forward(const RowPlan &plan, const std::vector<LinearBlock> &blocks, const ConvolutionCall<T> &c) {
    const ProductCall &call = c.sizes;
    const std::int64_t width = out_width_of(blocks), row_width = plan.n_rows * 2 * call.channels;
    for (std::int64_t b = 0; b < call.batch; ++b) {
        const Member<T> m{plan, call, c.operands[0].at(b), c.operands[1].at(b), c.operands[2].at(b), nullptr, nullptr,
                          nullptr};
        const PackedLinear<T> linear(c.operands[3].at(b), blocks, false);
        T *const out = c.results[0] + b * call.n_edges * width;
#pragma omp parallel num_threads(call.n_threads) if (call.n_threads > 1)
        {
            GatherScratch<T> s(plan, call.channels);
#pragma omp for schedule(dynamic)
            for (std::int64_t e = 0; e < call.n_edges; e += edges_of_block) {
                const std::int64_t n = std::min(edges_of_block, call.n_edges - e);
                for (std::int64_t i = 0; i < n; ++i) edge_rows<T>(m, s, e + i, s.rows.get() + i * row_width);
                linear.run(s.rows.get(), row_width, out + e * width, width, n);
            }
        }
    }
}

// Operands g, x, D, w, W; the results are for x, D, w, W.
template <class T>
void gather_gradients(const RowPlan &plan, const std::vector<LinearBlock> &blocks, const ConvolutionCall<T> &c) {
    const ProductCall &call = c.sizes;
    const std::int64_t width = out_width_of(blocks), row_width = plan.n_rows * 2 * call.channels;
    const std::int64_t n_weights = weights_of(blocks), nodes = call.n_nodes * plan.components * call.channels;
    for (std::int64_t b = 0; b < call.batch; ++b) {
        const auto at = [&](int i) { return c.operands[i].at(b); };
        const auto result = [&](int i, std::int64_t size) { return c.results[i] ? c.results[i] + b * size : nullptr; };
        const Member<T> m{plan, call, at(1), at(2), at(3), nullptr, nullptr, nullptr};
        T *const grad_x = result(0, nodes), *const grad_matrix = result(3, n_weights);
        Targets<T> to{grad_x, nullptr, result(1, call.n_edges * plan.frame_size),
                      result(2, call.n_edges * plan.n_factors * 2 * call.channels)};
        if (grad_x) std::fill_n(grad_x, nodes, T(0));
        const PackedLinear<T> back(at(4), blocks, true);
        for_each_block<T>(plan, call, grad_x, grad_matrix, n_weights,
                          [&](GatherScratch<T> &s, std::int64_t first, std::int64_t last, T *sent, T *of_matrix) {
            const std::int64_t n = last - first;
            const T *const g = at(0) + first * width;
            Targets<T> own = to;
            own.sent = sent;
            if (of_matrix) {
                for (std::int64_t i = 0; i < n; ++i) edge_rows<T>(m, s, first + i, s.rows.get() + i * row_width);
                add_weight_gradients<T>(blocks, s.rows.get(), row_width, g, width, n, s.panel.get(), of_matrix);
            }
            if (!own.any()) return;
            back.run(g, width, s.rows.get(), row_width, n);
            for (std::int64_t i = 0; i < n; ++i)
                edge_gradients<T>(m, s, first + i, s.rows.get() + i * row_width, own);
        });
    }
}

// Operands g, x, D, w, W and the directions of x, D, w; the results are for g, x, D, w, W.
template <class T>
void gather_second(const RowPlan &plan, const std::vector<LinearBlock> &blocks, const ConvolutionCall<T> &c) {
    const ProductCall &call = c.sizes;
    const std::int64_t width = out_width_of(blocks), row_width = plan.n_rows * 2 * call.channels;
    const std::int64_t n_weights = weights_of(blocks), nodes = call.n_nodes * plan.components * call.channels;
    for (std::int64_t b = 0; b < call.batch; ++b) {
        const auto at = [&](int i) { return c.has(i) ? c.operands[i].at(b) : nullptr; };
        const auto result = [&](int i, std::int64_t size) { return c.results[i] ? c.results[i] + b * size : nullptr; };
        const Member<T> m{plan, call, at(1), at(2), at(3), at(5), at(6), at(7)};
        T *const grad_g = result(0, call.n_edges * width), *const grad_x = result(1, nodes);
        T *const grad_matrix = result(4, n_weights);
        Targets<T> to{grad_x, nullptr, result(2, call.n_edges * plan.frame_size),
                      result(3, call.n_edges * plan.n_factors * 2 * call.channels)};
        if (grad_x) std::fill_n(grad_x, nodes, T(0));
        const PackedLinear<T> forth(at(4), blocks, false), back(at(4), blocks, true);
        for_each_block<T>(plan, call, grad_x, grad_matrix, n_weights,
                          [&](GatherScratch<T> &s, std::int64_t first, std::int64_t last, T *sent, T *of_matrix) {
            const std::int64_t n = last - first;
            const T *const g = at(0) + first * width;
            T *const rows = s.rows.get();
            Targets<T> own = to;
            own.sent = sent;
            if (grad_g || of_matrix) {
                for (std::int64_t i = 0; i < n; ++i) edge_rows_along<T>(m, s, first + i, rows + i * row_width);
                if (grad_g) forth.run(rows, row_width, grad_g + first * width, width, n);
                if (of_matrix) add_weight_gradients<T>(blocks, rows, row_width, g, width, n, s.panel.get(), of_matrix);
            }
            if (!own.any()) return;
            back.run(g, width, rows, row_width, n);
            for (std::int64_t i = 0; i < n; ++i) edge_second<T>(m, s, first + i, rows + i * row_width, own);
        });
    }
}

template void gather_forward<float>(const RowPlan &, const std::vector<LinearBlock> &, const ConvolutionCall<float> &);
template void gather_forward<double>(const RowPlan &, const std::vector<LinearBlock> &, const ConvolutionCall<double> &);
template void gather_gradients<float>(const RowPlan &, const std::vector<LinearBlock> &, const ConvolutionCall<float> &);
template void gather_gradients<double>(const RowPlan &, const std::vector<LinearBlock> &, const ConvolutionCall<double> &);
template void gather_second<float>(const RowPlan &, const std::vector<LinearBlock> &, const ConvolutionCall<float> &);
template void gather_second<double>(const RowPlan &, const std::vector<LinearBlock> &, const ConvolutionCall<double> &);

}  // namespace atomsym
