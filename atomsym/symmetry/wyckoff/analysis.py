"""The symmetry of a given crystal: its space group, its occupied positions, and itself without the noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from atomsym.core.elements import MAX_ATOMIC_NUMBER
from atomsym.core.errors import InputError, MissingDependencyError
from atomsym.symmetry.wyckoff.crystal import SymmetricCrystal
from atomsym.symmetry.wyckoff.location import locate, orbit_of
from atomsym.symmetry.wyckoff.protostructure import Protostructure

SYMPREC = 0.01
_REFINED = 1e-3  # fractions of the cell, within which standardised atoms are their orbits


def analyse(
    cell: ArrayLike, fractional_positions: ArrayLike, numbers: ArrayLike, *, symprec: float = SYMPREC
) -> SymmetricCrystal:
    """The conventional cell of a crystal in the standard setting, made exactly symmetric.

    The space group is found by moyopy (Shinohara, MIT), positions and parameters by the table of this package.

    Args:
        cell: vectors in rows, Å, shape (3, 3).
        fractional_positions: shape (n_atoms, 3).
        numbers: atomic numbers, shape (n_atoms,).
        symprec: how far atoms may be from where symmetry wants them, Å.

    Raises:
        InputError: if the input is not a crystal, or no group can be found, as for atoms that overlap.
        MissingDependencyError: if moyopy is not installed.

    Example:
        >>> salt = analyse(5.64 / 2 * (np.ones((3, 3)) - np.eye(3)), [[0, 0, 0], [0.5, 0.5, 0.5]], [11, 17])
        >>> str(salt.protostructure), salt.cell.diagonal().round(2).tolist()
        ('225: Na a, Cl b', [5.64, 5.64, 5.64])
    """
    moyopy = _moyopy()
    basis, positions, elements = _checked(cell, fractional_positions, numbers)
    if not symprec > 0:
        raise InputError(f"symprec must be positive; found {symprec}")
    try:
        given = moyopy.Cell(basis.tolist(), positions.tolist(), elements.tolist())
        found = moyopy.MoyoDataset(given, symprec=symprec, setting=moyopy.Setting.standard())
    except (ValueError, RuntimeError) as error:
        raise InputError(f"no space group found within {symprec:g} Å: {error}") from error
    standard = found.std_cell
    places, kinds = np.array(standard.positions) % 1.0, np.array(standard.numbers)
    return SymmetricCrystal(*_orbits(int(found.number), np.array(standard.basis), places, kinds))


def _orbits(
    group: int, cell: NDArray[np.float64], places: NDArray[np.float64], kinds: NDArray[np.int64]
) -> tuple[Protostructure, NDArray[np.float64], NDArray[np.float64]]:
    """Orbit after orbit, until every atom belongs to one."""
    left = np.ones(len(kinds), dtype=bool)
    found: list[tuple[int, str, NDArray[np.float64]]] = []
    while left.any():
        first = int(left.argmax())
        orbit = orbit_of(group, places[first], _REFINED)
        difference = places[None] - orbit[:, None]
        near = np.abs(difference - np.rint(difference)).max(axis=-1) < _REFINED
        near &= left & (kinds == kinds[first])
        if not (near.sum(axis=1) == 1).all():
            raise InputError(f"the atoms about {places[first].round(4).tolist()} do not obey space group {group}")
        left &= ~near.any(axis=0)
        position, parameters = locate(group, orbit, _REFINED)
        found.append((int(kinds[first]), position.letter, parameters))
    structure = Protostructure(group, tuple((z, letter) for z, letter, _ in found))
    rows = []
    for z, letter in structure.orbits:  # orbits of the same kind keep the order of the atoms
        index = next(i for i, each in enumerate(found) if each[:2] == (z, letter))
        rows.append(found.pop(index)[2])
    return structure, cell, np.array(rows)


def _checked(
    cell: ArrayLike, positions: ArrayLike, numbers: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    try:
        basis, places = np.asarray(cell, dtype=np.float64), np.asarray(positions, dtype=np.float64)
        elements = np.asarray(numbers, dtype=np.int64)
    except (TypeError, ValueError) as error:
        raise InputError(f"a crystal is made of numbers ({error})") from error
    if basis.shape != (3, 3) or places.ndim != 2 or places.shape[1:] != (3,) or elements.shape != places.shape[:1]:
        raise InputError(
            "a crystal needs a cell (3, 3), positions (n, 3) and n atomic numbers; found shapes "
            f"{basis.shape}, {places.shape} and {elements.shape}"
        )
    if not len(elements):
        raise InputError("a crystal needs at least one atom")
    if not (np.isfinite(basis).all() and np.isfinite(places).all()) or abs(np.linalg.det(basis)) < 1e-6:
        raise InputError("cell and positions must be finite, and the cell must have a volume")
    if elements.min() < 1 or elements.max() > MAX_ATOMIC_NUMBER:
        raise InputError(f"atomic numbers are 1 to {MAX_ATOMIC_NUMBER}; found {elements.min()} to {elements.max()}")
    return basis, places, elements


def _moyopy():  # type: ignore[no-untyped-def]
    try:
        import moyopy
    except ModuleNotFoundError as error:
        raise MissingDependencyError.for_package("moyopy", "generate", "the analysis of symmetry") from error
    return moyopy
