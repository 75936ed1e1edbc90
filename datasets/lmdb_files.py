"""Large data sets in one LMDB file, read one structure at a time. Nothing in it is ever executed.

The file is an LMDB of safetensors records, keyed by eight-byte numbers, with a JSON entry ``format``; after its last
page stands a seal: a mark, the length and the sha256 of what is before. A file without the right seal is not opened,
because the LMDB library trusts its pages and a damaged one can end the process. The seal protects against damage, not
against forgery; a forged record can at worst be a wrong structure.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO, ClassVar
from weakref import WeakValueDictionary

import numpy as np
import safetensors
from numpy.typing import NDArray
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from atomsym.core import LABELS, DataError, LabelledStructure, MissingDependencyError
from atomsym.datasets.dataset import Dataset
from atomsym.datasets.frame import is_pickle, make_frame
from atomsym.datasets.labels import ReadReport
from atomsym.datasets.units import LabelUnits

FORMAT, FORMAT_VERSION = "atomsym-dataset", 1
_MARK = b"atomsym-dataset\n"
_SEAL = struct.Struct("<16sQ32s")
_KEY = struct.Struct(">Q")
_CHUNK, _BATCH = 1 << 22, 1000
_OPTIONAL = {"forces": "n3", "stress": "33", "hessian": "hh", "energy": "", "target": "", "weight": ""}


def write_lmdb(structures: Iterable[LabelledStructure], path: str | os.PathLike[str]) -> int:
    """Write structures into one LMDB file, atomically; they are taken one at a time.

    Args:
        structures: any number of them; their labels in eV and Å are kept with all digits.
        path: the file; the suffix ``.lmdb`` is needed to read it again. Its folder must exist.

    Returns:
        The number of structures written.

    Raises:
        DataError: if the file cannot be written; a file that was there is unchanged.
        MissingDependencyError: without the package lmdb.
    """
    lmdb = _lmdb("writing an LMDB data set")
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.part")
    try:
        try:
            count = _fill(lmdb, temporary, structures)
            _seal(temporary)
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
            Path(f"{temporary}-lock").unlink(missing_ok=True)
    except (OSError, lmdb.Error) as error:
        raise DataError(f"cannot write {target}: {error}") from error
    return count


def open_lmdb(path: Path, *, verify: bool = True) -> Dataset:
    """A data set whose structures are read when asked for.

    Args:
        path: a file of ``write_lmdb``.
        verify: read the whole file once and compare its sha256 (about a second for each GB). Leave it out only for
            files that were checked before: reading a damaged page can end the process.

    Raises:
        DataError: if the file is damaged or was not written by ``write_lmdb``.
        MissingDependencyError: without the package lmdb.
    """
    _lmdb(f"reading {path}")
    _check_seal(path, verify)
    records = _Records(str(path.resolve()))
    header = records.header
    labels = header.get("labels")
    counts = {name: labels[name] for name in LABELS if isinstance(labels, dict) and type(labels.get(name)) is int}
    return Dataset(records, str(path), ReadReport(str(path), "LMDB", len(records), {}, LabelUnits(), counts))


def _lmdb(purpose: str) -> ModuleType:
    try:
        import lmdb
    except ImportError:
        raise MissingDependencyError.for_package("lmdb", "lmdb", purpose) from None
    return lmdb


def _fill(lmdb: ModuleType, path: Path, structures: Iterable[LabelledStructure]) -> int:
    labels, count, size = dict.fromkeys(LABELS, 0), 0, 1 << 28
    environment = lmdb.open(str(path), subdir=False, map_size=size, metasync=False, sync=False, max_dbs=0)
    try:
        batch: list[tuple[bytes, bytes]] = []
        for structure in structures:
            batch.append((_KEY.pack(count), encode(structure)))
            count += 1
            for name in LABELS:
                labels[name] += getattr(structure, name) is not None
            if len(batch) == _BATCH:
                size = _put(lmdb, environment, batch, size)
                batch = []
        header = {"format": FORMAT, "version": FORMAT_VERSION, "length": count, "labels": labels}
        _put(lmdb, environment, [*batch, (b"format", json.dumps(header).encode())], size)
        environment.sync(True)
    finally:
        environment.close()
    return count


def _put(lmdb: ModuleType, environment: Any, batch: Sequence[tuple[bytes, bytes]], size: int) -> int:
    while True:
        try:
            with environment.begin(write=True) as transaction:
                for key, value in batch:
                    transaction.put(key, value)
        except lmdb.MapFullError:  # the transaction is undone: enlarge and repeat it
            size *= 2
            environment.set_mapsize(size)
        else:
            return size


def _seal(path: Path) -> None:
    with open(path, "r+b") as file:
        digest, length = _digest(file, None)
        file.seek(length)
        file.write(_SEAL.pack(_MARK, length, digest))
        file.flush()
        os.fsync(file.fileno())


def _digest(file: BinaryIO, length: int | None) -> tuple[bytes, int]:
    digest, done = hashlib.sha256(), 0
    while chunk := file.read(_CHUNK if length is None else min(_CHUNK, length - done)):
        digest.update(chunk)
        done += len(chunk)
    return digest.digest(), done


def _check_seal(path: Path, verify: bool) -> None:
    try:
        with open(path, "rb") as file:
            length = os.fstat(file.fileno()).st_size - _SEAL.size
            file.seek(max(length, 0))
            seal = file.read(_SEAL.size)
            mark, stated, expected = _SEAL.unpack(seal) if len(seal) == _SEAL.size else (b"", -1, b"")
            if mark != _MARK or stated != length:
                raise DataError(
                    f"{path}: not an atomsym LMDB, or cut short: the seal at its end is missing. LMDB files of other "
                    "programs are not read, for their values are often pickles, which can execute code; convert the "
                    "data to extxyz with the program that wrote them, then use write_lmdb"
                )
            file.seek(0)
            if verify and _digest(file, length)[0] != expected:
                raise DataError(f"{path}: damaged: its bytes do not fit the checksum at its end")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


class _Environment:
    """An open LMDB; shared, because the library allows a file to be opened once in a process."""

    open_ones: ClassVar[WeakValueDictionary[tuple[int, str, int], _Environment]] = WeakValueDictionary()

    def __init__(self, path: str) -> None:
        lmdb = _lmdb(f"reading {path}")
        try:
            self.lmdb = lmdb.open(path, subdir=False, readonly=True, lock=False, readahead=False, max_spare_txns=4)
        except lmdb.Error as error:
            raise DataError(f"{path}: LMDB cannot open it: {error}") from error

    @classmethod
    def of(cls, path: str) -> _Environment:
        key = (os.getpid(), path, os.stat(path).st_ino)
        found = cls.open_ones.get(key)
        if found is None:
            found = cls.open_ones[key] = cls(path)
        return found


class _Records(Sequence[LabelledStructure]):
    """Lazy structures of a sealed file; picklable, each process opens the file itself."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._environment: _Environment | None = None
        self._pid = -1
        self.header = self._read_header()
        self._length: int = self.header["length"]

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Any) -> Any:
        where = f"{self._path}, record {index}"
        value = self._get(_KEY.pack(index))
        if value is None:
            raise DataError(f"{where}: missing, although the file says it has {self._length} records")
        return decode(value, where)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_environment": None, "_pid": -1}

    def _get(self, key: bytes) -> bytes | None:
        if self._environment is None or self._pid != os.getpid():  # a fork must not share an open LMDB
            self._environment, self._pid = _Environment.of(self._path), os.getpid()
        with self._environment.lmdb.begin(buffers=False) as transaction:
            return transaction.get(key)

    def _read_header(self) -> dict[str, Any]:
        raw = self._get(b"format")
        try:
            header = json.loads(raw or b"")
        except (ValueError, RecursionError):
            header = None
        if not isinstance(header, dict) or header.get("format") != FORMAT:
            raise DataError(f"{self._path}: not an atomsym LMDB: its entry 'format' is missing or damaged")
        if header.get("version") != FORMAT_VERSION:
            raise DataError(
                f"{self._path}: format version {header.get('version')}; this version reads {FORMAT_VERSION}"
            )
        if type(header.get("length")) is not int or header["length"] < 0:
            raise DataError(f"{self._path}: its entry 'format' has no valid length")
        return header


