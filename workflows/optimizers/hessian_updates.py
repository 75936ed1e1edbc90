"""A Hessian kept up to date from gradients alone, between the points where it is computed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_TINY = 1e-12


def bofill_update(hessian: FloatArray, step: FloatArray, change: FloatArray) -> FloatArray:
    """A mixture of the symmetric rank-one and the Powell update that lets curvatures be negative.

    With ξ = y − H s: H + φ ξξᵀ/(ξ·s) + (1 − φ) [(ξsᵀ + sξᵀ)/s² − (ξ·s) ssᵀ/s⁴],  φ = (ξ·s)² / (ξ² s²).

    Args:
        hessian: shape (n, n), eV/Å².
        step: s, shape (n,), Å.
        change: y, of the gradient along it, shape (n,), eV/Å.

    Returns:
        A new symmetric matrix that maps s to y; the old one if s or ξ vanish.

    Source: Bofill, J. Comput. Chem. 15, 1 (1994), eqs. 9–11.
    """
    missing = change - hessian @ step
    square, overlap = float(step @ step), float(missing @ step)
    both = float(missing @ missing) * square
    if square < _TINY or both < _TINY**2:
        return hessian
    powell = (np.outer(missing, step) + np.outer(step, missing)) / square
    powell -= overlap * np.outer(step, step) / square**2
    weight = overlap**2 / both
    # φ · SR1 = (ξ·s) ξξᵀ / (ξ² s²): finite also where ξ·s = 0
    return hessian + overlap * np.outer(missing, missing) / both + (1 - weight) * powell


def bfgs_update(hessian: FloatArray, step: FloatArray, change: FloatArray) -> FloatArray:
    """The update of Broyden, Fletcher, Goldfarb and Shanno where it keeps curvatures positive, else Bofill's.

    H + yyᵀ/(y·s) − (Hs)(Hs)ᵀ/(s·Hs).

    Args and Returns: see ``bofill_update``.
    """
    along, mapped = float(change @ step), hessian @ step
    inside = float(step @ mapped)
    scale = np.linalg.norm(step)
    if along <= 1e-3 * scale * np.linalg.norm(change) or inside <= 1e-3 * scale * np.linalg.norm(mapped):
        return bofill_update(hessian, step, change)
    return hessian + np.outer(change, change) / along - np.outer(mapped, mapped) / inside
