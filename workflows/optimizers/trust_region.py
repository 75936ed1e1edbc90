"""Steps on a quadratic model of the energy, kept within a radius, and how far the model is trusted next.

Everything is in the basis of the Hessian's eigenvectors: curvatures h in eV/Å², ascending, and the components g of the
gradient in eV/Å. Each step is a shifted Newton step, s = −g / (h − λ); methods differ in the shift λ only.

Sources: Banerjee, Adams, Simons and Shepard, J. Phys. Chem. 89, 52 (1985); Moré and Sorensen, SIAM J. Sci. Stat.
Comput. 4, 553 (1983); Besalú and Bofill, Theor. Chem. Acc. 100, 265 (1998).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

NEGATIVE = -1e-3
"""eV/Å²: a smaller curvature is truly negative, so that a stationary point is no minimum."""
ENERGY_NOISE = 1e-5
"""eV: below this the change of the energy is computed from gradients, whose noise does not matter."""
POOR, GOOD = 0.25, 0.75  # quality of a prediction: usual bounds, Fletcher (1987), section 5.1
_TINY = 1e-14


def newton_shift(curvatures: FloatArray) -> float:
    """0 where all curvatures are positive: the Newton step. Else the lowest one, which only the boundary can follow."""
    return min(float(curvatures[0]), 0.0)


def rational_shift(curvatures: FloatArray, gradient: FloatArray) -> float:
    """The lowest eigenvalue of the augmented Hessian [[h, g], [gᵀ, 0]]: the step of rational function optimization.

    Args:
        curvatures, gradient: shape (m,).
    """
    m = len(curvatures)
    augmented = np.zeros((m + 1, m + 1))
    augmented[np.arange(m), np.arange(m)] = curvatures
    augmented[m, :m] = augmented[:m, m] = gradient
    return float(np.linalg.eigvalsh(augmented)[0])


def restricted_step(curvatures: FloatArray, gradient: FloatArray, shift: float, radius: float) -> FloatArray:
    """The step with the given shift, or the lowest point of the model at the radius if that step is longer.

    Where the lowest curvature is negative and the gradient has no component along it (on a ridge), the step leaves the
    ridge: Moré and Sorensen's hard case.

    Args:
        curvatures: ascending, shape (m,).
        gradient: shape (m,).
        shift: λ, not above the lowest curvature.
        radius: largest length of the step, Å, > 0.

    Returns:
        The step, shape (m,), Å.
    """
    gaps = curvatures - curvatures[0]
    if curvatures[0] - shift > _TINY:
        step = -gradient / (curvatures - shift)
        if np.linalg.norm(step) <= radius:
            return step
    longest = -gradient / (gaps + _TINY)
    if np.linalg.norm(longest) > radius:
        return -gradient / (gaps + _boundary_gap(gaps, gradient, radius))
    if curvatures[0] < NEGATIVE:
        longest[0] += np.sqrt(radius**2 - float(longest @ longest))
    return longest


def _boundary_gap(gaps: FloatArray, gradient: FloatArray, radius: float) -> float:
    """h_min − λ > 0 with |s(λ)| = radius; by bisection of the logarithm, since it may be very small."""
    low, high = np.log(_TINY), np.log(np.linalg.norm(gradient) / radius)
    for _ in range(100):
        middle = 0.5 * (low + high)
        too_long = np.linalg.norm(gradient / (gaps + np.exp(middle))) > radius
        low, high = (middle, high) if too_long else (low, middle)
    return float(np.exp(high))


def predicted_change(curvatures: FloatArray, gradient: FloatArray, step: FloatArray) -> float:
    """g·s + ½ s·h·s, eV."""
    return float(gradient @ step + 0.5 * (curvatures * step) @ step)


@dataclass(frozen=True)
class TrustRadius:
    """How far the model is trusted, as the root mean square displacement of the free atoms, Å.

    Attributes:
        radius: now.
        largest, smallest: bounds.
    """

    radius: float
    largest: float
    smallest: float = 1e-3

    def after(self, quality: float, length: float) -> TrustRadius:
        """The next radius: half the step's length after a poor prediction, twice the radius it stopped a good step.

        Args:
            quality: 1 where the change of energy was as predicted, near or below 0 where the model was wrong.
            length: of the step, root mean square, Å.
        """
        radius = self.radius
        if quality < POOR:
            radius = max(0.5 * min(length, radius), self.smallest)
        elif quality >= GOOD and length > 0.8 * radius:
            radius = min(2.0 * radius, self.largest)
        return replace(self, radius=radius)
