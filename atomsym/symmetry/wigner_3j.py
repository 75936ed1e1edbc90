"""Real Wigner 3j symbols (coupling coefficients) in e3nn's convention."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache

import numpy as np
import torch
from torch import Tensor

from atomsym.core.errors import InputError


@cache
def wigner_3j(degree_1: int, degree_2: int, degree_3: int) -> Tensor:
    """The invariant coupling of three real irreps of SO(3), normalised to unit Frobenius norm.

    C = Re Σ (Q1 ⊗ Q2 ⊗ Q3*) ⟨l1 m1 l2 m2 | l3 m3⟩, with Q the unitary map from real to complex harmonics, polar axis y.
    The complex coefficients come from Racah's formula in exact rational arithmetic.

    Args:
        degree_1, degree_2, degree_3: degrees with |l1 − l2| ≤ l3 ≤ l1 + l2.

    Returns:
        Shape (2 l1 + 1, 2 l2 + 1, 2 l3 + 1), float64. One shared tensor per triple: do not change it in place.

    Raises:
        InputError: if a degree is negative or the triangle rule is broken.

    Source: Racah (1942); phases as e3nn ≥ 0.5, which differ from e3nn 0.4 by a sign for six couplings with odd
    l1 + l2 + l3 ≤ 7.

    Example:
        >>> bool(torch.allclose(wigner_3j(1, 1, 0)[:, :, 0], torch.eye(3, dtype=torch.float64) / 3**0.5))
        True
    """
    if min(degree_1, degree_2, degree_3) < 0 or not abs(degree_1 - degree_2) <= degree_3 <= degree_1 + degree_2:
        raise InputError(
            f"no coupling of degrees {degree_1}, {degree_2} to {degree_3}: |l1 - l2| <= l3 <= l1 + l2 is needed"
        )
    coupling = np.einsum(
        "ai,bj,ck,abc->ijk",
        real_to_complex(degree_1),
        real_to_complex(degree_2),
        real_to_complex(degree_3).conj(),
        _clebsch_gordan(degree_1, degree_2, degree_3),
    ).real
    coupling[np.abs(coupling) < 1e-14] = 0.0
    return torch.from_numpy(coupling / np.linalg.norm(coupling))


def _clebsch_gordan(l1: int, l2: int, l3: int) -> np.ndarray:
    """⟨l1 m1 l2 m2 | l3 m3⟩ for all m, shape (2 l1 + 1, 2 l2 + 1, 2 l3 + 1), float64."""
    coefficients = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1))
    for m1 in range(-l1, l1 + 1):
        for m2 in range(-l2, l2 + 1):
            if abs(m1 + m2) <= l3:
                coefficients[l1 + m1, l2 + m2, l3 + m1 + m2] = _racah(l1, m1, l2, m2, l3, m1 + m2)
    return coefficients


def _racah(l1: int, m1: int, l2: int, m2: int, l3: int, m3: int) -> float:
    f = math.factorial
    squared = Fraction((2 * l3 + 1) * f(l3 + l1 - l2) * f(l3 - l1 + l2) * f(l1 + l2 - l3), f(l1 + l2 + l3 + 1)) * (
        f(l3 + m3) * f(l3 - m3) * f(l1 - m1) * f(l1 + m1) * f(l2 - m2) * f(l2 + m2)
    )
    total = Fraction(0)
    for k in range(max(0, l2 - l3 - m1, l1 - l3 + m2), min(l1 + l2 - l3, l1 - m1, l2 + m2) + 1):
        total += Fraction(
            (-1) ** k,
            f(k) * f(l1 + l2 - l3 - k) * f(l1 - m1 - k) * f(l2 + m2 - k) * f(l3 - l2 + m1 + k) * f(l3 - l1 - m2 + k),
        )
    return math.copysign(math.sqrt(squared * total * total), total)


def real_to_complex(degree: int) -> np.ndarray:
    """Unitary map [m complex, m real] from real to complex harmonics; the phase (−i)^l makes couplings real."""
    matrix = np.zeros((2 * degree + 1, 2 * degree + 1), dtype=complex)
    matrix[degree, degree] = 1.0
    for m in range(1, degree + 1):
        matrix[degree - m, degree + m] = 1 / math.sqrt(2)
        matrix[degree - m, degree - m] = -1j / math.sqrt(2)
        matrix[degree + m, degree + m] = (-1) ** m / math.sqrt(2)
        matrix[degree + m, degree - m] = 1j * (-1) ** m / math.sqrt(2)
    return (-1j) ** degree * matrix
