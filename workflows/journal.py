"""Results of a run in the order they come, in one file that is only ever appended to.

An entry is a header (mark, index, kind, length, checksum) and its content. What a killed run left half-written at the
end is cut off when the file is opened again; all before it is kept.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from types import TracebackType

from atomsym.core import DataError

_HEADER = struct.Struct("<4sQcQI")
_MARK = b"entr"
_SYNC_BYTES = 1 << 22

LABELS, FAILURE = b"l", b"f"


class Journal:
    """Entries by index; a context manager, which closes the file.

    Args:
        path: the file; made if it is not there.

    Raises:
        DataError: if the file cannot be read or written.

    Attributes:
        kinds: ``LABELS`` or ``FAILURE`` by index, of all complete entries.
        n_failed: entries of the kind ``FAILURE``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.kinds: dict[int, bytes] = {}
        self.n_failed = 0
        self._places: dict[int, tuple[int, int]] = {}
        try:
            self._file = open(path, "r+b" if path.exists() else "w+b")  # noqa: SIM115 - closed by close()
            self._recover()
        except OSError as error:
            raise DataError(f"{path}: cannot be opened: {error}") from error
        self._unsynced = 0

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.kinds)

    def __contains__(self, index: int) -> bool:
        return index in self.kinds

    def append(self, index: int, kind: bytes, content: bytes) -> None:
        """Add an entry; once this returns, the death of this process does not lose it."""
        header = _HEADER.pack(_MARK, index, kind, len(content), zlib.crc32(content))
        self._file.seek(0, os.SEEK_END)
        place = self._file.tell() + len(header)
        self._file.write(header + content)
        self._file.flush()
        self._remember(index, kind, place, len(content))
        self._unsynced += len(header) + len(content)
        if self._unsynced > _SYNC_BYTES:  # against a loss of power; not for each entry, which would cost more than it
            os.fsync(self._file.fileno())
            self._unsynced = 0

    def content(self, index: int) -> bytes:
        """The content of an entry."""
        place, length = self._places[index]
        self._file.seek(place)
        return self._file.read(length)

    def close(self) -> None:
        self._file.close()

    def _remember(self, index: int, kind: bytes, place: int, length: int) -> None:
        self.n_failed += (kind == FAILURE) - (self.kinds.get(index) == FAILURE)
        self.kinds[index], self._places[index] = kind, (place, length)

    def _recover(self) -> None:
        size, end = os.fstat(self._file.fileno()).st_size, 0
        while end + _HEADER.size <= size:
            self._file.seek(end)
            mark, index, kind, length, checksum = _HEADER.unpack(self._file.read(_HEADER.size))
            place = end + _HEADER.size
            if mark != _MARK or length > size - place or zlib.crc32(self._file.read(length)) != checksum:
                break
            self._remember(index, kind, place, length)
            end = place + length
        self._file.truncate(end)
