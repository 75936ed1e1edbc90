// Pieces of the convolution in edge frames for V vectors of channels: rotations, the mix of orders, outer products.
//
// Rows in a frame lie in scratch memory, V whole vectors a row; rows of features are `stride` elements apart and may
// end in a partial vector (V = 1 then).
#pragma once
#include "so2_convolution_plan.hpp"
#include "tensor_product_lanes.hpp"

namespace atomsym {

constexpr int frame_vectors = vector_registers >= 32 ? 4 : 2;  // widest block of channels
constexpr int frame_tile_rows = 6;                             // rows of sums in registers: 6 V + V + 1 of them

// R target rows at once: target[k] (+)= sum_i a[i * a_i + k * a_k] source[i].
template <class T, int V, int R, class Source, class Target>
inline void combine_tile(const T *a, std::int64_t a_i, std::int64_t a_k, int n, const T *source,
                         std::int64_t source_stride, T *target, std::int64_t target_stride, bool add, Source from,
                         Target to) {
    constexpr int L = lanes<T>;
    Vec<T> sum[R][V];
#pragma GCC unroll 8
    for (int k = 0; k < R; ++k)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) sum[k][v] = add ? to.get(target + k * target_stride + v * L) : Vec<T>{};
    for (int i = 0; i < n; ++i, a += a_i, source += source_stride) {
        Vec<T> x[V];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) x[v] = from.get(source + v * L);
#pragma GCC unroll 8
        for (int k = 0; k < R; ++k)
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) sum[k][v] += a[k * a_k] * x[v];
    }
#pragma GCC unroll 8
    for (int k = 0; k < R; ++k)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) to.put(target + k * target_stride + v * L, sum[k][v]);
}

template <class T, int V, class Source, class Target>
inline void combine(int n_targets, const T *a, std::int64_t a_i, std::int64_t a_k, int n, const T *source,
                    std::int64_t source_stride, T *target, std::int64_t target_stride, bool add, Source from, Target to) {
    int tiles = (n_targets + frame_tile_rows - 1) / frame_tile_rows;
    for (; n_targets > 0; --tiles) {
        const int rows = (n_targets + tiles - 1) / tiles;
        const auto run = [&](auto count) {
            combine_tile<T, V, decltype(count)::value>(a, a_i, a_k, n, source, source_stride, target, target_stride,
                                                       add, from, to);
        };
        switch (rows) {
        case 1: run(std::integral_constant<int, 1>{}); break;
        case 2: run(std::integral_constant<int, 2>{}); break;
        case 3: run(std::integral_constant<int, 3>{}); break;
        case 4: run(std::integral_constant<int, 4>{}); break;
        case 5: run(std::integral_constant<int, 5>{}); break;
        default: run(std::integral_constant<int, 6>{}); break;
        }
        n_targets -= rows;
        a += rows * a_k;
        target += rows * target_stride;
    }
}

// Calls with numbers of rows and columns as constants if they are those of degrees up to 2, whose loops then unroll.
template <class Call> inline bool with_constant_size(int rows, int columns, Call call) {
    const auto run = [&](auto r, auto c) {
        call(r, c);
        return true;
    };
    using One = std::integral_constant<int, 1>;
    using Three = std::integral_constant<int, 3>;
    using Five = std::integral_constant<int, 5>;
    switch (8 * columns + rows) {
    case 8 * 1 + 1: return run(One{}, One{});
    case 8 * 3 + 1: return run(One{}, Three{});
    case 8 * 3 + 3: return run(Three{}, Three{});
    case 8 * 5 + 1: return run(One{}, Five{});
    case 8 * 5 + 3: return run(Three{}, Five{});
    case 8 * 5 + 5: return run(Five{}, Five{});
    default: return false;
    }
}

// R target rows from N source rows: as combine_tile, unrolled.
template <class T, int V, int R, int N, class Source, class Target>
inline void combine_constant(const T *a, int a_i, int a_k, const T *source, std::int64_t source_stride, T *target,
                             std::int64_t target_stride, bool add, Source from, Target to) {
    constexpr int L = lanes<T>;
    Vec<T> sum[R][V];
#pragma GCC unroll 8
    for (int k = 0; k < R; ++k)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) sum[k][v] = add ? to.get(target + k * target_stride + v * L) : Vec<T>{};
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) {
        Vec<T> x[V];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) x[v] = from.get(source + i * source_stride + v * L);
