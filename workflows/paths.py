"""Paths that a user gives for results: looked at before the work, not after it."""

from __future__ import annotations

import os
from pathlib import Path

from atomsym.core import InputError


def require_writable(path: Path) -> None:
    """Check that a file can be written.

    Raises:
        InputError: if it is a folder, its folder does not exist, or one may not write there.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of a file")
    folder = path.parent
    if not folder.is_dir():
        problem = "is not a folder" if folder.exists() else "does not exist"
        raise InputError(f"cannot write {path}: {folder} {problem}")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise InputError(f"cannot write {path}: no permission")


def make_folder(folder: Path) -> None:
    """Create a folder for results, with its parents, if it is not there.

    Raises:
        InputError: if it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {folder}: {error.strerror}") from error
