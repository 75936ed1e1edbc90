"""Architectures by name: how a model file or a config finds its class."""

from __future__ import annotations

from typing import TypeVar

from atomsym.core.registry import Registry
from atomsym.models.potential import Potential

Architecture = TypeVar("Architecture", bound=type[Potential])

_ARCHITECTURES = Registry[type[Potential]]("architecture", "architecture")


def register_architecture(potential: Architecture) -> Architecture:
    """Class decorator: make an architecture known under its ``architecture`` name; errors as ``Registry.register``."""
    _ARCHITECTURES.register(potential)
    return potential


def architecture(name: str) -> type[Potential]:
    """The class registered under a name.

    Raises:
        ConfigError: if there is none; the message suggests the nearest name.
    """
    return _ARCHITECTURES[name]


def architectures() -> tuple[str, ...]:
    """All registered names, sorted."""
    return _ARCHITECTURES.names()
