"""Which Wyckoff position an atom occupies."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from atomsym.core.errors import InputError
from atomsym.symmetry.wyckoff.table import WyckoffPosition, wyckoff_positions

_SHIFTS = np.array(list(product((-1, 0, 1), repeat=3)), dtype=np.float64)


def images_of(space_group: int, point: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where each of the operators of a group takes a point, the identity first.

    Args:
        space_group: number, 1 to 230.
        point: fractional coordinates in the standard setting, shape (3,).

    Returns:
        In [0, 1), shape (n_operators, 3); places on symmetry elements occur several times.

    Raises:
        InputError: if there is no such group.
    """
    general = wyckoff_positions(space_group)[-1]
    inverse, shift = _inverse(space_group)
    return general.coordinates(inverse @ (np.asarray(point, dtype=np.float64) - shift))


def orbit_of(space_group: int, point: NDArray[np.float64], tolerance: float = 1e-4) -> NDArray[np.float64]:
    """All places that the operators of a group take a point to, each once, the point itself first.

    Args:
        space_group: number, 1 to 230.
        point: fractional coordinates in the standard setting, shape (3,).
        tolerance: of coordinates that count as equal, fractions of the cell.

    Returns:
        In [0, 1), shape (n, 3).

    Raises:
        InputError: if there is no such group.
    """
    images = images_of(space_group, point)
    distance = np.abs(_nearest(images[:, None] - images[None])).max(axis=-1)
    first = (distance < tolerance).argmax(axis=1) == np.arange(len(images))
    return np.asarray(images[first])


def locate(
    space_group: int, orbit: NDArray[np.float64], tolerance: float = 1e-4
) -> tuple[WyckoffPosition, NDArray[np.float64]]:
    """The position that an orbit occupies, and its parameters.

    Args:
        space_group: number, 1 to 230.
        orbit: fractional coordinates of all its atoms in the conventional cell, shape (n, 3).
        tolerance: of the coordinates, fractions of the cell.

    Returns:
        The position and x, y, z, in [0, 1) where they are free, else 0, shape (3,).

    Raises:
        InputError: if it is no orbit of the group.

    Example:
        >>> position, parameters = locate(136, orbit_of(136, np.array([0.305, 0.305, 0])))
        >>> position.letter, parameters.round(3).tolist()
        ('f', [0.305, 0.0, 0.0])
    """
    points = np.asarray(orbit, dtype=np.float64)
    best: tuple[float, WyckoffPosition, NDArray[np.float64]] | None = None
    for position in wyckoff_positions(space_group):
        if position.multiplicity != len(points):
            continue
        misfit, parameters = _fit(position, points)
        if best is None or misfit < best[0]:
            best = (misfit, position, parameters)
    if best is None or best[0] > tolerance:
        raise InputError(f"{len(points)} atoms about {points[0].round(4).tolist()} are no orbit of group {space_group}")
    return best[1], best[2]


def _fit(position: WyckoffPosition, points: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """How far the nearest atom is from the first place of a position, and the parameters that take it there."""
    matrix, shift = position.matrices[0].astype(np.float64), position.translations[0]
    if position.degrees_of_freedom == 3:
        return 0.0, np.asarray((np.linalg.solve(matrix, points[0] - shift)) % 1.0)
    targets = (points[:, None] - shift + _SHIFTS).reshape(-1, 3)
    parameters = targets @ _pseudo_inverse(position).T
    misfits = np.abs(parameters @ matrix.T - targets).max(axis=1)
    best = int(misfits.argmin())
    free = matrix.any(axis=0)
    return float(misfits[best]), np.where(free, parameters[best], 0.0) % 1.0


@cache
def _pseudo_inverse(position: WyckoffPosition) -> NDArray[np.float64]:
    """From the coordinates of the first place of a position to its parameters."""
    return np.linalg.pinv(position.matrices[0].astype(np.float64))


@cache
def _inverse(space_group: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """From coordinates to the parameters of the general position."""
    general = wyckoff_positions(space_group)[-1]
    return np.linalg.inv(general.matrices[0].astype(np.float64)), general.translations[0]


def _nearest(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(differences - np.rint(differences))
