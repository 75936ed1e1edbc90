"""How the checks are run: precision, seed, effort; and the structures they are run on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from atomsym.testing.structure import Structure
from atomsym.testing.tolerances import Tolerance


@dataclass(frozen=True)
class Settings:
    """Choices of a run; the defaults take less than a minute with a cheap calculator.

    Attributes:
        dtype: precision level of the bounds.
        seed: of every random choice.
        thorough: the full lengths and counts of the report card.
        timestep: of the dynamics, fs; None chooses 0.25 fs with hydrogen, else 1 fs.
        temperature: of the initial velocities, K; the hot start.
        duration: of the dynamics, ps; None chooses 2 ps, thorough 20 ps.
        time_budget: wall seconds that the dynamics may take when not thorough.
        slope_bound: of the energy drift, meV/atom/ns; None takes the bound for learned potentials.
        rms_bound: of the energy fluctuation, meV/atom; None leaves it unjudged, as it depends on the time step.
        cutoff: interaction radius given by the user, Å.
    """

    dtype: torch.dtype = torch.float64
    seed: int = 0
    thorough: bool = False
    timestep: float | None = None
    temperature: float = 600.0
    duration: float | None = None
    time_budget: float = 20.0
    slope_bound: float | None = None
    rms_bound: float | None = None
    cutoff: float | None = None

    @property
    def single_precision(self) -> bool:
        return self.dtype == torch.float32

    def bound(self, tolerance: Tolerance) -> float:
        """The bound of a tolerance at this precision."""
        return tolerance.of(self.dtype)

    def generator(self, check: int) -> np.random.Generator:
        """A fresh random generator for one check, independent of which others run."""
        return np.random.default_rng([self.seed, check])


@dataclass(frozen=True)
class Samples:
    """The structures a calculator is tested on; None or empty where it supports no such structure.

    Attributes:
        cluster: rattled finite structure without a cell, 6–20 atoms.
        bulk: small rattled periodic structure.
        skewed: rattled periodic structure with a triclinic, left-handed cell.
        crystal: perfect periodic structure.
        dynamics: larger periodic (or finite) structure near equilibrium.
        dense: finite piece of the crystal with more atoms than a neighbor limit allows.
        shapes: finite structures of high symmetry by name (linear, tetrahedral, octahedral, …).
        pairs: element pairs with their usual distance in Å, for dimer scans.
    """

    cluster: Structure | None = None
    bulk: Structure | None = None
    skewed: Structure | None = None
    crystal: Structure | None = None
    dynamics: Structure | None = None
    dense: Structure | None = None
    shapes: tuple[tuple[str, Structure], ...] = ()
    pairs: tuple[tuple[int, int, float], ...] = ()

    def small(self) -> list[tuple[str, Structure]]:
        """The rattled structures that there are, by name."""
        named = [("cluster", self.cluster), ("crystal", self.bulk), ("skewed crystal", self.skewed)]
        return [(name, structure) for name, structure in named if structure is not None]
