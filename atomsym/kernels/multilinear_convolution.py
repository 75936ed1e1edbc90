"""Sums over edges that are linear in each of their operands: two raw operators a backend, differentiable to any order.

The form F(g, o1, …, ok) = ⟨g, convolution(o1, …, ok)⟩ is linear in every operand. Its derivative for g is the forward
operator, those for the operands come together from the gradients operator, and both are again such forms with other
tensors in the places: that is what closes differentiation. A *term* below is F with named tensors in its places.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.core.topology import EdgeTopology
from atomsym.kernels.differentiable_operator import Call, DifferentiableOperator, Inputs

_WIRING = "Tensor receiver, Tensor sender, Tensor receiver_offsets, Tensor sender_order, Tensor sender_offsets"
_N_WIRING = 5


class MultilinearConvolution:
    """The operators of a convolution over edges, by backend.

    Kernels see every operand with a leading batch axis, of size 1 (shared by the batch) or of the batch.

    Args:
        name: prefix of the operators.
        operands: names of the operands, none of them ``g``.
        out_shape: (operands with their batch axes, size of the batch, handle) → shape of the result.
    """

    def __init__(
        self,
        name: str,
        operands: Sequence[str],
        out_shape: Callable[[Sequence[Tensor], int, str], tuple[int, ...]],
    ) -> None:
        self.name, self.operands, self._out_shape = name, tuple(operands), out_shape
        self._forward: dict[str, DifferentiableOperator] = {}
        self._gradients: dict[str, DifferentiableOperator] = {}

    def __call__(self, backend: str, operands: Sequence[Tensor], topology: EdgeTopology, handle: str) -> Tensor:
        """The differentiable convolution of operands without batch axes, with one for the result neither."""
        batched = [operand.unsqueeze(0) for operand in operands]
        result: Tensor = self._forward[backend](*batched, *topology.wiring, handle)
        return result.squeeze(0)

    def define(
        self,
        backend: str,
        forward: Callable[..., Tensor],
        gradients: Callable[..., tuple[Tensor, ...]],
        keys: tuple[str, ...],
    ) -> None:
        """Register the operators of a backend for the dispatch keys ``keys`` (CPU, CUDA).

        Args:
            backend: its name.
            forward: (operands, wiring, handle) → result.
            gradients: (g, operands, wiring, handle, which operands are wanted) → derivatives; empty where not wanted.
            keys: where the kernels run.
        """
        tensors = ", ".join(f"Tensor {name}" for name in self.operands)
        wanted = ", ".join(f"bool need_{name}" for name in self.operands)
        returned = ", ".join("Tensor" for _ in self.operands)
        self._forward[backend] = DifferentiableOperator(
            f"{self.name}_forward_{backend}",
            f"({tensors}, {_WIRING}, str handle) -> Tensor",
            dict.fromkeys(keys, forward),
            shapes=self._empty_forward,
            backward=partial(self._forward_backward, backend),
            batching=self._forward_batching,
        )
        self._gradients[backend] = DifferentiableOperator(
            f"{self.name}_gradients_{backend}",
            f"(Tensor g, {tensors}, {_WIRING}, str handle, {wanted}) -> ({returned})",
            dict.fromkeys(keys, gradients),
            shapes=self._empty_gradients,
            backward=partial(self._gradients_backward, backend),
            batching=self._gradients_batching,
        )

    def out_shape(self, operands: Sequence[Tensor], handle: str) -> tuple[int, ...]:
        """Shape of the forward operator's result."""
        return self._out_shape(operands, batch_size(operands), handle)

    def gradient_shapes(self, g: Tensor, operands: Sequence[Tensor], needs: Sequence[bool]) -> list[tuple[int, ...]]:
        """Shapes of the gradients operator's results; those not wanted have no elements."""
        batch = batch_size((g, *operands))
        return [(batch, *operand.shape[1:]) if need else (0,) for operand, need in zip(operands, needs, strict=True)]

    def _empty_forward(self, *args: Any) -> Tensor:
        n = len(self.operands)
        return args[0].new_empty(self.out_shape(args[:n], args[-1]))

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
        terms = []
        for name, there, direction in zip(self.operands, computed, directions, strict=True):
            if there and direction is not None:
                values["along " + name] = direction
                terms.append(tuple("along " + other if other == name else other for other in names))
        wanted = {name for name, need in zip(names, needs[: n + 1], strict=True) if need}
        found = self._derivatives(terms, values, wanted, context, backend)
        return [found.get(name) for name in names]

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
            if values[name].shape[0] == 1 and derivative.shape[0] > 1:  # a shared operand: its members add up
                derivative = derivative.sum(0, keepdim=True)
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
        n = len(self.operands)
        operands, inner = _fold(size, in_dims, inputs, n)
        return call(*operands, *inputs[n:]).unflatten(0, (size, inner)), 0

    def _gradients_batching(
        self, call: Call, size: int, in_dims: tuple[int | None, ...], inputs: Inputs
    ) -> tuple[tuple[Tensor, ...], tuple[int | None, ...]]:
        n = len(self.operands)
        operands, inner = _fold(size, in_dims, inputs, n + 1)
        results = call(*operands, *inputs[n + 1 :])
        needs = inputs[-n:]
        unfolded = tuple(
            result.unflatten(0, (size, inner)) if need else result for result, need in zip(results, needs, strict=True)
        )
        return unfolded, tuple(0 if need else None for need in needs)


def batch_size(operands: Sequence[Tensor]) -> int:
    """Common size of the leading axes: the one that is not 1, which may be 0."""
    return _common([operand.shape[0] for operand in operands])


def _common(sizes: Sequence[int]) -> int:
    return 0 if 0 in sizes else max(sizes)


def _fold(size: int, in_dims: Sequence[int | None], args: Sequence[Any], n_operands: int) -> tuple[list[Tensor], int]:
    """Merge a mapped axis into the leading batch axes; operands that neither maps stay shared, without a copy."""
    if any(dim is not None for dim in in_dims[n_operands : n_operands + _N_WIRING]):
        raise InputError("vmap over the edges' wiring is not possible; batch graphs with AtomGraph.batch instead")
    dims = in_dims[:n_operands]
    moved = [arg if dim is None else arg.movedim(dim, 0) for arg, dim in zip(args[:n_operands], dims, strict=True)]
    inner = _common([x.shape[0 if dim is None else 1] for x, dim in zip(moved, dims, strict=True)])
    folded: list[Tensor] = []
    for operand, dim in zip(moved, dims, strict=True):
        if dim is None and operand.shape[0] == 1:
            folded.append(operand)
            continue
        full = operand.unsqueeze(0) if dim is None else operand
        folded.append(full.expand(size, inner, *full.shape[2:]).flatten(0, 1))
    return folded, inner
