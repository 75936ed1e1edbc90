"""Derivatives of solid harmonics as constant combinations of solid harmonics of one degree less."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor


@cache
def derivative_coefficients(max_degree: int, normalization: int) -> np.ndarray:
    """Constants T[a, k, j] with ∂Y_k/∂v_a = Σ_j T[a, k, j] Y_j for solid harmonics, shape (3, K, K).

    With C(l, m) = P_l^m (z + ix)^m / (l + m)!: ∂C(l, m)/∂y = C(l−1, m), ∂/∂z = [C(l−1, m−1) − C(l−1, m+1)] / 2,
    ∂/∂x = i [C(l−1, m−1) + C(l−1, m+1)] / 2, and C(l, −m) = (−1)^m conj C(l, m).
    """
    table = np.zeros((3, (max_degree + 1) ** 2, (max_degree + 1) ** 2))
    for degree in range(1, max_degree + 1):
        for order in range(degree + 1):
            for axis, target, weight in (
                (1, order, 1.0),
                (2, order - 1, 0.5),
                (2, order + 1, -0.5),
                (0, order - 1, 0.5j),
                (0, order + 1, 0.5j),
            ):
                if abs(target) < degree:
                    _add_complex(table[axis], degree, order, target, weight, normalization)
    return table


def _add_complex(table: np.ndarray, degree: int, order: int, target: int, weight: complex, normalization: int) -> None:
    """Add weight · C(degree − 1, target) to the row of the real and imaginary parts of C(degree, order)."""

    def at(l: int, m: int) -> int:  # noqa: E741
        return l * l + l + m

    lower, m = degree - 1, abs(target)
    sign = (-1) ** m if target < 0 else 1  # the real part of C(l, −m); the imaginary part has the opposite sign
    parts = [(at(lower, m), complex(sign))]
    if m > 0:
        parts.append((at(lower, -m), 1j * (sign if target > 0 else -sign)))
    for column, part in parts:
        value = weight * part
        ratio = _real_factor(degree, order, normalization) / _real_factor(lower, m, normalization)
        table[at(degree, order), column] += value.real * ratio
        if order > 0:
            table[at(degree, -order), column] += value.imag * ratio


def _real_factor(degree: int, order: int, normalization: int) -> float:
    norm = (
        math.factorial(degree)
        if order == 0
        else math.sqrt(2 * math.factorial(degree - order) * math.factorial(degree + order))
    )
    return norm * (math.sqrt((2 * degree + 1) / (1, 2 * degree + 1, 4 * math.pi)[normalization]))


def derivative_table(max_degree: int, normalization: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The same as a matrix from values to the three components of their gradient, shape (K, 3 K)."""
    coefficients = derivative_coefficients(max_degree, normalization)
    return torch.from_numpy(coefficients.reshape(-1, coefficients.shape[-1]).T).to(device=device, dtype=dtype)


def real_factors(max_degree: int, normalization: int) -> Tensor:
    """What turns the real and imaginary parts of C(l, |m|) into real harmonics, shape (K,), float64."""
    pairs = ((degree, abs(m)) for degree in range(max_degree + 1) for m in range(-degree, degree + 1))
    return torch.tensor([_real_factor(*pair, normalization) for pair in pairs], dtype=torch.float64)
