"""Settings of a run: what several programs check of them, and the file that keeps them."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from atomsym.core import ConfigError
from atomsym.core.precision import dtype_named

Settings = TypeVar("Settings")


def settings_to_json(settings: Any) -> str:
    """A dataclass of plain values, as ``read_settings`` takes it."""
    return json.dumps(dataclasses.asdict(settings), indent=2) + "\n"


def read_settings(kind: type[Settings], path: Path, what: str) -> Settings:
    """Read settings written by ``settings_to_json``.

    Args:
        kind: their class.
        path: the file.
        what: the run, in words.

    Raises:
        ConfigError: if the file cannot be read or has an unknown or missing setting.
    """
    if not path.is_file():
        raise ConfigError(f"{path.parent} holds no {what}: there is no {path.name} in it")
    try:
        return kind(**json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: not the settings of a {what} ({error})") from error


def refuse_changes(given: Mapping[str, Any], allowed: str = "") -> None:
    """Settings that were given beside --resume.

    Args:
        given: by name; None was not given.
        allowed: the option that may be given all the same.

    Raises:
        ConfigError: if there are some.
    """
    changed = [name for name, value in given.items() if value is not None]
    if changed:
        other = f"no other setting than {allowed}" if allowed else "no other setting"
        raise ConfigError(
            f"--resume continues a run as it was begun and takes {other}; found {', '.join(changed)}. "
            "For other settings start a new run"
        )


def require_positive(settings: Any, *names: str) -> None:
    """Check numbers among the settings.

    Raises:
        ConfigError: if one is not positive and finite.
    """
    for name in names:
        value = getattr(settings, name)
        if not (math.isfinite(value) and value > 0):
            raise ConfigError(f"{name} must be positive and finite; found {value}")


def require_dtype(dtype: str) -> None:
    """Check the floating-point type of a model.

    Raises:
        ConfigError: if it is neither float32 nor float64.
    """
    dtype_named(dtype)
