"""Reading and writing extended XYZ, plain or gzipped. The reader knows the line of every fault and trusts no count.

Memory follows what the file holds, not what its headers claim. Layout of a frame: a line with the number of atoms, a
line of ``key=value`` pairs (``Lattice``, ``Properties``, ``pbc`` and labels), a line for each atom.
"""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from atomsym.artifacts.atomic import write_atomically
from atomsym.core import DataError, InputError, LabelledStructure
from atomsym.core.elements import SYMBOLS, atomic_number_of
from atomsym.datasets.frame import Frame, make_frame, numbers_in

MAX_LINE = 1 << 24
"""Characters; a longer line is damage (or a compressed bomb), not a line of an xyz file."""

_WORD = re.compile(r"[^\s=]+")
_BARE = re.compile(r"\S+")
_SPACE = re.compile(r"\s*")
_QUOTED = {'"': re.compile(r'"((?:[^"\\]|\\.)*+)"', re.DOTALL), "'": re.compile(r"'([^']*+)'")}
_BRACKETS = re.compile(r"[\[\]{}]")
_TRUE, _FALSE = {"t", "true", "1", ".true."}, {"f", "false", "0", ".false."}
_DEFAULT_PROPERTIES = "species:S:1:pos:R:3"


@dataclass(frozen=True)
class Column:
    """One entry of ``Properties``: name, kind (S, R, I or L), first column and number of columns."""

    name: str
    kind: str
    start: int
    width: int


def read_extxyz(path: Path, wanted: Iterable[str] | None = None) -> Iterator[Frame]:
    """The frames of an extxyz file, one after the other.

    Args:
        path: the file; gzip is recognised by its first bytes.
        wanted: names of the per-atom columns whose values are needed, in any capitals; default: all numeric ones.

    Raises:
        DataError: naming file, frame and line.
    """
    names = None if wanted is None else {name.lower() for name in wanted}
    try:
        with _open(path) as file:
            yield from _frames(_Lines(file, path), names)
    except (OSError, EOFError, zlib.error) as error:  # gzip reports damage as any of them
        raise DataError(f"{path}: cannot be read: {error}") from error


