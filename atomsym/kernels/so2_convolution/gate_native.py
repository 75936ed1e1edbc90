"""C++ operators of the gate of rows, and their derivatives of every order.

    y(x)  →  g ∂y/∂x  →  derivatives of that along v, for g and x

Energies, forces and one more derivative run in one pass each; what comes after is composed in torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from atomsym.kernels.differentiable_operator import Call, DifferentiableOperator, Inputs
from atomsym.kernels.memory import recycled_empty
from atomsym.kernels.native import cpu_extension, n_threads

_SIZES = "int[] degrees, int channels, int skipped, float gain"


def gate(items: Tensor, degrees: list[int], channels: int, skipped: int, gain: float) -> Tensor:
    """The C++ backend; see ``row_gate``."""
    result: Tensor = _VALUE(items, degrees, channels, skipped, gain)
    return result


def _call(
    name: str,
    tensors: tuple[Tensor, ...],
    results: tuple[Tensor, ...],
    degrees: list[int],
    channels: int,
    skipped: int,
    gain: float,
) -> None:
    operands = [tensor.contiguous() for tensor in tensors]
    kernel = getattr(cpu_extension(), f"{name}_{str(results[0].dtype).removeprefix('torch.')}")
    addresses = [tensor.data_ptr() for tensor in (*operands, *results)]
    kernel([results[0].shape[0], channels, skipped, *degrees], gain, *addresses, n_threads())


def _width(degrees: list[int], channels: int, *_: Any) -> int:
    return len(degrees) * channels


def _value(x: Tensor, *sizes: Any) -> Tensor:
    result = recycled_empty((x.shape[0], _width(*sizes)), x.dtype)
    if result.numel():
        _call("so2_gate", (x,), (result,), *sizes)
    return result


def _gradient(g: Tensor, x: Tensor, *sizes: Any) -> Tensor:
    result = recycled_empty(tuple(x.shape), x.dtype)
    if result.numel():
        _call("so2_gate_gradient", (g, x), (result,), *sizes)
    return result


def _second(g: Tensor, x: Tensor, along: Tensor, *sizes: Any) -> tuple[Tensor, Tensor]:
    results = recycled_empty(tuple(g.shape), g.dtype), recycled_empty(tuple(x.shape), x.dtype)
    if results[1].numel():
        _call("so2_gate_second", (g, x, along), results, *sizes)
    return results


def _value_backward(needs: Any, inputs: Inputs, grads: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    return (_GRADIENT(grads[0], *inputs),)


def _gradient_backward(
    needs: tuple[bool, ...], inputs: Inputs, grads: tuple[Tensor | None, ...]
) -> tuple[Tensor | None, ...]:
    results: tuple[Tensor | None, ...] = _SECOND(*inputs[:2], grads[0], *inputs[2:])
    return results


def _second_backward(needs: Any, inputs: Inputs, grads: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    """Of both results, in torch, which differentiates on."""
    *tensors, degrees, channels, skipped, gain = inputs
    n_gates = max(degrees, default=0)
    device = tensors[0].device
    own = [n_gates + row if degree == 0 else degree - 1 for row, degree in enumerate(degrees)]
    index = torch.tensor(own, device=device, dtype=torch.int64)
    higher = torch.tensor(degrees, device=device, dtype=torch.int64)[:, None] > 0

    def second(g: Tensor, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """y = a f(s), with s the gate of each row and a its value; for rows that gate themselves a is 1."""
        upper = g.unflatten(1, (-1, channels))
        rows, along = (part[:, skipped:].unflatten(1, (-1, channels)) for part in (x, v))
        a = torch.where(higher, rows[:, n_gates:], torch.ones_like(upper))
        along_a = torch.where(higher, along[:, n_gates:], torch.zeros_like(upper))
        f0, f1, f2 = _derivatives(rows.index_select(1, index), gain)
        along_s = along.index_select(1, index)
        for_s = upper * (along_a * f1 + along_s * a * f2)
        for_a = torch.where(higher, upper * along_s * f1, torch.zeros_like(upper))
        for_x = torch.cat((torch.zeros_like(rows[:, :n_gates]), for_a), 1).index_add(1, index, for_s)
        for_x = torch.cat((torch.zeros_like(x[:, :skipped]), for_x.flatten(1)), 1)
        return (along_a * f0 + along_s * a * f1).flatten(1), for_x

    pulled: Any = torch.func.vjp(second, *tensors)
    results, pull = pulled
    directions = (torch.zeros_like(like) if grad is None else grad for grad, like in zip(grads, results, strict=True))
    found: tuple[Tensor | None, ...] = pull(tuple(directions))
    return found


def _derivatives(x: Tensor, gain: float) -> tuple[Tensor, Tensor, Tensor]:
    """f, f' and f'' of f = gain · x s: with q = s (1 − s), s' = q and q' = q (1 − 2 s)."""
    s = torch.sigmoid(x)
    q = s * (1 - s)
    return gain * x * s, gain * (s + x * q), gain * q * (2 + x * (1 - 2 * s))


def _batching(call: Call, size: int, in_dims: tuple[int | None, ...], inputs: Inputs) -> tuple[Any, Any]:
    n = sum(isinstance(value, Tensor) for value in inputs)
    pairs = zip(inputs[:n], in_dims[:n], strict=True)
    moved = [x.expand(size, *x.shape) if d is None else x.movedim(d, 0) for x, d in pairs]
    results = call(*(x.flatten(0, 1) for x in moved), *inputs[n:])
    rows = (size, moved[0].shape[1])
    if isinstance(results, Tensor):
        return results.unflatten(0, rows), 0
    return tuple(result.unflatten(0, rows) for result in results), (0,) * len(results)


def _operator(
    name: str, operands: str, kernel: Callable[..., Any], shapes: Callable[..., Any], backward: Any
) -> DifferentiableOperator:
    tensors = ", ".join(f"Tensor {operand}" for operand in operands.split())
    returned = "(Tensor, Tensor)" if kernel is _second else "Tensor"
    return DifferentiableOperator(
        f"{name}_cpp",
        f"({tensors}, {_SIZES}) -> {returned}",
        {"CPU": kernel},
        shapes=shapes,
        backward=backward,
        batching=_batching,
    )


_VALUE = _operator("so2_gate", "x", _value, lambda x, *sizes: x.new_empty(x.shape[0], _width(*sizes)), _value_backward)
_GRADIENT = _operator(
    "so2_gate_gradient", "g x", _gradient, lambda g, x, *sizes: x.new_empty(x.shape), _gradient_backward
)
_SECOND = _operator(
    "so2_gate_second",
    "g x v",
    _second,
    lambda g, x, v, *sizes: (g.new_empty(g.shape), x.new_empty(x.shape)),
    _second_backward,
)
