"""Generated crystals from tables, folders and structure files; what cannot be read is kept as an invalid crystal."""

from __future__ import annotations

import csv
import gzip
import json
import math
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms

from atomsym.core import DataError, InputError
from atomsym.core.elements import atomic_number_of
from atomsym.datasets.crystals import KNOWN_CRYSTALS, CrystalRecord, parse_cif, read_crystals

TEXT_COLUMNS = ("structure", "cif", "relaxed_cif")
"""Of tables: the first of them that is there holds the crystals, as CIF or as the JSON of a pymatgen Structure."""

_IDENTIFIERS = ("material_id", "mp_id", "id", "identifier")
_RUN_FILE = "crystals.extxyz"  # of a run of atomsym generate, which has a CIF file of each crystal besides
_STRUCTURE_FILES = ("*.cif", "*.extxyz", "*.xyz", "*.vasp")


def read_generated(source: str) -> list[CrystalRecord]:
    """All crystals of a source, in its order.

    Args:
        source: a name of ``KNOWN_CRYSTALS``; a .csv or .csv.gz table; a folder of CIF or extended XYZ files, such as a
            run of ``atomsym generate``; or a file that ASE reads.

    Returns:
        Crystals; those that cannot be read have no atoms, so that they count as invalid.

    Raises:
        DataError: if there is no such source, nothing in it can be read or it is empty.
    """
    require_source(source)
    path = Path(source)
    if not path.exists():
        return read_crystals(source)
    if path.is_dir():
        records = list(_of_folder(path))
    else:
        table = path.name.endswith((".csv", ".csv.gz"))
        records = list(_of_table(path) if table else _of_structure_file(path))
    if not any(len(record.numbers) for record in records):
        raise DataError(f"{source}: no crystal can be read from it")
    return records


def require_source(source: str) -> None:
    """Check that there is such a source of crystals, before any is read.

    Raises:
        DataError: if it is neither a file, a folder nor one of ``KNOWN_CRYSTALS``.
    """
    path = Path(source)
    if not (path.is_dir() or path.is_file() or (source in KNOWN_CRYSTALS and not path.exists())):
        raise DataError(f"{source} is neither a file, a folder nor a known set; known are {', '.join(KNOWN_CRYSTALS)}")


def unreadable(identifier: str) -> CrystalRecord:
    """What stands for a crystal that cannot be read."""
    return CrystalRecord(identifier, np.zeros((3, 3)), np.zeros((0, 3)), np.zeros(0, dtype=np.int64))


def _of_folder(folder: Path) -> Iterator[CrystalRecord]:
    run = folder / _RUN_FILE
    files = [run] if run.is_file() else sorted(path for pattern in _STRUCTURE_FILES for path in folder.rglob(pattern))
    if not files:
        raise DataError(f"{folder} holds no structure files ({', '.join(_STRUCTURE_FILES)})")
    for path in files:
        try:
            found = list(_of_structure_file(path))
        except DataError:
            yield unreadable(path.stem)
            continue
        for number, record in enumerate(found):
            name = path.stem if len(found) == 1 else f"{path.stem}:{number}"
            yield CrystalRecord(name, record.cell, record.fractional_positions, record.numbers, record.properties)


def _of_structure_file(path: Path) -> Iterator[CrystalRecord]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if path.suffix == ".cif":
                cell, places, numbers = parse_cif(path.read_text(errors="replace"))
                frames = [Atoms(numbers, scaled_positions=places, cell=cell, pbc=True)]
            else:
                frames = ase.io.read(path, index=":")
    except Exception as error:  # ASE's readers fail in their own ways
        raise DataError(f"{path}: ASE cannot read structures from it ({error or type(error).__name__})") from error
    for number, atoms in enumerate(frames):
        yield _of_atoms(str(next((atoms.info[name] for name in _IDENTIFIERS if name in atoms.info), number)), atoms)


def _of_atoms(identifier: str, atoms: Atoms) -> CrystalRecord:
    if abs(np.linalg.det(atoms.cell)) < 1e-9 or not np.isfinite(atoms.positions).all():
        return unreadable(identifier)
    properties = {name: float(value) for name, value in atoms.info.items() if _is_number(value)}
    if atoms.calc is not None and _is_number(atoms.calc.results.get("energy")):
        properties.setdefault("energy", float(atoms.calc.results["energy"]))
    places = atoms.get_scaled_positions(wrap=False)
    return CrystalRecord(identifier, np.array(atoms.cell), places, atoms.numbers.astype(np.int64), properties)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.floating | np.integer) and math.isfinite(value)


def _of_table(path: Path) -> Iterator[CrystalRecord]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as stream:
            rows = csv.DictReader(stream)
            names = rows.fieldnames or ()
            column = next((name for name in TEXT_COLUMNS if name in names), None)
            if column is None:
                raise DataError(f"{path}: no column {', '.join(TEXT_COLUMNS)}; found {', '.join(names) or 'none'}")
            for line, row in enumerate(rows, start=1):
                identifier = next((row[name] for name in _IDENTIFIERS if row.get(name)), str(line))
                yield _of_text(identifier, row.pop(column) or "", _numbers(row))
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def _numbers(row: dict[str, Any]) -> dict[str, float]:
    found = {}
    for name, value in row.items():
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = {"True": 1.0, "False": 0.0}.get(value, math.nan) if isinstance(value, str) else math.nan
        if math.isfinite(number):
            found[str(name)] = number
    return found


def _of_text(identifier: str, text: str, properties: dict[str, float]) -> CrystalRecord:
    try:
        cell, places, numbers = _of_json(text) if text.lstrip().startswith("{") else parse_cif(text)
    except (DataError, InputError, ValueError, KeyError, IndexError, TypeError):
        return unreadable(identifier)
    return CrystalRecord(identifier, cell, places, numbers, properties)


def _of_json(text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A pymatgen Structure; only ordered ones are crystals here."""
    data = json.loads(text)
    numbers = []
    for site in data["sites"]:
        (species,) = site["species"]
        if species.get("occu", 1) != 1:
            raise InputError("a site is partly occupied")
        numbers.append(atomic_number_of(species["element"]))
    cell = np.array(data["lattice"]["matrix"], dtype=np.float64)
    places = np.array([site["abc"] for site in data["sites"]], dtype=np.float64).reshape(-1, 3)
    return cell, places, np.array(numbers, dtype=np.int64)
