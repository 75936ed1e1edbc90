"""Structures to work on: built-in ones by name, or any file that ASE reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.collections import g2
from ase.constraints import FixAtoms
from numpy.typing import NDArray

import atomsym.calculators  # noqa: F401 - the shipped models become known
from atomsym.artifacts import read_card
from atomsym.core import ConfigError, InputError
from atomsym.workflows.water_box import water_box

ARGON_DENSITY = 1.374
"""Liquid argon at 94.4 K in g/cm³: the state point of Rahman, Phys. Rev. 136, A405 (1964)."""


@dataclass(frozen=True)
class BuiltinStructure:
    """A structure that is made by a function, and the model that suits it."""

    description: str
    model: str
    build: Callable[[], Atoms]


def _argon() -> Atoms:
    lattice_constant = (4 * 39.948 / units.mol / ARGON_DENSITY * 1e24) ** (1 / 3)
    return bulk("Ar", "fcc", a=lattice_constant, cubic=True) * (5, 5, 5)


def _copper() -> Atoms:
    return bulk("Cu", "fcc", a=3.615, cubic=True) * (3, 3, 3)


def _silicon() -> Atoms:
    return bulk("Si", "diamond", a=5.431, cubic=True) * (2, 2, 2)


BUILTIN_STRUCTURES = {
    "argon": BuiltinStructure("500 argon atoms at 1.374 g/cm³, on the fcc lattice", "argon", _argon),
    "copper": BuiltinStructure("108 copper atoms on the fcc lattice", "cu", _copper),
    "silicon": BuiltinStructure("64 silicon atoms on the diamond lattice", "si", _silicon),
    "water": BuiltinStructure("64 water molecules at 0.997 g/cm³, mixed with a point-charge model", "water", water_box),
}


MOLECULES_MODEL = "organic"
"""The shipped model of molecules."""


def is_molecule(name: str) -> bool:
    """Whether ASE's collection g2 has a molecule of this name, such as CH3CH2OH; single atoms are left out."""
    return name in g2.names and len(g2[name]) > 1


def require_structure(name: str) -> None:
    """Check that there is such a built-in structure, molecule or file.

    Raises:
        InputError: if not.
    """
    if name not in BUILTIN_STRUCTURES and not Path(name).is_file() and not is_molecule(name):
        known = ", ".join(BUILTIN_STRUCTURES)
        raise InputError(
            f"'{name}' is neither a file nor a built-in system (known: {known}, and molecules of ASE's g2 set such as "
            "CH3CH2OH)"
        )


def load_structure(name: str) -> Atoms:
    """A built-in structure or a molecule of ASE's g2 set by its name, or the last frame of a file.

    Raises:
        InputError: if the name is no built-in system and no readable structure file, or the structure has no atoms.

    Example:
        >>> len(load_structure("copper"))
        108
    """
    require_structure(name)
    if name in BUILTIN_STRUCTURES:
        return BUILTIN_STRUCTURES[name].build()
    if is_molecule(name) and not Path(name).is_file():
        return Atoms(g2[name])
    try:
        atoms = ase.io.read(name, index=-1)
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise InputError(f"{name}: ASE cannot read a structure from it ({reason})") from error
    if len(atoms) == 0:
        raise InputError(f"{name}: the structure has no atoms")
    return atoms


def suitable_model(system: str, given: str | None) -> str:
    """The given model, or the one that suits a built-in structure or molecule.

    Raises:
        ConfigError: if neither is there.
    """
    if given is None and system in BUILTIN_STRUCTURES:
        return BUILTIN_STRUCTURES[system].model
    if given is None and is_molecule(system) and set(g2[system].numbers) <= set(read_card(MOLECULES_MODEL).elements):
        return MOLECULES_MODEL
    if not given:
        raise ConfigError(f"--model is needed for {system}; list them with: atomsym models")
    return given


def held_atoms(atoms: Atoms) -> NDArray[np.bool_]:
    """Which atoms ``FixAtoms`` holds, shape (n_atoms,).

    Raises:
        InputError: if the structure has another constraint.
    """
    held = np.zeros(len(atoms), dtype=bool)
    for constraint in atoms.constraints:
        if not isinstance(constraint, FixAtoms):
            raise InputError(
                f"the structure has the constraint {type(constraint).__name__}; only FixAtoms is known here. "
                "Remove it with: del atoms.constraints"
            )
        held[constraint.get_indices()] = True
    return held
