"""The shipped factors of coupling tensors, and the description of a product that uses some of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.kernels.cp_product.cube import coupling_cube, relative_error
from atomsym.symmetry import Irreps

_FILE = Path(__file__).with_name("factors.safetensors")
Precision = Literal["exact", "quadratic", "linear"]


@dataclass(frozen=True)
class CPProduct:
    """All couplings of two features with one shared weight, as a sum of ``rank`` products; hashable, plain data.

    out[k, c] = n_k Σ_r C[k, r] (Σ_i A[i, r] x[i, c]) (Σ_j B[j, r] y[j, c]), with Σ_r A B C the tensor of all Wigner 3j
    symbols, or nearly so. Factors n_k make components of unit variance from such.

    Attributes:
        degree_first, degree_second, degree_out: features have all degrees from 0 to these.
        rank: a shipped rank for the largest of them; see ``available_ranks``.
        mirror: only couplings that the inversion allows between natural parities (−1)^l. Without it there are all
            couplings, and the product is equivariant under proper rotations only: for features that know nothing of
            the inversion.
        handle: the description as text, from which ``cp_product_of`` gives an equal object back.

    Raises:
        InputError: if a degree is negative or no such factors are shipped; the message has those that are.

    Example:
        >>> CPProduct.of(2, 2, 2).rank, CPProduct.of(2, 2, 2, mirror=False).rank
        (21, 34)
    """

    degree_first: int
    degree_second: int
    degree_out: int
    rank: int
    mirror: bool = True
    handle: str = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if min(self.degree_first, self.degree_second, self.degree_out) < 0:
            raise InputError(
                f"degrees must be >= 0; found {self.degree_first}, {self.degree_second}, {self.degree_out}"
            )
        ranks = available_ranks(self.degree, self.mirror)
        if self.rank not in ranks:
            raise InputError(
                f"no factors of rank {self.rank} ship for degree {self.degree}, mirror {self.mirror}; "
                + (f"allowed are {', '.join(map(str, ranks))}" if ranks else "there are some for the degrees 1 to 3")
            )
        numbers = (self.degree_first, self.degree_second, self.degree_out, self.rank, int(self.mirror))
        object.__setattr__(self, "handle", " ".join(map(str, numbers)))

    @classmethod
    def of(
        cls,
        degree_first: int,
        degree_second: int,
        degree_out: int,
        *,
        precision: Precision = "exact",
        mirror: bool = True,
    ) -> CPProduct:
        """The product of a named precision.

        Args:
            degree_first, degree_second, degree_out: see the attributes.
            precision: ``exact``: equivariant to rounding error; ``quadratic`` and ``linear``: the published ranks 7 L²
                and 7 L, without ``mirror`` only, equivariant to the error of the fit (``fit_error``).
            mirror: see the attribute.
        """
        degree = max(degree_first, degree_second, degree_out)
        ranks = available_ranks(degree, mirror)
        if precision not in ("exact", "quadratic", "linear"):
            raise InputError(f"precision must be exact, quadratic or linear; found '{precision}'")
        if precision == "exact":
            rank = max(ranks, default=0)
        else:
            rank = 7 * degree**2 if precision == "quadratic" else 7 * degree
        return cls(degree_first, degree_second, degree_out, rank, mirror)

    @property
    def degree(self) -> int:
        """Largest of the three degrees."""
        return max(self.degree_first, self.degree_second, self.degree_out, 1)

    def irreps(self, degree: int) -> Irreps:
        """Those of features up to a degree: natural parities with ``mirror``, else all written as even."""
        return Irreps.spherical_harmonics(degree, parity=-1 if self.mirror else 1)

    @property
    def fit_error(self) -> float:
        """|tensor − its decomposition| / |tensor|, Frobenius norms, all degrees.

        A turn R changes the result by at most 2 fit_error |tensor| |x| |y|, before the factors n_k.
        """
        arrays = [factor.numpy() for factor in _shipped(self.degree, self.mirror, self.rank)]
        return relative_error(coupling_cube(self.degree, self.mirror), arrays)


def available_ranks(degree: int, mirror: bool = True) -> tuple[int, ...]:
    """Ranks for which factors ship, increasing; the largest one is exact. Degree 0 uses those of degree 1."""
    found = {
        int(rank)
        for known, kind, rank, _ in (name.split("/") for name in _all_shipped())
        if int(known) == max(degree, 1) and (kind == "mirror") == mirror
    }
    return tuple(sorted(found))


def cp_product_of(handle: str) -> CPProduct:
    """The product that a handle describes."""
    first, second, out, rank, mirror = map(int, handle.split())
    return CPProduct(first, second, out, rank, bool(mirror))


@cache
def factors_of(product: CPProduct) -> tuple[Tensor, Tensor, Tensor]:
    """A, B and C of a product, shape ((degree + 1)², rank) each, float64, with n_k in C. Do not change them."""
    a, b, c = _shipped(product.degree, product.mirror, product.rank)
    scaled = [
        _normalization(product, degree) * c[degree**2 : (degree + 1) ** 2] for degree in range(product.degree_out + 1)
    ]
    return a[: (product.degree_first + 1) ** 2], b[: (product.degree_second + 1) ** 2], torch.cat(scaled)


def _normalization(product: CPProduct, degree: int) -> float:
    """√((2l + 1) / number of couplings that reach l)."""
    couplings = sum(
        abs(a - b) <= degree <= a + b and not (product.mirror and (a + b + degree) % 2)
        for a in range(product.degree_first + 1)
        for b in range(product.degree_second + 1)
    )
    return math.sqrt((2 * degree + 1) / max(couplings, 1))


def _shipped(degree: int, mirror: bool, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    arrays = _all_shipped()
    name = f"{degree}/{'mirror' if mirror else 'all'}/{rank}"
    return arrays[f"{name}/a"], arrays[f"{name}/b"], arrays[f"{name}/c"]


@cache
def _all_shipped() -> dict[str, Tensor]:
    from safetensors.torch import load_file

    return load_file(_FILE)
