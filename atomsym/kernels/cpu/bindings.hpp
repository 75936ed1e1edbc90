// Shared by the kernel files: the nanobind include and the list of binding functions.
#pragma once
#include <cstdint>
#include <nanobind/nanobind.h>

namespace nb = nanobind;

// Tensors cross the border as addresses (tensor.data_ptr()) with their sizes: no torch headers, no per-argument
// DLPack capsule. The Python wrapper beside each kernel has checked dtype, device, contiguity and size.
using Address = std::uintptr_t;

template <class T> inline const T *input(Address a) { return reinterpret_cast<const T *>(a); }
template <class T> inline T *output(Address a) { return reinterpret_cast<T *>(a); }

void bind_neighbors(nb::module_ &);
void bind_spherical_harmonics(nb::module_ &);
void bind_tensor_product(nb::module_ &);
void bind_tabulated_convolution(nb::module_ &);
void bind_symmetric_contraction(nb::module_ &);
void bind_segments(nb::module_ &);
void bind_matrix_product(nb::module_ &);
void bind_silu(nb::module_ &);
void bind_irreps_linear(nb::module_ &);
void bind_arithmetic_peak(nb::module_ &);
void bind_recycled_memory(nb::module_ &);
void bind_so2_convolution(nb::module_ &);
void bind_so2_rows(nb::module_ &);
void bind_so2_linear(nb::module_ &);
void bind_so2_gate(nb::module_ &);
void bind_so2_frames(nb::module_ &);
void bind_merged_norm(nb::module_ &);
void bind_pointwise_product(nb::module_ &);
void bind_pointwise_convolution(nb::module_ &);
void bind_hessian_head(nb::module_ &);
