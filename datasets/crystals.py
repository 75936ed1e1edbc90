"""Crystals from tables with a CIF text in each row, as the sets of crystal generation come."""

from __future__ import annotations

import csv
import gzip
import io
import math
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase.geometry import cellpar_to_cell
from numpy.typing import NDArray

from atomsym.core import ConfigError, DataError, InputError
from atomsym.core.elements import atomic_number_of

FOLDER_VARIABLE = "ATOMSYM_DATA"
CIF_COLUMNS = ("cif", "structure", "relaxed_cif")
IDENTIFIER_COLUMNS = ("material_id", "mp_id", "id", "identifier", "")

_LEAST_VOLUME = 1e-6  # Å³

KNOWN_CRYSTALS: dict[str, str] = {
    name: f"crystals/{name}.csv"
    for name in (
        "mp_20_biternary_val", "mp_20_biternary_test", "mp_20_slices_mini", "mpts_52_val", "perov_5_val",
        "carbon_24_val",
    )
}  # fmt: skip
"""Files of known sets below the data folder, plain or gzipped."""


@dataclass(frozen=True, eq=False)
class CrystalRecord:
    """A crystal of a table.

    Attributes:
        identifier: of the row.
        cell: vectors in rows, Å, shape (3, 3).
        fractional_positions: shape (n_atoms, 3).
        numbers: atomic numbers, shape (n_atoms,).
        properties: the columns of the row that hold numbers.
    """

    identifier: str
    cell: NDArray[np.float64]
    fractional_positions: NDArray[np.float64]
    numbers: NDArray[np.int64]
    properties: dict[str, float] = field(default_factory=dict)


def read_crystals(
    source: str | os.PathLike[str], *, folder: str | os.PathLike[str] | None = None
) -> list[CrystalRecord]:
    """All crystals of a table.

    Args:
        source: a .csv or .csv.gz file with a column of CIF texts, or a name of ``KNOWN_CRYSTALS``.
        folder: the data folder; default: the environment variable ``ATOMSYM_DATA``.

    Raises:
        ConfigError: if the name is known, but no data folder is given.
        DataError: if the file is missing or damaged, or a row cannot be read; naming the row.
    """
    return list(iterate_crystals(source, folder=folder))


def iterate_crystals(
    source: str | os.PathLike[str], *, folder: str | os.PathLike[str] | None = None
) -> Iterator[CrystalRecord]:
    """The crystals of a table, one after the other; arguments and errors as ``read_crystals``."""
    path = _path(source, folder)
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as stream:
            rows = csv.DictReader(stream)
            column = _column(rows.fieldnames or (), path)
            for line, row in enumerate(rows, start=1):
                try:
                    cell, places, numbers = parse_cif(row[column] or "")
                except (InputError, DataError) as error:
                    raise DataError(f"{path}, row {line}: {error}") from error
                yield CrystalRecord(_identifier(row, line), cell, places, numbers, _numbers(row, column))
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def crystal_file(source: str | os.PathLike[str], *, folder: str | os.PathLike[str] | None = None) -> Path:
    """The file of a table; arguments and errors as ``read_crystals``."""
    return _path(source, folder)


