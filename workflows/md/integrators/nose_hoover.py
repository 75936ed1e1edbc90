"""Constant temperature without noise: a Nosé–Hoover chain."""

from __future__ import annotations

import math

import numpy as np
from ase import units

from atomsym.workflows.md.integrators.base import Integrator
from atomsym.workflows.md.integrators.particles import FloatArray, Particles

_YOSHIDA = 1 / (2 - 2 ** (1 / 3))
SUBSTEPS = (_YOSHIDA, 1 - 2 * _YOSHIDA, _YOSHIDA)
"""Shares of a step whose errors cancel to fourth order (H. Yoshida, Phys. Lett. A 150, 262 (1990))."""


class NoseHooverChain(Integrator):
    """Velocity Verlet between two half steps of a Nosé–Hoover chain.

    The first link pulls 2K towards f k T (f degrees of freedom), each further link holds the one before at k T:
    Q₁ = f k T τ², Q_k = k T τ². Conserved: H + Σ Q v²/2 + f k T ξ₁ + k T Σ_{k>1} ξ_k.

    Args:
        particles: what it moves.
        timestep: ASE's unit of time.
        temperature: K, > 0.
        time: τ; the temperature swings with a period of about π√2 τ. ASE's unit of time.
        links: length of the chain.

    Source: G. J. Martyna, M. E. Tuckerman, D. J. Tobias, M. L. Klein, Mol. Phys. 87, 1117 (1996).
    """

    state_names = ("link_positions", "link_velocities")

    def __init__(self, particles: Particles, timestep: float, temperature: float, time: float, links: int = 3) -> None:
        super().__init__(particles, timestep)
        self.thermal_energy = units.kB * temperature
        self.link_positions: FloatArray = np.zeros(links)
        self.link_velocities: FloatArray = np.zeros(links)
        self._weights: FloatArray = np.ones(links)
        self._weights[0] = particles.degrees_of_freedom
        self._masses: FloatArray = self._weights * self.thermal_energy * time**2

    def step(self, *, stress: bool = False) -> None:
        self._chain(0.5 * self.timestep)
        self._kick(0.5 * self.timestep)
        self._drift(self.timestep)
        self.particles.evaluate(stress=stress)
        self._kick(0.5 * self.timestep)
        self._chain(0.5 * self.timestep)

    def _chain(self, time: float) -> None:
        """Exact flow of each term of the chain's motion, in symmetric order."""
        twice_kinetic, scale = 2 * self.particles.kinetic_energy, 1.0
        velocity, links = self.link_velocities, len(self.link_velocities)
        for share in SUBSTEPS:
            part = share * time
            for link in reversed(range(links)):
                self._push(link, twice_kinetic, 0.5 * part)
            factor = math.exp(-velocity[0] * part)
            scale *= factor
            twice_kinetic *= factor**2
            self.link_positions += velocity * part
            for link in range(links):
                self._push(link, twice_kinetic, 0.5 * part)
        self.particles.momenta *= scale

    def _push(self, link: int, twice_kinetic: float, time: float) -> None:
        velocity = self.link_velocities
        heat = twice_kinetic if link == 0 else self._masses[link - 1] * velocity[link - 1] ** 2
        force = (heat - self._weights[link] * self.thermal_energy) / self._masses[link]
        last = link == len(velocity) - 1
        damping = 1.0 if last else math.exp(-0.5 * time * velocity[link + 1])
        velocity[link] = (velocity[link] * damping + time * force) * damping

    def extra_energy(self) -> float:
        kinetic = 0.5 * float(self._masses @ self.link_velocities**2)
        return kinetic + self.thermal_energy * float(self._weights @ self.link_positions)
