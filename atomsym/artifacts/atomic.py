"""Writing a file so that, whatever happens, its path holds either the old content or the new one, never a part."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

from atomsym.core import ArtifactError


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Write to a temporary file in the same folder, flush it to the disk, then rename it over ``path``.

    Args:
        path: the file; a symbolic link is followed. Its folder must exist.
        content: the new content.

    Raises:
        ArtifactError: if the file cannot be written; a file that was there is unchanged, and no part of the new one
            is left. The message has the bytes that are needed and those that are free.
    """
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.part")
    try:
        try:
            _write(temporary, content)
            os.replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _flush_folder(target.parent)
    except OSError as error:
        unchanged = "; the file that was there is unchanged" if target.exists() else ""
        raise ArtifactError(
            f"cannot write {target}: {error.strerror or error}; it needs {len(content)} bytes, "
            f"{_free_bytes(target.parent)} are free in the folder{unchanged}"
        ) from error


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Make the rename itself durable, where folders can be opened (not on Windows)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _free_bytes(folder: Path) -> int | str:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return "unknown"
