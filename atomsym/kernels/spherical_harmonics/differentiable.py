"""Derivatives of every order for the compiled spherical harmonics.

Three raw ops (C++), each in one pass over the vectors, are made differentiable by three autograd functions:

    Y(v)  →  V(g, v) = ∂(g·Y)/∂v  →  W(g, v, u) = ∂(u·V)/∂(g, v)

so energies, forces and one more derivative (training on forces, Hessians) use compiled code throughout. The backward
of W is the vector-Jacobian product of the same W written in torch over the compiled solid harmonics: a derivative of
a solid harmonic is a constant combination of solid harmonics of one degree less, so nothing else is needed and it can
be differentiated any number of times. Triton has kernels for Y and V, and takes W in this composed form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from atomsym.kernels.spherical_harmonics import raw_ops
from atomsym.kernels.spherical_harmonics.derivative_table import derivative_table
from atomsym.kernels.spherical_harmonics.reference import NORMALIZATIONS, unit_vectors

MAX_DEGREE = 8
Settings = tuple[str, int, bool, int]
"""Implementation (cpp or triton), max_degree, normalize, index into NORMALIZATIONS."""


def cpp_spherical_harmonics(vectors: Tensor, max_degree: int, normalize: bool, normalization: str) -> Tensor:
    """The C++ backend; see ``spherical_harmonics``."""
    return _differentiable(vectors, ("cpp", max_degree, normalize, NORMALIZATIONS.index(normalization)))


def triton_spherical_harmonics(vectors: Tensor, max_degree: int, normalize: bool, normalization: str) -> Tensor:
    """The Triton backend; see ``spherical_harmonics``."""
    return _differentiable(vectors, ("triton", max_degree, normalize, NORMALIZATIONS.index(normalization)))


def _differentiable(vectors: Tensor, settings: Settings) -> Tensor:
    # The compiler traces the backward of an autograd function without a graph of its own: a force inside compiled
    # code would silently lose its derivatives. It keeps those of a library op, which torch.func in turn cannot
    # transform; so each gets what it can use.
    if torch.compiler.is_compiling():
        return _raw("spherical_harmonics", settings)(vectors, *settings[1:])
    return _Values.apply(vectors, settings)


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
        if ctx.settings[0] == "triton":
            return (*_composed_second_gradient(grad, vectors, grads[0], ctx.settings), None)
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
        return (*_third_gradient(ctx.saved_tensors, grads, ctx.settings), None)

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


def _third_gradient(inputs: tuple[Tensor, ...], grads: tuple[Tensor, ...], settings: Settings) -> tuple[Tensor, ...]:
    def composed(grad: Tensor, vectors: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
        return _composed_second_gradient(grad, vectors, direction, settings)

    pull: Callable[..., tuple[Tensor, ...]] = torch.func.vjp(composed, *inputs)[1]
    return pull(grads)


def _composed_second_gradient(
    grad: Tensor, vectors: Tensor, direction: Tensor, settings: Settings
) -> tuple[Tensor, Tensor]:
    """W(g, v, u) from solid harmonics and their derivative table, in differentiable pieces.

    With n the direction of v and p the derivative of n along u: ∂/∂g is (p·∇)Y(n), and ∂/∂v is the pull-back of
    (p·∇)∇(g·Y) through n plus what comes from p itself.
    """
    implementation, max_degree, normalize, normalization = settings
    table = derivative_table(max_degree, normalization, grad.dtype, grad.device)

    def along(vectors: Tensor) -> Tensor:
        unit = unit_vectors(vectors) if normalize else vectors
        values = _Values.apply(unit, (implementation, max_degree, False, normalization))
        tangent = _tangent(vectors, direction) if normalize else direction
        gradients = (values @ table).unflatten(-1, (3, -1))
        return (tangent.unsqueeze(-1) * gradients).sum(-2)

    pulled: tuple[Any, ...] = torch.func.vjp(along, vectors)
    grad_grad, pull = pulled
    return grad_grad, pull(grad)[0]


def _tangent(vectors: Tensor, direction: Tensor) -> Tensor:
    """Derivative of ``unit_vectors`` along a direction: (u − n (n·u)) / |v|; zero for a zero vector."""
    unit = unit_vectors(vectors)
    # |v| = n·v keeps its derivatives through n, and does not square the components.
    length = (unit * vectors).sum(-1, keepdim=True)
    zero = length == 0
    inverse = torch.where(zero, torch.zeros_like(length), 1 / torch.where(zero, torch.ones_like(length), length))
    return inverse * (direction - unit * (unit * direction).sum(-1, keepdim=True))


def register_derivatives(implementation: str) -> None:
    """The same three derivatives for the raw ops themselves, which compiled code calls directly."""

    def keep(n_tensors: int) -> Any:
        def setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            ctx.save_for_backward(*inputs[:n_tensors])
            ctx.settings = (implementation, *inputs[n_tensors:])

        return setup

    def values_backward(ctx: Any, grad: Tensor) -> Any:
        op = _raw("spherical_harmonics_vjp", ctx.settings)
        return op(grad, *ctx.saved_tensors, *ctx.settings[1:]), None, None, None

    def gradient_backward(ctx: Any, grad: Tensor) -> Any:
        if implementation == "triton":
            saved, vectors = ctx.saved_tensors
            return *_composed_second_gradient(saved, vectors, grad, ctx.settings), None, None, None
        op = _raw("spherical_harmonics_vjp_vjp", ctx.settings)
        return *op(*ctx.saved_tensors, grad, *ctx.settings[1:]), None, None, None

    def second_gradient_backward(ctx: Any, *grads: Tensor) -> Any:
        return *_third_gradient(ctx.saved_tensors, grads, ctx.settings), None, None, None

    backwards: tuple[Callable[..., Any], ...] = (values_backward, gradient_backward, second_gradient_backward)
    names = raw_ops.op_names(implementation)
    for n_tensors, (name, backward) in enumerate(zip(names, backwards, strict=False), start=1):
        torch.library.register_autograd(
            f"atomsym::{name}", backward, setup_context=keep(n_tensors), lib=raw_ops.LIBRARY
        )


for _implementation in ("cpp", "triton"):
    raw_ops.define_ops(_implementation)
    register_derivatives(_implementation)
