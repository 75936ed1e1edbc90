"""Random lattices of each crystal system, with the proportions that known crystals have."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from atomsym.symmetry.wyckoff.crystal_system import crystal_system

Array = NDArray[np.float64]

_PROPORTIONS: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "triclinic": ((0.13, 0.19), (0.37, 0.28)),
    "monoclinic": ((-0.40, 0.65), (-0.12, 0.48)),
    "orthorhombic": ((0.23, 0.66), (0.26, 0.59)),
    "tetragonal": ((0.0, 0.0), (0.50, 0.64)),
    "trigonal": ((0.0, 0.0), (1.09, 0.80)),
    "hexagonal": ((0.0, 0.0), (0.10, 0.69)),
    "cubic": ((0.0, 0.0), (0.0, 0.0)),
}
"""Mean and standard deviation of ln(b / a) and ln(c / a) in the standard setting, of 9,713 crystals of MP-20."""

_WITHIN = 2.0  # standard deviations: rarer proportions are not drawn
_MONOCLINIC_ANGLE = (108.0, 12.0, 90.0, 130.0)  # β: mean, standard deviation, least, largest, degrees
_TRICLINIC_ANGLE = (90.0, 14.0, 60.0, 120.0)
_LEAST_VOLUME = 0.35  # of a triclinic cell with edges of length 1; flatter ones are drawn again as right-angled


def random_lattices(space_group: int, count: int, generator: np.random.Generator) -> Array:
    """Cells of volume 1 of the crystal system of a group, in its standard setting: shape (count, 3, 3).

    Args:
        space_group: number, 1 to 230.
        count: how many.
        generator: source of the randomness.
    """
    system = crystal_system(space_group)
    ones, zeros = np.ones(count), np.zeros(count)
    b, c = (np.exp(_bounded(mean, spread, count, generator)) for mean, spread in _PROPORTIONS[system])
    if system in ("trigonal", "hexagonal"):
        rows = [[ones, zeros, zeros], [-0.5 * ones, np.sqrt(0.75) * ones, zeros], [zeros, zeros, c]]
    elif system == "monoclinic":
        beta = _angles(_MONOCLINIC_ANGLE, count, generator)
        rows = [[ones, zeros, zeros], [zeros, b, zeros], [c * np.cos(beta), zeros, c * np.sin(beta)]]
    elif system == "triclinic":
        rows = _triclinic(b, c, generator)
    else:
        rows = [[ones, zeros, zeros], [zeros, b, zeros], [zeros, zeros, c]]
    cells = np.array(rows).transpose(2, 0, 1)
    return np.asarray(cells / np.cbrt(np.linalg.det(cells))[:, None, None])


def _triclinic(b: Array, c: Array, generator: np.random.Generator) -> list[list[Array]]:
    alpha, beta, gamma = (_angles(_TRICLINIC_ANGLE, len(b), generator) for _ in range(3))
    cosines = np.cos([alpha, beta, gamma])
    volume = np.sqrt(np.maximum(1 - (cosines**2).sum(axis=0) + 2 * cosines.prod(axis=0), 0))
    cosines = np.where(volume < _LEAST_VOLUME, 0.0, cosines)
    x, y, z = cosines
    sine = np.sqrt(1 - z**2)
    across = (x - y * z) / sine
    zeros = np.zeros_like(b)
    return [
        [np.ones_like(b), zeros, zeros],
        [b * z, b * sine, zeros],
        [c * y, c * across, c * np.sqrt(1 - y**2 - across**2)],
    ]


def _bounded(mean: float, spread: float, count: int, generator: np.random.Generator) -> Array:
    if not spread:
        return np.full(count, mean)
    drawn = generator.normal(size=count)
    return mean + spread * np.where(np.abs(drawn) < _WITHIN, drawn, generator.uniform(-_WITHIN, _WITHIN, count))


def _angles(shape: tuple[float, float, float, float], count: int, generator: np.random.Generator) -> Array:
    mean, spread, least, largest = shape
    drawn = generator.normal(mean, spread, count)
    inside = (drawn > least) & (drawn < largest)
    return np.radians(np.where(inside, drawn, generator.uniform(least, largest, count)))
