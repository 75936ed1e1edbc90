"""The compiled spherical harmonics as raw torch ops: C++ and Triton."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from atomsym.kernels.memory import recycled_empty
from atomsym.kernels.native import cpu_extension, n_threads

LIBRARY = torch.library.Library("atomsym", "FRAGMENT")
_SUFFIX = {torch.float32: "f32", torch.float64: "f64"}
_SETTINGS = "int max_degree, bool normalize, int normalization"


def _values(vectors: Tensor, max_degree: int, normalize: bool, normalization: int) -> Tensor:
    vectors = vectors.contiguous()
    values = recycled_empty((vectors.shape[0], (max_degree + 1) ** 2), vectors.dtype)
    function = getattr(cpu_extension(), f"spherical_harmonics_{_SUFFIX[vectors.dtype]}")
    function(vectors.data_ptr(), values.data_ptr(), len(vectors), max_degree, normalize, normalization, n_threads())
    return values


def _vjp(grad: Tensor, vectors: Tensor, max_degree: int, normalize: bool, normalization: int) -> Tensor:
    grad, vectors = grad.contiguous(), vectors.contiguous()
    grad_vectors = torch.empty_like(vectors)
    function = getattr(cpu_extension(), f"spherical_harmonics_vjp_{_SUFFIX[vectors.dtype]}")
    addresses = (grad.data_ptr(), vectors.data_ptr(), grad_vectors.data_ptr())
    function(*addresses, len(vectors), max_degree, normalize, normalization, n_threads())
    return grad_vectors


def _vjp_vjp(
    grad: Tensor, vectors: Tensor, direction: Tensor, max_degree: int, normalize: bool, normalization: int
) -> tuple[Tensor, Tensor]:
    grad, vectors, direction = grad.contiguous(), vectors.contiguous(), direction.contiguous()
    grad_grad, grad_vectors = recycled_empty(tuple(grad.shape), grad.dtype), torch.empty_like(vectors)
    function = getattr(cpu_extension(), f"spherical_harmonics_vjp_vjp_{_SUFFIX[vectors.dtype]}")
    inputs = (grad.data_ptr(), vectors.data_ptr(), direction.data_ptr())
    outputs = (grad_grad.data_ptr(), grad_vectors.data_ptr())
    function(*inputs, *outputs, len(vectors), max_degree, normalize, normalization, n_threads())
    return grad_grad, grad_vectors


def op_names(implementation: str) -> tuple[str, ...]:
    """Raw ops of an implementation: Y, its gradient form V and, in C++, the gradient W of that."""
    names = tuple(f"spherical_harmonics{part}_{implementation}" for part in ("", "_vjp", "_vjp_vjp"))
    return names if implementation == "cpp" else names[:2]


def define_ops(implementation: str) -> None:
    """Declare the raw ops of one implementation, with their kernels and with their shapes for tracing."""
    signatures = (
        f"(Tensor vectors, {_SETTINGS}) -> Tensor",
        f"(Tensor grad, Tensor vectors, {_SETTINGS}) -> Tensor",
        f"(Tensor grad, Tensor vectors, Tensor direction, {_SETTINGS}) -> (Tensor, Tensor)",
    )
    fakes: tuple[Callable[..., Any], ...] = (_fake_values, _fake_vjp, _fake_vjp_vjp)
    kernels: tuple[Callable[..., Any], ...] = (_triton_values, _triton_vjp)
    devices: tuple[str, ...] = ("CPU", "CUDA")  # on the CPU: in Triton's interpreter
    if implementation == "cpp":
        kernels, devices = (_values, _vjp, _vjp_vjp), ("CPU",)
    for name, signature, fake, kernel in zip(op_names(implementation), signatures, fakes, kernels, strict=False):
        LIBRARY.define(f"{name}{signature}")
        torch.library.register_fake(f"atomsym::{name}", fake, lib=LIBRARY)
        for device in devices:
            LIBRARY.impl(name, kernel, device)


def _triton_values(vectors: Tensor, max_degree: int, normalize: bool, normalization: int) -> Tensor:
    from atomsym.kernels.spherical_harmonics import triton_backend  # imports triton, so only when it is asked for

    return triton_backend.values(vectors, max_degree, normalize, normalization)


def _triton_vjp(grad: Tensor, vectors: Tensor, max_degree: int, normalize: bool, normalization: int) -> Tensor:
    from atomsym.kernels.spherical_harmonics import triton_backend

    return triton_backend.vjp(grad, vectors, max_degree, normalize, normalization)


def _fake_values(vectors: Tensor, max_degree: int, normalize: bool, normalization: int) -> Tensor:
    return vectors.new_empty(vectors.shape[0], (max_degree + 1) ** 2)


def _fake_vjp(grad: Tensor, vectors: Tensor, max_degree: int, normalize: bool, normalization: int) -> Tensor:
    return torch.empty_like(vectors, memory_format=torch.contiguous_format)


def _fake_vjp_vjp(
    grad: Tensor, vectors: Tensor, direction: Tensor, max_degree: int, normalize: bool, normalization: int
) -> tuple[Tensor, Tensor]:
    return (
        torch.empty_like(grad, memory_format=torch.contiguous_format),
        torch.empty_like(vectors, memory_format=torch.contiguous_format),
    )
