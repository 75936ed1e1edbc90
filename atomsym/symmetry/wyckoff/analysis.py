"""The symmetry of a given crystal: its space group, its occupied positions, and itself without the noise."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from atomsym.core.elements import MAX_ATOMIC_NUMBER
from atomsym.core.errors import InputError
from atomsym.symmetry.wyckoff.crystal import SymmetricCrystal
from atomsym.symmetry.wyckoff.location import images_of, locate
from atomsym.symmetry.wyckoff.protostructure import Protostructure

if TYPE_CHECKING:
    from moyopy import MoyoDataset

SYMPREC = 0.01
_FLATTEST = 1e-5  # volume over the product of the lengths; flatter cells cannot be reduced in double precision
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

    Example:
        >>> salt = analyse(5.64 / 2 * (np.ones((3, 3)) - np.eye(3)), [[0, 0, 0], [0.5, 0.5, 0.5]], [11, 17])
        >>> str(salt.protostructure), salt.cell.diagonal().round(2).tolist()
        ('225: Na a, Cl b', [5.64, 5.64, 5.64])
    """
    found = _dataset(*_checked(cell, fractional_positions, numbers), symprec)
    standard = found.std_cell
    places, kinds = np.array(standard.positions) % 1.0, np.array(standard.numbers)
    return SymmetricCrystal(*_orbits(int(found.number), np.array(standard.basis), places, kinds))


def space_group_of(
    cell: ArrayLike, fractional_positions: ArrayLike, numbers: ArrayLike, *, symprec: float = SYMPREC
) -> int:
    """The number of the space group alone, in a third of the time of ``analyse``.

    Args, Raises: as ``analyse``.

    Example:
        >>> space_group_of(3.6 * np.eye(3), [[0, 0, 0], [0.5, 0.5, 0.5]], [55, 17])
        221
    """
    return int(_dataset(*_checked(cell, fractional_positions, numbers), symprec).number)


def _dataset(
    basis: NDArray[np.float64], positions: NDArray[np.float64], elements: NDArray[np.int64], symprec: float
) -> MoyoDataset:
    """What moyopy finds, in the standard setting of this package's table."""
    import moyopy  # only what needs it pays for it

    if not symprec > 0:
        raise InputError(f"symprec must be positive; found {symprec}")
    try:
        given = moyopy.Cell(basis.tolist(), (positions % 1.0).tolist(), elements.tolist())
        with _without_remarks():
            return moyopy.MoyoDataset(given, symprec=symprec, setting=moyopy.Setting.standard())
    except BaseException as error:
        # a panic of moyopy's Rust code is no Exception and has no importable class
        if isinstance(error, ValueError | RuntimeError) or type(error).__name__ == "PanicException":
            raise InputError(f"no space group found within {symprec:g} Å: {error}") from error
        raise


def _orbits(
    group: int, cell: NDArray[np.float64], places: NDArray[np.float64], kinds: NDArray[np.int64]
) -> tuple[Protostructure, NDArray[np.float64], NDArray[np.float64]]:
    """Orbit after orbit, until every atom belongs to one."""
    left = np.ones(len(kinds), dtype=bool)
    found: list[tuple[int, str, NDArray[np.float64]]] = []
    while left.any():
        first = int(left.argmax())
        images = images_of(group, places[first])
        difference = places - images[:, None]
        distance = np.abs(difference - np.rint(difference)).max(axis=-1)
        distance[:, ~left | (kinds != kinds[first])] = np.inf
        hit, place, visits = np.unique(distance.argmin(axis=1), return_index=True, return_counts=True)
        if distance.min(axis=1).max() > _REFINED or visits.min() != visits.max():
            raise InputError(f"the atoms about {places[first].round(4).tolist()} do not obey space group {group}")
        left[hit] = False
        position, parameters = locate(group, images[np.sort(place)], _REFINED)
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
    if abs(np.linalg.det(basis)) < _FLATTEST * np.linalg.norm(basis, axis=1).prod():
        raise InputError("the vectors of the cell lie nearly in a plane")
    if elements.min() < 1 or elements.max() > MAX_ATOMIC_NUMBER:
        raise InputError(f"atomic numbers are 1 to {MAX_ATOMIC_NUMBER}; found {elements.min()} to {elements.max()}")
    return basis, places, elements


@contextmanager
def _without_remarks() -> Iterator[None]:
    """Moyopy logs that operators of supercells are left out; those of the given cell are not used here."""
    logger = logging.getLogger("moyo")
    logger.addFilter(_needed)
    try:
        yield
    finally:
        logger.removeFilter(_needed)


def _needed(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("Omitted")
