"""Spherical harmonics in plain torch: fully normalised Legendre recurrences, any degree, derivatives by autograd."""

from __future__ import annotations

import math

import torch
from torch import Tensor

NORMALIZATIONS = ("component", "norm", "integral")


def unit_vectors(vectors: Tensor) -> Tensor:
    """Vectors divided by their length; zero for a zero vector, whose derivatives of every order are zero too.

    The squared length cannot overflow or underflow: vectors are first divided by their largest component, which is
    held constant under differentiation (the direction does not depend on it).

    Args:
        vectors: shape (..., 3).

    Returns:
        Shape (..., 3). Differentiable any number of times.
    """
    scale = vectors.detach().abs().amax(-1, keepdim=True)
    zero = scale == 0
    scaled = vectors / torch.where(zero, torch.ones_like(scale), scale)
    squared = (scaled * scaled).sum(-1, keepdim=True)
    length = torch.sqrt(torch.where(zero, torch.ones_like(squared), squared))
    return torch.where(zero, torch.zeros_like(scaled), scaled / length)


def degree_factor(degree: int, normalization: str) -> float:
    """What turns a harmonic of unit norm, Σ_m Y² = 1, into the named normalisation."""
    if normalization == "component":
        return math.sqrt(2 * degree + 1)
    if normalization == "integral":
        return math.sqrt((2 * degree + 1) / (4 * math.pi))
    return 1.0


def reference_spherical_harmonics(vectors: Tensor, max_degree: int, normalize: bool, normalization: str) -> Tensor:
    """See ``atomsym.kernels.spherical_harmonics.spherical_harmonics``.

    With q(l, m) the associated Legendre polynomial without sin^m, scaled so that Σ_m Y(l, m)² = |v|^2l:
    q(l, m) = [(2l − 1) y q(l−1, m) − √((l−1)² − m²) |v|² q(l−2, m)] / √(l² − m²) and
    q(m, m) = √((2m − 1) / 2m) q(m−1, m−1), which stays of order one at every degree.

    Source: the stable column recurrence of Holmes and Featherstone (2002), in Cartesian form.
    """
    v = unit_vectors(vectors) if normalize else vectors
    x, y, z = v.unbind(-1)
    # Exactly 1 on unit vectors, up to rounding; kept as a polynomial so that autograd sees solid harmonics.
    squared = (v * v).sum(-1)
    columns: dict[tuple[int, int], Tensor] = {}
    imaginary = 0.0 * x
    real = 1.0 + imaginary  # not ones_like: degree 0 alone must have a derivative too, namely zero
    diagonal = 1.0
    for m in range(max_degree + 1):
        if m > 0:
            real, imaginary = z * real - x * imaginary, z * imaginary + x * real
            # Real harmonics of order m > 0 carry the factor √2, which enters once, at m = 1.
            diagonal *= math.sqrt((2 * m - 1) / (2 * m)) * (math.sqrt(2) if m == 1 else 1.0)
        column = _legendre_column(m, max_degree, diagonal, y, squared)
        for degree, polynomial in enumerate(column, start=m):
            scaled = degree_factor(degree, normalization) * polynomial
            columns[degree, m] = scaled * real
            if m > 0:
                columns[degree, -m] = scaled * imaginary
    return torch.stack([columns[l, m] for l in range(max_degree + 1) for m in range(-l, l + 1)], dim=-1)  # noqa: E741


def _legendre_column(order: int, max_degree: int, diagonal: float, y: Tensor, squared: Tensor) -> list[Tensor]:
    """q(l, order) for l = order … max_degree."""
    column = [torch.full_like(y, diagonal)]
    for degree in range(order + 1, max_degree + 1):
        value = (2 * degree - 1) * y * column[-1]
        if degree > order + 1:
            value = value - math.sqrt((degree - 1) ** 2 - order**2) * squared * column[-2]
        column.append(value / math.sqrt(degree**2 - order**2))
    return column
