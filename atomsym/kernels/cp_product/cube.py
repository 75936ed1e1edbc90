"""The tensor of all couplings up to a degree, and how far a sum of rank-one terms is from it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from atomsym.symmetry import wigner_3j

Array = NDArray[np.float64]


def coupling_cube(degree: int, mirror: bool) -> Array:
    """All couplings of degrees up to ``degree`` in one tensor, shape (d, d, d) with d = (degree + 1)².

    Args:
        degree: largest degree of all three axes.
        mirror: only couplings with l1 + l2 + l3 even, those that the inversion allows between natural parities.
    """
    n = (degree + 1) ** 2
    cube = np.zeros((n, n, n))
    for a in range(degree + 1):
        for b in range(degree + 1):
            for c in range(abs(a - b), min(a + b, degree) + 1):
                if not (mirror and (a + b + c) % 2):
                    part = tuple(slice(l**2, (l + 1) ** 2) for l in (a, b, c))  # noqa: E741
                    cube[part] = wigner_3j(a, b, c).numpy()
    return cube


def relative_error(cube: Array, factors: Sequence[Array]) -> float:
    """|cube − Σ_r A_r ⊗ B_r ⊗ C_r| / |cube| in the Frobenius norm."""
    return float(np.linalg.norm(cube - np.einsum("ir,jr,kr->ijk", *factors)) / np.linalg.norm(cube))
