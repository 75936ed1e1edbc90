"""The C++ spherical harmonics as raw torch ops."""

from __future__ import annotations

import torch
from torch import Tensor

from atomsym.kernels.native import cpu_extension, n_threads

LIBRARY = torch.library.Library("atomsym", "FRAGMENT")
_SUFFIX = {torch.float32: "f32", torch.float64: "f64"}
_SETTINGS = "int max_degree, bool normalize, int normalization"


def _values(vectors: Tensor, max_degree: int, normalize: bool, normalization: int) -> Tensor:
    vectors = vectors.contiguous()
    values = vectors.new_empty(vectors.shape[0], (max_degree + 1) ** 2)
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
    grad_grad, grad_vectors = torch.empty_like(grad), torch.empty_like(vectors)
    function = getattr(cpu_extension(), f"spherical_harmonics_vjp_vjp_{_SUFFIX[vectors.dtype]}")
    inputs = (grad.data_ptr(), vectors.data_ptr(), direction.data_ptr())
    outputs = (grad_grad.data_ptr(), grad_vectors.data_ptr())
    function(*inputs, *outputs, len(vectors), max_degree, normalize, normalization, n_threads())
    return grad_grad, grad_vectors


def define_ops(implementation: str) -> None:
    """Declare the three raw ops of one implementation, with their shapes for tracing."""
    values = f"spherical_harmonics_{implementation}"
    LIBRARY.define(f"{values}(Tensor vectors, {_SETTINGS}) -> Tensor")
    torch.library.register_fake(f"atomsym::{values}", _fake_values, lib=LIBRARY)
    vjp = f"spherical_harmonics_vjp_{implementation}"
    LIBRARY.define(f"{vjp}(Tensor grad, Tensor vectors, {_SETTINGS}) -> Tensor")
    torch.library.register_fake(f"atomsym::{vjp}", _fake_vjp, lib=LIBRARY)
    vjp_vjp = f"spherical_harmonics_vjp_vjp_{implementation}"
    LIBRARY.define(f"{vjp_vjp}(Tensor grad, Tensor vectors, Tensor direction, {_SETTINGS}) -> (Tensor, Tensor)")
    torch.library.register_fake(f"atomsym::{vjp_vjp}", _fake_vjp_vjp, lib=LIBRARY)


def register() -> None:
    """Define the raw ops and attach the C++ kernels; called once, when the operation is imported."""
    define_ops("cpp")
    LIBRARY.impl("spherical_harmonics_cpp", _values, "CPU")
    LIBRARY.impl("spherical_harmonics_vjp_cpp", _vjp, "CPU")
    LIBRARY.impl("spherical_harmonics_vjp_vjp_cpp", _vjp_vjp, "CPU")


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
