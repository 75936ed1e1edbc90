"""Arrays in npz files, as rMD17 and sGDML publish them: one molecule or padded structures, many geometries."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from atomsym.core import DataError
from atomsym.datasets.frame import Frame, make_frame
from atomsym.datasets.ragged_npz import is_ragged, ragged_frames
from atomsym.datasets.units import LabelUnits

_NUMBERS = ("nuclear_charges", "z", "numbers", "atomic_numbers", "species", "Z")
_POSITIONS = ("coords", "R", "positions", "coordinates", "pos")
_CELL, _PBC = ("cell", "lattice"), ("pbc",)
_RENAMED = {"E": "energy", "F": "forces", "energies": "energy"}
_KCAL = LabelUnits(energy="kcal/mol", length="Å")
_EXPANSION, _SLACK = 200, 1 << 26  # bytes that a file may unpack to: times its size, plus this


def read_npz(path: Path) -> tuple[list[Frame], LabelUnits | None]:
    """Frames of an npz file, and its units where its key names tell them.

    Recognised are rMD17 (``nuclear_charges, coords, energies, forces``: kcal/mol and Å) and sGDML files that state
    ``e_unit`` and ``r_unit``. Numbers may be shared, shape (n_atoms,), or given for each structure, shape
    (n_structures, n_atoms), padded with zeros; or all atoms stand in one list, see ``ragged_npz``.

    Raises:
        DataError: if the file is damaged, holds pickled objects, or its arrays do not fit together.
    """
    arrays = _load(path)
    numbers_key = next((key for key in _NUMBERS if key in arrays), None)
    positions_key = next((key for key in _POSITIONS if key in arrays), None)
    if numbers_key is None or positions_key is None:
        raise DataError(
            f"{path}: no atomic numbers ({', '.join(_NUMBERS)}) or no positions ({', '.join(_POSITIONS)}); "
            f"found arrays: {', '.join(f'{key} {arrays[key].shape}' for key in arrays) or 'none'}"
        )
    units = _units(arrays, numbers_key, positions_key)
    if is_ragged(arrays, positions_key):
        return list(ragged_frames(path, arrays, numbers_key, positions_key)), units
    return list(_frames(path, arrays, numbers_key, positions_key)), units


def _load(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [item for item in archive.infolist() if item.filename.endswith(".npy")]
            size, limit = sum(item.file_size for item in members), path.stat().st_size * _EXPANSION + _SLACK
            if size > limit:
                raise DataError(f"{path}: would unpack to {size} bytes; more than {limit} is taken for damage")
            return {item.filename.removesuffix(".npy"): _array(archive, item, path) for item in members}
    except DataError:
        raise
    except Exception as error:  # zipfile and numpy raise a dozen kinds for damaged files
        raise DataError(f"{path}: not a readable npz file: {type(error).__name__}: {error}") from error


def _array(archive: zipfile.ZipFile, item: zipfile.ZipInfo, path: Path) -> NDArray[Any]:
    with archive.open(item) as file:
        version = npy_format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise DataError(f"{path}: array '{item.filename}' has format version {version}")
        read_header = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
        shape, fortran, dtype = read_header(file)
        if dtype.hasobject:
            raise DataError(f"{path}: array '{item.filename}' holds pickled objects, which are never loaded")
        count = 1
        for length in shape:
            count *= int(length)
        if any(length < 0 for length in shape) or count * dtype.itemsize > item.file_size:
            raise DataError(f"{path}: array '{item.filename}' claims shape {shape}, more than the file holds")
        content = file.read(count * dtype.itemsize)
        array = np.frombuffer(content, dtype=dtype, count=count)
        return array.reshape(shape, order="F" if fortran else "C")


def _units(arrays: dict[str, NDArray[Any]], numbers_key: str, positions_key: str) -> LabelUnits | None:
    if (numbers_key, positions_key) == ("nuclear_charges", "coords") and "energies" in arrays:
        return _KCAL
    stated = [arrays[key].item() if key in arrays and arrays[key].size == 1 else None for key in ("e_unit", "r_unit")]
    energy, length = (value.decode() if isinstance(value, bytes) else value for value in stated)
    if isinstance(energy, str) and isinstance(length, str):
        return LabelUnits(energy=energy, length=length)
    return None


def _frames(path: Path, arrays: dict[str, NDArray[Any]], numbers_key: str, positions_key: str) -> Iterator[Frame]:
    numbers, positions = arrays[numbers_key], arrays[positions_key]
    if positions.ndim != 3 or positions.shape[2] != 3 or positions.dtype.kind not in "fiu":
        raise DataError(
            f"{path}: '{positions_key}' is {positions.dtype} {positions.shape}; (structures, atoms, 3) is needed"
        )
    n_frames, n_atoms = positions.shape[:2]
    if numbers.dtype.kind not in "iu" or numbers.shape not in ((n_atoms,), (n_frames, n_atoms)):
        raise DataError(
            f"{path}: '{numbers_key}' is {numbers.dtype} {numbers.shape}; integers of shape ({n_atoms},) or "
            f"{(n_frames, n_atoms)} are needed"
        )
    cell, pbc = (next((arrays[key] for key in keys if key in arrays), None) for keys in (_CELL, _PBC))
    atoms_keys = (numbers_key, positions_key, *_CELL, *_PBC)
    per_frame = {
        key if _RENAMED.get(key, key) in arrays else _RENAMED[key]: values
        for key, values in arrays.items()
        if values.ndim >= 1 and len(values) == n_frames and key not in atoms_keys
    }
    for frame in range(n_frames):
        kinds = numbers if numbers.ndim == 1 else numbers[frame]
        real = kinds != 0 if numbers.ndim == 2 else np.ones(n_atoms, dtype=bool)
        per_atom = {key for key, values in per_frame.items() if values.ndim == 3 and values.shape[1:] == (n_atoms, 3)}
        box = None if cell is None else (cell[frame] if cell.ndim == 3 and len(cell) == n_frames else cell)
        periodic = pbc if pbc is None or pbc.ndim < 2 else pbc[frame]
        where = f"{path}, frame {frame}"
        try:
            yield make_frame(
                kinds[real],
                positions[frame][real],
                box,
                periodic if periodic is not None else (None if box is None else True),
                {key: values[frame] for key, values in per_frame.items() if key not in per_atom},
                {key: per_frame[key][frame][real] for key in per_atom},
                f"{path.name}:{frame}",
                where,
            )
        except (ValueError, TypeError, IndexError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{where}: arrays do not fit together: {error}") from error
