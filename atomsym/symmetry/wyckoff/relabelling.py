"""Which protostructures describe the same crystals: other choices of origin and axes give positions other letters.

A map x → W x + w of coordinates that takes a space group to itself (an element of its affine normalizer) permutes its
Wyckoff positions. All such permutations, of proper and improper maps, are kept in one small file. Mirror images count
as the same; the two groups of an enantiomorphic pair do not.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atomsym.symmetry.wyckoff.protostructure import Protostructure
from atomsym.symmetry.wyckoff.table import LETTERS, N_GROUPS, wyckoff_positions

FILE = Path(__file__).with_name("relabellings.npz")
"""Made by ``python -m atomsym.workflows.wyckoff_relabellings``."""

Template = tuple[int, tuple[str, ...]]
"""A space group and the letters that each of the elements occupies, without saying which element."""


def relabellings(space_group: int) -> NDArray[np.uint8]:
    """The permutations of the positions of a group that other choices of origin and axes bring about.

    Args:
        space_group: number, 1 to 230.

    Returns:
        Shape (n, n_positions): the new place of each position in the table; the first row is the identity.

    Raises:
        InputError: if there is no such group.

    Example:
        >>> relabellings(225)[:, :4].tolist()
        [[0, 1, 2, 3], [1, 0, 2, 3]]
    """
    wyckoff_positions(space_group)
    return _table()[space_group].copy()


def relabelled(protostructure: Protostructure) -> list[Protostructure]:
    """All protostructures that describe the same crystals, each once, in increasing order."""
    places = [LETTERS.index(letter) for letter in protostructure.letters]
    rows = np.unique(_table()[protostructure.space_group][:, places], axis=0)
    group, elements = protostructure.space_group, protostructure.elements
    return sorted({Protostructure.from_indices(group, elements, row.tolist()) for row in rows})


def canonical(protostructure: Protostructure) -> Protostructure:
    """The first of all protostructures that describe the same crystals: equal for two of them exactly if they do.

    Example:
        >>> str(canonical(Protostructure(225, ((11, "b"), (17, "a")))))
        '225: Na a, Cl b'
    """
    best = min(_keys(protostructure), key=lambda key: key)
    return Protostructure(protostructure.space_group, tuple((z, LETTERS[place]) for place, z in best))


def template(protostructure: Protostructure) -> Template:
    """The same for any other choice of elements as well: the prototype of the crystal.

    Example:
        >>> template(Protostructure(225, ((11, "b"), (17, "a")))) == template(Protostructure(225, ((3, "a"), (9, "b"))))
        True
    """
    elements = protostructure.elements
    found = []
    for key in _rows(protostructure):
        letters: dict[int, list[int]] = {}
        for place, z in zip(key, elements, strict=True):
            letters.setdefault(z, []).append(place)
        found.append(tuple(sorted(tuple(sorted(own)) for own in letters.values())))
    return protostructure.space_group, tuple("".join(LETTERS[place] for place in own) for own in min(found))


def _rows(protostructure: Protostructure) -> list[list[int]]:
    places = [LETTERS.index(letter) for letter in protostructure.letters]
    rows: list[list[int]] = np.unique(_table()[protostructure.space_group][:, places], axis=0).tolist()
    return rows


def _keys(protostructure: Protostructure) -> list[list[tuple[int, int]]]:
    elements = protostructure.elements
    return [sorted(zip(row, elements, strict=True)) for row in _rows(protostructure)]


@cache
def _table() -> dict[int, NDArray[np.uint8]]:
    with np.load(FILE) as stored:
        counts, rows = stored["counts"], stored["rows"]
    found, start = {}, 0
    for group in range(1, N_GROUPS + 1):
        size = len(wyckoff_positions(group))
        end = start + int(counts[group - 1]) * size
        found[group] = rows[start:end].reshape(-1, size)
        start = end
    return found


def pack_relabellings(groups: Sequence[NDArray[np.uint8]]) -> bytes:
    """The file's content: the permutations of each group."""
    file = io.BytesIO()
    rows = np.concatenate([own.ravel() for own in groups])
    np.savez_compressed(file, counts=np.array([len(own) for own in groups], dtype=np.uint16), rows=rows)
    return file.getvalue()
