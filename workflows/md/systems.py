"""Where a run's first structure comes from: built-in systems by name, or any file that ASE reads."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import ase.io
from ase import Atoms, units
from ase.build import bulk

from atomsym.core import InputError
from atomsym.workflows.md.settings import MdSettings
from atomsym.workflows.md.water_box import water_box

ARGON_DENSITY = 1.374
"""Liquid argon at 94.4 K in g/cm³: the state point of Rahman, Phys. Rev. 136, A405 (1964)."""


@dataclass(frozen=True)
class BuiltinSystem:
    """A ready-made system with the settings that make a sensible run of it."""

    description: str
    build: Callable[[], Atoms]
    settings: MdSettings


def _liquid_argon() -> Atoms:
    lattice_constant = (4 * 39.948 / units.mol / ARGON_DENSITY * 1e24) ** (1 / 3)
    return bulk("Ar", "fcc", a=lattice_constant, cubic=True) * (5, 5, 5)


def _copper() -> Atoms:
    return bulk("Cu", "fcc", a=3.615, cubic=True) * (3, 3, 3)


def _silicon() -> Atoms:
    return bulk("Si", "diamond", a=5.431, cubic=True) * (2, 2, 2)


BUILTIN_SYSTEMS = {
    "argon": BuiltinSystem(
        "500 argon atoms at 94.4 K and 1.374 g/cm³, melted from the fcc lattice",
        _liquid_argon,
        MdSettings(
            system="argon",
            model="argon",
            ensemble="nve",
            temperature=94.4,
            timestep=5.0,
            equilibration_steps=4000,
            steps=8000,
            thermostat_time=500.0,
            log_every=10,
            trajectory_every=20,
        ),
    ),
    "water": BuiltinSystem(
        "64 water molecules at 300 K and 0.997 g/cm³, mixed beforehand with a point-charge model",
        water_box,
        MdSettings(
            system="water",
            model="water",
            ensemble="nvt-langevin",
            temperature=300.0,
            timestep=0.5,
            equilibration_steps=4000,
            steps=8000,
            thermostat_time=200.0,
            log_every=10,
            trajectory_every=20,
            dtype="float32",
        ),
    ),
    "copper": BuiltinSystem(
        "108 copper atoms on the fcc lattice at 300 K",
        _copper,
        MdSettings(
            system="copper",
            model="cu",
            ensemble="nve",
            temperature=300.0,
            timestep=2.0,
            equilibration_steps=1000,
            steps=4000,
            log_every=10,
            trajectory_every=20,
        ),
    ),
    "silicon": BuiltinSystem(
        "64 silicon atoms on the diamond lattice at 300 K",
        _silicon,
        MdSettings(
            system="silicon",
            model="si",
            ensemble="nve",
            temperature=300.0,
            timestep=1.0,
            equilibration_steps=1000,
            steps=4000,
            log_every=10,
            trajectory_every=20,
        ),
    ),
}


def default_settings(system: str) -> MdSettings:
    """The settings that a built-in system brings; plain defaults (with the model still to be named) for a file."""
    if system in BUILTIN_SYSTEMS:
        return BUILTIN_SYSTEMS[system].settings
    _require_file(system)
    return MdSettings(system=system, model="")


def _require_file(system: str) -> None:
    if not Path(system).is_file():
        known = ", ".join(sorted(BUILTIN_SYSTEMS))
        raise InputError(f"'{system}' is neither a file nor a built-in system (known: {known})")


def load_structure(system: str) -> Atoms:
    """A built-in system by its name, or the last frame of a file.

    Raises:
        InputError: if the name is no built-in system and no readable structure file, or the structure has no atoms.

    Example:
        >>> len(load_structure("copper"))
        108
    """
    if system in BUILTIN_SYSTEMS:
        return BUILTIN_SYSTEMS[system].build()
    _require_file(system)
    try:
        atoms = ase.io.read(system, index=-1)
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise InputError(f"{system}: ASE cannot read a structure from it ({reason})") from error
    if len(atoms) == 0:
        raise InputError(f"{system}: the structure has no atoms")
    return atoms


def load_system(settings: MdSettings) -> Atoms:
    """The atoms that a run starts from, repeated as asked.

    Raises:
        InputError: see ``load_structure``.
    """
    return load_structure(settings.system) * settings.repeat


def with_overrides(settings: MdSettings, **overrides: object) -> MdSettings:
    """The settings with every override that is not None."""
    return dataclasses.replace(settings, **{k: v for k, v in overrides.items() if v is not None})  # type: ignore[arg-type]
