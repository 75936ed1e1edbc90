"""Differentiation of the channel-wise convolution, to any order, on two raw operators.

The form F(g, x, Y, w) = ⟨g, convolution(x, Y, w)⟩ is linear in each operand. Its derivative for g is the forward
operator, those for x, Y and w come together from the gradients operator, and both are again such forms with other
tensors in the places: that is what closes differentiation. A *term* below is F with named tensors in its four places.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from atomsym.core.errors import InputError

Wiring = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
_N_WIRING = 5


class Forward(Function):
    """∂F/∂g: the convolution itself. Arguments: x, Y, w, five wiring tensors, product handle, backend."""

    @staticmethod
    def forward(  # the compiler wants every argument by name
        x: Tensor,
        y: Tensor,
        w: Tensor,
        receiver: Tensor,
        sender: Tensor,
        receiver_offsets: Tensor,
        sender_order: Tensor,
        sender_offsets: Tensor,
        product: str,
        backend: str,
    ) -> Tensor:
        wiring = (receiver, sender, receiver_offsets, sender_order, sender_offsets)
        result: Tensor = _operator("forward", backend)(x, y, w, *wiring, product)
        return result

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[: 3 + _N_WIRING])
        ctx.product, ctx.backend = inputs[3 + _N_WIRING :]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, y, w, *wiring = ctx.saved_tensors
        values = {"g": g, "x": x, "y": y, "w": w}
        wanted = _wanted("xyw", ctx.needs_input_grad)
        found = _derivatives([("g", "x", "y", "w")], values, wanted, wiring, ctx.product, ctx.backend)
        return (*(found.get(name) for name in "xyw"), *(None,) * (_N_WIRING + 2))

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Tensor, int]:
        operands, inner = _fold(info.batch_size, in_dims, args, 3)
        out = Forward.apply(*operands, *args[3:])
        return out.unflatten(0, (info.batch_size, inner)), 0


class Gradients(Function):
    """∂F/∂(x, Y, w) in one pass. Arguments: g, x, Y, w, five wiring tensors, handle, backend, three needs."""

    @staticmethod
    def forward(
        g: Tensor,
        x: Tensor,
        y: Tensor,
        w: Tensor,
        receiver: Tensor,
        sender: Tensor,
        receiver_offsets: Tensor,
        sender_order: Tensor,
        sender_offsets: Tensor,
        product: str,
        backend: str,
        need_x: bool,
        need_y: bool,
        need_w: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        wiring = (receiver, sender, receiver_offsets, sender_order, sender_offsets)
        result: tuple[Tensor, Tensor, Tensor] = _operator("gradients", backend)(
            g, x, y, w, *wiring, product, need_x, need_y, need_w
        )
        return result

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.save_for_backward(*inputs[: 4 + _N_WIRING])
        ctx.product, ctx.backend, *ctx.needs = inputs[4 + _N_WIRING :]
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *directions: Tensor | None) -> tuple[Tensor | None, ...]:
        g, x, y, w, *wiring = ctx.saved_tensors
        values = {"g": g, "x": x, "y": y, "w": w}
        terms = []
        for place, (need, direction) in enumerate(zip(ctx.needs, directions, strict=True)):
            if need and direction is not None:
                name = "xyw"[place]
                values["along_" + name] = direction
                terms.append(tuple("along_" + other if other == name else other for other in "gxyw"))
        wanted = _wanted("gxyw", ctx.needs_input_grad)
        found = _derivatives(terms, values, wanted, wiring, ctx.product, ctx.backend)
        return (*(found.get(name) for name in "gxyw"), *(None,) * (_N_WIRING + 5))

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], *args: Any
    ) -> tuple[tuple[Tensor, ...], tuple[int | None, ...]]:
        operands, inner = _fold(info.batch_size, in_dims, args, 4)
        results = Gradients.apply(*operands, *args[4:])
        needs = args[-3:]
        unfolded = tuple(
            result.unflatten(0, (info.batch_size, inner)) if need else result
            for result, need in zip(results, needs, strict=True)
        )
        return unfolded, tuple(0 if need else None for need in needs)


def _operator(kind: str, backend: str) -> Any:
    return getattr(torch.ops.atomsym, f"channelwise_{kind}_{backend}").default


def _wanted(names: str, needs_input_grad: Sequence[bool]) -> set[str]:
    return {name for name, need in zip(names, needs_input_grad[: len(names)], strict=True) if need}


def _derivatives(
    terms: Sequence[tuple[str, ...]],
    values: dict[str, Tensor],
    wanted: set[str],
    wiring: Sequence[Tensor],
    product: str,
    backend: str,
) -> dict[str, Tensor]:
    """Derivatives of a sum of terms for the wanted tensors, each in the shape of its tensor; differentiable again."""
    found: dict[str, Tensor] = {}

    def add(name: str, derivative: Tensor) -> None:
        operand = values[name]
        if operand.shape[0] == 1 and derivative.shape[0] > 1:  # the batch shared this operand
            derivative = derivative.sum(0, keepdim=True)
        found[name] = found[name] + derivative if name in found else derivative

    for term in terms:
        g, x, y, w = (values[name] for name in term)
        needs = tuple(name in wanted for name in term)
        if needs[0]:
            add(term[0], Forward.apply(x, y, w, *wiring, product, backend))
        if any(needs[1:]):
            results = Gradients.apply(g, x, y, w, *wiring, product, backend, *needs[1:])
            for name, need, result in zip(term[1:], needs[1:], results, strict=True):
                if need:
                    add(name, result)
    return found


def _fold(size: int, in_dims: Sequence[int | None], args: Sequence[Any], n_operands: int) -> tuple[list[Tensor], int]:
    """Merge a mapped axis into the leading batch axes; operands that neither maps stay shared, without a copy."""
    if any(dim is not None for dim in in_dims[n_operands : n_operands + _N_WIRING]):
        raise InputError("vmap over the edges' wiring is not possible; batch graphs with AtomGraph.batch instead")
    moved = [
        arg if dim is None else arg.movedim(dim, 0)
        for arg, dim in zip(args[:n_operands], in_dims[:n_operands], strict=True)
    ]
    mapped = [dim is not None for dim in in_dims[:n_operands]]
    inner = max(operand.shape[1 if outer else 0] for operand, outer in zip(moved, mapped, strict=True))
    folded = []
    for operand, outer in zip(moved, mapped, strict=True):
        if not outer and operand.shape[0] == 1:
            folded.append(operand)
            continue
        full = operand if outer else operand.unsqueeze(0)
        folded.append(full.expand(size, inner, *full.shape[2:]).flatten(0, 1))
    return folded, inner


def convolution(
    node_features: Tensor, edge_features: Tensor, weights: Tensor, wiring: Wiring, product: str, backend: str
) -> Tensor:
    """The differentiable convolution; operands have a leading batch axis, of size 1 or of the batch."""
    return Forward.apply(node_features, edge_features, weights, *wiring, product, backend)
