"""Functions that are linear in each operand: two or three raw operators a backend, derivatives of any order.

The form F(g, o1, …, ok) = ⟨g, function(o1, …, ok)⟩ is linear in every operand. Its derivative for g is the forward
operator, those for the operands come together from the gradients operator, and both are again such forms with other
tensors in the places: that is what closes differentiation. A *term* below is F with named tensors in its places.

A third operator is optional, for the backward of the gradients along directions, which training on forces needs for
every batch. Without it, that backward is made of calls of the other two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.core.topology import EdgeTopology
from atomsym.kernels.differentiable_operator import Call, DifferentiableOperator, Inputs

_WIRING = ("receiver", "sender", "receiver_offsets", "sender_order", "sender_offsets")


class MultilinearForm:
    """The operators of a function that is linear in each operand, of edges or not, by backend.

    An operand may have a leading batch axis, which it then shares with all that have one; results have it too.

    Args:
        name: prefix of the operators.
        operands: names of the operands, none of them ``g``, and how many axes each has without a batch.
        out_rank: axes of the result without a batch.
        out_shape: (operands, wiring, handle) → shape of the result without a batch.
        on_edges: the function also reads the wiring of edges: the five tensors of an ``EdgeTopology``, which the
            operators take after the operands.
    """

    def __init__(
        self,
        name: str,
        operands: Mapping[str, int],
        out_rank: int,
        out_shape: Callable[[Sequence[Tensor], Sequence[Tensor], str], tuple[int, ...]],
        *,
        on_edges: bool = True,
    ) -> None:
        self.name, self.operands, self._out_shape = name, tuple(operands), out_shape
        self.ranks = (out_rank, *operands.values())
        self._wiring = _WIRING if on_edges else ()
        self._forward: dict[str, DifferentiableOperator] = {}
        self._gradients: dict[str, DifferentiableOperator] = {}
        self._second: dict[str, DifferentiableOperator] = {}
        self._second_along: dict[str, frozenset[str]] = {}

    def __call__(self, backend: str, operands: Sequence[Tensor], topology: EdgeTopology | None, handle: str) -> Tensor:
        """The differentiable function; without edges there is no topology."""
        wiring = () if topology is None else topology.wiring
        result: Tensor = self._forward[backend](*operands, *wiring, handle)
        return result

    def define(
        self,
        backend: str,
        forward: Callable[..., Tensor],
        gradients: Callable[..., tuple[Tensor, ...]],
        keys: tuple[str, ...],
        second: Callable[..., tuple[Tensor, ...]] | None = None,
        second_along: Collection[str] | None = None,
    ) -> None:
        """Register the operators of a backend for the dispatch keys ``keys`` (CPU, CUDA).

        Args:
            backend: its name.
            forward: (operands, wiring, handle) → result.
            gradients: (g, operands, wiring, handle, which operands are wanted) → derivatives; empty where not wanted.
            keys: where the kernels run.
            second: (g, operands, directions of the operands or None, wiring, handle, which of g and the operands are
                wanted) → derivatives for g and the operands of the sum over the directions of F with an operand
                replaced by its direction; empty where not wanted.
            second_along: operands along which ``second`` can go, None: all; others go by the first two operators.
        """
        tensors = ", ".join(f"Tensor {name}" for name in self.operands)
        context = "".join(f"Tensor {name}, " for name in self._wiring) + "str handle"
        wanted = ", ".join(f"bool need_{name}" for name in self.operands)
        returned = ", ".join("Tensor" for _ in self.operands)
        self._forward[backend] = DifferentiableOperator(
            f"{self.name}_forward_{backend}",
            f"({tensors}, {context}) -> Tensor",
            dict.fromkeys(keys, forward),
            shapes=self._empty_forward,
            backward=partial(self._forward_backward, backend),
            batching=self._forward_batching,
        )
        self._gradients[backend] = DifferentiableOperator(
            f"{self.name}_gradients_{backend}",
            f"(Tensor g, {tensors}, {context}, {wanted}) -> ({returned})",
            dict.fromkeys(keys, gradients),
            shapes=self._empty_gradients,
            backward=partial(self._gradients_backward, backend),
            batching=partial(self._gradients_batching, self.ranks),
        )
        if second is not None:
            self._second_along[backend] = frozenset(self.operands if second_along is None else second_along)
            directions = ", ".join(f"Tensor? along_{name}" for name in self.operands)
            self._second[backend] = DifferentiableOperator(
                f"{self.name}_second_{backend}",
                f"(Tensor g, {tensors}, {directions}, {context}, bool need_g, {wanted}) -> (Tensor, {returned})",
                dict.fromkeys(keys, second),
                shapes=self._empty_second,
                backward=partial(self._second_backward, backend),
                batching=partial(self._gradients_batching, (*self.ranks, *self.ranks[1:])),
            )

    def out_shape(self, operands: Sequence[Tensor], wiring: Sequence[Tensor], handle: str) -> tuple[int, ...]:
        """Shape of the forward operator's result."""
        return (*self._batch(operands, self.ranks[1:]), *self._out_shape(operands, wiring, handle))

    def gradient_shapes(self, g: Tensor, operands: Sequence[Tensor], needs: Sequence[bool]) -> list[tuple[int, ...]]:
        """Shapes of the gradients operator's results; those not wanted have no elements."""
        batch = self._batch((g, *operands), self.ranks)
        triples = zip(operands, self.ranks[1:], needs, strict=True)
        return [(*batch, *_own(operand, rank)) if need else (0,) for operand, rank, need in triples]

    def second_shapes(self, tensors: Sequence[Tensor | None], needs: Sequence[bool]) -> list[tuple[int, ...]]:
        """Shapes of the third operator's results; tensors are g, the operands and the directions."""
        batch = self._batch(tensors, (*self.ranks, *self.ranks[1:]))
        triples = zip(tensors[: len(self.ranks)], self.ranks, needs, strict=True)
        return [(*batch, *_own(x, rank)) if need and x is not None else (0,) for x, rank, need in triples]

    def batch_strides(self, tensors: Sequence[Tensor | None], *, forward: bool = False) -> tuple[int, list[int]]:
        """Size of the batch (1: none), and elements from one member to the next: zero for what the batch shares.

        Args:
            tensors: the operands of the forward operator, or g, the operands and the directions, if there are any.
            forward: which of the two.
        """
        ranks = self.ranks[1:] if forward else (*self.ranks, *self.ranks[1:])[: len(tensors)]
        pairs = list(zip(tensors, ranks, strict=True))
        batch = self._batch(tensors, ranks)
        strides = [0 if x is None or x.ndim == rank else math.prod(x.shape[1:]) for x, rank in pairs]
        return (batch[0] if batch else 1), strides

    @staticmethod
    def _batch(tensors: Sequence[Tensor | None], ranks: Sequence[int]) -> tuple[int, ...]:
        """The batch axis as the beginning of a shape."""
        pairs = zip(tensors, ranks, strict=True)
        return next(((x.shape[0],) for x, rank in pairs if x is not None and x.ndim > rank), ())

    def _empty_forward(self, *args: Any) -> Tensor:
        n = len(self.operands)
        return args[0].new_empty(self.out_shape(args[:n], args[n:-1], args[-1]))

    def _empty_second(self, *args: Any) -> tuple[Tensor, ...]:
        n = len(self.operands)
        return tuple(args[0].new_empty(shape) for shape in self.second_shapes(args[: 2 * n + 1], args[-n - 1 :]))

    def _empty_gradients(self, *args: Any) -> tuple[Tensor, ...]:
        n = len(self.operands)
        return tuple(args[0].new_empty(shape) for shape in self.gradient_shapes(args[0], args[1 : n + 1], args[-n:]))

    def _forward_backward(
        self, backend: str, needs: tuple[bool, ...], inputs: Inputs, grads: tuple[Tensor | None, ...]
    ) -> list[Tensor | None]:
        """Derivatives of ⟨g, forward⟩ for the operands."""
        n = len(self.operands)
        names = ("g", *self.operands)
        values = dict(zip(names, (grads[0], *inputs[:n]), strict=True))
        wanted = {name for name, need in zip(self.operands, needs[:n], strict=True) if need}
        found = self._derivatives([names], values, wanted, inputs[n:], backend)
        return [found.get(name) for name in self.operands]

    def _gradients_backward(
        self, backend: str, needs: tuple[bool, ...], inputs: Inputs, directions: tuple[Tensor | None, ...]
    ) -> list[Tensor | None]:
        """Derivatives of the gradients along the directions, for g and the operands: one term a direction."""
        n = len(self.operands)
        names = ("g", *self.operands)
        values = dict(zip(names, inputs[: n + 1], strict=True))
        context, computed = inputs[n + 1 : -n], inputs[-n:]
        along = [direction if there else None for there, direction in zip(computed, directions, strict=True)]
        wanted = {name for name, need in zip(names, needs[: n + 1], strict=True) if need}
        if not wanted or all(direction is None for direction in along):
            return []
        given = {name for name, direction in zip(self.operands, along, strict=True) if direction is not None}
        if backend in self._second and given <= self._second_along[backend]:
            flags = tuple(name in wanted for name in names)
            results = self._second[backend](*inputs[: n + 1], *along, *context, *flags)
            return [
                _in_shape_of(values[name], result) if flag else None
                for name, flag, result in zip(names, flags, results, strict=True)
            ]
        found = self._derivatives(self._terms_along(along, values), values, wanted, context, backend)
        return [found.get(name) for name in names]

    def _second_backward(
        self, backend: str, needs: tuple[bool, ...], inputs: Inputs, directions: tuple[Tensor | None, ...]
    ) -> list[Tensor | None]:
        """Derivatives of the second derivatives along further directions: one term a pair of directions."""
        n = len(self.operands)
        names = ("g", *self.operands)
        values = dict(zip(names, inputs[: n + 1], strict=True))
        first_terms = self._terms_along(inputs[n + 1 : 2 * n + 1], values)
        context, computed = inputs[2 * n + 1 : -n - 1], inputs[-n - 1 :]
        terms = []
        for name, there, direction in zip(names, computed, directions, strict=True):
            if there and direction is not None:
                values["further " + name] = direction
                terms += [
                    tuple("further " + name if operand == name else operand for operand in term)
                    for term in first_terms
                    if name in term
                ]
        names += tuple("along " + name for name in self.operands)
        wanted = {name for name, need in zip(names, needs[: 2 * n + 1], strict=True) if need}
        found = self._derivatives(terms, values, wanted, context, backend)
        return [found.get(name) for name in names]

    def _terms_along(self, along: Sequence[Tensor | None], values: dict[str, Any]) -> list[tuple[str, ...]]:
        """F with each operand replaced by its direction, if it has one; the directions are entered in ``values``."""
        terms = []
        for name, direction in zip(self.operands, along, strict=True):
            if direction is not None:
                values["along " + name] = direction
                terms.append(tuple("along " + other if other == name else other for other in ("g", *self.operands)))
        return terms

    def _derivatives(
        self,
        terms: Sequence[tuple[str, ...]],
        values: dict[str, Any],
        wanted: set[str],
        context: Sequence[Any],
        backend: str,
    ) -> dict[str, Tensor]:
        """Derivatives of a sum of terms for the wanted tensors, in the shapes of those; differentiable again."""
        found: dict[str, Tensor] = {}

        def add(name: str, derivative: Tensor) -> None:
            derivative = _in_shape_of(values[name], derivative)
            found[name] = found[name] + derivative if name in found else derivative

        for term in terms:
            operands = [values[name] for name in term]
            needs = tuple(name in wanted for name in term)
            if needs[0]:
                add(term[0], self._forward[backend](*operands[1:], *context))
            if any(needs[1:]):
                results = self._gradients[backend](*operands, *context, *needs[1:])
                for name, need, result in zip(term[1:], needs[1:], results, strict=True):
                    if need:
                        add(name, result)
        return found

    def _forward_batching(
        self, call: Call, size: int, in_dims: tuple[int | None, ...], inputs: Inputs
    ) -> tuple[Tensor, int]:
        operands, inner = _fold(size, in_dims, inputs, self.ranks[1:], len(self._wiring))
        result = call(*operands, *inputs[len(operands) :])
        return result.unflatten(0, (size, *inner)) if inner else result, 0

    def _gradients_batching(
        self, ranks: Sequence[int], call: Call, size: int, in_dims: tuple[int | None, ...], inputs: Inputs
    ) -> tuple[tuple[Tensor, ...], tuple[int | None, ...]]:
        operands, inner = _fold(size, in_dims, inputs, ranks, len(self._wiring))
        results = call(*operands, *inputs[len(operands) :])
        needs = inputs[-len(results) :]
        unfolded = tuple(
            result.unflatten(0, (size, *inner)) if need and inner else result
            for result, need in zip(results, needs, strict=True)
        )
        return unfolded, tuple(0 if need else None for need in needs)


