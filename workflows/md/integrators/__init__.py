"""Integrators of molecular dynamics: each keeps a conserved quantity and can be restarted to the last bit."""

from atomsym.workflows.md.integrators.base import Integrator
from atomsym.workflows.md.integrators.langevin import Langevin
from atomsym.workflows.md.integrators.langevin_piston import LangevinPiston
from atomsym.workflows.md.integrators.make import make_integrator
from atomsym.workflows.md.integrators.nose_hoover import NoseHooverChain
from atomsym.workflows.md.integrators.particles import Particles
from atomsym.workflows.md.integrators.verlet import VelocityVerlet

__all__ = [
    "Integrator",
    "Langevin",
    "LangevinPiston",
    "NoseHooverChain",
    "Particles",
    "VelocityVerlet",
    "make_integrator",
]