def _open(path: Path) -> IO[bytes]:
    with open(path, "rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return cast(IO[bytes], gzip.open(path, "rb")) if zipped else open(path, "rb")


class _Lines:
    """Lines of a file as text, counted, none longer than ``MAX_LINE``."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self._file, self.path, self.number = file, path, 0

    def next(self) -> str | None:
        raw = self._file.readline(MAX_LINE + 1)
        if not raw:
            return None
        self.number += 1
        if len(raw) > MAX_LINE:
            raise DataError(f"{self.path}, line {self.number}: the line is longer than {MAX_LINE} bytes")
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{self.path}, line {self.number}: not text: {error.reason}") from None


def _frames(lines: _Lines, wanted: set[str] | None) -> Iterator[Frame]:
    frame = 0
    while (line := lines.next()) is not None:
        if not line.strip():
            _expect_only_blank_lines(lines, frame)
            return
        where = f"{lines.path}, frame {frame}, line {lines.number}"
        n_atoms = _count(line, where)
        yield _frame(lines, frame, n_atoms, wanted)
        frame += 1


def _expect_only_blank_lines(lines: _Lines, frame: int) -> None:
    while (line := lines.next()) is not None:
        if line.strip():
            raise DataError(
                f"{lines.path}, frame {frame}, line {lines.number}: text after an empty line; a frame must begin with "
                "its number of atoms, right after the last atom of the frame before"
            )


def _count(line: str, where: str) -> int:
    text = line.strip()
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        shown = text if len(text) <= 40 else text[:37] + "..."
        raise DataError(f"{where}: '{shown}' is not a number of atoms, with which a frame must begin")
    return int(text)


def _frame(lines: _Lines, frame: int, n_atoms: int, wanted: set[str] | None) -> Frame:
    first = lines.number
    where = f"{lines.path}, frame {frame}, line {first + 1}"
    comment = lines.next()
    if comment is None:
        raise DataError(f"{where}: the file ends before the comment line of this frame")
    info: dict[str, Any] = parse_comment(comment)
    columns = _columns(str(info.pop("Properties", _DEFAULT_PROPERTIES)), where)
    n_columns = columns[-1].start + columns[-1].width
    rows: list[list[str]] = []
    for atom in range(n_atoms):
        line = lines.next()
        if line is None:
            raise DataError(
                f"{lines.path}, frame {frame}, line {first}: the header says {n_atoms} atoms, but the file ends "
                f"after {atom} of them"
            )
        row = line.split()
        if len(row) != n_columns and not (len(row) > n_columns and "Properties" not in comment):
            raise DataError(
                f"{lines.path}, frame {frame}, line {lines.number}: atoms[{atom}] has {len(row)} columns; "
                f"Properties says {n_columns}"
            )
        rows.append(row)
    return _assemble(rows, columns, info, wanted, f"{lines.path.name}:{frame}", f"{lines.path}, frame {frame}", first)


def _assemble(
    rows: list[list[str]],
    columns: Sequence[Column],
    info: dict[str, Any],
    wanted: set[str] | None,
    source: str,
    name: str,
    first: int,
) -> Frame:
    table = list(zip(*rows, strict=False)) or [()] * (columns[-1].start + columns[-1].width)
    header = f"{name}, line {first + 1}"
    numbers: NDArray[Any] | None = None
    positions: NDArray[Any] | None = None
    arrays: dict[str, Any] = {}
    for column in columns:
        values = table[column.start : column.start + column.width]
        lower = column.name.lower()
        if lower in ("species", "symbols", "element") and column.kind == "S":
            numbers = _numbers_of(values[0], name, first)
        elif lower in ("z", "numbers") and column.kind == "I" and numbers is None:
            numbers = _real(values, column, name, first)[:, 0].astype(np.int64)
        elif lower in ("pos", "positions") and positions is None:
            positions = _real(values, column, name, first)
        elif column.kind in "RI" and (wanted is None or lower in wanted):
            array = _real(values, column, name, first)
            arrays[column.name] = array[:, 0] if column.width == 1 else array
        else:
            arrays.setdefault(column.name, None)  # there, but nobody asked for its values
    if numbers is None or positions is None:
        raise DataError(f"{header}: Properties has no column of species, or none of positions (pos:R:3)")
    cell = _cell(info, header)
    return make_frame(numbers, positions, cell, _pbc(info, cell is not None, header), info, arrays, source, header)


def _numbers_of(symbols: Sequence[str], name: str, first: int) -> NDArray[np.int64]:
    known: dict[str, int] = {}
    for symbol in set(symbols):
        try:
            known[symbol] = int(symbol) if symbol.isascii() and symbol.isdigit() else atomic_number_of(symbol)
        except (InputError, ValueError) as error:
            atom = symbols.index(symbol)
            raise DataError(f"{name}, line {first + 2 + atom}: atoms[{atom}]: {error}") from None
        if known[symbol] >= len(SYMBOLS):
            atom = symbols.index(symbol)
            raise DataError(f"{name}, line {first + 2 + atom}: atoms[{atom}] has atomic number {symbol}")
    return np.array([known[symbol] for symbol in symbols], dtype=np.int64)


def _real(values: Sequence[Sequence[str]], column: Column, name: str, first: int) -> NDArray[np.float64]:
    try:
        return np.array([[float(word) for word in words] for words in values], dtype=np.float64).T.copy()
    except ValueError:
        for atom, row in enumerate(zip(*values, strict=True)):
            for word in row:
                if not _is_number(word):
                    raise DataError(
                        f"{name}, line {first + 2 + atom}: '{word[:40]}' in column '{column.name}' of atoms[{atom}] "
                        "is not a number"
                    ) from None
        raise


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _columns(text: str, where: str) -> list[Column]:
    parts = text.split(":")
    columns, start = [], 0
    for name, kind, width in zip(parts[0::3], parts[1::3], parts[2::3], strict=False):
        if kind not in ("S", "R", "I", "L") or not (width.isascii() and width.isdigit() and 0 < int(width) < 10_000):
            raise DataError(f"{where}: '{name}:{kind}:{width}' in Properties is not name:S|R|I|L:columns")
        columns.append(Column(name, kind, start, int(width)))
        start += int(width)
    if len(parts) % 3 or not columns:
        raise DataError(f"{where}: Properties '{text[:60]}' is not a list of name:kind:columns")
    if any(column.name.lower() in ("pos", "positions") and column.width != 3 for column in columns):
        raise DataError(f"{where}: positions need three columns; Properties says '{text[:60]}'")
    return columns


def parse_comment(line: str) -> dict[str, Any]:
    """Keys and values of a comment line as text; a key without a value is True. Linear in the length of the line.

    Example:
        >>> parse_comment('energy=-1.5 pbc="T T F" name=[1, 2] relaxed')
        {'energy': '-1.5', 'pbc': 'T T F', 'name': '1, 2', 'relaxed': True}
    """
    found: dict[str, Any] = {}
    unclosed: set[str] = set()
    at = _after_space(line, 0)
    while at < len(line):
        key, at = _token(line, at, unclosed, _WORD)
        at = _after_space(line, at)
        if not key:  # a lonely sign of equality
            continue
        if line[at : at + 1] != "=":
            found[key] = True
            continue
        value, at = _token(line, _after_space(line, at + 1), unclosed, _BARE)
        found[key] = value
        at = _after_space(line, at)
    return found


def _after_space(line: str, at: int) -> int:
    match = _SPACE.match(line, at)
    return match.end() if match else at


def _token(line: str, at: int, unclosed: set[str], bare: re.Pattern[str]) -> tuple[str, int]:
    """A quoted text, a bracketed list, or what ``bare`` matches; and where it ends."""
    opening = line[at : at + 1]
    if opening in _QUOTED and opening not in unclosed:
        if match := _QUOTED[opening].match(line, at):
            return re.sub(r"\\(.)", r"\1", match[1]) if opening == '"' else match[1], match.end()
        unclosed.add(opening)  # so that a line full of them is not searched again and again
    elif opening in "[{" and opening and opening not in unclosed:
        depth = 0
        for bracket in _BRACKETS.finditer(line, at):
            depth += 1 if bracket[0] in "[{" else -1
            if depth == 0:
                return line[at + 1 : bracket.start()], bracket.end()
        unclosed.add(opening)
    match = bare.match(line, at)
    return (match[0], match.end()) if match else ("", at + 1)


def _cell(info: dict[str, Any], where: str) -> NDArray[np.float64] | None:
    key = next((key for key in info if key.lower() == "lattice"), None)
    if key is None:
        return None
    values = numbers_in(info.pop(key), "Lattice", where).reshape(-1)
    if len(values) != 9:
        raise DataError(f"{where}: Lattice has {len(values)} numbers; nine are needed")
    return values.reshape(3, 3)


def _pbc(info: dict[str, Any], has_cell: bool, where: str) -> list[bool]:
    key = next((key for key in info if key.lower() == "pbc"), None)
    if key is None:
        return [has_cell] * 3
    value = info.pop(key)
    words = str(value).replace(",", " ").replace("[", " ").replace("]", " ").lower().split()
    if len(words) not in (1, 3) or any(word not in _TRUE | _FALSE for word in words):
        raise DataError(f"{where}: pbc is '{str(value)[:40]}'; write for example pbc=\"T T F\"")
    flags = [word in _TRUE for word in words]
    return flags * 3 if len(flags) == 1 else flags


def write_extxyz(structures: Iterable[LabelledStructure], path: str | os.PathLike[str]) -> None:
    """Write labelled structures as extended XYZ, atomically; gzipped if the name ends in ``.gz``.

    Labels are written under ``energy``, ``forces``, ``stress`` (nine numbers, tension positive), ``hessian`` and
    ``target``, with all digits, so that reading them again gives the same numbers; the last is read again with
    ``LabelKeys(target="target")``. ``weight`` (if not 1), ``group`` and ``source`` are kept under these names.

    Raises:
        ArtifactError: if the file cannot be written.
    """
    text = "".join(_text_of(structure) for structure in structures).encode()
    write_atomically(path, gzip.compress(text, mtime=0) if str(path).endswith(".gz") else text)


def _text_of(structure: LabelledStructure) -> str:
    pairs = []
    if structure.cell.any() or structure.pbc.any():
        pairs.append(f'Lattice="{_joined(structure.cell)}"')
    pairs.append("Properties=species:S:1:pos:R:3" + (":forces:R:3" if structure.forces is not None else ""))
    scalars = (("energy", structure.energy), ("target", structure.target))
    pairs += [f"{name}={float(value)!r}" for name, value in scalars if value is not None]
    tensors = (("stress", structure.stress), ("hessian", structure.hessian))
    pairs += [f'{name}="{_joined(values)}"' for name, values in tensors if values is not None]
    if structure.weight != 1.0:
        pairs.append(f"weight={float(structure.weight)!r}")
    pairs += [f"{name}={_quoted(text)}" for name in ("group", "source") if (text := getattr(structure, name))]
    pairs.append('pbc="{}"'.format(" ".join("T" if periodic else "F" for periodic in structure.pbc)))
    table = structure.positions if structure.forces is None else np.hstack([structure.positions, structure.forces])
    lines = [
        f"{SYMBOLS[number]} {' '.join(map(repr, row))}"
        for number, row in zip(structure.numbers, table.astype(np.float64).tolist(), strict=True)
    ]
    return "\n".join([str(structure.n_atoms), " ".join(pairs), *lines]) + "\n"


def _joined(values: NDArray[np.float64]) -> str:
    return " ".join(repr(value) for value in np.asarray(values, dtype=np.float64).reshape(-1).tolist())


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ").replace("\r", " ")
    return f'"{escaped}"'
