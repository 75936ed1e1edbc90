"""Generators by name: how an artifact or a config finds its class."""

from __future__ import annotations

from atomsym.core import ConfigError
from atomsym.core.configs import did_you_mean
from atomsym.generators.generator import ProtostructureGenerator

_GENERATORS: dict[str, type[ProtostructureGenerator]] = {}


def register_generator(generator: type[ProtostructureGenerator]) -> type[ProtostructureGenerator]:
    """Class decorator: make a generator known under its ``architecture`` name.

    Raises:
        ConfigError: if another class has that name already.
    """
    known = _GENERATORS.setdefault(generator.architecture, generator)
    if known is not generator:
        raise ConfigError(f"the generator name '{generator.architecture}' is taken by {known.__qualname__}")
    return generator


def generator_class(name: str) -> type[ProtostructureGenerator]:
    """The class registered under a name.

    Raises:
        ConfigError: if there is none; the message suggests the nearest name.
    """
    if name not in _GENERATORS:
        known = generator_names()
        raise ConfigError(f"no generator '{name}'{did_you_mean(name, known)} Known: {', '.join(known)}")
    return _GENERATORS[name]


def generator_names() -> tuple[str, ...]:
    """All registered names, sorted."""
    return tuple(sorted(_GENERATORS))
