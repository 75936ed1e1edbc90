"""New geometries for a protostructure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pymatgen.core import Structure

from atomsym.calculators.ase.load import load_calculator
from atomsym.calculators.best_geometry import energy_per_atom
from atomsym.calculators.pymatgen.transformations.base import (
    AFLOW,
    RankedTransformation,
    crystal_of,
    library_of,
    require_geometries,
    structure_of,
)
from atomsym.core import ConfigError
from atomsym.core.elements import atomic_number_of
from atomsym.generators.realisation import Realised, realisations
from atomsym.symmetry.wyckoff import Protostructure


class RealizeProtostructureTransformation(RankedTransformation):
    """New geometries for the space group, elements and Wyckoff positions of a structure, or for given ones.

    The results are ranked by energy where a model is given, else known geometries come before random ones. Each has
    ``contact``, the smallest distance of two atoms in units of the sum of their covalent radii; ``source``, a prototype
    or ``random``; and ``energy_per_atom``, eV, None without a model.

    Args:
        count: geometries; 0: one to three, by the number of free coordinates.
        geometries: ``aflow``: those of AFLOW prototypes with the same Wyckoff positions first; ``random``: none.
        protostructure: space group and (symbol, letter) of each orbit, such as ``[136, [["Ti", "a"], ["O", "f"]]]``;
            None: those of the structure.
        model: that gives the energies, by name or as ``module:factory``.
        seed: of the random geometries.
        symprec: Å, within which atoms of the structure count as related by symmetry.

    Raises:
        ConfigError: if an argument is out of range.
    """

    def __init__(
        self,
        count: int = 0,
        geometries: str = AFLOW,
        protostructure: Sequence[Any] | None = None,
        model: str | None = None,
        seed: int = 0,
        symprec: float = 0.01,
    ) -> None:
        require_geometries(geometries)
        if count < 0 or seed < 0 or not symprec > 0:
            raise ConfigError(
                f"count and seed must not be negative and symprec positive; found {count}, {seed} and {symprec}"
            )
        self.count, self.geometries, self.protostructure = count, geometries, protostructure
        self.model, self.seed, self.symprec = model, seed, symprec
        if protostructure is not None:
            _protostructure(protostructure)

    @property
    def is_one_to_many(self) -> bool:
        """True."""
        return True

    def _ranked(self, structure: Structure) -> list[dict[str, Any]]:
        wanted = (
            crystal_of(structure, self.symprec).protostructure
            if self.protostructure is None
            else _protostructure(self.protostructure)
        )
        found = realisations(
            wanted,
            generator=np.random.default_rng(self.seed),
            prototypes=library_of(self.geometries),
            count=self.count or None,
        )
        energies: list[float | None] = [None] * len(found)
        if self.model is not None:
            calculator = load_calculator(self.model)
            energies = [energy_per_atom(each.crystal, calculator) for each in found]
        ranked = [_realised(each, energy) for each, energy in zip(found, energies, strict=True)]
        if self.model is not None:
            ranked.sort(key=lambda each: each["energy_per_atom"] if np.isfinite(each["energy_per_atom"]) else np.inf)
        return ranked


def _protostructure(given: Sequence[Any]) -> Protostructure:
    try:
        group, orbits = given
        pairs = tuple((atomic_number_of(symbol), letter) for symbol, letter in orbits)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f'a protostructure is written like [136, [["Ti", "a"], ["O", "f"]]]; found {given} ({error})'
        ) from error
    return Protostructure(group, pairs)


def _realised(found: Realised, energy: float | None) -> dict[str, Any]:
    return {
        "structure": structure_of(found.crystal),
        "contact": found.contact,
        "source": found.source,
        "energy_per_atom": energy,
    }
