"""Settings that make a sensible run of a built-in system."""

from __future__ import annotations

import dataclasses
from typing import Any

from ase import Atoms

from atomsym.core import InputError
from atomsym.workflows.md.settings import MdSettings
from atomsym.workflows.structures import BUILTIN_STRUCTURES, load_structure, require_structure

_CHOSEN: dict[str, dict[str, Any]] = {
    "argon": {
        "ensemble": "nve", "temperature": 94.4, "timestep": 5.0, "equilibration_steps": 4000, "steps": 8000,
        "thermostat_time": 500.0,
    },
    "water": {
        "ensemble": "nvt-nose-hoover", "timestep": 0.5, "equilibration_steps": 4000, "steps": 8000, "dtype": "float32",
    },
    "copper": {"ensemble": "nve", "timestep": 2.0, "equilibration_steps": 1000, "steps": 4000},
    "silicon": {"ensemble": "nve", "timestep": 1.0, "equilibration_steps": 1000, "steps": 4000},
}  # fmt: skip
BUILTIN_SETTINGS = {
    name: MdSettings(system=name, model=structure.model, trajectory_every=20, **_CHOSEN[name])
    for name, structure in BUILTIN_STRUCTURES.items()
}


def default_settings(system: str) -> MdSettings:
    """The settings that a built-in system brings; plain defaults (with the model still to be named) for a file.

    Raises:
        InputError: if there is neither such a system nor such a file.
    """
    require_structure(system)
    return BUILTIN_SETTINGS.get(system, MdSettings(system=system, model=""))


def load_system(settings: MdSettings) -> Atoms:
    """The atoms that a run starts from, repeated as asked.

    Raises:
        InputError: see ``load_structure``; also if it is to be repeated along a lattice vector that it does not have.
    """
    atoms = load_structure(settings.system)
    for name, vector, number in zip("abc", atoms.cell, settings.repeat, strict=True):
        if number > 1 and not vector.any():
            raise InputError(f"--repeat: {settings.system} has no lattice vector {name} to be repeated along")
    return atoms * settings.repeat


def with_overrides(settings: MdSettings, **overrides: object) -> MdSettings:
    """The settings with every override that is not None."""
    return dataclasses.replace(settings, **{k: v for k, v in overrides.items() if v is not None})  # type: ignore[arg-type]
