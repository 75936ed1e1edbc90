"""The finished cases of a benchmark, a line of JSON each: the same command goes on where it was stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from atomsym.artifacts import write_atomically
from atomsym.core import ConfigError, InputError

Outcome = TypeVar("Outcome")


def read_cases(folder: Path, kind: type[Outcome]) -> list[Outcome]:
    """The finished cases of a folder, in order; a last line that was cut off is left out, and cut off the file too.

    Args:
        folder: of the benchmark; may be empty or not there.
        kind: a dataclass of plain values.

    Raises:
        InputError: if another line is damaged.
    """
    file = folder / "cases.jsonl"
    if not file.is_file():
        return []
    found = []
    lines = file.read_text().splitlines(keepends=True)
    for number, line in enumerate(lines):
        try:
            found.append(kind(**json.loads(line)))
        except (ValueError, TypeError) as error:
            if number == len(lines) - 1 and not line.endswith("\n"):
                file.write_text("".join(lines[:-1]))
                break
            raise InputError(f"{file}, line {number + 1}: not a finished case ({error})") from error
    return found


def append_case(folder: Path, outcome: Any) -> None:
    """Add a finished case, a dataclass of plain values."""
    with (folder / "cases.jsonl").open("a") as stream:
        stream.write(json.dumps(asdict(outcome)) + "\n")


def require_same_settings(folder: Path, now: Mapping[str, Any]) -> None:
    """Keep the settings that make cases comparable in ``settings.json``, or check that they are still the same.

    Raises:
        ConfigError: if they are not, or the file cannot be read.
    """
    file = folder / "settings.json"
    if not file.is_file():
        write_atomically(file, (json.dumps(now, indent=2) + "\n").encode())
        return
    try:
        before = json.loads(file.read_text())
    except ValueError as error:
        raise ConfigError(f"{file}: not the settings of a benchmark ({error})") from error
    changed = [name for name in now if before.get(name) != now[name]]
    if changed:
        raise ConfigError(
            f"{folder} was begun with {changed[0]} = {before.get(changed[0])}, now it is {now[changed[0]]}; "
            "take another folder"
        )
