"""The table of the Wyckoff positions of all space groups, read from one small file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atomsym.core.errors import InputError

FILE = Path(__file__).with_name("positions.npz")
"""Made by ``python -m atomsym.workflows.wyckoff_table``."""

N_GROUPS = 230
N_POSITIONS = 1731
DENOMINATOR = 24
"""All translations and special coordinates are multiples of 1/24."""

LETTERS = "abcdefghijklmnopqrstuvwxyzA"


@dataclass(frozen=True, eq=False)
class WyckoffPosition:
    """A Wyckoff position in the standard setting of its group: unique axis b, hexagonal axes, origin choice 2.

    Attributes:
        space_group: number, 1 to 230.
        letter: ``a`` to ``z``, then ``A``.
        multiplicity: atoms of an orbit in the conventional cell.
        site_symmetry: oriented symbol, such as ``-4m.2``.
        degrees_of_freedom: free coordinates of an orbit, 0 to 3.
        matrices: from free parameters to the coordinates of all atoms, shape (multiplicity, 3, 3), int64.
        translations: added to them, fractions of the cell, shape (multiplicity, 3), float64.
    """

    space_group: int
    letter: str
    multiplicity: int
    site_symmetry: str
    degrees_of_freedom: int
    matrices: NDArray[np.int64] = field(repr=False)
    translations: NDArray[np.float64] = field(repr=False)

    @property
    def is_point(self) -> bool:
        """Whether it has no free coordinate, so that one orbit at most can occupy it."""
        return self.degrees_of_freedom == 0

    def coordinates(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        """Fractional coordinates of the atoms of orbits, in [0, 1).

        Args:
            parameters: x, y, z, of which those that the position does not have are ignored, shape (…, 3).

        Returns:
            Shape (…, multiplicity, 3).

        Example:
            >>> wyckoff_position(225, "c").coordinates(np.zeros(3))[0].tolist()
            [0.25, 0.25, 0.25]
        """
        return np.asarray((np.einsum("mij,...j->...mi", self.matrices, parameters) + self.translations) % 1.0)


def wyckoff_positions(space_group: int) -> tuple[WyckoffPosition, ...]:
    """All positions of a space group, by letter; the general one is the last.

    Raises:
        InputError: if the number is not 1 to 230.

    Example:
        >>> [p.letter + str(p.multiplicity) for p in wyckoff_positions(225)][:4]
        ['a4', 'b4', 'c8', 'd24']
    """
    if type(space_group) is not int or not 1 <= space_group <= N_GROUPS:
        raise InputError(f"there is no space group {space_group}; they are 1 to {N_GROUPS}")
    return _table()[space_group]


def wyckoff_position(space_group: int, letter: str) -> WyckoffPosition:
    """One position.

    Raises:
        InputError: if there is no such group or letter.
    """
    positions = wyckoff_positions(space_group)
    place = LETTERS.find(letter) if len(letter) == 1 else -1
    if not 0 <= place < len(positions):
        last = positions[-1].letter
        raise InputError(f"space group {space_group} has no Wyckoff position '{letter}'; its letters are a to {last}")
    return positions[place]


@cache
def _table() -> dict[int, tuple[WyckoffPosition, ...]]:
    with np.load(FILE) as stored:
        counts, symbols, sites, sizes = (stored[name] for name in ("counts", "symbols", "sites", "multiplicities"))
        maps = stored["maps"]
    groups: dict[int, tuple[WyckoffPosition, ...]] = {}
    place = row = 0
    for group in range(1, N_GROUPS + 1):
        positions = []
        for letter in LETTERS[: counts[group - 1]]:
            own = maps[row : row + sizes[place]]
            matrices = own[:, :, :3].astype(np.int64)
            positions.append(
                WyckoffPosition(
                    group, letter, int(sizes[place]), str(symbols[sites[place]]),
                    int(np.linalg.matrix_rank(matrices[0])), matrices, own[:, :, 3] / DENOMINATOR,
                )
            )  # fmt: skip
            row += sizes[place]
            place += 1
        groups[group] = tuple(positions)
    return groups


def pack_table(groups: Sequence[Sequence[tuple[str, NDArray[np.int8]]]]) -> bytes:
    """The file's content: for each group its positions by letter, each with site symmetry and orbit.

    Args:
        groups: (site symmetry, maps of shape (multiplicity, 3, 4) with translations in 1/24) of each position.
    """
    positions = [position for group in groups for position in group]
    symbols = sorted({symbol for symbol, _ in positions})
    file = io.BytesIO()
    np.savez_compressed(
        file,
        counts=np.array([len(group) for group in groups], dtype=np.uint8),
        symbols=np.array(symbols),
        sites=np.array([symbols.index(symbol) for symbol, _ in positions], dtype=np.uint8),
        multiplicities=np.array([len(maps) for _, maps in positions], dtype=np.int16),
        maps=np.concatenate([maps for _, maps in positions]).astype(np.int8),
    )
    return file.getvalue()
