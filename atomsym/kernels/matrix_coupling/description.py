"""Features as matrices between the states of a spin: what a product of them couples."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache
from typing import Literal, get_args

import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.symmetry import Irreps, wigner_3j

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
        handle: the description as text, from which ``matrix_coupling_of`` gives an equal object back.

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
    handle: str = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if min(self.degrees) < 0:
            raise InputError(f"degrees must be >= 0; found {', '.join(map(str, self.degrees))}")
        smallest = (max(self.degrees) + 1) // 2
        if self.spin is None:
            object.__setattr__(self, "spin", smallest)
        elif self.spin < smallest:
            raise InputError(
                f"spin {self.spin} has degrees up to {2 * self.spin}; {max(self.degrees)} needs {smallest}"
            )
        if self.part not in get_args(Part):
            raise InputError(f"part must be even or odd; found '{self.part}'")
        object.__setattr__(self, "handle", " ".join(map(str, (*self.degrees, self.spin, self.part))))

    @property
    def degrees(self) -> tuple[int, int, int]:
        """Largest ones of the factors and of the result."""
        return self.degree_first, self.degree_second, self.degree_out

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


def matrix_coupling_of(handle: str) -> MatrixCoupling:
    """The coupling that a handle describes."""
    first, second, out, spin, part = handle.split()
    return MatrixCoupling(int(first), int(second), int(out), int(spin), "even" if part == "even" else "odd")


@cache
def operators(spin: int, degree: int) -> Tensor:
    """T_lm, shape ((degree + 1)², 2 spin + 1, 2 spin + 1), float64, orthonormal; T_lm transposed is (−1)^l T_lm."""
    parts = [math.sqrt(2 * l + 1) * wigner_3j(spin, spin, l).movedim(-1, 0) for l in range(degree + 1)]  # noqa: E741
    return torch.cat(parts)