def encode(structure: LabelledStructure) -> bytes:
    """One structure as safetensors bytes."""
    arrays: dict[str, NDArray[Any]] = {
        "numbers": np.ascontiguousarray(structure.numbers, dtype=np.uint8),
        "positions": np.ascontiguousarray(structure.positions, dtype=np.float64),
        "cell": np.ascontiguousarray(structure.cell, dtype=np.float64),
        "pbc": np.ascontiguousarray(structure.pbc, dtype=np.bool_),
    }
    for name in _OPTIONAL:
        value = getattr(structure, name)
        if value is not None:
            arrays[name] = np.array(value, dtype=np.float64, order="C")
    for name in ("group", "source"):
        if text := getattr(structure, name):
            arrays[name] = np.frombuffer(text.encode(), dtype=np.uint8)
    return save_arrays(arrays)


def decode(value: bytes, where: str) -> LabelledStructure:
    """The structure of a record.

    Raises:
        DataError: if the record is a pickle or anything else than ``encode`` writes.
    """
    if is_pickle(value):
        raise DataError(f"{where}: this is a pickle, which can execute code when loaded, so it is never loaded")
    try:
        arrays = load_arrays(value)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{where}: damaged: {error}") from error
    missing = {"numbers", "positions", "cell", "pbc"} - set(arrays)
    if missing:
        raise DataError(f"{where}: has no {', '.join(sorted(missing))}")
    if arrays["pbc"].shape != (3,):
        raise DataError(f"{where}: pbc has shape {arrays['pbc'].shape}; needed is (3,)")
    frame = make_frame(
        arrays["numbers"], arrays["positions"], arrays["cell"], arrays["pbc"], {}, {}, source=where, where=where
    )
    labels = {name: _label(arrays, name, shape, frame.n_atoms, where) for name, shape in _OPTIONAL.items()}
    energy, target, weight = labels["energy"], labels["target"], labels["weight"]
    return LabelledStructure(
        numbers=frame.numbers,
        positions=frame.positions,
        cell=frame.cell,
        pbc=frame.pbc,
        energy=None if energy is None else float(energy),
        forces=labels["forces"],
        stress=labels["stress"],
        hessian=labels["hessian"],
        target=None if target is None else float(target),
        weight=1.0 if weight is None else float(weight),
        group=_text(arrays, "group", where),
        source=_text(arrays, "source", where) or where,
    )


def _label(arrays: dict[str, Any], name: str, shape: str, n_atoms: int, where: str) -> NDArray[np.float64] | None:
    values = arrays.get(name)
    if values is None:
        return None
    needed = tuple({"n": n_atoms, "h": 3 * n_atoms, "3": 3}[letter] for letter in shape)
    if values.dtype != np.float64 or values.shape != needed:
        raise DataError(f"{where}: {name} is {values.dtype} {values.shape}; needed is float64 {needed}")
    return values


def _text(arrays: dict[str, Any], name: str, where: str) -> str:
    values = arrays.get(name)
    if values is None:
        return ""
    try:
        return values.astype(np.uint8).tobytes().decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: {name} is not text: {error.reason}") from None
