"""What the operators of the spherical harmonics call: the C++ and the Triton kernels, and shapes for tracing."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from atomsym.kernels.memory import recycled_empty
from atomsym.kernels.native import cpu_extension, n_threads

_SUFFIX = {torch.float32: "f32", torch.float64: "f64"}


def cpp_values(vectors: Tensor, max_degree: int, normalize: bool, normalization: int) -> Tensor:
    vectors = vectors.contiguous()
    values = recycled_empty((vectors.shape[0], (max_degree + 1) ** 2), vectors.dtype)
    function = getattr(cpu_extension(), f"spherical_harmonics_{_SUFFIX[vectors.dtype]}")
    function(vectors.data_ptr(), values.data_ptr(), len(vectors), max_degree, normalize, normalization, n_threads())
    return values


def cpp_vjp(grad: Tensor, vectors: Tensor, max_degree: int, normalize: bool, normalization: int) -> Tensor:
    grad, vectors = grad.contiguous(), vectors.contiguous()
    grad_vectors = torch.empty_like(vectors)
    function = getattr(cpu_extension(), f"spherical_harmonics_vjp_{_SUFFIX[vectors.dtype]}")
    addresses = (grad.data_ptr(), vectors.data_ptr(), grad_vectors.data_ptr())
    function(*addresses, len(vectors), max_degree, normalize, normalization, n_threads())
    return grad_vectors


def cpp_vjp_vjp(
    grad: Tensor, vectors: Tensor, direction: Tensor, max_degree: int, normalize: bool, normalization: int
) -> tuple[Tensor, Tensor]:
    grad, vectors, direction = grad.contiguous(), vectors.contiguous(), direction.contiguous()
    grad_grad, grad_vectors = recycled_empty(tuple(grad.shape), grad.dtype), torch.empty_like(vectors)
    function = getattr(cpu_extension(), f"spherical_harmonics_vjp_vjp_{_SUFFIX[vectors.dtype]}")
    inputs = (grad.data_ptr(), vectors.data_ptr(), direction.data_ptr())
    outputs = (grad_grad.data_ptr(), grad_vectors.data_ptr())
    function(*inputs, *outputs, len(vectors), max_degree, normalize, normalization, n_threads())
    return grad_grad, grad_vectors


def triton_values(vectors: Tensor, max_degree: int, normalize: bool, normalization: int) -> Tensor:
    from atomsym.kernels.spherical_harmonics import triton_backend  # imports triton, so only when it is asked for

    return triton_backend.values(vectors, max_degree, normalize, normalization)


def triton_vjp(grad: Tensor, vectors: Tensor, max_degree: int, normalize: bool, normalization: int) -> Tensor:
    from atomsym.kernels.spherical_harmonics import triton_backend

    return triton_backend.vjp(grad, vectors, max_degree, normalize, normalization)


def values_shape(vectors: Tensor, max_degree: int, normalize: bool, normalization: int) -> Tensor:
    return vectors.new_empty(vectors.shape[0], (max_degree + 1) ** 2)


def vjp_shape(grad: Tensor, vectors: Tensor, max_degree: int, normalize: bool, normalization: int) -> Tensor:
    return torch.empty_like(vectors, memory_format=torch.contiguous_format)


def vjp_vjp_shape(
    grad: Tensor, vectors: Tensor, direction: Tensor, max_degree: int, normalize: bool, normalization: int
) -> tuple[Tensor, Tensor]:
    return (
        torch.empty_like(grad, memory_format=torch.contiguous_format),
        torch.empty_like(vectors, memory_format=torch.contiguous_format),
    )


KERNELS: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    "cpp": (cpp_values, cpp_vjp),
    "triton": (triton_values, triton_vjp),
}
"""Y and its gradient form V of each implementation."""
