"""Crystals after their symmetry has been found, kept in a small file so that it is found once."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from atomsym.artifacts import write_atomically
from atomsym.core import DataError
from atomsym.symmetry.wyckoff import Protostructure
from atomsym.symmetry.wyckoff.table import LETTERS


@dataclass(frozen=True)
class AnalysedCrystals:
    """The crystals of a set.

    Attributes:
        identifiers: of each crystal.
        protostructures: of each crystal.
        properties: of each crystal, by name.
        failed: how many crystals of the set had no symmetry that could be found.
    """

    identifiers: tuple[str, ...]
    protostructures: tuple[Protostructure, ...]
    properties: tuple[Mapping[str, float], ...]
    failed: int = 0

    def __len__(self) -> int:
        return len(self.protostructures)

    def select(self, rows: Sequence[int]) -> AnalysedCrystals:
        """Some of the crystals."""
        return AnalysedCrystals(
            tuple(self.identifiers[row] for row in rows),
            tuple(self.protostructures[row] for row in rows),
            tuple(self.properties[row] for row in rows),
            self.failed,
        )


def write_protostructures(path: Path, sets: Mapping[str, AnalysedCrystals], key: str) -> None:
    """Write sets of crystals by name.

    Args:
        path: an ``.npz`` file.
        sets: by name.
        key: says what they were made of; reading asks for the same.

    Raises:
        ArtifactError: if the file cannot be written.
    """
    arrays: dict[str, np.ndarray] = {"key": np.array(key), "names": np.array(list(sets))}
    for number, crystals in enumerate(sets.values()):
        structures = crystals.protostructures
        orbits = [orbit for each in structures for orbit in each.orbits]
        names = sorted({name for own in crystals.properties for name in own})
        values = np.array([[own.get(name, np.nan) for name in names] for own in crystals.properties], dtype=np.float64)
        arrays |= {
            f"{number}/identifiers": np.array(crystals.identifiers, dtype=np.str_),
            f"{number}/groups": np.array([each.space_group for each in structures], dtype=np.uint8),
            f"{number}/sizes": np.array([len(each.orbits) for each in structures], dtype=np.int32),
            f"{number}/elements": np.array([element for element, _ in orbits], dtype=np.uint8),
            f"{number}/letters": np.array([LETTERS.index(letter) for _, letter in orbits], dtype=np.uint8),
            f"{number}/property_names": np.array(names, dtype=np.str_),
            f"{number}/properties": values.reshape(len(structures), len(names)),
            f"{number}/failed": np.array(crystals.failed),
        }
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    write_atomically(path, content.getvalue())


def read_protostructures(path: Path, key: str) -> dict[str, AnalysedCrystals] | None:
    """Sets of crystals by name; None if there is no such file or it was made of something else.

    Raises:
        DataError: if the file is damaged.
    """
    if not path.exists():
        return None
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            arrays = dict(stored)
        if str(arrays["key"]) != key:
            return None
        names = [str(name) for name in arrays["names"]]
        return {name: _read_set(arrays, number) for number, name in enumerate(names)}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise DataError(f"{path} cannot be read: {error}; delete it, and it will be made again") from error


def _read_set(arrays: Mapping[str, np.ndarray], number: int) -> AnalysedCrystals:
    names = ("identifiers", "groups", "sizes", "elements", "letters", "property_names", "properties", "failed")
    part = {name: arrays[f"{number}/{name}"].tolist() for name in names}
    structures, start = [], 0
    for group, size in zip(part["groups"], part["sizes"], strict=True):
        own = zip(part["elements"][start : start + size], part["letters"][start : start + size], strict=True)
        structures.append(Protostructure(group, tuple((element, LETTERS[letter]) for element, letter in own)))
        start += size
    properties = [
        {name: value for name, value in zip(part["property_names"], row, strict=True) if value == value}
        for row in part["properties"]
    ]
    return AnalysedCrystals(tuple(part["identifiers"]), tuple(structures), tuple(properties), int(part["failed"]))
