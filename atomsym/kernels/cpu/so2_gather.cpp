// rows[e, r, :] = w[e, q(r), :] * D_e [x_sender, x_receiver]: forward, gradients and second derivatives.
//
// Both ends of an edge are two halves of its channels. A node's gradient is summed over the edges that it receives,
// then over those that it sends, each in their order, so that no sum depends on the number of threads.
#include "so2_rows.hpp"

namespace atomsym {
namespace {

template <class T> constexpr int width = frame_vectors *lanes<T>;

template <class T> struct GatherScratch {
    Scratch<T> z, along_z, u, along_u;
    Scratch<Vec<T>> sums;
    explicit GatherScratch(const RowPlan &plan)
        : z(rows(plan)), along_z(rows(plan)), u(rows(plan)), along_u(rows(plan)), sums(std::size_t(plan.frame_size)) {}
    static std::size_t rows(const RowPlan &plan) { return std::size_t(plan.n_rows) * width<T>; }
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

// Addresses of what belongs to one edge and batch member.
template <class T> struct Edge {
    const RowPlan &plan;
    const ProductCall &call;
    std::int64_t b, e;
    std::int64_t pair() const { return 2 * call.channels; }
    const T *rows(const Operand<T> &g) const { return g.at(b) + e * plan.n_rows * pair(); }
    const T *frame(const Operand<T> &d) const { return d.at(b) + e * plan.frame_size; }
    const T *factors(const Operand<T> &w) const { return w.at(b) + e * plan.n_factors * pair(); }
    const T *node(const Operand<T> &x, std::int64_t n) const { return x.at(b) + n * plan.components * call.channels; }
    std::int64_t number() const { return b * call.n_edges + e; }
};

}  // namespace

// Operands x, D, w; the result are the rows.
template <class T> void gather_forward(const RowPlan &plan, const RowsCall<T> &c) {
    const ProductCall &call = c.sizes;
    const std::int64_t C = call.channels;
    const Operand<T> &x = c.operands[0], &d = c.operands[1], &w = c.operands[2];
    for_each_node(call, [&] { return GatherScratch<T>(plan); }, [&](GatherScratch<T> &s, std::int64_t b, std::int64_t n) {
        for (std::int64_t e = call.receiver_offsets[n]; e < call.receiver_offsets[n + 1]; ++e) {
            const Edge<T> edge{plan, call, b, e};
            T *const out = c.results[0] + edge.number() * plan.n_rows * 2 * C;
            for (int half = 0; half < 2; ++half) {
                const T *const end = edge.node(x, half ? n : call.sender[e]);
                for_channel_blocks<T>(C, [&](auto vectors, std::int64_t first, auto access) {
                    constexpr int V = decltype(vectors)::value;
                    const std::int64_t at = half * C + first;
                    into_frame<T, V>(plan.slots, edge.frame(d), end + first, C, s.z.get(), access);
                    write_rows<T, V>(plan, s.z.get(), edge.factors(w) + at, 2 * C, out + at, access);
                });
            }
        }
    });
}

// Operands g, x, D, w; the results are for x, D, w.
template <class T> void gather_gradients(const RowPlan &plan, const RowsCall<T> &c) {
    const ProductCall &call = c.sizes;
    const std::int64_t C = call.channels;
    const Operand<T> &g = c.operands[0], &x = c.operands[1], &d = c.operands[2], &w = c.operands[3];
    T *const grad_x = c.results[0], *const grad_d = c.results[1], *const grad_w = c.results[2];
    for_each_node(call, [&] { return GatherScratch<T>(plan); }, [&](GatherScratch<T> &s, std::int64_t b, std::int64_t n) {
        T *const grad_node = grad_x ? grad_x + (b * call.n_nodes + n) * plan.components * C : nullptr;
        if (grad_x) std::fill_n(grad_node, plan.components * C, T(0));
        for (std::int64_t e = call.receiver_offsets[n]; e < call.receiver_offsets[n + 1]; ++e) {
            const Edge<T> edge{plan, call, b, e};
            if (grad_d) std::fill_n(s.sums.get(), plan.frame_size, Vec<T>{});
            for (int half = 0; half < 2; ++half) {
                const T *const end = edge.node(x, half ? n : call.sender[e]);
                if (!grad_d && !grad_w && !half) continue;
                for_channel_blocks<T>(C, [&](auto vectors, std::int64_t first, auto access) {
                    constexpr int V = decltype(vectors)::value;
                    const std::int64_t at = half * C + first;
                    const T *const rows = edge.rows(g) + at;
                    if (grad_w) {
                        into_frame<T, V>(plan.slots, edge.frame(d), end + first, C, s.z.get(), access);
                        write_factors<T, V>(plan, rows, s.z.get(), 2 * C,
                                            grad_w + edge.number() * plan.n_factors * 2 * C + at, access);
                    }
                    if (!grad_d && !(grad_x && half)) return;
                    times_factors<T, V>(plan, rows, edge.factors(w) + at, 2 * C, s.u.get(), access);
                    if (grad_d) outer<T, V>(plan.slots, s.u.get(), end + first, C, s.sums.get(), access);
                    if (grad_x && half)
                        out_of_frame<T, V>(plan.slots, edge.frame(d), s.u.get(), grad_node + first, C, access);
                });
            }
            if (grad_d) sum_lanes<T>(s.sums.get(), plan.frame_size, grad_d + edge.number() * plan.frame_size);
        }
        if (!grad_x) return;
        for (std::int64_t i = call.sender_offsets[n]; i < call.sender_offsets[n + 1]; ++i) {
            const Edge<T> edge{plan, call, b, call.sender_order[i]};
            for_channel_blocks<T>(C, [&](auto vectors, std::int64_t first, auto access) {
                constexpr int V = decltype(vectors)::value;
                times_factors<T, V>(plan, edge.rows(g) + first, edge.factors(w) + first, 2 * C, s.u.get(), access);
                out_of_frame<T, V>(plan.slots, edge.frame(d), s.u.get(), grad_node + first, C, access);
            });
        }
    });
}

// Operands g, x, D, w and the directions of x, D, w; the results are for g, x, D, w.
template <class T> void gather_second(const RowPlan &plan, const RowsCall<T> &c) {
    const ProductCall &call = c.sizes;
    const std::int64_t C = call.channels;
    const Operand<T> &g = c.operands[0], &x = c.operands[1], &d = c.operands[2], &w = c.operands[3];
    const Operand<T> &along_x = c.operands[4], &along_d = c.operands[5], &along_w = c.operands[6];
    const bool has_x = c.has(4), has_d = c.has(5), has_w = c.has(6);
    T *const grad_g = c.results[0], *const grad_x = c.results[1], *const grad_d = c.results[2],
             *const grad_w = c.results[3];

    // u = g w and u' = g w', where they are needed.
    const auto products = [&](GatherScratch<T> &s, const Edge<T> &edge, std::int64_t at, auto vectors, auto access) {
        constexpr int V = decltype(vectors)::value;
        const T *const rows = edge.rows(g) + at;
        if (has_w) times_factors<T, V>(plan, rows, edge.factors(along_w) + at, 2 * C, s.along_u.get(), access);
        if (has_d || has_x) times_factors<T, V>(plan, rows, edge.factors(w) + at, 2 * C, s.u.get(), access);
    };
    // A node's gradient from one end of an edge: D^T u' + D'^T u.
    const auto add_to_node = [&](GatherScratch<T> &s, const Edge<T> &edge, T *node, auto vectors, auto access) {
        constexpr int V = decltype(vectors)::value;
        if (has_w) out_of_frame<T, V>(plan.slots, edge.frame(d), s.along_u.get(), node, C, access);
        if (has_d) out_of_frame<T, V>(plan.slots, edge.frame(along_d), s.u.get(), node, C, access);
    };

    for_each_node(call, [&] { return GatherScratch<T>(plan); }, [&](GatherScratch<T> &s, std::int64_t b, std::int64_t n) {
        T *const grad_node = grad_x ? grad_x + (b * call.n_nodes + n) * plan.components * C : nullptr;
        if (grad_x) std::fill_n(grad_node, plan.components * C, T(0));
        for (std::int64_t e = call.receiver_offsets[n]; e < call.receiver_offsets[n + 1]; ++e) {
            const Edge<T> edge{plan, call, b, e};
            if (grad_d) std::fill_n(s.sums.get(), plan.frame_size, Vec<T>{});
            for (int half = 0; half < 2; ++half) {
                const std::int64_t node = half ? n : call.sender[e];
                const T *const end = edge.node(x, node);
                for_channel_blocks<T>(C, [&](auto vectors, std::int64_t first, auto access) {
                    constexpr int V = decltype(vectors)::value;
                    const std::int64_t at = half * C + first;
                    const T *const rows = edge.rows(g) + at, *const factors = edge.factors(w) + at;
                    if (grad_g || grad_w) {
                        T *const along_z = s.along_z.get();
                        if (has_x)
                            into_frame<T, V>(plan.slots, edge.frame(d), edge.node(along_x, node) + first, C, along_z,
                                             access);
                        else
                            std::fill_n(along_z, plan.n_rows * V * lanes<T>, T(0));
                        if (has_d)
                            into_frame<T, V>(plan.slots, edge.frame(along_d), end + first, C, along_z, access, true);
                        if (grad_g) {
                            T *const out = grad_g + edge.number() * plan.n_rows * 2 * C + at;
                            write_rows<T, V>(plan, along_z, factors, 2 * C, out, access);
                            if (has_w) {
                                into_frame<T, V>(plan.slots, edge.frame(d), end + first, C, s.z.get(), access);
                                write_rows<T, V>(plan, s.z.get(), edge.factors(along_w) + at, 2 * C, out, access, true);
                            }
                        }
                        if (grad_w)
                            write_factors<T, V>(plan, rows, along_z, 2 * C,
                                                grad_w + edge.number() * plan.n_factors * 2 * C + at, access);
                    }
                    if (!grad_d && !(grad_x && half)) return;
                    products(s, edge, at, vectors, access);
                    if (grad_d && has_w)
                        outer<T, V>(plan.slots, s.along_u.get(), end + first, C, s.sums.get(), access);
                    if (grad_d && has_x)
                        outer<T, V>(plan.slots, s.u.get(), edge.node(along_x, node) + first, C, s.sums.get(), access);
                    if (grad_x && half) add_to_node(s, edge, grad_node + first, vectors, access);
                });
            }
            if (grad_d) sum_lanes<T>(s.sums.get(), plan.frame_size, grad_d + edge.number() * plan.frame_size);
        }
        if (!grad_x) return;
        for (std::int64_t i = call.sender_offsets[n]; i < call.sender_offsets[n + 1]; ++i) {
            const Edge<T> edge{plan, call, b, call.sender_order[i]};
            for_channel_blocks<T>(C, [&](auto vectors, std::int64_t first, auto access) {
                products(s, edge, first, vectors, access);
                add_to_node(s, edge, grad_node + first, vectors, access);
            });
        }
    });
}

template void gather_forward<float>(const RowPlan &, const RowsCall<float> &);
template void gather_forward<double>(const RowPlan &, const RowsCall<double> &);
template void gather_gradients<float>(const RowPlan &, const RowsCall<float> &);
template void gather_gradients<double>(const RowPlan &, const RowsCall<double> &);
template void gather_second<float>(const RowPlan &, const RowsCall<float> &);
template void gather_second<double>(const RowPlan &, const RowsCall<double> &);

}  // namespace atomsym
