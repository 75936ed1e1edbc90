"""The radial Bessel basis: standing waves in a sphere, smooth down to distance 0."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from atomsym.core.errors import InputError

_SERIES_TERMS = 10  # of sin(z)/z for |z| < 1: the first one left out is below 1e-19


def bessel_basis(distance: Tensor, cutoff: float, n_basis: int = 8, *, frequencies: Tensor | None = None) -> Tensor:
    """Spherical Bessel functions of order zero with nodes at the cutoff.

    b_n(d) = sqrt(2 / cutoff) sin(k_n d) / d,  k_n = n π / cutoff,  n = 1 … n_basis.

    Orthonormal on [0, cutoff] under the measure d² dd. Analytic in d², so all derivatives exist at distance 0, where
    b_n = sqrt(2 / cutoff) k_n. Zero at the cutoff with a slope: multiply by an envelope, which also removes what lies
    beyond. Differentiable any number of times.

    Args:
        distance: edge lengths, shape (n_edges,), Å, >= 0.
        cutoff: Å, > 0.
        n_basis: number of functions, >= 1.
        frequencies: other k_n in 1/Å, shape (n_basis,), such as trained ones.

    Returns:
        Shape (n_edges, n_basis), Å^(-3/2), dtype of ``distance``.

    Raises:
        InputError: if ``cutoff <= 0`` or ``n_basis < 1``.

    Source: Gasteiger, Groß, Günnemann, ICLR 2020 (arXiv 2003.03123), eq. 7.

    Example:
        >>> bessel_basis(torch.tensor([0.0, 2.0]), 2.0, 2).abs().round(decimals=4)
        tensor([[1.5708, 3.1416],
                [0.0000, 0.0000]])
    """
    if not cutoff > 0 or n_basis < 1:
        raise InputError(f"the Bessel basis needs cutoff > 0 and n_basis >= 1; found {cutoff} and {n_basis}")
    if frequencies is None:
        numbers = torch.arange(1, n_basis + 1, dtype=distance.dtype, device=distance.device)
        frequencies = numbers * (math.pi / cutoff)
    return math.sqrt(2 / cutoff) * frequencies * _sine_ratio(distance.unsqueeze(-1) * frequencies)


def _sine_ratio(z: Tensor) -> Tensor:
    """sin(z)/z with accurate derivatives everywhere: a power series near 0, where the quotient cancels."""
    near = z.abs() < 1
    squared = torch.where(near, z, torch.zeros_like(z)).square()
    series = torch.zeros_like(z)
    for term in range(_SERIES_TERMS - 1, -1, -1):
        series = series * squared + (-1) ** term / math.factorial(2 * term + 1)
    far = torch.where(near, torch.ones_like(z), z)  # keeps the quotient's gradient finite where it is not used
    return torch.where(near, series, far.sin() / far)
