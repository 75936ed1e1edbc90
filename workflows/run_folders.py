"""Folders that hold a run: which program made it, so that only that program goes on with it."""

from __future__ import annotations

import json
from pathlib import Path

from atomsym.core import InputError

_SETTING_OF = {  # a setting that only this program has
    "md": "ensemble", "relax": "smax", "vibrations": "rotor_cutoff", "phonons": "supercell",
    "ts": "neb_fmax", "generate": "realisations",
}  # fmt: skip
_CHECKPOINTS = {"checkpoint.safetensors": "train", "generator_checkpoint.safetensors": "train-generator"}
_NEVER_RESUMED, _RESUMED_UNTIL_DONE = ("phonons",), ("vibrations",)


def kind_of_run(folder: Path) -> str | None:
    """Which program's run a folder holds: ``md``, ``relax``, ``train`` …; "" if not known, None if there is none."""
    for name, kind in _CHECKPOINTS.items():
        if (folder / name).exists():
            return kind
    if not (folder / "settings.json").exists():
        return None
    try:
        settings = json.loads((folder / "settings.json").read_text())
    except (OSError, ValueError):
        return ""
    return next((kind for kind, name in _SETTING_OF.items() if isinstance(settings, dict) and name in settings), "")


def require_no_run(folder: Path) -> None:
    """Check that results can go to a folder without mixing with those of another run.

    Raises:
        InputError: if it holds a run.
    """
    kind = kind_of_run(folder)
    if _is_finished(kind, folder):
        raise InputError(f"{folder} holds results of atomsym {kind} already; choose another folder with --output")
    if kind is not None:
        go_on = f"resume it with: atomsym {kind} --resume {folder}" if kind else "its settings.json cannot be read"
        raise InputError(f"{folder} holds a run already; {go_on}. Or choose another folder with --output")


def require_run_of(kind: str, folder: Path) -> None:
    """Check that a folder does not hold the run of another program than ``kind``.

    Raises:
        InputError: if it does; a folder without a run is for the program itself to refuse.
    """
    found = kind_of_run(folder)
    if _is_finished(found, folder):
        raise InputError(f"{folder} holds results of atomsym {found}, which cannot be resumed")
    if found and found != kind:
        raise InputError(f"{folder} holds a run of atomsym {found}; go on with: atomsym {found} --resume {folder}")


def _is_finished(kind: str | None, folder: Path) -> bool:
    """Whether there is nothing to go on with."""
    return kind in _NEVER_RESUMED or (kind in _RESUMED_UNTIL_DONE and (folder / "result.json").exists())
