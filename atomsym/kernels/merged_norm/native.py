"""C++ operators of the merged norm and its derivatives of every order.

    n(x)  →  g ∂n/∂x  →  derivatives of that along v, for g and x

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
from atomsym.kernels.merged_norm.reference import centred
from atomsym.kernels.native import cpu_extension, n_threads


def cpp_merged_norm(features: Tensor, shares: list[float], epsilon: float) -> Tensor:
    """The C++ backend; see ``merged_norm``."""
    result: Tensor = _VALUE(features, shares, epsilon)
    return result


def _call(name: str, n_results: int, *args: Any) -> Any:
    *tensors, shares, epsilon = args
    operands = [tensor.contiguous() for tensor in tensors]
    like = operands[0]
    results = tuple(recycled_empty(tuple(like.shape), like.dtype) for _ in range(n_results))
    if like.numel():
        kernel = getattr(cpu_extension(), f"{name}_{str(like.dtype).removeprefix('torch.')}")
        channels = like.shape[2]
        addresses = [tensor.data_ptr() for tensor in (*operands, *results)]
        kernel([like.shape[0], channels], [share / channels for share in shares], epsilon, *addresses, n_threads())
    return results[0] if n_results == 1 else results


def _value_backward(needs: Any, inputs: Inputs, grads: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    return (_GRADIENT(grads[0], *inputs),)


def _gradient_backward(needs: Any, inputs: Inputs, grads: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    g, x, *sizes = inputs
    results: tuple[Tensor | None, ...] = _SECOND(g, x, grads[0], *sizes)
    return results


def _second_backward(needs: Any, inputs: Inputs, grads: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    """Of both results, in torch, which differentiates on."""
    *tensors, shares, epsilon = inputs
    share = tensors[0].new_tensor(shares)[:, None] / tensors[0].shape[2]

    def second(g: Tensor, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        z, u = centred(x), centred(v)

        def dot(a: Tensor, b: Tensor) -> Tensor:
            return (a * b).sum((1, 2))[:, None, None]

        r = (dot(share * z, z) + epsilon).rsqrt()
        gz, uz, ug = dot(g, z), dot(share * u, z), dot(u, g)
        for_x = share * ((3 * r.pow(5) * gz * uz - r.pow(3) * ug) * z - r.pow(3) * gz * u) - r.pow(3) * uz * g
        return r * u - r.pow(3) * uz * z, centred(for_x)

    pulled: Any = torch.func.vjp(second, *tensors)
    results, pull = pulled
    directions = (torch.zeros_like(like) if grad is None else grad for grad, like in zip(grads, results, strict=True))
    found: tuple[Tensor | None, ...] = pull(tuple(directions))
    return found


def _batching(call: Call, size: int, in_dims: tuple[int | None, ...], inputs: Inputs) -> tuple[Any, Any]:
    n = sum(isinstance(value, Tensor) for value in inputs)
    pairs = zip(inputs[:n], in_dims[:n], strict=True)
    moved = [x.expand(size, *x.shape) if d is None else x.movedim(d, 0) for x, d in pairs]
    results = call(*(x.flatten(0, 1) for x in moved), *inputs[n:])
    rows = moved[0].shape[:2]
    if isinstance(results, Tensor):
        return results.unflatten(0, rows), 0
    return tuple(result.unflatten(0, rows) for result in results), (0,) * len(results)


def _operator(name: str, operands: str, n_results: int, backward: Callable[..., Any]) -> DifferentiableOperator:
    signature = ", ".join(f"Tensor {operand}" for operand in operands)

    def shapes(*args: Any) -> Any:
        results = tuple(args[0].new_empty(args[0].shape) for _ in range(n_results))
        return results[0] if n_results == 1 else results

    return DifferentiableOperator(
        f"{name}_cpp",
        f"({signature}, float[] shares, float epsilon) -> {'Tensor' if n_results == 1 else '(Tensor, Tensor)'}",
        {"CPU": partial(_call, name, n_results)},
        shapes=shapes,
        backward=backward,
        batching=_batching,
    )


_VALUE = _operator("merged_norm", "x", 1, _value_backward)
_GRADIENT = _operator("merged_norm_gradient", "gx", 1, _gradient_backward)
_SECOND = _operator("merged_norm_second", "gxv", 2, _second_backward)
