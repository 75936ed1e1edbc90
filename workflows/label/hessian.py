"""Hessians by central differences of analytic forces."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from atomsym.core import ConfigError
from atomsym.workflows.label.engine import LabelError

FloatArray = NDArray[np.float64]

STEP = 0.0025
"""Å. For GFN2-xTB at SCF accuracy 0.01: halving the step changes no element by more than 3e-3 eV/Å² (of about 60), and
below 1e-3 Å the noise of the SCF takes over; the tests repeat this comparison."""
MAX_ASYMMETRY = 0.1
"""eV/Å²; beyond this the forces are no derivatives of one smooth energy (noise, a crossing of states)."""


def central_hessian(
    forces_at: Callable[[FloatArray], FloatArray], positions: FloatArray, step: float = STEP
) -> tuple[FloatArray, float]:
    """Second derivatives of the energy.

    H[a, b] = −(F_b(x + h e_a) − F_b(x − h e_a)) / 2h, error O(h²); then (H + Hᵀ)/2.

    Args:
        forces_at: forces, shape (n, 3), eV/Å, at positions (n, 3), Å.
        positions: shape (n, 3), Å; not changed.
        step: h, Å.

    Returns:
        The symmetric Hessian, shape (3n, 3n), eV/Å², and the largest |H − Hᵀ| before.

    Raises:
        ConfigError: if the step is not positive.
        LabelError: if the Hessian is not finite, or less symmetric than ``MAX_ASYMMETRY``.

    Example:
        >>> hessian, asymmetry = central_hessian(lambda x: -3.0 * x, np.zeros((1, 3)))
        >>> [round(float(value), 9) for value in np.diag(hessian)]
        [3.0, 3.0, 3.0]
    """
    if not step > 0:
        raise ConfigError(f"the step of a Hessian must be positive; found {step}")
    size = positions.size
    rows = np.empty((size, size))
    for coordinate in range(size):
        moved = np.array(positions, dtype=np.float64)
        moved.flat[coordinate] += step
        plus = np.array(forces_at(moved)).reshape(-1)
        moved.flat[coordinate] -= 2 * step
        minus = np.asarray(forces_at(moved)).reshape(-1)
        rows[coordinate] = (minus - plus) / (2 * step)
    if not np.isfinite(rows).all():
        raise LabelError("the Hessian is not finite")
    asymmetry = float(np.abs(rows - rows.T).max())
    if asymmetry > MAX_ASYMMETRY:
        raise LabelError(f"the Hessian is not symmetric: {asymmetry:.2g} eV/Å² (most {MAX_ASYMMETRY}): noisy forces")
    return 0.5 * (rows + rows.T), asymmetry
