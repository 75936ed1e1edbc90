"""Constant temperature: Langevin dynamics."""

from __future__ import annotations

import math

import numpy as np
from ase import units

from atomsym.workflows.md.integrators.base import Integrator
from atomsym.workflows.md.integrators.particles import Particles


class Langevin(Integrator):
    """Langevin dynamics in the splitting kick, drift, friction with noise, drift, kick (BAOAB).

    dp = (F − p/τ) dt + √(2 m k T / τ) dW, with zero total momentum unless atoms are held. The friction step is exact:
    p ← c p + √((1 − c²) m k T) ξ with c = exp(−dt/τ). The conserved quantity is the total energy less the heat that the
    friction steps brought in. Positions are sampled to O(dt⁴) for harmonic motion; the temperature of the momenta
    reads low by (ω dt)²/4 for a vibration ω, as it does in velocity Verlet.

    Args:
        particles: what it moves.
        timestep: ASE's unit of time.
        temperature: K.
        time: τ, the time in which momenta forget, ASE's unit of time.
        generator: of the noise; its state belongs to the state of the run.

    Source: B. Leimkuhler, C. Matthews, J. Chem. Phys. 138, 174102 (2013); conserved quantity: G. Bussi, M. Parrinello,
        Phys. Rev. E 75, 056707 (2007).
    """

    state_names = ("heat",)

    def __init__(
        self, particles: Particles, timestep: float, temperature: float, time: float, generator: np.random.Generator
    ) -> None:
        super().__init__(particles, timestep)
        self.generator = generator
        self.heat = 0.0
        self._keep = math.exp(-timestep / time)
        self._noise = np.sqrt((1 - self._keep**2) * units.kB * temperature * particles.masses)

    def step(self, *, stress: bool = False) -> None:
        self._kick(0.5 * self.timestep)
        self._drift(0.5 * self.timestep)
        self._friction()
        self._drift(0.5 * self.timestep)
        self.particles.evaluate(stress=stress)
        self._kick(0.5 * self.timestep)

    def _friction(self) -> None:
        particles = self.particles
        before = particles.kinetic_energy
        particles.momenta *= self._keep
        particles.momenta += self._noise * self.generator.standard_normal(particles.momenta.shape)
        particles.remove_drift()
        self.heat += particles.kinetic_energy - before

    def extra_energy(self) -> float:
        return -self.heat
