"""What a file says of one structure before its labels are chosen, and the checks that every reader shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from atomsym.core import DataError
from atomsym.core.elements import MAX_ATOMIC_NUMBER

FloatArray = NDArray[np.float64]

MAX_COORDINATE = 1e8
"""Å; coordinates beyond this (a centimetre) come from damage, and their squares would lose all digits."""


@dataclass(frozen=True)
class Frame:
    """One structure of a file: atoms in the file's unit of length, and everything else under the file's names.

    Attributes:
        numbers: atomic numbers, shape (n_atoms,), int64.
        positions: shape (n_atoms, 3).
        cell: lattice vectors in rows, shape (3, 3).
        pbc: shape (3,), bool.
        info: values of the whole structure by key: text, numbers or arrays.
        arrays: values per atom by key, shape (n_atoms, ...), text or numbers.
        source: ``file:frame`` for messages and for ``LabelledStructure.source``.
        where: the same with the line where that is known.
    """

    numbers: NDArray[np.int64]
    positions: FloatArray
    cell: FloatArray
    pbc: NDArray[np.bool_]
    info: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    where: str = ""

    @property
    def n_atoms(self) -> int:
        return len(self.numbers)


def make_frame(
    numbers: ArrayLike,
    positions: ArrayLike,
    cell: ArrayLike | None,
    pbc: ArrayLike | None,
    info: Mapping[str, Any],
    arrays: Mapping[str, Any],
    source: str,
    where: str,
) -> Frame:
    """A frame whose atoms are sound: shapes, elements, finite coordinates, lattice vectors where periodic.

    Raises:
        DataError: naming ``where`` and the atom.
    """
    sites = np.ascontiguousarray(positions, dtype=np.float64)
    kinds = np.ascontiguousarray(numbers)
    box = np.zeros((3, 3)) if cell is None else np.array(cell, dtype=np.float64)
    periodic = np.zeros(3, dtype=bool) if pbc is None else np.array(np.broadcast_to(np.asarray(pbc, dtype=bool), 3))
    if len(kinds) == 0:
        raise DataError(f"{where}: there are no atoms")
    if kinds.ndim != 1 or kinds.dtype.kind not in "iu" or sites.shape != (len(kinds), 3) or box.shape != (3, 3):
        raise DataError(
            f"{where}: numbers {kinds.dtype} {kinds.shape}, positions {sites.shape} and cell {box.shape} do not fit; "
            "needed are integers (n,), (n, 3) and (3, 3)"
        )
    known = (kinds >= 1) & (kinds <= MAX_ATOMIC_NUMBER)
    if not known.all():
        atom = int(np.argmin(known))
        raise DataError(f"{where}: atoms[{atom}] has atomic number {kinds[atom]}; allowed are 1 to {MAX_ATOMIC_NUMBER}")
    for name, values in (("position of atoms", sites), ("lattice vector ", box)):
        usable = np.abs(values) <= MAX_COORDINATE  # False for NaN
        if not usable.all():
            row, axis = (int(index) for index in np.argwhere(~usable)[0])
            raise DataError(
                f"{where}: {name}[{row}] has {'xyz'[axis]} = {values[row, axis]}; coordinates must be finite numbers "
                f"below {MAX_COORDINATE:g} Å"
            )
    missing = periodic & ~box.any(axis=1)
    if missing.any():
        axis = int(missing.argmax())
        raise DataError(f"{where}: pbc[{axis}] is True but cell[{axis}] is a zero vector")
    return Frame(kinds.astype(np.int64), sites, box, periodic, info, arrays, source, where)


def numbers_in(value: Any, what: str, where: str) -> FloatArray:
    """The numbers of a label, whatever form the file has them in: number, array, list, or text with brackets.

    Raises:
        DataError: if there is something that is not a number.
    """
    if isinstance(value, str):
        text = value.removeprefix("_JSON")
        for bracket in "[]{}(),":
            text = text.replace(bracket, " ")
        value = text.split()
    try:
        if isinstance(value, list) and value and isinstance(value[0], str):
            return np.array([float(word) for word in value])
        array = np.asarray(value)
        if array.dtype.kind not in "fiu":
            raise ValueError(array.dtype)
        return array.astype(np.float64)
    except (ValueError, TypeError, OverflowError):
        raise DataError(f"{where}: {what} is {_short(value)}; a number is needed") from None


def is_pickle(start: bytes) -> bool:
    """Whether the first bytes (eight or more) are those of a pickle or of a zip archive of pickles, as torch writes.

    The length field with which a safetensors record begins may have the same first two bytes; its others are zero.
    """
    protocol = start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")
    return start[:4] == b"PK\x03\x04" or (protocol and start[2:8] != bytes(6))


def _short(value: Any) -> str:
    text = " ".join(value) if isinstance(value, list) and all(isinstance(v, str) for v in value) else str(value)
    return repr(text if len(text) <= 60 else text[:57] + "...")
