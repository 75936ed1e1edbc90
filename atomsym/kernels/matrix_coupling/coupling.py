"""The matrix-product form: features laid out as matrices, multiplied, and read back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.kernels.backends import Backend, Operation, constant_when_compiled
from atomsym.kernels.path_coefficients import path_coefficients
from atomsym.symmetry import Irreps, wigner_3j

OPERATION = Operation("matrix_coupling")
Part = Literal["even", "odd"]


@dataclass(frozen=True)
class MatrixCoupling:
    """Features of degrees 0 … L as (2 spin + 1)² matrices X = Σ x_lm T_lm, and half of their product; plain data.

    T_lm are the matrices of degree l between the states of a spin, orthonormal, so 2 spin ≥ L is needed. The ``even``
    part (X Y + Y X) / 2 has couplings with l1 + l2 + l3 even, the ``odd`` part (X Y − Y X) / 2 the others; with fixed
    coefficients (6j symbols, some of which vanish by accident: see ``matrix_coefficients``).

    Attributes:
        degree_first, degree_second, degree_out: largest degrees.
        spin: an integer; the larger, the closer to the Gaunt product. None: the smallest that holds all degrees.
        part: ``even``: natural parities (−1)^l of both factors give such; ``odd``: they give the parities −(−1)^l.

    Raises:
        InputError: if a degree is negative, the spin too small or the part unknown.

    Example:
        >>> MatrixCoupling(2, 2, 2).size, MatrixCoupling(2, 2, 2, spin=2).size
        (3, 5)
    """

    degree_first: int
    degree_second: int
    degree_out: int
    spin: int | None = None
    part: Part = "even"

    def __post_init__(self) -> None:
        degrees = (self.degree_first, self.degree_second, self.degree_out)
        if min(degrees) < 0:
            raise InputError(f"degrees must be >= 0; found {', '.join(map(str, degrees))}")
        smallest = (max(degrees) + 1) // 2
        if self.spin is None:
            object.__setattr__(self, "spin", smallest)
        elif self.spin < smallest:
            raise InputError(f"spin {self.spin} has degrees up to {2 * self.spin}; {max(degrees)} needs {smallest}")
        if self.part not in ("even", "odd"):
            raise InputError(f"part must be even or odd; found '{self.part}'")

    @property
    def size(self) -> int:
        """Rows of the matrices."""
        return 2 * (self.spin or 0) + 1

    @property
    def irreps_out(self) -> Irreps:
        """Of the result, for factors of natural parity."""
        natural = Irreps.spherical_harmonics(self.degree_out)
        if self.part == "even":
            return natural
        return Irreps(tuple(type(irrep)(irrep.degree, -irrep.parity) for irrep in natural))


def matrix_coupling(first: Tensor, second: Tensor, coupling: MatrixCoupling, *, backend: str = "auto") -> Tensor:
    """Multiply features as matrices, channel by channel.

    Args:
        first, second: shape (n, (degree + 1)², channels), float32 or float64; channels of one may be 1.
        coupling: degrees, spin and part.
        backend: ``auto`` or ``reference``.

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
    lists = [
        Irreps.spherical_harmonics(degree)
        for degree in (coupling.degree_first, coupling.degree_second, coupling.degree_out)
    ]
    return path_coefficients(lambda x, y: reference(x, y, coupling), *lists)


def reference(first: Tensor, second: Tensor, coupling: MatrixCoupling) -> Tensor:
    """Two batched matrix products."""
    spin, size = coupling.spin or 0, coupling.size
    largest = max(coupling.degree_first, coupling.degree_second, coupling.degree_out)
    basis = _operators(spin, largest).to(first)

    def lay_out(features: Tensor) -> Tensor:
        return torch.einsum("kab,nkc->ncab", basis[: features.shape[1]], features)

    x, y = lay_out(first), lay_out(second)
    product = x @ y
    other = y @ x
    half = 0.5 * (product + other if coupling.part == "even" else product - other)
    # (k, ab) with (n, ab, channels)
    return basis[: (coupling.degree_out + 1) ** 2].reshape(-1, size * size) @ half.flatten(2).mT


@cache
def _operators(spin: int, degree: int) -> Tensor:
    """T_lm, shape ((degree + 1)², 2 spin + 1, 2 spin + 1), float64, orthonormal."""
    parts = [math.sqrt(2 * l + 1) * wigner_3j(spin, spin, l).movedim(-1, 0) for l in range(degree + 1)]  # noqa: E741
    return torch.cat(parts)


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


_FUNCTIONS = {"reference": reference}

OPERATION.register(Backend("reference", reference))
