"""Makes the table of all Wyckoff positions: ``python -m atomsym.workflows.wyckoff_table [FILE]``.

Operators come from moyopy in its standard settings (those of the International Tables: unique axis b, hexagonal axes,
origin choice 2). Points, lines and planes that operators leave in place are found from the operators; crystals with
atoms on them are given to moyopy, which names letter, site symmetry and representative coordinates. Orbits follow from
operators and representatives in exact arithmetic. The same versions write the same bytes.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from moyopy import Cell, MoyoDataset, Setting, operations_from_number
from numpy.typing import NDArray

from atomsym.artifacts import write_atomically
from atomsym.core import CalculationError
from atomsym.symmetry.wyckoff.table import DENOMINATOR, FILE, N_POSITIONS, pack_table

_LOGGER = logging.getLogger(__name__)

Integers = NDArray[np.int64]
_GENERIC = np.array([0.1372, 0.2719, 0.4091])  # nothing special in any group
_PARAMETERS = (0.11803, 0.20711, 0.33167)  # along lines and planes
_PER_PROBE = 12  # candidates in one crystal


@dataclass(frozen=True)
class NamedPosition:
    """What moyopy says of a position.

    Attributes:
        letter: of the tables.
        multiplicity: in the conventional cell.
        site_symmetry: oriented symbol.
        coordinates: of the representative, such as ``x,2x,1/4``.
    """

    letter: str
    multiplicity: int
    site_symmetry: str
    coordinates: str


def operators(group: int) -> tuple[Integers, Integers]:
    """Rotations (n, 3, 3) and translations (n, 3) in units of 1/24 of the conventional cell."""
    found = operations_from_number(group, setting=Setting.standard())
    scaled = np.array(found.translations) * DENOMINATOR
    translations = np.rint(scaled).astype(np.int64) % DENOMINATOR
    if np.abs(scaled - np.rint(scaled)).max() > 1e-6:
        raise CalculationError(f"translations of group {group} are not multiples of 1/{DENOMINATOR}")
    return np.array(found.rotations, dtype=np.int64), translations


def named_positions(group: int) -> list[NamedPosition]:
    """All positions of a group, by letter.

    Raises:
        CalculationError: if moyopy sees another group, or letters are missing.
    """
    rotations, translations = operators(group)
    found: dict[str, NamedPosition] = {}
    candidates = list(_special_points(rotations, translations))
    for start in range(0, max(len(candidates), 1), _PER_PROBE):
        for position in _probed(group, rotations, translations, candidates[start : start + _PER_PROBE]):
            found.setdefault(position.letter, position)
    order = sorted(found, key=lambda letter: (letter == "A", letter))  # after z comes A
    expected = [chr(ord("a") + k) if k < 26 else "A" for k in range(len(order))]
    if order != expected:
        raise CalculationError(f"group {group}: the letters found are {', '.join(order)}")
    return [found[letter] for letter in order]


def _special_points(rotations: Integers, translations: Integers) -> Iterator[NDArray[np.float64]]:
    """Points in special position, at least one of every position but the general one."""
    grid = np.stack(np.meshgrid(*[np.arange(DENOMINATOR)] * 3, indexing="ij"), -1).reshape(-1, 3)
    fixing = _fixing(rotations, translations, grid)
    degrees = _degrees_of_freedom(rotations, fixing)
    numbers = np.array([DENOMINATOR**2, DENOMINATOR, 1])
    seen, lines = np.zeros(len(grid), dtype=bool), set[tuple[float, ...]]()
    for index in np.flatnonzero(degrees < 3):
        if seen[index]:
            continue
        point = grid[index]
        seen[((rotations @ point + translations) % DENOMINATOR) @ numbers] = True
        if degrees[index] == 0:
            yield point / DENOMINATOR
            continue
        stabilizer = rotations[fixing[index]]
        projector = stabilizer.mean(axis=0)  # onto what all operators of the point leave in place
        key = _orbit_key(rotations, translations, projector, point - projector @ point)
        if key not in lines:
            lines.add(key)
            kept = np.linalg.svd(projector - np.eye(3))[2][3 - degrees[index] :]
            moved = sum(value * row / np.abs(row).max() for value, row in zip(_PARAMETERS, kept, strict=False))
            yield (point / DENOMINATOR + moved) % 1


def _orbit_key(
    rotations: Integers, translations: Integers, projector: NDArray[np.float64], offset: NDArray[np.float64]
) -> tuple[float, ...]:
    """The same for all lines or planes that operators and lattice translations carry into each other."""
    inverses = np.linalg.inv(rotations)
    projectors = rotations @ projector @ inverses
    across = np.eye(3) - projectors
    offsets = np.einsum("nij,nj->ni", across, rotations @ offset + translations)
    shifts = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3, indexing="ij"), -1).reshape(-1, 3) * DENOMINATOR
    moved = offsets[:, None] + np.einsum("nij,sj->nsi", across, shifts)
    moved = np.where(np.abs(moved) < 1e-9, 0, moved)
    rows = np.concatenate([np.broadcast_to(projectors.reshape(-1, 1, 9), (*moved.shape[:2], 9)), moved], axis=2)
    rounded = np.round(rows.reshape(-1, 12), 4) + 0.0
    norms = np.linalg.norm(rounded[:, 9:], axis=1)
    near = rounded[norms < norms.min() + 1e-3]
    return tuple(min(map(tuple, near.tolist())))


def _fixing(rotations: Integers, translations: Integers, points: Integers) -> NDArray[np.bool_]:
    """Which operators, up to lattice translations, leave each point in place, shape (n_points, n_operators)."""
    images = np.einsum("nij,pj->pni", rotations, points) + translations
    return np.asarray(((images - points[:, None]) % DENOMINATOR == 0).all(axis=2))


def _degrees_of_freedom(rotations: Integers, fixing: NDArray[np.bool_]) -> Integers:
    """Dimension of what the stabilizer of each point leaves in place: the trace of its mean."""
    traces = np.trace(rotations, axis1=1, axis2=2)
    return np.rint((fixing @ traces) / fixing.sum(axis=1)).astype(np.int64)


def _probed(
    group: int, rotations: Integers, translations: Integers, candidates: Sequence[NDArray[np.float64]]
) -> list[NamedPosition]:
    """Positions of a crystal with atoms on the candidates; two general orbits keep it from having more symmetry."""
    points, numbers = [], []
    general = [_GENERIC, (_GENERIC * 1.618 + 0.3139) % 1]
    for number, start in enumerate([*general, *candidates], start=1):
        images = (np.einsum("nij,j->ni", rotations, start) + translations / DENOMINATOR) % 1
        distinct: list[NDArray[np.float64]] = []
        for image in images:
            apart = [np.abs((image - other + 0.5) % 1 - 0.5).max() for other in distinct]
            if not apart or min(apart) > 1e-6:
                distinct.append(image)
        points += distinct
        numbers += [number] * len(distinct)
    cell = Cell(basis=_lattice(group), positions=[point.tolist() for point in points], numbers=numbers)
    dataset = MoyoDataset(cell, symprec=1e-5, setting=Setting.standard())
    if dataset.number != group:
        raise CalculationError(f"a crystal made with the operators of group {group} has the group {dataset.number}")
    return [
        NamedPosition(w.letter, w.multiplicity, w.site_symmetry, w.coordinates)
        for w in dataset.normalizer_wyckoff_positions().wyckoffs
    ]


def _lattice(group: int) -> list[list[float]]:
    """A lattice of the group's crystal system with no symmetry beyond it, lattice vectors in rows, Å."""
    a, b, c = 8.13, 9.37, 11.71
    if group <= 2:
        return [[a, 0, 0], [1.31, b, 0], [2.17, 0.83, c]]
    if group <= 15:
        return [[a, 0, 0], [0, b, 0], [-2.3, 0, c]]
    if group <= 74:
        return [[a, 0, 0], [0, b, 0], [0, 0, c]]
    if group <= 142:
        return [[a, 0, 0], [0, a, 0], [0, 0, c]]
    if group <= 194:
        return [[a, 0, 0], [-a / 2, a * 3**0.5 / 2, 0], [0, 0, c]]
    return [[a, 0, 0], [0, a, 0], [0, 0, a]]