def _own(tensor: Tensor, rank: int) -> tuple[int, ...]:
    """The shape without a batch axis."""
    return tuple(tensor.shape[tensor.ndim - rank :])


def _in_shape_of(operand: Tensor, derivative: Tensor) -> Tensor:
    """A batch that shared its operand has added to it with every member."""
    return derivative.sum(0) if derivative.ndim > operand.ndim else derivative


def _fold(
    size: int, in_dims: Sequence[int | None], args: Sequence[Any], ranks: Sequence[int], n_wiring: int
) -> tuple[list[Tensor | None], tuple[int, ...]]:
    """Merge a mapped axis with the batch axis, if there is one; operands that have neither stay shared, without a copy.

    Returns:
        The operands, and the size of the batch axis that was there already, as the beginning of a shape.
    """
    n = len(ranks)
    if any(dim is not None for dim in in_dims[n : n + n_wiring]):
        raise InputError("vmap over the edges' wiring is not possible; batch graphs with AtomGraph.batch instead")
    dims = in_dims[:n]
    moved = [arg if dim is None else arg.movedim(dim, 0) for arg, dim in zip(args[:n], dims, strict=True)]
    batched = [
        x is not None and x.ndim - (dim is not None) > rank for x, dim, rank in zip(moved, dims, ranks, strict=True)
    ]
    inner = next(((x.shape[0 if dim is None else 1],) for x, dim, b in zip(moved, dims, batched, strict=True) if b), ())
    folded: list[Tensor | None] = []
    for operand, dim, has_batch in zip(moved, dims, batched, strict=True):
        if operand is None or (dim is None and not has_batch):
            folded.append(operand)
            continue
        outer = operand if dim is not None else operand.unsqueeze(0)
        full = outer if has_batch or not inner else outer.unsqueeze(1)
        own = full.shape[1 + len(inner) :]
        folded.append(full.expand(size, *inner, *own).flatten(0, len(inner)) if inner else full)
    return folded, inner
