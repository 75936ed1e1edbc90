"""Derivatives of any order of the symmetric contraction from two operators, closed under differentiation.

With P(g, A, W) = ⟨g, B(A, W)⟩ and directions v_k in (A, W), both operators give mixed derivatives along all v_k:

    value:    D_v1 … D_vK B            gradient: D_v1 … D_vK (∂P/∂A, ∂P/∂W).

The backward of ``value`` is ``gradient``, with the same directions in A and W and with one direction left out in that
direction. The backward of ``gradient`` along u is ``value`` (in g) and ``gradient`` (in A, W), both with the further
direction u. Directions thus count the order of differentiation: forces need none, training on forces one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from atomsym.core.errors import BackendError
from atomsym.kernels.differentiable_operator import Call, DifferentiableOperator, Inputs

# A, W, then (direction in A, direction in W or None) for each of two directions, (None, None) where there is none.
# Operands have shape (n, components, channels), batched ones one more leading axis.
_Operands = tuple[Tensor | None, ...]
_OPERANDS = (
    "Tensor features, Tensor weights, "
    "Tensor? in_features_1, Tensor? in_weights_1, Tensor? in_features_2, Tensor? in_weights_2"
)
_NO_DIRECTIONS: _Operands = (None, None, None, None)
_VALUE_HEAD, _GRADIENT_HEAD = 3, 4  # arguments before the operands; for the gradient, before the cotangent

_VALUE: dict[str, DifferentiableOperator] = {}
_GRADIENT: dict[str, DifferentiableOperator] = {}


def contract(backend: str, key: str, dim_out: int, species: Tensor, features: Tensor, weights: Tensor) -> Tensor:
    """B(A, W) by the operators of a backend, differentiable."""
    result: Tensor = _VALUE[backend](key, dim_out, species, features, weights, *_NO_DIRECTIONS)
    return result


def define(
    backend: str,
    value: Callable[..., Tensor],
    gradient: Callable[..., tuple[Tensor, Tensor]],
    value_shape: Callable[..., Tensor],
    gradient_shape: Callable[..., tuple[Tensor, Tensor]],
    devices: tuple[str, ...],
) -> None:
    """Register ``atomsym::symmetric_contraction_{value,gradient}_{backend}`` for dispatch keys (CPU, CUDA).

    Kernels and shape functions take the arguments of the operators, but directions in A and directions in W as two
    lists, the latter empty if none changes the weights.
    """
    _VALUE[backend] = DifferentiableOperator(
        f"symmetric_contraction_value_{backend}",
        f"(str key, int dim_out, Tensor species, {_OPERANDS}) -> Tensor",
        dict.fromkeys(devices, _with_lists(value)),
        shapes=_with_lists(value_shape),
        backward=partial(_value_backward, backend),
        batching=_value_batching,
    )
    _GRADIENT[backend] = DifferentiableOperator(
        f"symmetric_contraction_gradient_{backend}",
        f"(str key, bool want_features, bool want_weights, Tensor species, Tensor cotangent, {_OPERANDS}) "
        "-> (Tensor, Tensor)",
        dict.fromkeys(devices, _with_lists(gradient)),
        shapes=_with_lists(gradient_shape),
        backward=partial(_gradient_backward, backend),
        batching=_gradient_batching,
    )


def _with_lists(function: Callable[..., Any]) -> Callable[..., Any]:
    def called(*arguments: Any) -> Any:
        head, directions = arguments[:-4], arguments[-4:]
        in_features = [direction for direction in directions[0::2] if direction is not None]
        in_weights = directions[1 : 2 * len(in_features) : 2]
        if all(direction is None for direction in in_weights):
            return function(*head, in_features, [])
        zeros = torch.zeros_like(head[-1])
        return function(*head, in_features, [zeros if direction is None else direction for direction in in_weights])

    return called


def _value_backward(
    backend: str, needs: tuple[bool, ...], inputs: Inputs, grads: tuple[Tensor | None, ...]
) -> list[Tensor | None]:
    key, _, species, *operands = inputs
    found = _gradients(backend, key, species, grads[0], tuple(operands), needs[_VALUE_HEAD:])
    return [None] * _VALUE_HEAD + found


def _gradient_backward(
    backend: str, needs: tuple[bool, ...], inputs: Inputs, grads: tuple[Tensor | None, ...]
) -> list[Tensor | None]:
    key, want_features, want_weights, species, cotangent, *operands = inputs
    in_features, in_weights = grads[0] if want_features else None, grads[1] if want_weights else None
    if in_features is None and in_weights is None:
        return []
    direction = torch.zeros_like(operands[0]) if in_features is None else in_features
    further = _with_direction(backend, tuple(operands), direction, in_weights)
    in_cotangent = None
    if needs[_GRADIENT_HEAD]:
        value = _VALUE[backend](key, cotangent.shape[-2], species, *further)
        in_cotangent = _sum_shared(value, cotangent)
    found = _gradients(backend, key, species, cotangent, further, needs[_GRADIENT_HEAD + 1 :])
    return [None] * _GRADIENT_HEAD + [in_cotangent, *found]


def _gradients(
    backend: str, key: str, species: Tensor, cotangent: Tensor | None, operands: _Operands, needs: tuple[bool, ...]
) -> list[Tensor | None]:
    """Gradients of ⟨cotangent, D_v1 … D_vK B⟩ in all operands that need one; pairs (A, W), then the directions.

    ``needs`` speaks of the operands of the function whose backward this is: a direction that was added last needs none.
    """
    gradients: list[Tensor | None] = []
    for first in range(0, len(operands), 2):
        wanted = needs[first : first + 2]
        pair: tuple[Tensor | None, Tensor | None] = (None, None)
        if any(wanted):
            others = operands if first == 0 else (*operands[:first], *operands[first + 2 :], None, None)
            results = _GRADIENT[backend](key, *wanted, species, cotangent, *others)
            pair = (results[0] if wanted[0] else None, results[1] if wanted[1] else None)
        gradients += [_sum_shared(g, operand) for g, operand in zip(pair, operands[first : first + 2], strict=True)]
    return gradients


def _sum_shared(gradient: Tensor | None, operand: Tensor | None) -> Tensor | None:
    """An operand without the batch axis was shared by all members, whose gradients add up."""
    if gradient is None or operand is None or gradient.ndim == operand.ndim:
        return gradient
    return gradient.sum(0)


def _with_direction(backend: str, operands: _Operands, direction: Tensor, in_weights: Tensor | None) -> _Operands:
    """The operands with a further direction in the first free place."""
    free = next((at for at in range(2, len(operands), 2) if operands[at] is None), None)
    if free is None:
        raise BackendError(
            f"symmetric_contraction: {backend} can be differentiated three times, not more often; "
            "use backend='reference'"
        )
    return (*operands[:free], direction, in_weights, *operands[free + 2 :])


def _value_batching(call: Call, size: int, in_dims: tuple[int | None, ...], inputs: Inputs) -> tuple[Tensor, int]:
    if in_dims[_VALUE_HEAD - 1] is not None:
        return _each_member(call, size, in_dims, inputs), 0
    batch, operands = _fold_batch(size, in_dims[_VALUE_HEAD:], inputs[_VALUE_HEAD:])
    result = call(*inputs[:_VALUE_HEAD], *operands)
    return result if batch is None else result.unflatten(0, (size, batch)), 0


def _gradient_batching(
    call: Call, size: int, in_dims: tuple[int | None, ...], inputs: Inputs
) -> tuple[tuple[Tensor, ...], tuple[int | None, ...]]:
    wanted = inputs[1:3]
    out_dims = tuple(0 if want else None for want in wanted)
    if in_dims[_GRADIENT_HEAD - 1] is not None:
        results = _each_member(call, size, in_dims, inputs)
        return tuple(r if want else r[0] for r, want in zip(results, wanted, strict=True)), out_dims
    batch, operands = _fold_batch(size, in_dims[_GRADIENT_HEAD:], inputs[_GRADIENT_HEAD:])
    results = call(*inputs[:_GRADIENT_HEAD], *operands)
    if batch is not None:
        results = tuple(r.unflatten(0, (size, batch)) if want else r for r, want in zip(results, wanted, strict=True))
    return results, out_dims


def _fold_batch(
    size: int, dims: Sequence[int | None], operands: Sequence[Tensor | None]
) -> tuple[int | None, list[Tensor | None]]:
    """Merge the axis of vmap with the batch axis that operands may have; shared operands stay shared.

    Returns:
        The size of the inner batch axis, None if there was none, and the operands.
    """
    pairs = [(o if o is None or d is None else o.movedim(d, 0), d) for o, d in zip(operands, dims, strict=True)]
    inner = next((o.shape[-4] for o, d in pairs if o is not None and o.ndim - (d is not None) == 4), None)
    if inner is None:
        return None, [o for o, _ in pairs]
    folded: list[Tensor | None] = []
    for operand, dim in pairs:
        if operand is None or operand.ndim == 3:
            folded.append(operand)
            continue
        if dim is None:
            operand = operand.unsqueeze(0)
        elif operand.ndim == 4:
            operand = operand.unsqueeze(1)
        folded.append(operand.expand(size, inner, *operand.shape[-3:]).reshape(size * inner, *operand.shape[-3:]))
    return inner, folded


def _each_member(call: Call, size: int, in_dims: tuple[int | None, ...], inputs: Inputs) -> Any:
    """Member by member, for the rare batch in which the species differ too."""
    results = [
        call(*(x if d is None else x.select(d, member) for x, d in zip(inputs, in_dims, strict=True)))
        for member in range(size)
    ]
    if isinstance(results[0], Tensor):
        return torch.stack(results)
    return tuple(torch.stack(parts) for parts in zip(*results, strict=True))
