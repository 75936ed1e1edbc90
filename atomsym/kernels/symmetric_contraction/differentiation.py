"""Derivatives of any order of the symmetric contraction from two operators, closed under differentiation.

With P(g, A, W) = ⟨g, B(A, W)⟩ and directions v_k in (A, W), both operators give mixed derivatives along all v_k:

    value:    D_v1 … D_vK B            gradient: D_v1 … D_vK (∂P/∂A, ∂P/∂W).

The backward of ``value`` is ``gradient``, with the same directions in A and W and with one direction left out in that
direction. The backward of ``gradient`` along u is ``value`` (in g) and ``gradient`` (in A, W), both with the further
direction u. Directions thus count the order of differentiation: forces need none, training on forces one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from atomsym.core.errors import BackendError

# A, W, then (direction in A, direction in W or None) for each of two directions, (None, None) where there is none.
# The number is fixed because the compiler tells functions with a context from those without by counting parameters.
_Operands = tuple[Tensor | None, ...]
NO_DIRECTIONS: _Operands = (None, None, None, None)


@dataclass(frozen=True)
class Program:
    """Which contraction and which operators: ``atomsym::symmetric_contraction_{value,gradient}_{backend}``."""

    backend: str
    key: str
    dim_out: int

    def value(self, species: Tensor, operands: _Operands) -> Tensor:
        """Call the value operator; operands: A, W, then (direction in A, direction in W or None) …"""
        operator = getattr(torch.ops.atomsym, f"symmetric_contraction_value_{self.backend}")
        return operator(self.key, self.dim_out, species, operands[0], operands[1], *_directions(operands))

    def gradient(
        self, species: Tensor, cotangent: Tensor, operands: _Operands, wanted: tuple[bool, bool]
    ) -> tuple[Tensor | None, Tensor | None]:
        """Call the gradient operator; what is not wanted is None."""
        operator = getattr(torch.ops.atomsym, f"symmetric_contraction_gradient_{self.backend}")
        features, weights = operands[:2]
        result = operator(self.key, *wanted, species, cotangent, features, weights, *_directions(operands))
        return result[0] if wanted[0] else None, result[1] if wanted[1] else None


class Value(torch.autograd.Function):
    """D_v1 … D_vK B. Operands have shape (n, components, channels), batched ones one more leading axis."""

    @staticmethod
    def forward(
        program: Program,
        species: Tensor,
        features: Tensor,
        weights: Tensor,
        in_features_1: Tensor | None,
        in_weights_1: Tensor | None,
        in_features_2: Tensor | None,
        in_weights_2: Tensor | None,
    ) -> Tensor:
        operands = (features, weights, in_features_1, in_weights_1, in_features_2, in_weights_2)
        return program.value(species, operands)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.program = inputs[0]
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Any, ...]:
        species, *operands = ctx.saved_tensors
        return None, None, *_gradients(ctx.program, species, cotangent, tuple(operands), ctx.needs_input_grad[2:])

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], program: Program, *tensors: Tensor | None) -> tuple[Tensor, int]:
        if in_dims[1] is not None:
            return _each_member(Value, info.batch_size, in_dims, program, *tensors), 0
        batch, operands = _fold_batch(info.batch_size, in_dims[2:], tensors[1:])
        result = Value.apply(program, tensors[0], *operands)
        return result.unflatten(0, (info.batch_size, batch)) if batch else result, 0


class Gradient(torch.autograd.Function):
    """D_v1 … D_vK (∂P/∂A, ∂P/∂W); what is not wanted is None."""

    @staticmethod
    def forward(
        program: Program,
        wanted: tuple[bool, bool],
        species: Tensor,
        cotangent: Tensor,
        features: Tensor,
        weights: Tensor,
        in_features_1: Tensor | None,
        in_weights_1: Tensor | None,
        in_features_2: Tensor | None,
        in_weights_2: Tensor | None,
    ) -> tuple[Tensor | None, Tensor | None]:
        operands = (features, weights, in_features_1, in_weights_1, in_features_2, in_weights_2)
        return program.gradient(species, cotangent, operands, wanted)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor | None, Tensor | None]) -> None:
        ctx.program = inputs[0]
        ctx.save_for_backward(*inputs[2:])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, in_features: Tensor | None, in_weights: Tensor | None) -> tuple[Any, ...]:
        species, cotangent, *operands = ctx.saved_tensors
        if in_features is None and in_weights is None:
            return (None,) * (4 + len(operands))
        direction = torch.zeros_like(operands[0]) if in_features is None else in_features
        needs, further = ctx.needs_input_grad[3:], _with_direction(ctx.program, tuple(operands), direction, in_weights)
        in_cotangent = None
        if needs[0]:
            in_cotangent = _sum_shared(Value.apply(ctx.program, species, *further), cotangent)
        return None, None, None, in_cotangent, *_gradients(ctx.program, species, cotangent, further, needs[1:])

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[Any, ...], program: Program, wanted: tuple[bool, bool], *tensors: Tensor | None
    ) -> tuple[tuple[Tensor | None, Tensor | None], tuple[int | None, int | None]]:
        out_dims = (0 if wanted[0] else None, 0 if wanted[1] else None)
        if in_dims[2] is not None:
            return _each_member(Gradient, info.batch_size, in_dims, program, wanted, *tensors), out_dims
        batch, operands = _fold_batch(info.batch_size, in_dims[3:], tensors[1:])
        results = Gradient.apply(program, wanted, tensors[0], *operands)
        if batch:
            results = tuple(None if r is None else r.unflatten(0, (info.batch_size, batch)) for r in results)
        return results, out_dims


def _gradients(
    program: Program, species: Tensor, cotangent: Tensor, operands: _Operands, needs: tuple[bool, ...]
) -> list[Tensor | None]:
    """Gradients of ⟨cotangent, D_v1 … D_vK B⟩ in all operands that need one; pairs (A, W), then the directions.

    ``needs`` speaks of the operands of the function whose backward this is: a direction that was added last needs none.
    """
    gradients: list[Tensor | None] = []
    for first in range(0, len(operands), 2):
        wanted = (needs[first], needs[first + 1])
        pair: tuple[Tensor | None, Tensor | None] = (None, None)
        if any(wanted):
            others = operands if first == 0 else (*operands[:first], *operands[first + 2 :], None, None)
            pair = Gradient.apply(program, wanted, species, cotangent, *others)
        gradients += [_sum_shared(g, operand) for g, operand in zip(pair, operands[first : first + 2], strict=True)]
    return gradients


def _sum_shared(gradient: Tensor | None, operand: Tensor | None) -> Tensor | None:
    """An operand without the batch axis was shared by all members, whose gradients add up."""
    if gradient is None or operand is None or gradient.ndim == operand.ndim:
        return gradient
    return gradient.sum(0)


def _with_direction(program: Program, operands: _Operands, direction: Tensor, in_weights: Tensor | None) -> _Operands:
    """The operands with a further direction in the first free place."""
    free = next((at for at in range(2, len(operands), 2) if operands[at] is None), None)
    if free is None:
        raise BackendError(
            f"symmetric_contraction: {program.backend} can be differentiated three times, not more often; "
            "use backend='reference'"
        )
    return (*operands[:free], direction, in_weights, *operands[free + 2 :])


def _directions(operands: _Operands) -> tuple[list[Tensor], list[Tensor]]:
    """Directions in A and in W; the latter empty if none changes the weights."""
    in_features = [direction for direction in operands[2::2] if direction is not None]
    in_weights = operands[3 : 2 + 2 * len(in_features) : 2]
    if all(direction is None for direction in in_weights):
        return in_features, []
    zeros = torch.zeros_like(operands[1])  # type: ignore[arg-type]
    return in_features, [zeros if direction is None else direction for direction in in_weights]


def _fold_batch(
    size: int, dims: Sequence[int | None], operands: Sequence[Tensor | None]
) -> tuple[int, list[Tensor | None]]:
    """Merge the axis of vmap with the batch axis that operands may have; shared operands stay shared.

    Returns:
        The size of the inner batch axis, 0 if there was none, and the operands.
    """
    pairs = [(o if o is None or d is None else o.movedim(d, 0), d) for o, d in zip(operands, dims, strict=True)]
    inner = next((o.shape[-4] for o, d in pairs if o is not None and o.ndim - (d is not None) == 4), 0)
    if not inner:
        return 0, [o for o, _ in pairs]
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


def _each_member(function: Any, size: int, in_dims: tuple[Any, ...], *inputs: Any) -> Any:
    """Member by member, for the rare batch in which the species differ too."""
    results = []
    for member in range(size):
        # Inputs that are not tensors have no dimension, or as tuples a tuple of them.
        taken = [x.select(d, member) if isinstance(d, int) else x for x, d in zip(inputs, in_dims, strict=True)]
        results.append(function.apply(*taken))
    if isinstance(results[0], Tensor):
        return torch.stack(results)
    return tuple(None if parts[0] is None else torch.stack(parts) for parts in zip(*results, strict=True))
