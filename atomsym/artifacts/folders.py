"""Models by name: the folders where ``<name>.safetensors`` is looked for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from atomsym.core import InputError
from atomsym.core.configs import did_you_mean

SUFFIX = ".safetensors"
_FOLDERS: list[Path] = []


def register_model_folder(folder: str | os.PathLike[str]) -> None:
    """Have models of a folder found by name; the package of calculators registers the one that it ships."""
    path = Path(folder).absolute()
    if path not in _FOLDERS:
        _FOLDERS.append(path)


def model_files(folders: Iterable[str | os.PathLike[str]] | None = None) -> Iterator[Path]:
    """Model files of these folders, or of the registered ones, each folder's sorted by name."""
    for folder in _FOLDERS if folders is None else folders:
        yield from sorted(Path(folder).glob(f"*{SUFFIX}"))


def find_model(
    name: str | os.PathLike[str], folders: Iterable[str | os.PathLike[str]] | None = None, *, what: str = "model"
) -> Path:
    """The file of a model that is given by name or by path.

    A name is looked for in the folders first, in their order; what is not found there is taken as a path.

    Args:
        name: such as ``argon``, or a path such as ``runs/best.safetensors``.
        folders: where to look; default: the registered folders.
        what: is looked for, in messages.

    Raises:
        InputError: if there is neither such a model nor such a file; the message suggests the nearest name.
    """
    text = os.fspath(name)
    places = list(_FOLDERS if folders is None else map(Path, folders))
    if text and not {"/", os.sep} & set(text):
        for folder in places:
            candidate = folder / f"{text}{SUFFIX}"
            if os.path.isfile(candidate):  # unlike the method of Path, never raises
                return candidate
    if os.path.isfile(text):
        return Path(text)
    known = [path.stem for path in model_files(places)]
    listed = f"Known {what}s: {', '.join(known)}" if known else f"No folder with {what}s is known"
    raise InputError(f"no {what} and no file '{text}'{did_you_mean(text, known)} {listed}")