#pragma GCC unroll 8
        for (int k = 0; k < R; ++k)
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) sum[k][v] += a[i * a_i + k * a_k] * x[v];
    }
#pragma GCC unroll 8
    for (int k = 0; k < R; ++k)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) to.put(target + k * target_stride + v * L, sum[k][v]);
}

// Rows in the frame = D times features, for all slots; or += that.
template <class T, int V, class Access>
[[gnu::noinline]] void into_frame(const std::vector<FrameSlot> &slots, const T *frame, const T *features, std::int64_t stride,
                       T *rows, Access access, bool add = false) {
    constexpr int L = lanes<T>;
    for (const FrameSlot &s : slots) {
        const T *const source = features + s.component * stride;
        T *const target = rows + s.first_row * V * L;
        const bool done = with_constant_size(s.rows, s.columns, [&](auto r, auto c) {
            combine_constant<T, V, decltype(r)::value, decltype(c)::value>(
                frame + s.matrix, 1, decltype(c)::value, source, stride, target, V * L, add, access, WholeVector<T>{});
        });
        if (!done && s.rows > 0)
            combine<T, V>(s.rows, frame + s.matrix, 1, s.columns, s.columns, source, stride, target, V * L, add, access,
                          WholeVector<T>{});
    }
}

// Features += D transposed times rows in the frame.
template <class T, int V, class Access>
[[gnu::noinline]] void out_of_frame(const std::vector<FrameSlot> &slots, const T *frame, const T *rows, T *features,
                         std::int64_t stride, Access access) {
    constexpr int L = lanes<T>;
    for (const FrameSlot &s : slots) {
        const T *const source = rows + s.first_row * V * L;
        T *const target = features + s.component * stride;
        const bool done = with_constant_size(s.rows, s.columns, [&](auto r, auto c) {
            combine_constant<T, V, decltype(c)::value, decltype(r)::value>(
                frame + s.matrix, decltype(c)::value, 1, source, V * L, target, stride, true, WholeVector<T>{}, access);
        });
        if (!done && s.rows > 0)
            combine<T, V>(s.columns, frame + s.matrix, s.columns, 1, s.rows, source, V * L, target, stride, true,
                          WholeVector<T>{}, access);
    }
}

// y = W z, order by order. Weights of the next edge are called for meanwhile.
template <class T, int V, class Access>
inline void mix(const FramePlan &plan, const T *weight, std::int64_t stride, const T *z, T *y, std::int64_t next,
                Access access) {
    constexpr int L = lanes<T>;
    for (const MixGroup &group : plan.groups) {
        Vec<T> plus[V] = {}, minus[V] = {};
        for (int n = group.first; n < group.last; ++n) {
            const MixEntry &entry = plan.entries[n];
            const T *row = weight + entry.weight * stride;
            const T factor = T(entry.plus), other = T(entry.minus);
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) {
                const Vec<T> w = access.get(row + v * L);
                if (next) __builtin_prefetch(row + next + v * L, 0, 2);  // an edge's weights may exceed the first cache
                plus[v] += (factor * w) * load(z + (entry.a * V + v) * L);
                if (group.minus_row >= 0) minus[v] += (other * w) * load(z + (entry.b * V + v) * L);
            }
        }
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) {
            store(y + (group.plus_row * V + v) * L, plus[v]);
            if (group.minus_row >= 0) store(y + (group.minus_row * V + v) * L, minus[v]);
        }
    }
}

// Gradients of the mix: of the weights (null: not wanted) and of z, which is added to.
template <class T, int V, class Access>
inline void mix_gradients(const FramePlan &plan, const T *weight, std::int64_t stride, const T *z, const T *grad_y,
                          T *grad_weight, T *grad_z, Access access) {
    constexpr int L = lanes<T>;
    for (const MixGroup &group : plan.groups) {
        Vec<T> plus[V], minus[V] = {};
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) {
            plus[v] = load(grad_y + (group.plus_row * V + v) * L);
            if (group.minus_row >= 0) minus[v] = load(grad_y + (group.minus_row * V + v) * L);
        }
        for (int n = group.first; n < group.last; ++n) {
            const MixEntry &entry = plan.entries[n];
            const T factor = T(entry.plus), other = T(entry.minus);
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) {
                const std::int64_t a = (entry.a * V + v) * L, b = (entry.b * V + v) * L;
                const Vec<T> w = access.get(weight + entry.weight * stride + v * L);
                store(grad_z + a, load(grad_z + a) + (factor * w) * plus[v]);
                if (group.minus_row >= 0) store(grad_z + b, load(grad_z + b) + (other * w) * minus[v]);
                if (grad_weight) {
                    Vec<T> sum = (factor * plus[v]) * load(z + a);
                    if (group.minus_row >= 0) sum += (other * minus[v]) * load(z + b);
                    access.put(grad_weight + entry.weight * stride + v * L, sum);
                }
            }
        }
    }
}

