// Convolution whose radial weights are read from tables while it runs: what the two kernels and the border share.
#pragma once
#include "tensor_product_lanes.hpp"
#include "tensor_product_plan.hpp"
#include <algorithm>

namespace atomsym {

// Channels whose coefficients lie together in a table: a cache line of floats, whatever the register width.
constexpr int table_block = 16;

// Coefficients of a polynomial: as many as keep the tables of each precision's accuracy smallest, hence near the cores.
template <class T> constexpr int table_coefficients = sizeof(T) == 8 ? 8 : 6;

// coefficients[interval][path][channel block][power][table_block] of polynomials in u in [-1, 1] over each of the equal
// intervals of a range. Channels beyond the last are zero.
template <class T> struct RadialTable {
    const T *coefficients;
    std::int64_t n_intervals;
    T inverse_step;
};

// The tables of one range, one for each kind of edge.
template <class T> struct RadialTables {
    const RadialTable<T> *table;
    const std::int64_t *kind;  // table of each edge; null: the first for all
    const T *distance;
    T start, stop;
    std::int64_t path_size, interval_size;
};

// An edge that carries weight, with everything that the walks read of it.
template <class T> struct TabulatedEdge {
    std::int64_t number, receiver, sender;
    const T *coefficients;  // of its interval, all paths
    T u, du;                // place in the interval, and its derivative for the distance
};

// False if the edge is as long as the tables or longer: its weights are zero. NaN stays NaN.
template <class T>
inline bool tabulated_edge(const RadialTables<T> &tables, const ProductCall &call, std::int64_t number,
                           TabulatedEdge<T> &edge) {
    const T d = tables.distance[number];
    if (d >= tables.stop) return false;
    const RadialTable<T> &table = tables.table[tables.kind ? tables.kind[number] : 0];
    const T place = (d - tables.start) * table.inverse_step;
    std::int64_t interval = 0;
    if (place > T(0)) interval = std::min(std::int64_t(place), table.n_intervals - 1);
    edge.number = number;
    edge.receiver = call.receiver[number];
    edge.sender = call.sender[number];
    edge.u = 2 * (place - T(interval)) - 1;
    edge.du = 2 * table.inverse_step;
    edge.coefficients = table.coefficients + interval * tables.interval_size;
    return true;
}

// The coefficients of the channels from c on, for one path.
template <class T> inline const T *table_place(const T *path, std::int64_t c, int n_coefficients) {
    return path + c / table_block * (n_coefficients * table_block) + c % table_block;
}

template <class T, int N> inline Vec<T> table_value(const T *p, T u) {
    Vec<T> sum = load(p + (N - 1) * table_block);
#pragma GCC unroll 8
    for (int n = N - 2; n >= 0; --n) sum = sum * u + load(p + n * table_block);
    return sum;
}

// Value and derivative in u.
template <class T, int N> inline Vec<T> table_value(const T *p, T u, Vec<T> &slope) {
    Vec<T> sum = load(p + (N - 1) * table_block), d = sum;
    sum = sum * u + load(p + (N - 2) * table_block);
#pragma GCC unroll 8
    for (int n = N - 3; n >= 0; --n) {
        d = d * u + sum;
        sum = sum * u + load(p + n * table_block);
    }
    slope = d;
    return sum;
}

// out[n, k, c] = sum over the edges of n and paths of A[i, k](Y) x[sender, i, c] w[path, c](d); x null: ones.
template <class T>
void tabulated_forward(const ProductPlan &, const ProductCall &, const RadialTables<T> &, const T *x, const T *edge,
                       T *out);

// Gradients of sum(g * out) for x (null: not wanted), the edge components and the distance. With `add`, the last two
// are added to what is there.
template <class T>
void tabulated_gradients(const ProductPlan &, const ProductCall &, const RadialTables<T> &, const T *g, const T *x,
                         const T *edge, T *grad_x, T *grad_edge, T *grad_distance, bool add);

}  // namespace atomsym
