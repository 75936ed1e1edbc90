"""Transformations of pymatgen: realise the protostructure of a structure, relax it with its symmetry, relax it freely.

Arguments are plain data, so that they survive ``as_dict`` and ``from_dict``; models are named, and loaded when a
transformation is applied. Results depend on arguments and seed alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import BaseCalculator
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

from atomsym.calculators.ase.load import load_calculator
from atomsym.calculators.pymatgen.conversion import to_graph
from atomsym.calculators.symmetric_relaxation import primitive_atoms, relax_symmetric
from atomsym.core import CalculationError, ConfigError, MissingDependencyError
from atomsym.core.elements import atomic_number_of
from atomsym.generators.realisation import PrototypeLibrary, Realised, realisations
from atomsym.symmetry.wyckoff import Protostructure, SymmetricCrystal, analyse

try:
    from pymatgen.core import Structure
    from pymatgen.transformations.transformation_abc import AbstractTransformation
except ImportError as error:
    raise MissingDependencyError.for_package("pymatgen", "pymatgen", "transformations") from error

RANDOM, AFLOW = "random", "aflow"
GEOMETRIES = (RANDOM, AFLOW)


class _Transformation(AbstractTransformation):
    """One structure in; the best of the ranked results out, or all of them with what was found about each."""

    def apply_transformation(
        self, structure: Structure, return_ranked_list: bool | int = False
    ) -> Structure | list[dict[str, Any]]:
        """The best structure; with ``return_ranked_list`` the list of results, the best first.

        Args:
            structure: to start from.
            return_ranked_list: True for all results, a number for so many of them at most. Each is a dictionary with
                ``structure`` and what the class says.

        Raises:
            InputError: if the structure is disordered or has no symmetry that can be found.
            CalculationError: if nothing came of it.
        """
        ranked = self._ranked(structure)
        if return_ranked_list is False:
            return ranked[0]["structure"]
        return ranked if return_ranked_list is True else ranked[:return_ranked_list]

    def _ranked(self, structure: Structure) -> list[dict[str, Any]]:
        raise NotImplementedError

    @property
    def inverse(self) -> None:
        """There is none."""
        return


class RealizeProtostructureTransformation(_Transformation):
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
        if geometries not in GEOMETRIES:
            raise ConfigError(f"geometries must be one of {', '.join(GEOMETRIES)}; found '{geometries}'")
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
            _crystal(structure, self.symprec).protostructure
            if self.protostructure is None
            else _protostructure(self.protostructure)
        )
        found = realisations(
            wanted,
            generator=np.random.default_rng(self.seed),
            prototypes=_library(self.geometries),
            count=self.count or None,
        )
        energies: list[float | None] = [None] * len(found)
        if self.model is not None:
            calculator = load_calculator(self.model)
            energies = [_energy(each.crystal, calculator) for each in found]
        ranked = [_realised(each, energy) for each, energy in zip(found, energies, strict=True)]
        if self.model is not None:
            ranked.sort(key=lambda each: each["energy_per_atom"] if np.isfinite(each["energy_per_atom"]) else np.inf)
        return ranked


class SymmetricRelaxTransformation(_Transformation):
    """Relax what the space group of a structure leaves free; the result is the conventional standard cell.

    Results have ``energy_per_atom``, eV; ``converged``; ``reason``, why not; ``steps`` and ``space_group``.

    Args:
        model: by name or as ``module:factory`` of an ASE calculator.
        fmax: at rest when no atom has a larger force, eV/Å, …
        smax: … and no component of the stress is larger, GPa.
        max_steps: evaluations at most.
        time_limit: s, of wall time.
        symprec: Å, within which atoms count as related by symmetry.

    Raises:
        ConfigError: if a limit is not positive.
    """

    def __init__(
        self,
        model: str,
        fmax: float = 0.02,
        smax: float = 0.5,
        max_steps: int = 300,
        time_limit: float = 600.0,
        symprec: float = 0.01,
    ) -> None:
        _require_positive(fmax=fmax, smax=smax, max_steps=max_steps, time_limit=time_limit, symprec=symprec)
        self.model, self.fmax, self.smax = model, fmax, smax
        self.max_steps, self.time_limit, self.symprec = max_steps, time_limit, symprec

    def _ranked(self, structure: Structure) -> list[dict[str, Any]]:
        found = relax_symmetric(
            _crystal(structure, self.symprec),
            load_calculator(self.model),
            fmax=self.fmax,
            smax=self.smax * units.GPa,
            max_steps=self.max_steps,
            time_limit=self.time_limit,
        )
        if not np.isfinite(found.energy):
            raise CalculationError(f"no energy of the structure: {found.reason}")
        return [
            {
                "structure": _structure(found.crystal),
                "energy_per_atom": found.energy / found.crystal.n_atoms,
                "converged": found.converged,
                "reason": found.reason,
                "steps": found.steps,
                "space_group": found.crystal.protostructure.space_group,
            }
        ]


class PotentialRelaxTransformation(_Transformation):
    """Relax all atoms of a structure, and its lattice, to the nearest minimum, without any symmetry.

    Results have ``energy_per_atom``, eV; ``converged`` and ``steps``.

    Args:
        model: by name or as ``module:factory`` of an ASE calculator.
        cell: whether the lattice is relaxed too.
        fmax: at rest when no atom has a larger force, eV/Å, …
        smax: … and, with ``cell``, no component of the stress is larger, GPa.
        max_steps: of the optimizer (BFGS).
        rattle: standard deviation of random displacements at the start, Å: what leaves saddle points.
        seed: of these.

    Raises:
        ConfigError: if a limit is not positive.
    """

    def __init__(
        self,
        model: str,
        cell: bool = True,
        fmax: float = 0.02,
        smax: float = 0.5,
        max_steps: int = 500,
        rattle: float = 0.0,
        seed: int = 0,
    ) -> None:
        _require_positive(fmax=fmax, smax=smax, max_steps=max_steps)
        if not rattle >= 0 or seed < 0:
            raise ConfigError(f"rattle and seed must not be negative; found {rattle} and {seed}")
        self.model, self.cell, self.fmax, self.smax = model, cell, fmax, smax
        self.max_steps, self.rattle, self.seed = max_steps, rattle, seed

    def _ranked(self, structure: Structure) -> list[dict[str, Any]]:
        graph = to_graph(structure)
        atoms = Atoms(graph.numbers.numpy(), positions=graph.positions.numpy(), cell=graph.cell[0].numpy(), pbc=True)
        atoms.positions += self.rattle * np.random.default_rng(self.seed).normal(size=atoms.positions.shape)
        atoms.calc = load_calculator(self.model)
        rest, steps = self._relax(atoms)
        relaxed = Structure(atoms.cell.array, atoms.get_chemical_symbols(), atoms.positions, coords_are_cartesian=True)
        energy = float(atoms.get_potential_energy()) / len(atoms)
        if not np.isfinite(energy):
            raise CalculationError("the energy of the relaxed structure is not finite")
        return [{"structure": relaxed, "energy_per_atom": energy, "converged": rest, "steps": steps}]

    def _relax(self, atoms: Atoms) -> tuple[bool, int]:
        """Whether the atoms have come to rest, and the steps made."""
        with BFGS(FrechetCellFilter(atoms) if self.cell else atoms, logfile=None, maxstep=0.1) as optimizer:
            for step in range(self.max_steps):
                if self._at_rest(atoms):
                    return True, step
                optimizer.step()
        return self._at_rest(atoms), self.max_steps

    def _at_rest(self, atoms: Atoms) -> bool:
        if np.linalg.norm(atoms.get_forces(), axis=1).max() > self.fmax:
            return False
        return not self.cell or bool(np.abs(atoms.get_stress()).max() <= self.smax * units.GPa)


def _crystal(structure: Structure, symprec: float) -> SymmetricCrystal:
    numbers = to_graph(structure).numbers.numpy()  # refuses what is disordered
    return analyse(structure.lattice.matrix, structure.frac_coords, numbers, symprec=symprec)


def _structure(crystal: SymmetricCrystal) -> Structure:
    return Structure(crystal.cell, crystal.numbers.tolist(), crystal.fractional_positions)


def _protostructure(given: Sequence[Any]) -> Protostructure:
    try:
        group, orbits = given
        pairs = tuple((atomic_number_of(symbol), letter) for symbol, letter in orbits)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f'a protostructure is written like [136, [["Ti", "a"], ["O", "f"]]]; found {given} ({error})'
        ) from error
    return Protostructure(group, pairs)


def _library(geometries: str) -> PrototypeLibrary | None:
    if geometries == RANDOM:
        return None
    from atomsym.calculators.pymatgen.prototypes import aflow_library

    return aflow_library()


def _energy(crystal: SymmetricCrystal, calculator: BaseCalculator) -> float:
    """eV/atom; not a number if the calculator fails, so that the other geometries still count."""
    atoms = primitive_atoms(crystal)
    atoms.calc = calculator
    try:
        return float(atoms.get_potential_energy()) / len(atoms)
    except Exception:  # noqa: BLE001 - calculators raise anything
        return float("nan")


def _realised(found: Realised, energy: float | None) -> dict[str, Any]:
    return {
        "structure": _structure(found.crystal),
        "contact": found.contact,
        "source": found.source,
        "energy_per_atom": energy,
    }


def _require_positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ConfigError(f"{name} must be positive; found {value}")
