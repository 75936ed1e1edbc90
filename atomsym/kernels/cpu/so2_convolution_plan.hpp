// The description of a convolution in edge frames as the kernels read it.
//
// In the frame of an edge, features have rows m = -U ... U for each slot (U: the largest order that any path of the
// slot keeps). A path multiplies the rows m and -m of an input slot with one weight and adds them to those of an
// output slot, an odd path crosswise and with a sign.
#pragma once
#include "tensor_product_plan.hpp"
#include <cstdint>
#include <vector>

namespace atomsym {

struct FrameSlot {
    int component;  // first component of the irrep
    int columns;    // 2 l + 1
    int rows;       // 2 U + 1; zero: no path needs the slot
    int first_row;  // of the slot, among the rows of all slots
    int matrix;     // element of the frame: row m = -U of D^l, row-major with `columns` elements a row
};

// y[plus] += plus_sign * w * z[a], y[minus] += minus_sign * w * z[b]
struct MixEntry {
    int a, b, weight;
    double plus, minus;
};

// Entries that add to the same pair of output rows; minus_row is negative for m = 0, where there is only one.
struct MixGroup {
    int plus_row, minus_row, first, last;
};

struct FramePlan {
    int in_dim, out_dim, n_weights, frame_size, in_rows, out_rows;
    std::vector<FrameSlot> in, out;
    std::vector<MixGroup> groups;
    std::vector<MixEntry> entries;
};

template <class T>
void frame_forward(const FramePlan &, const ProductCall &, Operand<T> x, Operand<T> frame_in, Operand<T> weight,
                   Operand<T> frame_out, T *out);

// Gradients of sum(g * out) in one pass over the edges of each sender; null: not wanted.
template <class T>
void frame_gradients(const FramePlan &, const ProductCall &, Operand<T> g, Operand<T> x, Operand<T> frame_in,
                     Operand<T> weight, Operand<T> frame_out, T *grad_x, T *grad_frame_in, T *grad_weight,
                     T *grad_frame_out);

}  // namespace atomsym
