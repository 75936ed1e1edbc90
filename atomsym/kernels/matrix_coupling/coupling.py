"""The matrix-product form: features laid out as matrices, multiplied, and read back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.kernels.backends import Backend, Operation, constant_when_compiled
from atomsym.kernels.matrix_coupling import native
from atomsym.kernels.matrix_coupling.description import MatrixCoupling, operators
from atomsym.kernels.native import cpu_reason
from atomsym.kernels.path_coefficients import path_coefficients
from atomsym.kernels.triton_support import triton_device_types, triton_reason
from atomsym.symmetry import Irreps

OPERATION = Operation("matrix_coupling")


def matrix_coupling(first: Tensor, second: Tensor, coupling: MatrixCoupling, *, backend: str = "auto") -> Tensor:
    """Multiply features as matrices, channel by channel.

    Args:
        first, second: shape (n, (degree + 1)², channels), float32 or float64; channels of one may be 1.
        coupling: degrees, spin and part.
        backend: ``auto``, ``cpp``, ``triton`` or ``reference``.

    Returns:
        Shape (n, (degree_out + 1)², channels). Equivariant to rounding error; differentiable any number of times.

    Raises:
        InputError: if shapes, dtypes or devices do not fit.
        BackendError: if the backend cannot do what is asked.

    Source: algebra of tensor operators (Racah 1942); as a fast product compare arXiv 2506.13523.

    Example:
        >>> x, y = torch.eye(3)[:2].reshape(2, 1, 3, 1)
        >>> pad = torch.nn.functional.pad
        >>> cross = MatrixCoupling(1, 1, 1, part="odd")
        >>> found = matrix_coupling(pad(x, (0, 0, 1, 0)), pad(y, (0, 0, 1, 0)), cross)
        >>> (found * 8**0.5).flatten().round(decimals=4).abs()
        tensor([0., 0., 0., 1.])
    """
    _check(first, second, coupling)
    chosen = _select(backend, first.device.type, first.dtype)
    return _FUNCTIONS[chosen](first, second, coupling)


def matrix_coefficients(coupling: MatrixCoupling) -> dict[tuple[int, int, int], float]:
    """c with which the product is Σ c · wigner_3j; see ``path_coefficients``."""
    lists = [Irreps.spherical_harmonics(degree) for degree in coupling.degrees]
    return path_coefficients(lambda x, y: reference(x, y, coupling), *lists)


def reference(first: Tensor, second: Tensor, coupling: MatrixCoupling) -> Tensor:
    """Two batched matrix products."""
    spin, size = coupling.spin or 0, coupling.size
    basis = operators(spin, max(coupling.degrees)).to(first)

    def lay_out(features: Tensor) -> Tensor:
        return torch.einsum("kab,nkc->ncab", basis[: features.shape[1]], features)

    x, y = lay_out(first), lay_out(second)
    product = x @ y
    other = y @ x
    half = 0.5 * (product + other if coupling.part == "even" else product - other)
    # (k, ab) with (n, ab, channels)
    return basis[: (coupling.degree_out + 1) ** 2].reshape(-1, size * size) @ half.flatten(2).mT


def _check(first: Tensor, second: Tensor, coupling: MatrixCoupling) -> None:
    named = {"first": (first, coupling.degree_first), "second": (second, coupling.degree_second)}
    for name, (operand, degree) in named.items():
        if operand.ndim != 3 or operand.shape[:2] != (first.shape[0], (degree + 1) ** 2):
            raise InputError(
                f"{name} must have the shape (n, {(degree + 1) ** 2}, channels); found {tuple(first.shape)} and "
                f"{tuple(second.shape)}"
            )
        if operand.dtype != first.dtype or operand.dtype not in (torch.float32, torch.float64):
            raise InputError(
                f"first and second must both be float32 or both float64; found {first.dtype}, {second.dtype}"
            )
        if operand.device != first.device:
            raise InputError(f"second is on {second.device}, first on {first.device}")
    if first.shape[2] != second.shape[2] and 1 not in (first.shape[2], second.shape[2]):
        raise InputError(f"first has {first.shape[2]} channels, second {second.shape[2]}; give them the same, or one 1")


@constant_when_compiled
def _select(backend: str, device_type: str, dtype: torch.dtype) -> str:
    return OPERATION.select(backend, device=torch.device(device_type), dtype=dtype).name


_FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "reference": reference,
    "cpp": partial(native.multiply, "cpp"),
    "triton": partial(native.multiply, "triton"),
}

OPERATION.register(Backend("reference", reference))
OPERATION.register(
    Backend("cpp", _FUNCTIONS["cpp"], device_types=frozenset({"cpu"}), priority=10, unavailable=cpu_reason)
)
OPERATION.register(
    Backend("triton", _FUNCTIONS["triton"], device_types=triton_device_types(), priority=5, unavailable=triton_reason)
)
