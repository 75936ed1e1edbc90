"""Generators by name: how an artifact or a config finds its class."""

from __future__ import annotations

from typing import TypeVar

from atomsym.core.registry import Registry
from atomsym.generators.generator import ProtostructureGenerator

Generator = TypeVar("Generator", bound=type[ProtostructureGenerator])

_GENERATORS = Registry[type[ProtostructureGenerator]]("generator", "architecture")


def register_generator(generator: Generator) -> Generator:
    """Class decorator: make a generator known under its ``architecture`` name; errors as ``Registry.register``."""
    _GENERATORS.register(generator)
    return generator


def generator_class(name: str) -> type[ProtostructureGenerator]:
    """The class registered under a name.

    Raises:
        ConfigError: if there is none; the message suggests the nearest name.
    """
    return _GENERATORS[name]


def generator_names() -> tuple[str, ...]:
    """All registered names, sorted."""
    return _GENERATORS.names()
