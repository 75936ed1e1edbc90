"""Architectures by name: how a model file or a config finds its class."""

from __future__ import annotations

import difflib

from atomsym.core import ConfigError
from atomsym.models.potential import Potential

_ARCHITECTURES: dict[str, type[Potential]] = {}


def register_architecture(potential: type[Potential]) -> type[Potential]:
    """Class decorator: make an architecture known under its ``architecture`` name.

    Raises:
        ConfigError: if another class has that name already.
    """
    known = _ARCHITECTURES.setdefault(potential.architecture, potential)
    if known is not potential:
        raise ConfigError(f"the architecture name '{potential.architecture}' is taken by {known.__qualname__}")
    return potential


def architecture(name: str) -> type[Potential]:
    """The class registered under a name.

    Raises:
        ConfigError: if there is none; the message suggests the nearest name.
    """
    if name not in _ARCHITECTURES:
        near = difflib.get_close_matches(name, _ARCHITECTURES, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise ConfigError(f"no architecture '{name}'{hint} Known: {', '.join(architectures())}")
    return _ARCHITECTURES[name]


def architectures() -> tuple[str, ...]:
    """All registered names, sorted."""
    return tuple(sorted(_ARCHITECTURES))
