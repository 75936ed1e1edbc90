"""Everything that ASE reads: its sqlite database, trajectories, outputs of electronic-structure programs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from atomsym.core import DataError
from atomsym.datasets.frame import Frame, is_pickle, make_frame

_NOT_LABELS = ("numbers", "positions", "tags", "momenta", "masses", "initial_magmoms", "initial_charges")


def read_ase_db(path: Path) -> Iterator[Frame]:
    """Rows of an ASE database (sqlite): labels from its calculator columns, key-value pairs and data.

    Raises:
        DataError: if it is no such database, or a row is damaged; it names the row.
    """
    _require_ase_tables(path)
    try:
        from ase.db import connect

        for index, row in enumerate(connect(path, type="db", use_lock_file=False).select()):
            atoms = row.toatoms()
            atoms.info.update({**row.key_value_pairs, **{k: v for k, v in row.data.items() if not isinstance(v, dict)}})
            yield frame_of_atoms(atoms, f"{path.name}:{index}", f"{path}, row {row.id}")
    except DataError:
        raise
    except Exception as error:  # sqlite, json, numpy and ASE itself raise many kinds for damaged rows
        raise DataError(f"{path}: not a readable ASE database: {type(error).__name__}: {error}") from error


def _require_ase_tables(path: Path) -> None:
    """Look before ASE opens it, which would create what is missing."""
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")}
        finally:
            connection.close()
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not an sqlite database: {error}") from error
    if not {"systems", "information"} <= tables:
        raise DataError(f"{path}: not an ASE database; its tables are {', '.join(sorted(map(str, tables))) or 'none'}")


def read_with_ase(path: Path) -> Iterator[Frame]:
    """Frames of any other file, in the format that ASE takes it for; labels come from its stored results.

    Raises:
        DataError: if ASE does not know or cannot read the file.
    """
    _refuse_pickle(path)
    try:
        from ase.io import iread

        for index, atoms in enumerate(iread(path, index=":")):
            where = f"{path}, frame {index}"
            yield frame_of_atoms(atoms, f"{path.name}:{index}", where)
    except DataError:
        raise
    except Exception as error:  # a hundred readers, each with errors of its own
        raise DataError(f"{path}: ASE cannot read this file: {type(error).__name__}: {error}") from error


def _refuse_pickle(path: Path) -> None:
    with open(path, "rb") as file:
        start = file.read(8)
    if is_pickle(start):
        raise DataError(f"{path}: this is a pickle, which can execute code when loaded, so it is never loaded")


def frame_of_atoms(atoms: Atoms, source: str, where: str) -> Frame:
    """A frame of ASE's ``Atoms``; results of its calculator stand beside ``info`` and ``arrays``, and win."""
    results: dict[str, Any] = dict(getattr(atoms.calc, "results", {}) or {})
    n_atoms = len(atoms)
    info = dict(atoms.info)
    arrays = {key: values for key, values in atoms.arrays.items() if key not in _NOT_LABELS}
    for key, value in results.items():
        if value is None:
            continue
        per_atom = isinstance(value, np.ndarray) and value.ndim >= 1 and len(value) == n_atoms and key != "stress"
        (arrays if per_atom else info)[key] = value
    return make_frame(atoms.numbers, atoms.positions, np.asarray(atoms.cell), atoms.pbc, info, arrays, source, where)