// sums[m * N + k] += row m times feature k, unrolled.
template <class T, int V, int R, int N, class Access>
inline void outer_constant(const T *rows, const T *features, std::int64_t stride, Vec<T> *sums, Access access) {
    constexpr int L = lanes<T>;
    Vec<T> row[R][V];
#pragma GCC unroll 8
    for (int m = 0; m < R; ++m)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) row[m][v] = load(rows + (m * V + v) * L);
#pragma GCC unroll 8
    for (int k = 0; k < N; ++k) {
        Vec<T> x[V];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) x[v] = access.get(features + k * stride + v * L);
#pragma GCC unroll 8
        for (int m = 0; m < R; ++m) {
            Vec<T> sum = sums[m * N + k];
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) sum += row[m][v] * x[v];
            sums[m * N + k] = sum;
        }
    }
}

// sums[element of the frame] += rows in the frame times features, channel by channel.
template <class T, int V, class Access>
[[gnu::noinline]] void outer(const std::vector<FrameSlot> &slots, const T *rows, const T *features, std::int64_t stride,
                  Vec<T> *sums, Access access) {
    constexpr int L = lanes<T>;
    for (const FrameSlot &s : slots) {
        const T *row = rows + s.first_row * V * L;
        const bool done = with_constant_size(s.rows, s.columns, [&](auto r, auto c) {
            constexpr int R = decltype(r)::value, N = decltype(c)::value;
            outer_constant<T, V, R, N>(row, features + s.component * stride, stride, sums + s.matrix, access);
        });
        for (int k = 0; !done && s.rows > 0 && k < s.columns; ++k) {
            Vec<T> x[V];
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) x[v] = access.get(features + (s.component + k) * stride + v * L);
            for (int m = 0; m < s.rows; ++m) {
                Vec<T> sum = sums[s.matrix + m * s.columns + k];
#pragma GCC unroll 4
                for (int v = 0; v < V; ++v) sum += load(row + (m * V + v) * L) * x[v];
                sums[s.matrix + m * s.columns + k] = sum;
            }
        }
    }
}

// The sums of the lanes of n vectors, by the same tree at every register width.
template <class T> inline void sum_lanes(const Vec<T> *sums, int n, T *result) {
    constexpr int L = lanes<T>;
    for (int first = 0; first < n; first += L) {
        const int count = std::min(L, n - first);
        Vec<T> part[L] = {};
        for (int i = 0; i < count; ++i) part[i] = sums[first + i];
        transpose_square<T>(part);
        for (int half = L / 2; half > 0; half /= 2)
#pragma GCC unroll 16
            for (int i = 0; i < half; ++i) part[i] += part[i + half];
        store_first(result + first, part[0], count);
    }
}

// Calls with the number of vectors as a constant, the first channel and how to reach the channels of the block.
template <class T, class Call> inline void for_channel_blocks(std::int64_t channels, Call call) {
    constexpr int L = lanes<T>;
    std::int64_t c = 0;
    for (; c + frame_vectors * L <= channels; c += frame_vectors * L)
        call(std::integral_constant<int, frame_vectors>{}, c, WholeVector<T>{});
    if constexpr (frame_vectors > 2)
        for (; c + 2 * L <= channels; c += 2 * L) call(std::integral_constant<int, 2>{}, c, WholeVector<T>{});
    for (; c + L <= channels; c += L) call(std::integral_constant<int, 1>{}, c, WholeVector<T>{});
    if (c < channels) call(std::integral_constant<int, 1>{}, c, PartVector<T>{int(channels - c)});
}

}  // namespace atomsym
