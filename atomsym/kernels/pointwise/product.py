"""The C++ backend of products of features by rows: one operator, whose derivatives are the same one.

The form Σ_r Π_s (sample_s x_s)[r] is linear in the tensor of each slot. The operator leaves out one slot; its
derivative for the tensor of another slot leaves out that one instead, with the derivative of the result in the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from atomsym.kernels.differentiable_operator import Call, DifferentiableOperator, Inputs
from atomsym.kernels.memory import recycled_empty
from atomsym.kernels.native import cpu_extension, n_threads
from atomsym.kernels.pointwise.tables import product_tables, slot_dims

MOST_FACTORS = 4
"""Products of more factors are made of products of these."""


def pointwise_product(factors: Sequence[Tensor], handle: str) -> Tensor:
    """The result of factors of shape (n or 1, dim, channels or 1); there are at most ``MOST_FACTORS``."""
    n, channels = (_common([factor.shape[axis] for factor in factors]) for axis in (0, 2))
    full = [factor.expand(n, -1, channels) for factor in factors]
    result: Tensor = _OPERATORS[len(full)](*full, handle, len(full))
    return result


def _common(sizes: Sequence[int]) -> int:
    return 0 if 0 in sizes else max(sizes)


@cache
def _plan_address(handle: str, suffix: str) -> int:
    address: int = getattr(cpu_extension(), f"pointwise_product_plan_{suffix}")(*product_tables(handle).table())
    return address


def _rows_in_place(factor: Tensor) -> tuple[Tensor, int]:
    """A factor whose rows are contiguous, and elements from one to the next: 0 where all are the same."""
    _, dim, channels = factor.shape
    whole_rows = (channels == 1 or factor.stride(2) == 1) and (dim == 1 or factor.stride(1) == channels)
    if not whole_rows:
        factor = factor.contiguous()
    return factor, factor.stride(0)


def _shape(inputs: Sequence[Any]) -> tuple[int, int, int]:
    *factors, handle, out = inputs
    return factors[0].shape[0], slot_dims(handle)[out], factors[0].shape[2]


def _kernel(*inputs: Any) -> Tensor:
    *factors, handle, out = inputs
    n, _, channels = shape = _shape(inputs)
    result = recycled_empty(shape, factors[0].dtype)
    if result.numel():
        placed = [_rows_in_place(factor) for factor in factors]
        suffix = "float32" if result.dtype == torch.float32 else "float64"
        getattr(cpu_extension(), f"pointwise_product_{suffix}")(
            _plan_address(handle, suffix),
            out,
            n,
            channels,
            [factor.data_ptr() for factor, _ in placed],
            [stride for _, stride in placed],
            result.data_ptr(),
            n_threads(),
        )
    return result


def _backward(
    n_factors: int, needs: tuple[bool, ...], inputs: Inputs, grads: tuple[Tensor | None, ...]
) -> list[Tensor | None]:
    *factors, handle, out = inputs
    slots = n_factors + 1
    of_slot = {(out + 1 + place) % slots: factor for place, factor in enumerate(factors)} | {out: grads[0]}
    found: list[Tensor | None] = []
    for place in range(n_factors):
        wanted = (out + 1 + place) % slots
        others = [of_slot[(wanted + 1 + step) % slots] for step in range(n_factors)]
        found.append(_OPERATORS[n_factors](*others, handle, wanted) if needs[place] else None)
    return found


def _batching(
    n_factors: int, call: Call, size: int, in_dims: tuple[int | None, ...], inputs: Inputs
) -> tuple[Tensor, int]:
    factors = [
        factor.expand(size, *factor.shape) if dim is None else factor.movedim(dim, 0)
        for factor, dim in zip(inputs[:n_factors], in_dims[:n_factors], strict=True)
    ]
    n = factors[0].shape[1]
    result = call(*(factor.flatten(0, 1) for factor in factors), *inputs[n_factors:])
    return result.unflatten(0, (size, n)), 0


def _operator(n_factors: int) -> DifferentiableOperator:
    tensors = ", ".join(f"Tensor factor{number}" for number in range(n_factors))
    return DifferentiableOperator(
        f"pointwise_product{n_factors}_cpp",
        f"({tensors}, str handle, int out) -> Tensor",
        {"CPU": _kernel},
        shapes=lambda *inputs: inputs[0].new_empty(_shape(inputs)),
        backward=partial(_backward, n_factors),
        batching=partial(_batching, n_factors),
    )


_OPERATORS = {n_factors: _operator(n_factors) for n_factors in range(2, MOST_FACTORS + 1)}
