"""Structures to label, one at a time, from any file that ASE reads."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Real
from pathlib import Path

import numpy as np
from ase import Atoms

from atomsym.core import DataError, InputError, LabelledStructure
from atomsym.datasets import open_lmdb

_GROUPS = ("config_type", "group")
_NEUTRAL = {"charge": (0,), "total_charge": (0,), "spin": (0, 1), "multiplicity": (1,)}


def structures_of(path: Path) -> Iterator[tuple[LabelledStructure, str]]:
    """The structures of a file without their labels.

    Yields:
        A structure, with the group that the file gives it and ``file:frame`` as its source; and why it is not
        labelled, "" if it is.

    Raises:
        InputError: if the file cannot be read.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist or is no file; name a file of structures")
    if path.name.lower().endswith(".lmdb"):
        for structure in open_lmdb(path):
            yield _bare(structure), ""
        return
    yield from _of_ase(path)


def _bare(structure: LabelledStructure) -> LabelledStructure:
    return LabelledStructure(
        structure.numbers, structure.positions, structure.cell, structure.pbc,
        group=structure.group, source=structure.source,
    )  # fmt: skip


def _of_ase(path: Path) -> Iterator[tuple[LabelledStructure, str]]:
    from ase.io import iread

    index = 0
    try:
        for atoms in iread(str(path), index=":"):
            yield _structure(atoms, f"{path.name}:{index}"), _obstacle(atoms)
            index += 1
    except (InputError, DataError):
        raise
    except Exception as error:  # a hundred readers, each with errors of its own
        reason = str(error) or type(error).__name__
        raise InputError(f"{path}, frame {index}: ASE cannot read it ({reason})") from error


def _structure(atoms: Atoms, source: str) -> LabelledStructure:
    group = next((str(atoms.info[key]) for key in _GROUPS if key in atoms.info), "")
    return LabelledStructure(
        numbers=np.asarray(atoms.numbers, dtype=np.int64),
        positions=np.asarray(atoms.positions, dtype=np.float64),
        cell=np.asarray(atoms.cell, dtype=np.float64),
        pbc=np.asarray(atoms.pbc, dtype=bool),
        group=group,
        source=source,
    )


def _obstacle(atoms: Atoms) -> str:
    """Why this structure is not labelled: data sets have no place for a charge or a spin."""
    for key, neutral in _NEUTRAL.items():
        value = atoms.info.get(key)
        if isinstance(value, Real) and value not in neutral:
            return f"the structure has {key} = {float(value):g}; only neutral ground states are labelled"
    return "" if len(atoms) else "the structure has no atoms"
