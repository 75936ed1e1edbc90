"""The C++ backend: the form ⟨g, y(x, W)⟩ is linear in g, x and W, so its three gradients are all there is.

    y = L(x, W)        ∂/∂x = Lᵀ(g, W)        ∂/∂W = G(x, g)

L and Lᵀ are one operator with a flag; every further derivative is one of these again.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from atomsym.kernels.differentiable_operator import Call, DifferentiableOperator, Inputs
from atomsym.kernels.irreps_linear.description import IrrepsLinear, linear_of
from atomsym.kernels.memory import recycled_empty
from atomsym.kernels.native import cpu_extension, n_threads


def linear(features: Tensor, weights: Tensor, description: IrrepsLinear) -> Tensor:
    """The C++ backend; see ``irreps_linear``."""
    result: Tensor = _MAP(features, weights, description.handle, False)
    return result


@cache
def _table(handle: str) -> list[int]:
    return [number for block in linear_of(handle).blocks for number in block[2:]]


def _map_shape(source: Tensor, weights: Tensor, handle: str, transpose: bool) -> tuple[int, int, int]:
    description = linear_of(handle)
    if transpose:
        return source.shape[0], description.in_dim, weights.shape[1]
    return source.shape[0], description.out_dim, weights.shape[2]


def mapped(source: Tensor, weights: Tensor, handle: str, transpose: bool) -> Tensor:
    """L(x, W), or Lᵀ(g, W) with ``transpose``, without autograd; operands fit the description."""
    source, weights, description = source.contiguous(), weights.contiguous(), linear_of(handle)
    result = recycled_empty(_map_shape(source, weights, handle, transpose), source.dtype)
    sizes = [source.shape[0], description.in_dim, description.out_dim, *weights.shape[1:]]
    if result.numel():
        _kernel("irreps_linear", source)(
            source.data_ptr(), weights.data_ptr(), result.data_ptr(), _table(handle), sizes, transpose, n_threads()
        )
    return result


def _weight(features: Tensor, grad: Tensor, handle: str) -> Tensor:
    features, grad, description = features.contiguous(), grad.contiguous(), linear_of(handle)
    result = _weight_shape(features, grad, handle)
    sizes = [features.shape[0], description.in_dim, description.out_dim, features.shape[2], grad.shape[2]]
    if result.numel():
        _kernel("irreps_linear_weight", features)(
            features.data_ptr(), grad.data_ptr(), result.data_ptr(), _table(handle), sizes, n_threads()
        )
    return result


def _weight_shape(features: Tensor, grad: Tensor, handle: str) -> Tensor:
    return features.new_empty(linear_of(handle).n_blocks, features.shape[2], grad.shape[2])


def _kernel(name: str, like: Tensor) -> Any:
    return getattr(cpu_extension(), f"{name}_{str(like.dtype).removeprefix('torch.')}")


def _map_backward(needs: tuple[bool, ...], inputs: Inputs, grads: tuple[Tensor | None, ...]) -> list[Tensor | None]:
    source, weights, handle, transpose = inputs
    (g,) = grads
    in_source = _MAP(g, weights, handle, not transpose) if needs[0] else None
    pair = (g, source) if transpose else (source, g)
    return [in_source, _WEIGHT(*pair, handle) if needs[1] else None]


def _weight_backward(needs: tuple[bool, ...], inputs: Inputs, grads: tuple[Tensor | None, ...]) -> list[Tensor | None]:
    features, g, handle = inputs
    (direction,) = grads
    return [
        _MAP(g, direction, handle, True) if needs[0] else None,
        _MAP(features, direction, handle, False) if needs[1] else None,
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
    "irreps_linear_cpp",
    "(Tensor source, Tensor weights, str handle, bool transpose) -> Tensor",
    {"CPU": mapped},
    shapes=lambda source, weights, handle, transpose: source.new_empty(_map_shape(source, weights, handle, transpose)),
    backward=_map_backward,
    batching=_map_batching,
)
_WEIGHT = DifferentiableOperator(
    "irreps_linear_weight_cpp",
    "(Tensor features, Tensor grad, str handle) -> Tensor",
    {"CPU": _weight},
    shapes=_weight_shape,
    backward=_weight_backward,
    batching=_each_member,
)
