// Features of edges in their frames, gathered by order: where each row lies and which factor it is multiplied with.
//
// In scratch memory rows lie degree by degree, as the rotations make them. Outside they lie by order: degrees m ... L
// of m = 0, then of +1, -1, +2, -2 and so on. A factor belongs to the rows +m and -m of a degree alike.
#pragma once
#include "so2_convolution_blocks.hpp"
#include "so2_linear.hpp"
#include <algorithm>
#include <cstdlib>
#include <vector>

namespace atomsym {

struct RowPlan {
    int components, frame_size = 0, n_rows = 0, n_factors = 0;
    std::vector<FrameSlot> slots;
    std::vector<int> order_row, factor;         // of each row in scratch memory
    std::vector<int> plus_row, minus_row;       // rows in scratch memory of each factor; minus is -1 for m = 0

    // Degrees up to `degree`, frames with orders up to `frame_order`, rows with orders up to `order` of them.
    RowPlan(int degree, int frame_order, int order) : components((degree + 1) * (degree + 1)) {
        std::vector<int> first_factor;
        for (int m = 0; m <= order; ++m) {
            first_factor.push_back(n_factors);
            n_factors += degree - m + 1;
        }
        plus_row.assign(n_factors, -1);
        minus_row.assign(n_factors, -1);
        for (int l = 0; l <= degree; ++l) {
            const int columns = 2 * l + 1, there = std::min(l, frame_order), kept = std::min(l, order);
            slots.push_back({l * l, columns, 2 * kept + 1, n_rows, frame_size + (there - kept) * columns});
            for (int m = -kept; m <= kept; ++m, ++n_rows) {
                const int size = std::abs(m), q = first_factor[size] + l - size;
                // Factors before this one are of rows twice, but those of order 0 once.
                const int before = size == 0 ? 0 : 2 * first_factor[size] - (degree + 1);
                order_row.push_back(before + (m < 0 ? degree - size + 1 : 0) + l - size);
                factor.push_back(q);
                (m < 0 ? minus_row : plus_row)[q] = n_rows;
            }
            frame_size += (2 * there + 1) * columns;
        }
    }
};

// Features of both ends of each edge turned into its frame, multiplied with factors and mapped within orders.
template <class T> void gather_forward(const RowPlan &, const std::vector<LinearBlock> &, const ConvolutionCall<T> &);
template <class T> void gather_gradients(const RowPlan &, const std::vector<LinearBlock> &, const ConvolutionCall<T> &);
template <class T> void gather_second(const RowPlan &, const std::vector<LinearBlock> &, const ConvolutionCall<T> &);

// Rows of each edge times its weight, turned out of its frame and summed at the receiver.
template <class T> void sum_forward(const RowPlan &, const ConvolutionCall<T> &);
template <class T> void sum_gradients(const RowPlan &, const ConvolutionCall<T> &);
template <class T> void sum_second(const RowPlan &, const ConvolutionCall<T> &);

// Calls body(batch member, node) for every node of the batch, on all threads; `make` makes a thread's scratch memory.
template <class Make, class Body> void for_each_node(const ProductCall &call, Make make, Body body) {
    const std::int64_t per_task = nodes_per_task(call), tasks = (call.n_nodes + per_task - 1) / per_task;
#pragma omp parallel num_threads(call.n_threads) if (call.n_threads > 1)
    {
        auto scratch = make();
#pragma omp for schedule(dynamic) collapse(2)
        for (std::int64_t b = 0; b < call.batch; ++b)
            for (std::int64_t task = 0; task < tasks; ++task)
                for (std::int64_t n = task * per_task; n < std::min((task + 1) * per_task, call.n_nodes); ++n)
                    body(scratch, b, n);
    }
}

}  // namespace atomsym
