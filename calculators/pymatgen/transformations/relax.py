"""Relaxation of structures, within their symmetry or without."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms, units
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from pymatgen.core import Structure

from atomsym.calculators.ase.load import load_calculator
from atomsym.calculators.pymatgen.conversion import to_graph
from atomsym.calculators.pymatgen.transformations.base import (
    RankedTransformation,
    crystal_of,
    require_positive,
    structure_of,
)
from atomsym.calculators.symmetric_relaxation import relax_symmetric
from atomsym.core import CalculationError, ConfigError


class SymmetricRelaxTransformation(RankedTransformation):
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
        require_positive(fmax=fmax, smax=smax, max_steps=max_steps, time_limit=time_limit, symprec=symprec)
        self.model, self.fmax, self.smax = model, fmax, smax
        self.max_steps, self.time_limit, self.symprec = max_steps, time_limit, symprec

    def _ranked(self, structure: Structure) -> list[dict[str, Any]]:
        found = relax_symmetric(
            crystal_of(structure, self.symprec),
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
                "structure": structure_of(found.crystal),
                "energy_per_atom": found.energy / found.crystal.n_atoms,
                "converged": found.converged,
                "reason": found.reason,
                "steps": found.steps,
                "space_group": found.crystal.protostructure.space_group,
            }
        ]


class PotentialRelaxTransformation(RankedTransformation):
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
        require_positive(fmax=fmax, smax=smax, max_steps=max_steps)
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
