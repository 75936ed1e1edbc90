"""Settings that make a sensible run of a built-in system."""

from __future__ import annotations

import dataclasses

from ase import Atoms

from atomsym.core import InputError
from atomsym.workflows.md.settings import MdSettings
from atomsym.workflows.structures import load_structure, require_structure

BUILTIN_SETTINGS = {
    "argon": MdSettings(
        system="argon",
        model="argon",
        ensemble="nve",
        temperature=94.4,
        timestep=5.0,
        equilibration_steps=4000,
        steps=8000,
        thermostat_time=500.0,
        trajectory_every=20,
    ),
    "water": MdSettings(
        system="water",
        model="water",
        ensemble="nvt-nose-hoover",
        temperature=300.0,
        timestep=0.5,
        equilibration_steps=4000,
        steps=8000,
        thermostat_time=100.0,
        trajectory_every=20,
        dtype="float32",
    ),
    "copper": MdSettings(
        system="copper",
        model="cu",
        ensemble="nve",
        temperature=300.0,
        timestep=2.0,
        equilibration_steps=1000,
        steps=4000,
        trajectory_every=20,
    ),
    "silicon": MdSettings(
        system="silicon",
        model="si",
        ensemble="nve",
        temperature=300.0,
        timestep=1.0,
        equilibration_steps=1000,
        steps=4000,
        trajectory_every=20,
    ),
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
