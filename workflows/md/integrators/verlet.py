"""Constant energy: velocity Verlet."""

from __future__ import annotations

from atomsym.workflows.md.integrators.base import Integrator


class VelocityVerlet(Integrator):
    """Half a kick, a drift, half a kick; conserves the energy to O(dt²) without drift.

    Source: W. C. Swope, H. C. Andersen, P. H. Berens, K. R. Wilson, J. Chem. Phys. 76, 637 (1982).
    """

    def step(self, *, stress: bool = False) -> None:
        self._kick(0.5 * self.timestep)
        self._drift(self.timestep)
        self.particles.evaluate(stress=stress)
        self._kick(0.5 * self.timestep)
