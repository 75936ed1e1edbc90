"""Stops a run that has blown up, and says why, before it fills a disk with nonsense."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
import torch
from ase import Atoms

from atomsym.core import AtomsymError
from atomsym.kernels.neighbors import neighbor_list
from atomsym.workflows.md.integrators import Particles

MAX_TEMPERATURE = 1e4  # K
MAX_FORCE = 50.0  # eV/Å
MIN_PAIR_DISTANCE = 0.5  # Å
MAX_ENERGY_JUMP = 1.0  # eV/atom
CHECK_EVERY = 10  # steps between the full checks; NaN is looked for at every step


class SimulationBlewUpError(AtomsymError, RuntimeError):
    """The run left the region where the model means anything."""


class BlowUpGuard:
    """Watches a simulation; keeps the last frames for the post-mortem.

    The energy that must not jump is the conserved quantity of the integrator: a thermostat may heat a crystal from its
    lattice, or a barostat compress it, without an alarm.

    Args:
        target_temperature: K; ten times it counts as blown up (0: only the absolute limit counts).
    """

    def __init__(self, target_temperature: float) -> None:
        limit = 10 * target_temperature
        self.max_temperature = min(limit, MAX_TEMPERATURE) if limit > 0 else MAX_TEMPERATURE
        self.last_frames: deque[Atoms] = deque(maxlen=20)
        self._reference_energy: float | None = None

    def check(self, particles: Particles, conserved_energy: float, step: int) -> None:
        """Look at the state after a step.

        Raises:
            SimulationBlewUpError: naming the step and the first limit that is broken.
        """
        if not self.last_frames:
            self.last_frames.append(particles.atoms.copy())
        if not (math.isfinite(conserved_energy) and np.isfinite(particles.positions).all()):
            raise SimulationBlewUpError(f"step {step}: the energy or a position is not a finite number")
        if step % CHECK_EVERY:
            return
        self.last_frames.append(particles.atoms.copy())
        reason = self._reason(particles, conserved_energy)
        if reason is not None:
            raise SimulationBlewUpError(f"step {step}: {reason}. Try a smaller time step or another starting structure")

    def reset_energy(self) -> None:
        """Forget the reference energy: another integrator conserves another quantity."""
        self._reference_energy = None

    def _reason(self, particles: Particles, conserved_energy: float) -> str | None:
        if particles.temperature > self.max_temperature:
            return f"the temperature is {particles.temperature:.0f} K (limit {self.max_temperature:.0f} K)"
        sizes = np.abs(particles.forces)
        if (largest := float(sizes.max())) > MAX_FORCE:
            return f"a force component of atom {int(sizes.max(axis=1).argmax())} is {largest:.1f} eV/Å"
        energy = conserved_energy / len(particles.positions)
        if self._reference_energy is None:
            self._reference_energy = energy
        if abs(energy - self._reference_energy) > MAX_ENERGY_JUMP:
            return f"the conserved energy moved by {energy - self._reference_energy:+.2f} eV/atom"
        close = neighbor_list(
            torch.from_numpy(particles.positions),
            MIN_PAIR_DISTANCE,
            cell=torch.from_numpy(particles.cell),
            pbc=torch.from_numpy(particles.atoms.pbc),
        ).edge_index
        if close.shape[1]:
            first, second = close[:, 0].tolist()
            return f"atoms {first} and {second} are closer than {MIN_PAIR_DISTANCE} Å"
        return None
