"""What a generation of crystals is asked to do."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atomsym.core import ConfigError, InputError
from atomsym.core.elements import atomic_number_of
from atomsym.generators.conditions import MAX_ATOMS, Conditions
from atomsym.symmetry.wyckoff.table import N_GROUPS
from atomsym.workflows.formula import parse_formula
from atomsym.workflows.generate.prototypes import AFLOW
from atomsym.workflows.run_settings import read_settings, require_dtype, require_positive, settings_to_json

MAX_CRYSTALS = 100_000


@dataclass(frozen=True)
class GenerateSettings:
    """Settings of one run. Atoms are counted in the conventional cell.

    Attributes:
        n: how many different crystals are wanted.
        generator: name or file of a trained generator of protostructures.
        elements: symbols that may occur; empty: all that the generator knows.
        exclude: symbols that may not.
        require: symbols that must occur.
        formula: exact composition in lowest terms, such as ``TiO2``; empty: any.
        space_groups: numbers to choose from; empty: as in the generator's training data.
        n_atoms: exactly so many; 0: any number.
        max_atoms: at most so many.
        temperature: of the draws; below 1 more of the likely, above 1 more of the unlikely.
        targets: properties to aim at, each ``NAME=VALUE`` in the units of the generator's training data.
        guidance: how strongly: 0 not at all, 1 as learned, more to exaggerate.
        realisations: geometries tried for each protostructure; the one of least energy is kept, or without a
            calculator that of the most similar prototype, else of the best distances.
        prototypes: known crystals whose geometries are tried first: ``aflow``, tables, folders or files of structures,
            known sets; empty: none.
        relax: name of a model, ``chgnet``, or ``module:factory`` of an ASE calculator; empty: geometries stay as drawn.
        kwargs: keyword arguments of that factory, or of ``AtomsymCalculator``.
        free: relax without symmetry after the relaxation within it.
        fmax: of both relaxations, eV/Å.
        max_steps: of each of both.
        time_limit: of the relaxations of one crystal, s.
        symprec: of the analysis of prototypes and results, Å.
        seed: of everything random.
        device, dtype: of a model of this package.

    Raises:
        ConfigError: if a value is out of range or the conditions contradict each other.
    """

    n: int = 100
    generator: str = "wyformer"
    elements: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    require: tuple[str, ...] = ()
    formula: str = ""
    space_groups: tuple[int, ...] = ()
    n_atoms: int = 0
    max_atoms: int = 60
    temperature: float = 1.0
    targets: tuple[str, ...] = ()
    guidance: float = 1.0
    realisations: int = 4
    prototypes: tuple[str, ...] = (AFLOW,)
    relax: str = ""
    free: bool = False
    fmax: float = 0.05
    max_steps: int = 200
    time_limit: float = 120.0
    symprec: float = 0.01
    seed: int = 0
    device: str = "cpu"
    dtype: str = "float64"
    kwargs: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("elements", "exclude", "require", "space_groups", "prototypes", "targets"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        require_positive(self, "temperature", "fmax", "time_limit", "symprec")
        for name, most in (("n", MAX_CRYSTALS), ("max_atoms", MAX_ATOMS), ("realisations", 100), ("max_steps", 10_000)):
            if not 1 <= getattr(self, name) <= most:
                raise ConfigError(f"{name} must be 1 to {most}; found {getattr(self, name)}")
        require_dtype(self.dtype)
        if self.seed < 0:
            raise ConfigError(f"seed must be 0 or more; found {self.seed}")
        for group in self.space_groups:
            if not 1 <= group <= N_GROUPS:
                raise ConfigError(f"there is no space group {group}; they are 1 to {N_GROUPS}")
        if self.free and not self.relax:
            raise ConfigError("a free relaxation needs a calculator: name one with --relax")
        if self.kwargs and not self.relax:
            raise ConfigError("arguments of a calculator need one: name it with --relax")
        if not (math.isfinite(self.guidance) and self.guidance >= 0):
            raise ConfigError(f"guidance must be a number from 0 on; found {self.guidance}")
        self.conditions()
        self.aims()

    def aims(self) -> dict[str, float]:
        """The targets by name."""
        found: dict[str, float] = {}
        for target in self.targets:
            name, equals, value = target.partition("=")
            try:
                number = float(value)
            except ValueError:
                number = math.nan
            if not (name.strip() and equals and math.isfinite(number)):
                raise ConfigError(f"targets are NAME=VALUE, such as formation_energy_per_atom=-2; found '{target}'")
            if name.strip() in found:
                raise ConfigError(f"there are two targets for {name.strip()}")
            found[name.strip()] = number
        return found

    def conditions(self) -> Conditions:
        """The hard conditions of the generator."""
        return Conditions(
            elements=_numbers(self.elements, "elements") or None,
            excluded=_numbers(self.exclude, "exclude"),
            required=_numbers(self.require, "require"),
            composition=parse_formula(self.formula) if self.formula else None,
            n_atoms=self.n_atoms,
            max_atoms=max(self.max_atoms, self.n_atoms),
        )

    def to_json(self) -> str:
        return settings_to_json(self)

    @classmethod
    def from_file(cls, path: Path) -> GenerateSettings:
        """See ``read_settings``."""
        return read_settings(cls, path, "generation of crystals")


def _numbers(symbols: tuple[str, ...], name: str) -> tuple[int, ...]:
    try:
        return tuple(sorted({atomic_number_of(symbol) for symbol in symbols}))
    except InputError as error:
        raise ConfigError(f"{name}: {error}") from error
