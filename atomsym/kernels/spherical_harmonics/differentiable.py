"""Derivatives of every order for the compiled spherical harmonics.

Three raw ops, each in one pass over the vectors, are made differentiable by three autograd functions:

    Y(v)  →  V(g, v) = ∂(g·Y)/∂v  →  W(g, v, u) = ∂(u·V)/∂(g, v)

so energies, forces and one more derivative (training on forces, Hessians) use compiled code throughout. The backward
of W is the vector-Jacobian product of the same W written in torch over the compiled solid harmonics: a derivative of
a solid harmonic is a constant combination of solid harmonics of one degree less, so nothing else is needed and it can
be differentiated any number of times.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from atomsym.kernels.spherical_harmonics import native
from atomsym.kernels.spherical_harmonics.reference import NORMALIZATIONS, unit_vectors

MAX_DEGREE = 8
Settings = tuple[str, int, bool, int]
"""Implementation (cpp or triton), max_degree, normalize, index into NORMALIZATIONS."""

native.register()


def cpp_spherical_harmonics(vectors: Tensor, max_degree: int, normalize: bool, normalization: str) -> Tensor:
    """The C++ backend; see ``spherical_harmonics``."""
    return _Values.apply(vectors, ("cpp", max_degree, normalize, NORMALIZATIONS.index(normalization)))


def triton_spherical_harmonics(vectors: Tensor, max_degree: int, normalize: bool, normalization: str) -> Tensor:
    """The Triton backend; see ``spherical_harmonics``."""
    return _Values.apply(vectors, ("triton", max_degree, normalize, NORMALIZATIONS.index(normalization)))


def _raw(name: str, settings: Settings) -> Any:
    return getattr(torch.ops.atomsym, f"{name}_{settings[0]}")


class _Values(torch.autograd.Function):
    """Y(v), shape (n, K)."""

    @staticmethod
    def forward(vectors: Tensor, settings: Settings) -> Tensor:
        return _raw("spherical_harmonics", settings)(vectors, *settings[1:])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        vectors, ctx.settings = inputs
        ctx.save_for_backward(vectors)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (vectors,) = ctx.saved_tensors
        return _Gradient.apply(grads[0], vectors, ctx.settings), None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], vectors: Tensor, settings: Settings) -> tuple[Tensor, int]:
        (flat,), size = _flatten(info.batch_size, in_dims, vectors)
        return _Values.apply(flat, settings).unflatten(0, (info.batch_size, size)), 0


class _Gradient(torch.autograd.Function):
    """V(g, v) = ∂(g·Y)/∂v, shape (n, 3)."""

    @staticmethod
    def forward(grad: Tensor, vectors: Tensor, settings: Settings) -> Tensor:
        return _raw("spherical_harmonics_vjp", settings)(grad, vectors, *settings[1:])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        grad, vectors, ctx.settings = inputs
        ctx.save_for_backward(grad, vectors)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        grad, vectors = ctx.saved_tensors
        return (*_SecondGradient.apply(grad, vectors, grads[0], ctx.settings), None)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], grad: Tensor, vectors: Tensor, settings: Settings) -> Any:
        (grad, vectors), size = _flatten(info.batch_size, in_dims, grad, vectors)
        return _Gradient.apply(grad, vectors, settings).unflatten(0, (info.batch_size, size)), 0


class _SecondGradient(torch.autograd.Function):
    """W(g, v, u) = ∂(u·V(g, v))/∂(g, v), shapes (n, K) and (n, 3)."""

    @staticmethod
    def forward(grad: Tensor, vectors: Tensor, direction: Tensor, settings: Settings) -> tuple[Tensor, Tensor]:
        return _raw("spherical_harmonics_vjp_vjp", settings)(grad, vectors, direction, *settings[1:])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        *tensors, ctx.settings = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        def composed(grad: Tensor, vectors: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
            return _composed_second_gradient(grad, vectors, direction, ctx.settings)

        _, pull = torch.func.vjp(composed, *ctx.saved_tensors)
        return (*pull(grads), None)

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[Any, ...], grad: Tensor, vectors: Tensor, direction: Tensor, settings: Settings
    ) -> Any:
        (grad, vectors, direction), size = _flatten(info.batch_size, in_dims, grad, vectors, direction)
        outputs = _SecondGradient.apply(grad, vectors, direction, settings)
        return tuple(output.unflatten(0, (info.batch_size, size)) for output in outputs), (0, 0)


def _flatten(batch_size: int, in_dims: tuple[Any, ...], *tensors: Tensor) -> tuple[list[Tensor], int]:
    """Merge the mapped axis of each tensor into its first axis; every vector is treated by itself anyway."""
    moved = []
    for tensor, dim in zip(tensors, in_dims, strict=False):
        tensor = tensor.expand(batch_size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
        moved.append(tensor)
    return [tensor.flatten(0, 1) for tensor in moved], moved[0].shape[1]


def _composed_second_gradient(
    grad: Tensor, vectors: Tensor, direction: Tensor, settings: Settings
) -> tuple[Tensor, Tensor]:
    """W(g, v, u) from solid harmonics and their derivative table, in differentiable pieces.

    With n the direction of v and p the derivative of n along u: ∂/∂g is (p·∇)Y(n), and ∂/∂v is the pull-back of
    (p·∇)∇(g·Y) through n plus what comes from p itself.
    """
    implementation, max_degree, normalize, normalization = settings
    table = _derivative_table(max_degree, normalization, grad.dtype, grad.device)

    def along(vectors: Tensor) -> Tensor:
        unit = unit_vectors(vectors) if normalize else vectors
        values = _Values.apply(unit, (implementation, max_degree, False, normalization))
        tangent = _tangent(vectors, direction) if normalize else direction
        gradients = (values @ table).unflatten(-1, (3, -1))
        return (tangent.unsqueeze(-1) * gradients).sum(-2)

    grad_grad, pull = torch.func.vjp(along, vectors)
    return grad_grad, pull(grad)[0]


def _tangent(vectors: Tensor, direction: Tensor) -> Tensor:
    """Derivative of ``unit_vectors`` along a direction: (u − n (n·u)) / |v|; zero for a zero vector."""
    unit = unit_vectors(vectors)
    # |v| = n·v keeps its derivatives through n, and does not square the components.
    length = (unit * vectors).sum(-1, keepdim=True)
    zero = length == 0
    inverse = torch.where(zero, torch.zeros_like(length), 1 / torch.where(zero, torch.ones_like(length), length))
    return inverse * (direction - unit * (unit * direction).sum(-1, keepdim=True))


@cache
def _derivative_coefficients(max_degree: int, normalization: int) -> np.ndarray:
    """Constants T[a, k, j] with ∂Y_k/∂v_a = Σ_j T[a, k, j] Y_j for solid harmonics, shape (3, K, K).

    With C(l, m) = P_l^m (z + ix)^m / (l + m)!: ∂C(l, m)/∂y = C(l−1, m), ∂/∂z = [C(l−1, m−1) − C(l−1, m+1)] / 2,
    ∂/∂x = i [C(l−1, m−1) + C(l−1, m+1)] / 2, and C(l, −m) = (−1)^m conj C(l, m).
    """
    table = np.zeros((3, (max_degree + 1) ** 2, (max_degree + 1) ** 2))
    for degree in range(1, max_degree + 1):
        for order in range(degree + 1):
            for axis, target, weight in (
                (1, order, 1.0),
                (2, order - 1, 0.5),
                (2, order + 1, -0.5),
                (0, order - 1, 0.5j),
                (0, order + 1, 0.5j),
            ):
                if abs(target) < degree:
                    _add_complex(table[axis], degree, order, target, weight, normalization)
    return table


def _add_complex(table: np.ndarray, degree: int, order: int, target: int, weight: complex, normalization: int) -> None:
    """Add weight · C(degree − 1, target) to the row of the real and imaginary parts of C(degree, order)."""

    def at(l: int, m: int) -> int:  # noqa: E741
        return l * l + l + m

    lower, m = degree - 1, abs(target)
    sign = (-1) ** m if target < 0 else 1  # the real part of C(l, −m); the imaginary part has the opposite sign
    parts = [(at(lower, m), complex(sign))]
    if m > 0:
        parts.append((at(lower, -m), 1j * (sign if target > 0 else -sign)))
    for column, part in parts:
        value = weight * part
        ratio = _real_factor(degree, order, normalization) / _real_factor(lower, m, normalization)
        table[at(degree, order), column] += value.real * ratio
        if order > 0:
            table[at(degree, -order), column] += value.imag * ratio


def _real_factor(degree: int, order: int, normalization: int) -> float:
    norm = (
        math.factorial(degree)
        if order == 0
        else math.sqrt(2 * math.factorial(degree - order) * math.factorial(degree + order))
    )
    return norm * (math.sqrt((2 * degree + 1) / (1, 2 * degree + 1, 4 * math.pi)[normalization]))


def _derivative_table(max_degree: int, normalization: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The same as a matrix from values to the three components of their gradient, shape (K, 3 K)."""
    coefficients = _derivative_coefficients(max_degree, normalization)
    return torch.from_numpy(coefficients.reshape(-1, coefficients.shape[-1]).T).to(device=device, dtype=dtype)