def parse_cif(text: str) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Cell, fractional positions and atomic numbers of a CIF text.

    A list of all atoms without symmetry (P 1) is read here, several times faster; anything else is left to ASE.

    Raises:
        DataError: if it holds no crystal.
    """
    plain = _parse_plain(text)
    cell, places, numbers = plain if plain is not None else _parse_with_ase(text)
    if not (np.isfinite(cell).all() and np.isfinite(places).all()) or abs(np.linalg.det(cell)) < _LEAST_VOLUME:
        raise DataError("a CIF text with a cell without volume, or with coordinates that are not finite")
    if not len(numbers) or numbers.min() < 1:
        raise DataError("a CIF text without atoms, or with one that is no element")
    return cell, places, numbers


def _path(source: str | os.PathLike[str], folder: str | os.PathLike[str] | None) -> Path:
    name = os.fspath(source)
    if name not in KNOWN_CRYSTALS:
        path = Path(name)
        if not path.is_file():
            raise DataError(f"{path} is no file; known sets are {', '.join(KNOWN_CRYSTALS)}")
        return path
    root = folder if folder is not None else os.environ.get(FOLDER_VARIABLE)
    if not root:
        raise ConfigError(f"set the environment variable {FOLDER_VARIABLE} to the folder that holds crystals/")
    for ending in (".gz", ""):
        path = Path(root) / (KNOWN_CRYSTALS[name] + ending)
        if path.is_file():
            return path
    raise DataError(f"{Path(root) / KNOWN_CRYSTALS[name]} (or .gz) is not there")


def _column(names: object, path: Path) -> str:
    listed = list(names) if isinstance(names, (list, tuple)) else []
    for column in CIF_COLUMNS:
        if column in listed:
            return column
    raise DataError(f"{path}: no column of CIF texts; expected one of {', '.join(CIF_COLUMNS)}, found {listed}")


def _identifier(row: dict[str, str], line: int) -> str:
    return next((row[name] for name in IDENTIFIER_COLUMNS if row.get(name)), str(line))


def _numbers(row: dict[str, str], cif: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in row.items():
        if name and name != cif and isinstance(value, str):
            try:
                found[name] = float(value)
            except ValueError:
                continue
    return {name: value for name, value in found.items() if math.isfinite(value)}


_CELL = re.compile(r"^_cell_(length_[abc]|angle_(?:alpha|beta|gamma))\s+([-+.\dEe]+)(?:\(\d+\))?\s*$", re.MULTILINE)
_GROUP = re.compile(
    r"^_(?:symmetry_space_group_name_H-M|space_group_name_H-M_alt)\s+['\"]?P\s*1['\"]?\s*$", re.MULTILINE
)
_ATOMS = re.compile(
    r"^loop_\s*\n((?:\s*_atom_site_\w+\s*\n)+)((?:(?!\s*(?:loop_|_|#|data_))[^\n]+(?:\n|$))+)", re.MULTILINE
)
_ORDER = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")


def _parse_plain(
    text: str,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]] | None:
    cell, atoms = dict(_CELL.findall(text)), _ATOMS.search(text)
    if len(cell) != 6 or atoms is None or not _GROUP.search(text):
        return None
    names = [line.strip().removeprefix("_atom_site_") for line in atoms[1].splitlines() if line.strip()]
    rows = [line.split() for line in atoms[2].splitlines() if line.strip()]
    wanted = ("type_symbol", "fract_x", "fract_y", "fract_z")
    if any(name not in names for name in wanted) or any(len(row) != len(names) for row in rows):
        return None
    kind, *axes = (names.index(name) for name in wanted)
    try:
        if "occupancy" in names and any(float(row[names.index("occupancy")]) != 1 for row in rows):
            return None
        numbers = [atomic_number_of(re.sub(r"[\d+-]+$", "", row[kind])) for row in rows]
        places = np.array([[float(row[axis]) for axis in axes] for row in rows])
        parameters = [float(cell[name]) for name in _ORDER]
    except (ValueError, InputError):
        return None
    try:
        with np.errstate(all="ignore"):
            basis = np.asarray(cellpar_to_cell(parameters), dtype=np.float64)
    except (ValueError, ArithmeticError, AssertionError):  # angles that no three vectors have
        return None
    return basis, places, np.array(numbers, dtype=np.int64)


def _parse_with_ase(text: str) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    import warnings

    from ase.io.cif import parse_cif as blocks_of

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for block in blocks_of(io.BytesIO(text.encode())):
                if block.has_structure():
                    atoms = block.get_atoms()
                    return np.array(atoms.cell), atoms.get_scaled_positions(), atoms.numbers.astype(np.int64)
    except Exception as error:
        raise DataError(f"not a CIF text that can be read ({type(error).__name__}: {error})") from error
    raise DataError("a CIF text without a crystal")
