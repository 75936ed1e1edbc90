"""C++ operators of the activation f(x) = x / (1 + exp(−x)) and their derivatives of every order.

    f(x)  →  g f'(x)  →  (u f'(x), u g f''(x))

Energies, forces and one more derivative run in one pass each; what comes after is composed in torch.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from atomsym.kernels.differentiable_operator import Call, DifferentiableOperator, Inputs
from atomsym.kernels.memory import recycled_empty
from atomsym.kernels.native import cpu_extension, n_threads


def cpp_silu(x: Tensor) -> Tensor:
    """The C++ backend; see ``silu``."""
    result: Tensor = _VALUE(x)
    return result


def _call(name: str, n_results: int, *tensors: Tensor) -> Any:
    operands = [tensor.contiguous() for tensor in tensors]
    x = operands[0]
    results = tuple(recycled_empty(tuple(x.shape), x.dtype) for _ in range(n_results))
    kernel = getattr(cpu_extension(), f"{name}_{str(x.dtype).removeprefix('torch.')}")
    kernel(*(tensor.data_ptr() for tensor in (*operands, *results)), x.numel(), n_threads())
    return results[0] if n_results == 1 else results


def _shapes(n_results: int, *tensors: Tensor) -> Any:
    results = tuple(tensors[0].new_empty(tensors[0].shape) for _ in range(n_results))
    return results[0] if n_results == 1 else results


def _value_backward(needs: Any, inputs: Inputs, grads: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    return (_SLOPE(grads[0], inputs[0]),)


def _slope_backward(needs: Any, inputs: Inputs, grads: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    g, x = inputs
    if not needs[1]:
        return (_SLOPE(grads[0], x), None)
    in_g, in_x = _CURVATURE(g, x, grads[0])
    return in_g, in_x


def _curvature_backward(needs: Any, inputs: Inputs, grads: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    """Of u f' along a and u g f'' along b, for g, x and u; in torch, which differentiates on."""
    g, x, u = inputs
    a, b = (torch.zeros_like(x) if grad is None else grad for grad in grads)
    first, second, third = _derivatives(x)
    return b * u * second, u * (a * second + b * g * third), a * first + b * g * second


def _derivatives(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """f', f'' and f''': with s the logistic function and q = s (1 − s), s' = q and q' = q (1 − 2 s)."""
    s = torch.sigmoid(x)
    q, t = s * (1 - s), 1 - 2 * s
    return s + x * q, q * (2 + x * t), q * (3 * t + x * (t * t - 2 * q))


def _batching(call: Call, size: int, in_dims: tuple[int | None, ...], inputs: Inputs) -> tuple[Any, Any]:
    moved = [x.expand(size, *x.shape) if d is None else x.movedim(d, 0) for x, d in zip(inputs, in_dims, strict=True)]
    results = call(*moved)
    return results, 0 if isinstance(results, Tensor) else (0,) * len(results)


def _operator(name: str, operands: str, n_results: int, backward: Callable[..., Any]) -> DifferentiableOperator:
    signature = ", ".join(f"Tensor {operand}" for operand in operands)
    return DifferentiableOperator(
        f"{name}_cpp",
        f"({signature}) -> {'Tensor' if n_results == 1 else '(Tensor, Tensor)'}",
        {"CPU": partial(_call, name, n_results)},
        shapes=partial(_shapes, n_results),
        backward=backward,
        batching=_batching,
    )


_VALUE = _operator("silu", "x", 1, _value_backward)
_SLOPE = _operator("silu_slope", "gx", 1, _slope_backward)
_CURVATURE = _operator("silu_curvature", "gxu", 2, _curvature_backward)