def representative(coordinates: str) -> tuple[Integers, Integers]:
    """Matrix and translation (in 1/24) of coordinates such as ``x,2x,-z+1/4``.

    Example:
        >>> [part.tolist() for part in representative("x,-2x,1/4")]
        [[[1, 0, 0], [-2, 0, 0], [0, 0, 0]], [0, 0, 6]]
    """
    matrix, translation = np.zeros((3, 3), dtype=np.int64), np.zeros(3, dtype=np.int64)
    for row, text in enumerate(coordinates.replace(" ", "").split(",")):
        for term in text.replace("-", "+-").split("+"):
            if not term:
                continue
            if term[-1] in "xyz":
                factor = term[:-1]
                matrix[row, "xyz".index(term[-1])] += int(f"{factor}1" if factor in ("", "-") else factor)
            else:
                value = Fraction(term) * DENOMINATOR
                if value.denominator != 1:
                    raise CalculationError(f"'{coordinates}' is not in units of 1/{DENOMINATOR}")
                translation[row] += int(value)
    return matrix, translation % DENOMINATOR


def orbit(group: int, position: NamedPosition) -> NDArray[np.int8]:
    """Affine maps from the free parameters to all atoms, the representative first, shape (multiplicity, 3, 4).

    Columns 0 to 2 are the matrix, column 3 is the translation in 1/24.

    Raises:
        CalculationError: if there are not as many as the multiplicity says.
    """
    rotations, translations = operators(group)
    matrix, shift = representative(position.coordinates)
    maps = np.concatenate([rotations @ matrix, ((rotations @ shift + translations) % DENOMINATOR)[:, :, None]], axis=2)
    distinct = list(dict.fromkeys(tuple(each.ravel().tolist()) for each in maps))
    first = tuple(np.concatenate([matrix, shift[:, None]], axis=1).ravel().tolist())
    distinct.sort(key=lambda each: each != first)  # stable
    # maps that differ only in how the parameters are named give the same set; at a generic point they are told apart
    values = np.array(distinct).reshape(-1, 3, 4)
    if len(values) != position.multiplicity:
        raise CalculationError(
            f"position {position.letter} of group {group} has {len(values)} maps, not {position.multiplicity}"
        )
    return values.astype(np.int8)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of this module."""
    parser = argparse.ArgumentParser(prog="python -m atomsym.workflows.wyckoff_table", description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=FILE, help="default: the shipped table")
    file = parser.parse_args(arguments).file
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    groups = []
    for group in range(1, 231):
        named = named_positions(group)
        groups.append([(p.site_symmetry, orbit(group, p)) for p in named])
        _LOGGER.info("group %d: %d positions", group, len(named))
    total = sum(map(len, groups))
    if total != N_POSITIONS:
        raise CalculationError(f"{total} positions were found, not {N_POSITIONS}")
    write_atomically(file, pack_table(groups))
    _LOGGER.info("%s: %d positions", file, total)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
