"""Differentiation of the channel-wise convolution, to any order, on two or three raw operators.

The form F(g, x, Y, w) = ⟨g, convolution(x, Y, w)⟩ is linear in each operand. Its derivative for g is the forward
operator, those for x, Y and w come together from the gradients operator, and both are again such forms with other
tensors in the places: that is what closes differentiation. A *term* below is F with named tensors in its four places.

Each backend has two operators, with every operand carrying a leading batch axis (size 1: shared by the batch):

* ``channelwise_forward_<backend>``: the sum over the edges of each receiver;
* ``channelwise_gradients_<backend>``: derivatives of F for those of x, Y, w that are wanted.

A third one is optional, for the backward of the gradients along directions ax, aY, aw, which training on forces needs
for every batch. Without it, that backward is made of calls of the other two:

* ``channelwise_second_<backend>``: derivatives of F(g, ax, Y, w) + F(g, x, aY, w) + F(g, x, Y, aw) for those of
  g, x, Y, w that are wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.kernels.differentiable_operator import Call, DifferentiableOperator, Inputs
from atomsym.kernels.tensor_product.shapes import common_batch, gradient_shapes, out_shape, second_shapes

Wiring = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
_N_WIRING = 5
_WIRING = "Tensor receiver, Tensor sender, Tensor receiver_offsets, Tensor sender_order, Tensor sender_offsets"

_FORWARD: dict[str, DifferentiableOperator] = {}
_GRADIENTS: dict[str, DifferentiableOperator] = {}
_SECOND: dict[str, DifferentiableOperator] = {}


def convolution(
    node_features: Tensor, edge_features: Tensor, weights: Tensor, wiring: Wiring, product: str, backend: str
) -> Tensor:
    """The differentiable convolution; operands have a leading batch axis, of size 1 or of the batch."""
    result: Tensor = _FORWARD[backend](node_features, edge_features, weights, *wiring, product)
    return result


def define(
    backend: str,
    forward: Callable[..., Tensor],
    gradients: Callable[..., tuple[Tensor, ...]],
    keys: tuple[str, ...],
    second: Callable[..., tuple[Tensor, ...]] | None = None,
) -> None:
    """Register the operators of a backend for the dispatch keys ``keys`` (CPU, CUDA)."""
    _FORWARD[backend] = DifferentiableOperator(
        f"channelwise_forward_{backend}",
        f"(Tensor x, Tensor y, Tensor w, {_WIRING}, str product) -> Tensor",
        dict.fromkeys(keys, forward),
        shapes=_empty_forward,
        backward=partial(_forward_backward, backend),
        batching=_forward_batching,
    )
    _GRADIENTS[backend] = DifferentiableOperator(
        f"channelwise_gradients_{backend}",
        f"(Tensor g, Tensor x, Tensor y, Tensor w, {_WIRING}, str product, bool need_x, bool need_y, bool need_w) "
        "-> (Tensor, Tensor, Tensor)",
        dict.fromkeys(keys, gradients),
        shapes=_empty_gradients,
        backward=partial(_gradients_backward, backend),
        batching=partial(_gradients_batching, 4),
    )
    if second is not None:
        _SECOND[backend] = DifferentiableOperator(
            f"channelwise_second_{backend}",
            "(Tensor g, Tensor x, Tensor y, Tensor w, Tensor? along_x, Tensor? along_y, Tensor? along_w, "
            f"{_WIRING}, str product, bool need_g, bool need_x, bool need_y, bool need_w) "
            "-> (Tensor, Tensor, Tensor, Tensor)",
            dict.fromkeys(keys, second),
            shapes=_empty_second,
            backward=partial(_second_backward, backend),
            batching=partial(_gradients_batching, 7),
        )


def _empty_forward(x: Tensor, y: Tensor, w: Tensor, *rest: Any) -> Tensor:
    return x.new_empty(out_shape(x, y, w, rest[-1]))


def _empty_gradients(g: Tensor, x: Tensor, y: Tensor, w: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    return tuple(x.new_empty(shape) for shape in gradient_shapes(g, x, y, w, *rest[-3:]))


def _empty_second(*args: Any) -> tuple[Tensor, ...]:
    return tuple(args[0].new_empty(shape) for shape in second_shapes(*args[:7], *args[-4:]))


def _forward_backward(
    backend: str, needs: tuple[bool, ...], inputs: Inputs, grads: tuple[Tensor | None, ...]
) -> list[Tensor | None]:
    """Derivatives of ⟨g, forward⟩ for x, Y, w."""
    values = dict(zip("gxyw", (grads[0], *inputs[:3]), strict=True))
    wanted = _wanted("xyw", needs)
    found = _derivatives([("g", "x", "y", "w")], values, wanted, inputs[3:], backend)
    return [found.get(name) for name in "xyw"]


def _gradients_backward(
    backend: str, needs: tuple[bool, ...], inputs: Inputs, directions: tuple[Tensor | None, ...]
) -> list[Tensor | None]:
    """Derivatives of the gradients along the directions, for g, x, Y, w: one term a direction."""
    values = dict(zip("gxyw", inputs[:4], strict=True))
    wiring_and_product, computed = inputs[4 : 5 + _N_WIRING], inputs[5 + _N_WIRING :]
    along = [direction if there else None for there, direction in zip(computed, directions, strict=True)]
    wanted = _wanted("gxyw", needs)
    if not wanted or all(direction is None for direction in along):
        return []
    if backend in _SECOND:
        flags = tuple(name in wanted for name in "gxyw")
        results = _SECOND[backend](*inputs[:4], *along, *wiring_and_product, *flags)
        found = {
            name: _in_shape_of(values[name], result)
            for name, flag, result in zip("gxyw", flags, results, strict=True)
            if flag
        }
    else:
        found = _derivatives(_terms_along(along, values), values, wanted, wiring_and_product, backend)
    return [found.get(name) for name in "gxyw"]


def _second_backward(
    backend: str, needs: tuple[bool, ...], inputs: Inputs, directions: tuple[Tensor | None, ...]
) -> list[Tensor | None]:
    """Derivatives of the second derivatives along further directions: one term a pair of directions."""
    values = dict(zip("gxyw", inputs[:4], strict=True))
    first_terms = _terms_along(inputs[4:7], values)
    terms = []
    for name, there, direction in zip("gxyw", inputs[-4:], directions, strict=True):
        if there and direction is not None:
            values["further_" + name] = direction
            terms += [
                tuple("further_" + name if operand == name else operand for operand in term)
                for term in first_terms
                if name in term
            ]
    names = ("g", "x", "y", "w", "along_x", "along_y", "along_w")
    found = _derivatives(terms, values, _wanted(names, needs), inputs[7 : 8 + _N_WIRING], backend)
    return [found.get(name) for name in names]


def _terms_along(along: Sequence[Tensor | None], values: dict[str, Any]) -> list[tuple[str, ...]]:
    """F with each of x, Y, w replaced by its direction, if it has one; the directions are entered in ``values``."""
    terms = []
    for name, direction in zip("xyw", along, strict=True):
        if direction is not None:
            values["along_" + name] = direction
            terms.append(tuple("along_" + other if other == name else other for other in "gxyw"))
    return terms


def _wanted(names: Sequence[str], needs: Sequence[bool]) -> set[str]:
    return {name for name, need in zip(names, needs[: len(names)], strict=True) if need}


def _derivatives(
    terms: Sequence[tuple[str, ...]],
    values: dict[str, Any],
    wanted: set[str],
    wiring_and_product: Sequence[Any],
    backend: str,
) -> dict[str, Tensor]:
    """Derivatives of a sum of terms for the wanted tensors, each in the shape of its tensor; differentiable again."""
    found: dict[str, Tensor] = {}

    def add(name: str, derivative: Tensor) -> None:
        derivative = _in_shape_of(values[name], derivative)
        found[name] = found[name] + derivative if name in found else derivative

    for term in terms:
        g, x, y, w = (values[name] for name in term)
        needs = tuple(name in wanted for name in term)
        if needs[0]:
            add(term[0], _FORWARD[backend](x, y, w, *wiring_and_product))
        if any(needs[1:]):
            results = _GRADIENTS[backend](g, x, y, w, *wiring_and_product, *needs[1:])
            for name, need, result in zip(term[1:], needs[1:], results, strict=True):
                if need:
                    add(name, result)
    return found


def _in_shape_of(operand: Tensor, derivative: Tensor) -> Tensor:
    """A batch that shared its operand has added to it with every member."""
    shared = operand.shape[0] == 1 and derivative.shape[0] > 1
    return derivative.sum(0, keepdim=True) if shared else derivative


def _forward_batching(call: Call, size: int, in_dims: tuple[int | None, ...], inputs: Inputs) -> tuple[Tensor, int]:
    operands, inner = _fold(size, in_dims, inputs, 3)
    return call(*operands, *inputs[3:]).unflatten(0, (size, inner)), 0


def _gradients_batching(
    n_operands: int, call: Call, size: int, in_dims: tuple[int | None, ...], inputs: Inputs
) -> tuple[tuple[Tensor, ...], tuple[int | None, ...]]:
    operands, inner = _fold(size, in_dims, inputs, n_operands)
    results = call(*operands, *inputs[n_operands:])
    needs = inputs[-len(results) :]
    unfolded = tuple(
        result.unflatten(0, (size, inner)) if need else result for result, need in zip(results, needs, strict=True)
    )
    return unfolded, tuple(0 if need else None for need in needs)


def _fold(
    size: int, in_dims: Sequence[int | None], args: Sequence[Any], n_operands: int
) -> tuple[list[Tensor | None], int]:
    """Merge a mapped axis into the leading batch axes; operands that neither maps stay shared, without a copy."""
    if any(dim is not None for dim in in_dims[n_operands : n_operands + _N_WIRING]):
        raise InputError("vmap over the edges' wiring is not possible; batch graphs with AtomGraph.batch instead")
    moved = [
        arg if dim is None else arg.movedim(dim, 0)
        for arg, dim in zip(args[:n_operands], in_dims[:n_operands], strict=True)
    ]
    mapped = [dim is not None for dim in in_dims[:n_operands]]
    inner = common_batch(
        [operand.shape[1 if outer else 0] for operand, outer in zip(moved, mapped, strict=True) if operand is not None]
    )
    folded: list[Tensor | None] = []
    for operand, outer in zip(moved, mapped, strict=True):
        if operand is None or (not outer and operand.shape[0] == 1):
            folded.append(operand)
            continue
        full = operand if outer else operand.unsqueeze(0)
        folded.append(full.expand(size, inner, *full.shape[2:]).flatten(0, 1))
    return folded, inner
