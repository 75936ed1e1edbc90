"""Constant temperature and pressure: a Langevin piston on the cell, Langevin dynamics of the atoms."""

from __future__ import annotations

import math

import numpy as np
from ase import units

from atomsym.workflows.md.integrators.base import Integrator
from atomsym.workflows.md.integrators.particles import FloatArray, Particles


class LangevinPiston(Integrator):
    """Martyna–Tobias–Klein motion of atoms and cell, with Langevin friction on both.

    With the strain rate v (a symmetric matrix; a multiple of the unit matrix if isotropic), f degrees of freedom and
    the piston's mass W = (f + 3) k T τ² / 3:

    dx/dt = p/m + v x,   dh/dt = v h,   dp/dt = F − (v + tr v / f) p,
    W dv/dt = V (P_inner − P) + 2K/f,

    plus friction and noise as in ``Langevin``. Conserved: H + P V + W tr(v²)/2 less the heat that the friction brought
    in. Noise on the piston makes it ergodic where a deterministic one rings: in small and in harmonic systems. The
    cell keeps its orientation, since v is symmetric.

    Args:
        particles: what it moves; no atom may be held.
        timestep: ASE's unit of time.
        temperature: K, > 0.
        pressure: eV/Å³.
        thermostat_time: in which momenta forget, ASE's unit of time.
        barostat_time: τ, in which the strain rate forgets and which sets the piston's mass.
        isotropic: change the volume alone; otherwise lengths and angles too.
        generator: of the noise; its state belongs to the state of the run.

    Source: D. Quigley, M. I. J. Probert, J. Chem. Phys. 120, 11432 (2004), after G. J. Martyna, D. J. Tobias,
        M. L. Klein, J. Chem. Phys. 101, 4177 (1994); the splitting here is symmetric about the friction.
    """

    needs_stress = True
    state_names = ("strain_rate", "heat")

    def __init__(
        self,
        particles: Particles,
        timestep: float,
        temperature: float,
        pressure: float,
        thermostat_time: float,
        barostat_time: float,
        generator: np.random.Generator,
        *,
        isotropic: bool = True,
    ) -> None:
        super().__init__(particles, timestep)
        self.pressure, self.isotropic, self.generator = pressure, isotropic, generator
        self.strain_rate: FloatArray = np.zeros((3, 3))
        self.heat = 0.0
        thermal = units.kB * temperature
        self.piston_mass = (particles.degrees_of_freedom + 3) * thermal * barostat_time**2 / 3
        self._keep = math.exp(-timestep / thermostat_time)
        self._noise = np.sqrt((1 - self._keep**2) * thermal * particles.masses)
        self._piston_keep = math.exp(-timestep / barostat_time)
        self._piston_noise = math.sqrt((1 - self._piston_keep**2) * thermal / self.piston_mass)

    def step(self, *, stress: bool = False) -> None:
        half = 0.5 * self.timestep
        self._push_piston(half)
        self._kick_with_strain(half)
        self._drift_with_strain(half)
        self._friction()
        self._drift_with_strain(half)
        self.particles.evaluate(stress=True)
        self._kick_with_strain(half)
        self._push_piston(half)

    def extra_energy(self) -> float:
        piston = 0.5 * self.piston_mass * float((self.strain_rate**2).sum())
        return piston + self.pressure * self.particles.volume - self.heat

    def _push_piston(self, time: float) -> None:
        particles = self.particles
        share = 2 * particles.kinetic_energy / particles.degrees_of_freedom
        force = particles.volume * (particles.pressure_tensor() - self.pressure * np.eye(3)) + share * np.eye(3)
        self.strain_rate += time / self.piston_mass * self._allowed(0.5 * (force + force.T))

    def _kick_with_strain(self, time: float) -> None:
        """Exact for constant F and v: along the principal axes of v, p ← p e^(−λt) + F t (1 − e^(−λt)) / (λt)."""
        rates, axes = np.linalg.eigh(self.strain_rate)
        x = time * (rates + rates.sum() / self.particles.degrees_of_freedom)
        shrink, average = axes * np.exp(-x) @ axes.T, axes * _mean_exponential(-x) @ axes.T
        self.particles.momenta[:] = self.particles.momenta @ shrink + time * (self.particles.forces @ average)

    def _drift_with_strain(self, time: float) -> None:
        """Exact for constant p and v, together with the cell."""
        particles = self.particles
        rates, axes = np.linalg.eigh(self.strain_rate)
        stretch = axes * np.exp(time * rates) @ axes.T
        average = axes * _mean_exponential(time * rates) @ axes.T
        particles.positions[:] = particles.positions @ stretch + time * (particles.momenta / particles.masses) @ average
        particles.cell[:] = particles.cell @ stretch

    def _friction(self) -> None:
        particles, before = self.particles, self._kinetic_energies()
        particles.momenta *= self._keep
        particles.momenta += self._noise * self.generator.standard_normal(particles.momenta.shape)
        particles.remove_drift()
        noise = self.generator.standard_normal((3, 3))
        symmetric = 0.5 * (noise + noise.T)  # variance 1 on the diagonal, 1/2 off it, as W tr(v²)/2 wants
        self.strain_rate = self._piston_keep * self.strain_rate + self._piston_noise * self._allowed(symmetric)
        self.heat += self._kinetic_energies() - before

    def _kinetic_energies(self) -> float:
        return self.particles.kinetic_energy + 0.5 * self.piston_mass * float((self.strain_rate**2).sum())

    def _allowed(self, matrix: FloatArray) -> FloatArray:
        """The part of a symmetric matrix along which the cell may change."""
        return np.eye(3) * (np.trace(matrix) / 3) if self.isotropic else matrix


def _mean_exponential(x: FloatArray) -> FloatArray:
    """(eˣ − 1) / x, and 1 at x = 0."""
    safe = np.where(x == 0, 1.0, x)
    return np.where(x == 0, 1.0, np.expm1(safe) / safe)
