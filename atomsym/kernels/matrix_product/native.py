"""The C++ matrix product as an operator that is closed under differentiation.

P(a, b) = op(a) op(b), where op transposes or not. With a cotangent g of the product, the gradients are g op(b)ᵀ for
op(a) and op(a)ᵀ g for op(b): again such products, with other transpositions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from atomsym.kernels.differentiable_operator import Call, DifferentiableOperator, Inputs
from atomsym.kernels.memory import recycled_empty
from atomsym.kernels.native import cpu_extension, n_threads


def cpp_matrix_product(a: Tensor, b: Tensor) -> Tensor:
    """The C++ backend for two matrices; see ``matrix_product``."""
    result: Tensor = _PRODUCT(a, b, False, False)
    return result


def _raw(a: Tensor, b: Tensor, transpose_a: bool, transpose_b: bool) -> Tensor:
    a, b = a.contiguous(), b.contiguous()
    m, inner = reversed(a.shape) if transpose_a else a.shape
    n = b.shape[0] if transpose_b else b.shape[1]
    result = recycled_empty((m, n), a.dtype)
    if result.numel():
        kernel = getattr(cpu_extension(), f"matrix_product_{str(a.dtype).removeprefix('torch.')}")
        kernel(a.data_ptr(), b.data_ptr(), result.data_ptr(), m, n, inner, transpose_a, transpose_b, n_threads())
    return result


def _shape(a: Tensor, b: Tensor, transpose_a: bool, transpose_b: bool) -> Tensor:
    return a.new_empty(a.shape[1] if transpose_a else a.shape[0], b.shape[0] if transpose_b else b.shape[1])


def _backward(
    needs: tuple[bool, ...], inputs: Inputs, grads: tuple[Tensor | None, ...]
) -> tuple[Tensor | None, Tensor | None]:
    a, b, transpose_a, transpose_b = inputs
    (g,) = grads
    in_a = in_b = None
    if needs[0]:
        in_a = _PRODUCT(b, g, transpose_b, True) if transpose_a else _PRODUCT(g, b, False, not transpose_b)
    if needs[1]:
        in_b = _PRODUCT(g, a, True, transpose_a) if transpose_b else _PRODUCT(a, g, not transpose_a, False)
    return in_a, in_b


def _batching(call: Call, size: int, in_dims: tuple[int | None, ...], inputs: Inputs) -> tuple[Tensor, int]:
    """One operand mapped: its copies become further rows or columns of one product."""
    a, b, transpose_a, transpose_b = inputs
    dim_a, dim_b = in_dims[:2]
    if dim_a is not None and dim_b is not None:
        a, b = a.movedim(dim_a, 0), b.movedim(dim_b, 0)
        return torch.matmul(a.mT if transpose_a else a, b.mT if transpose_b else b), 0
    if dim_a is not None:
        rows = a.movedim(dim_a, 1).flatten(1, 2) if transpose_a else a.movedim(dim_a, 0).flatten(0, 1)
        return call(rows, b, transpose_a, transpose_b).unflatten(0, (size, -1)), 0
    columns = b.movedim(dim_b, 0).flatten(0, 1) if transpose_b else b.movedim(dim_b, 1).flatten(1, 2)
    return call(a, columns, transpose_a, transpose_b).unflatten(1, (size, -1)), 1


_PRODUCT: Any = DifferentiableOperator(
    "matrix_product_cpp",
    "(Tensor a, Tensor b, bool transpose_a, bool transpose_b) -> Tensor",
    {"CPU": _raw},
    shapes=_shape,
    backward=_backward,
    batching=_batching,
)
