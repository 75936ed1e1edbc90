"""Finds how the affine normalizers of the space groups permute their Wyckoff positions, and writes the file.

``python -m atomsym.workflows.wyckoff_relabellings [FILE]`` takes about a minute and gives the same bytes every time.

For each linear map W that can take the lattice to itself, the shifts w are found on a grid of 1/24 of the cell by the
condition that every generator (R, t) of the group becomes an operator of the group:
W R W⁻¹ with the translation W t + w - W R W⁻¹ w. Continuous shifts, of polar groups, change no letters.
"""

from __future__ import annotations

import sys
from itertools import permutations, product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atomsym.artifacts import write_atomically
from atomsym.symmetry.wyckoff.location import locate
from atomsym.symmetry.wyckoff.relabelling import FILE, pack_relabellings
from atomsym.symmetry.wyckoff.table import DENOMINATOR, LETTERS, N_GROUPS, wyckoff_positions

_GENERIC = np.array([0.1234567, 0.2718282, 0.4142136])
_CUBIC = [
    np.array([[sign if place == axis else 0 for place in range(3)] for axis, sign in zip(order, signs, strict=True)])
    for order in permutations(range(3))
    for signs in product((1, -1), repeat=3)
]
_HEXAGONAL_TURN, _HEXAGONAL_MIRROR = (
    np.array([[1, -1, 0], [1, 0, 0], [0, 0, 1]]),
    np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]]),
)


def linear_maps(space_group: int) -> list[NDArray[np.int64]]:
    """Maps of the conventional axes that may belong to the normalizer of a group; enough of them for its letters."""
    if space_group <= 2:
        candidates = [np.array(rows).reshape(3, 3) for rows in product((0, 1), repeat=9)]
        # letters of P-1 depend on the map modulo 2 alone, and every such class has a unimodular member
        return [each for each in candidates if round(np.linalg.det(each)) % 2]
    if space_group <= 15:
        # entries to 2, as [[1, 0], [2, 1]] is needed to generate the maps that keep a centring or a glide
        entries = product((-2, -1, 0, 1, 2), repeat=4)
        blocks = [(p, q, r, s) for p, q, r, s in entries if abs(p * s - q * r) == 1]
        return [np.array([[p, 0, q], [0, sign, 0], [r, 0, s]]) for p, q, r, s in blocks for sign in (1, -1)]
    if 143 <= space_group <= 194:
        turns = [np.linalg.matrix_power(_HEXAGONAL_TURN, n) for n in range(6)]
        planar = [turn @ mirror for turn in turns for mirror in (np.eye(3, dtype=int), _HEXAGONAL_MIRROR)]
        return [each @ np.diag([1, 1, sign]) for each in planar for sign in (1, -1)]
    if 75 <= space_group <= 142:
        return [each for each in _CUBIC if each[2, 2] != 0]
    return list(_CUBIC)


def group_relabellings(space_group: int) -> NDArray[np.uint8]:
    """All different permutations of the positions, the identity first, the others in increasing order."""
    rotations, shifts = _operators(space_group)
    positions = wyckoff_positions(space_group)
    size = len(positions)
    found = {tuple(range(size))}
    if size > 1:
        for linear in linear_maps(space_group):
            for shift in _allowed_shifts(linear, rotations, shifts, modulo_two=space_group <= 2):
                found.add(_permutation(space_group, linear, shift))
    ordered = sorted(found)
    identity = tuple(range(size))
    return np.array([identity, *(row for row in ordered if row != identity)], dtype=np.uint8)


def _operators(space_group: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rotations and translations, the latter in 1/24 of the cell."""
    general = wyckoff_positions(space_group)[-1]
    first = np.linalg.inv(general.matrices[0]).round().astype(np.int64)
    rotations = general.matrices @ first
    moved = general.translations - np.einsum("nij,j->ni", rotations, general.translations[0])
    return rotations, np.rint(moved * DENOMINATOR).astype(np.int64) % DENOMINATOR


def _allowed_shifts(
    linear: NDArray[np.int64], rotations: NDArray[np.int64], shifts: NDArray[np.int64], *, modulo_two: bool
) -> NDArray[np.int64]:
    """Shifts in 1/24 that make the map normalise the group, one for each class of those that differ by its lattice."""
    if modulo_two:  # rotations are 1 and -1, which any map leaves alone; shifts of half a cell do as well
        return np.array(list(product((0, 12), repeat=3)))
    inverse = np.linalg.inv(linear).round().astype(np.int64)
    turned = linear @ rotations @ inverse
    same = [np.flatnonzero((rotations == each).all(axis=(1, 2))) for each in turned]
    if any(len(each) == 0 for each in same):
        return np.zeros((0, 3), dtype=np.int64)
    fixed = (rotations == np.eye(3, dtype=np.int64)).all(axis=1).all(axis=0)  # axes along which the origin is free
    grid = np.array(list(product(*([0] if free else _steps(rotations) for free in fixed))))
    for rotation, operators, shift in zip(turned, same, shifts, strict=True):
        wanted = (linear @ shift + grid - grid @ rotation.T) % DENOMINATOR
        hit = (wanted[:, None] == shifts[operators][None]).all(axis=-1).any(axis=1)
        grid = grid[hit]
        if not len(grid):
            break
    return grid


def _steps(rotations: NDArray[np.int64]) -> list[int]:
    """Multiples of 1/24 that shifts of origins have: thirds with threefold axes, quarters and eighths else."""
    threefold = any(int(np.trace(each)) == 0 for each in rotations)
    return sorted({step for unit in (3, 4 if threefold else 3) for step in range(0, DENOMINATOR, unit)})


def _permutation(space_group: int, linear: NDArray[np.int64], shift: NDArray[np.int64]) -> tuple[int, ...]:
    found = []
    for position in wyckoff_positions(space_group):
        orbit = position.coordinates(_GENERIC) @ linear.T + shift / DENOMINATOR
        found.append(LETTERS.index(locate(space_group, orbit % 1.0)[0].letter))
    return tuple(found)


def main() -> None:
    """Write the file named on the command line, or the shipped one."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    groups = [group_relabellings(group) for group in range(1, N_GROUPS + 1)]
    write_atomically(path, pack_relabellings(groups))


if __name__ == "__main__":
    main()
