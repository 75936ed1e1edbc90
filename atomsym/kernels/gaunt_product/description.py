"""What a product of functions on the sphere couples, and the grid on which it is exact."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.kernels.spherical_harmonics.reference import reference_spherical_harmonics
from atomsym.symmetry import Irreps, wigner_3j

Signal = Literal["scalar", "vector"]


@dataclass(frozen=True)
class GauntProduct:
    """Factors read as functions on the sphere and multiplied point by point; hashable, plain data.

    ``scalar``: Σ x_lm Y_lm of two or more factors. Couplings with l1 + l2 + l3 odd do not occur.

    ``vector``: two factors as vector fields Σ x_jm 𝐘_{j, j−1, m}, whose cross product is read in the same fields. It
    has exactly the couplings with j1 + j2 + j3 odd (degree 0 takes no part). With both signals no path is missing.

    Attributes:
        factors: irreps of each factor: different degrees, all of natural parity (−1)^l or all of the other.
        irreps_out: what is kept of the product, alike. Scalar signals have the product of the factors' kinds of parity
            (natural: +1), vector signals the opposite of it.
        signal: ``scalar`` or ``vector``.
        handle: the description as text, from which ``gaunt_product_of`` gives an equal object back.

    Raises:
        InputError: if a list repeats a degree or mixes both kinds of parity, or the inversion forbids the output, or
            the number of factors is wrong.

    Example:
        >>> sh = Irreps.spherical_harmonics(2)
        >>> GauntProduct((sh, sh), sh).n_points, GauntProduct((sh, sh, sh), sh).n_points
        (28, 45)
    """

    factors: tuple[Irreps, ...]
    irreps_out: Irreps
    signal: Signal = "scalar"
    handle: str = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "factors", tuple(self.factors))
        if self.signal not in ("scalar", "vector"):
            raise InputError(f"signal must be scalar or vector; found '{self.signal}'")
        if len(self.factors) < 2 or (self.signal == "vector" and len(self.factors) != 2):
            raise InputError(
                f"a {self.signal} product of {len(self.factors)} factors; two are needed (scalar: or more)"
            )
        kinds = [_kind(f"factors[{n}]", irreps) for n, irreps in enumerate(self.factors)]
        known = math.prod(kinds)
        expected = known if self.signal == "scalar" else -known
        if known and _kind("irreps_out", self.irreps_out) not in (0, expected):
            raise InputError(
                f"irreps_out are {self.irreps_out}; the inversion wants "
                f"{'natural parities, (-1)^l' if expected == 1 else 'the parities -(-1)^l'}"
            )
        description = [[str(irreps) for irreps in self.factors], str(self.irreps_out), self.signal]
        object.__setattr__(self, "handle", json.dumps(description))

    @property
    def grid_degree(self) -> int:
        """Degree of the polynomials that the quadrature integrates exactly."""
        lists = (*self.factors, self.irreps_out)
        lower = 1 if self.signal == "vector" else 0
        return sum(max(irreps.max_degree - lower, 0) for irreps in lists)

    @property
    def n_points(self) -> int:
        """Points of the grid."""
        return quadrature(self.grid_degree)[1].shape[0]


def gaunt_product_of(handle: str) -> GauntProduct:
    """The product that a handle describes."""
    factors, irreps_out, signal = json.loads(handle)
    return GauntProduct(tuple(Irreps.parse(irreps) for irreps in factors), Irreps.parse(irreps_out), signal)


def _kind(name: str, irreps: Irreps) -> int:
    """+1: natural parities, −1: the opposite, 0: nothing there."""
    degrees = [irrep.degree for irrep in irreps]
    kinds = {irrep.parity * (-1) ** irrep.degree for irrep in irreps}
    if len(set(degrees)) != len(degrees) or len(kinds) > 1:
        raise InputError(
            f"{name} are {irreps}; one function on the sphere has each degree once and one kind of parity: "
            "all (-1)^l, or all -(-1)^l"
        )
    return kinds.pop() if kinds else 0


@cache
def quadrature(degree: int) -> tuple[Tensor, Tensor]:
    """Points on the sphere and weights that integrate polynomials up to a degree exactly; weights add up to 4π.

    Gauss–Legendre nodes along the polar axis y, equal steps about it: (degree // 2 + 1)(degree + 1) points.

    Args:
        degree: ≥ 0.

    Returns:
        Points, shape (n, 3), and weights, shape (n,), float64. Shared: do not change them in place.
    """
    nodes, weights = np.polynomial.legendre.leggauss(degree // 2 + 1)
    angle = 2 * math.pi * np.arange(degree + 1) / (degree + 1)
    y, phi = (grid.ravel() for grid in np.meshgrid(nodes, angle, indexing="ij"))
    radius = np.sqrt(1 - y * y)
    points = np.stack([radius * np.sin(phi), y, radius * np.cos(phi)], axis=1)
    measure = np.repeat(weights, degree + 1) * (2 * math.pi / (degree + 1))
    return torch.from_numpy(points), torch.from_numpy(measure)


@cache
def to_grid(irreps: Irreps, degree: int, signal: Signal) -> Tensor:
    """Values of the basis functions on the grid of a degree, float64, integral normalisation.

    Returns:
        Scalar: shape (points, irreps.dim). Vector: shape (points, 3, irreps.dim), zero for degree 0.
    """
    points, _ = quadrature(degree)
    largest = irreps.max_degree
    harmonics = reference_spherical_harmonics(points, largest, False, "integral")
    columns: list[Tensor] = [harmonics.new_zeros(*_lead(signal, points), 0)]
    for irrep in irreps:
        l = irrep.degree  # noqa: E741
        if signal == "scalar":
            columns.append(harmonics[:, l**2 : (l + 1) ** 2])
        elif l == 0:
            columns.append(harmonics.new_zeros(*_lead(signal, points), 1))
        else:
            coupling = math.sqrt(2 * l + 1) * wigner_3j(l - 1, 1, l)
            columns.append(torch.einsum("pm,mak->pak", harmonics[:, (l - 1) ** 2 : l**2], coupling))
    return torch.cat(columns, -1)


@cache
def from_grid(irreps: Irreps, degree: int, signal: Signal) -> Tensor:
    """Projection of values on the grid to coefficients: the transpose of ``to_grid`` with the weights of the grid.

    Returns:
        Scalar: shape (irreps.dim, points). Vector: shape (irreps.dim, points, 3).
    """
    _, weights = quadrature(degree)
    basis = to_grid(irreps, degree, signal)
    weighted = basis * weights.reshape(-1, *(1,) * (basis.ndim - 1))
    return weighted.movedim(-1, 0).contiguous()


def _lead(signal: Signal, points: Tensor) -> Sequence[int]:
    return (len(points),) if signal == "scalar" else (len(points), 3)
