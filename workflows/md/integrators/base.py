"""What every integrator has in common: a step, a conserved quantity, and a state that a restart file can hold."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atomsym.workflows.md.integrators.particles import Particles


class Integrator(ABC):
    """Moves particles by one step of ``timestep`` (ASE's unit of time).

    An integrator starts from forces of the present positions, so ``particles.evaluate`` comes before the first step;
    integrators with ``needs_stress`` start from the stress as well.

    Args:
        particles: what it moves.
        timestep: of one step, ASE's unit of time.

    Attributes:
        needs_stress: whether the stress of every step is needed.
        state_names: attributes that, together with positions, momenta and cell, determine all that follows.
    """

    needs_stress = False
    state_names: tuple[str, ...] = ()

    def __init__(self, particles: Particles, timestep: float) -> None:
        self.particles = particles
        self.timestep = timestep

    @abstractmethod
    def step(self, *, stress: bool = False) -> None:
        """Advance by one step; ``stress`` asks for the stress of the new positions as well."""

    def extra_energy(self) -> float:
        """What has to be added to the total energy of the particles to get the conserved quantity, eV."""
        return 0.0

    def conserved_energy(self) -> float:
        """Constant for exact integration, eV: how far it drifts tells how good the time step is."""
        return self.particles.energy + self.particles.kinetic_energy + self.extra_energy()

    def state(self) -> dict[str, NDArray[np.float64]]:
        """The integrator's own variables."""
        return {name: np.array(getattr(self, name), dtype=np.float64) for name in self.state_names}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what ``state`` returned.

        Raises:
            KeyError, ValueError: if a variable is missing or has another shape.
        """
        for name in self.state_names:
            present, value = getattr(self, name), np.asarray(state[name], dtype=np.float64)
            if value.shape != np.shape(present):
                raise ValueError(f"{name} has the shape {value.shape}; {np.shape(present)} is expected")
            setattr(self, name, value.copy() if isinstance(present, np.ndarray) else float(value))

    def _kick(self, time: float) -> None:
        self.particles.momenta += time * self.particles.forces

    def _drift(self, time: float) -> None:
        self.particles.positions += time * self.particles.momenta / self.particles.masses
