"""The C++ backend of linear maps by order: the form ⟨g, y(x, W)⟩ is linear in g, x and W.

    y = L(x, W)        ∂/∂x = Lᵀ(g, W)        ∂/∂W = G(x, g)

L and Lᵀ are one operator with a flag; every further derivative is one of these again.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from atomsym.kernels.differentiable_operator import Call, DifferentiableOperator, Inputs
from atomsym.kernels.memory import recycled_empty
from atomsym.kernels.native import cpu_extension, n_threads
from atomsym.kernels.so2_convolution.linear_description import OrderLinear, order_linear_of


def linear(rows: Tensor, weights: Tensor, description: OrderLinear) -> Tensor:
    """The C++ backend; see ``order_linear``."""
    result: Tensor = _MAP(rows, weights, description.handle, False)
    return result


@cache
def linear_table(handle: str) -> tuple[list[int], list[float]]:
    """The blocks that have weights: six numbers and a scale each."""
    blocks = [block for block in order_linear_of(handle).blocks if block.n_in and block.n_out]
    return [number for block in blocks for number in block[:6]], [block.scale for block in blocks]


def _kernel(name: str, like: Tensor) -> Any:
    return getattr(cpu_extension(), f"{name}_{str(like.dtype).removeprefix('torch.')}")


def _map_width(handle: str, transpose: bool) -> int:
    description = order_linear_of(handle)
    return description.in_width if transpose else description.out_width


def _map(source: Tensor, weights: Tensor, handle: str, transpose: bool) -> Tensor:
    source, weights, description = source.contiguous(), weights.contiguous(), order_linear_of(handle)
    result = recycled_empty((source.shape[0], _map_width(handle, transpose)), source.dtype)
    if 0 in (description.channels_in, description.out_width):
        return result.zero_()
    if result.numel():
        sizes = [source.shape[0], description.in_width, description.out_width]
        _kernel("so2_linear", source)(
            source.data_ptr(),
            weights.data_ptr(),
            result.data_ptr(),
            *linear_table(handle),
            sizes,
            transpose,
            n_threads(),
        )
    return result


def _weight(source: Tensor, grad: Tensor, handle: str) -> Tensor:
    source, grad, description = source.contiguous(), grad.contiguous(), order_linear_of(handle)
    result = source.new_empty(description.n_weights)
    if result.numel():
        sizes = [source.shape[0], description.in_width, description.out_width]
        _kernel("so2_linear_weight", source)(
            source.data_ptr(), grad.data_ptr(), result.data_ptr(), *linear_table(handle), sizes, n_threads()
        )
    return result


def _map_backward(needs: tuple[bool, ...], inputs: Inputs, grads: tuple[Tensor | None, ...]) -> list[Tensor | None]:
    source, weights, handle, transpose = inputs
    (g,) = grads
    in_source = _MAP(g, weights, handle, not transpose) if needs[0] else None
    pair = (g, source) if transpose else (source, g)
    return [in_source, _WEIGHT(*pair, handle) if needs[1] else None]


def _weight_backward(needs: tuple[bool, ...], inputs: Inputs, grads: tuple[Tensor | None, ...]) -> list[Tensor | None]:
    source, g, handle = inputs
    (direction,) = grads
    return [
        _MAP(g, direction, handle, True) if needs[0] else None,
        _MAP(source, direction, handle, False) if needs[1] else None,
    ]


def _map_batching(call: Call, size: int, in_dims: tuple[int | None, ...], inputs: Inputs) -> tuple[Tensor, int]:
    if in_dims[1] is not None:
        return _each_member(call, size, in_dims, inputs)
    source = inputs[0].movedim(in_dims[0], 0)
    return call(source.flatten(0, 1), *inputs[1:]).unflatten(0, source.shape[:2]), 0


def _each_member(call: Call, size: int, in_dims: tuple[int | None, ...], inputs: Inputs) -> tuple[Tensor, int]:
    """Member by member: batches of weights are rare."""
    members = [
        call(*(x if d is None else x.select(d, member) for x, d in zip(inputs, in_dims, strict=True)))
        for member in range(size)
    ]
    return torch.stack(members), 0


_MAP = DifferentiableOperator(
    "so2_linear_cpp",
    "(Tensor source, Tensor weights, str handle, bool transpose) -> Tensor",
    {"CPU": _map},
    shapes=lambda source, weights, handle, transpose: source.new_empty(source.shape[0], _map_width(handle, transpose)),
    backward=_map_backward,
    batching=_map_batching,
)
_WEIGHT = DifferentiableOperator(
    "so2_linear_weight_cpp",
    "(Tensor source, Tensor grad, str handle) -> Tensor",
    {"CPU": _weight},
    shapes=lambda source, grad, handle: source.new_empty(order_linear_of(handle).n_weights),
    backward=_weight_backward,
    batching=_each_member,
)
