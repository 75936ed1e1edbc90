"""From settings to the integrator of an ensemble."""

from __future__ import annotations

import numpy as np
from ase import units

from atomsym.core import ConfigError, InputError
from atomsym.workflows.md.integrators.base import Integrator
from atomsym.workflows.md.integrators.langevin import Langevin
from atomsym.workflows.md.integrators.langevin_piston import LangevinPiston
from atomsym.workflows.md.integrators.nose_hoover import NoseHooverChain
from atomsym.workflows.md.integrators.particles import Particles
from atomsym.workflows.md.integrators.verlet import VelocityVerlet
from atomsym.workflows.md.settings import MdSettings


def make_integrator(
    ensemble: str, settings: MdSettings, particles: Particles, generator: np.random.Generator
) -> Integrator:
    """The integrator of an ensemble, at the beginning of its motion.

    Args:
        ensemble: one of ``settings.ENSEMBLES``.
        settings: time step, temperature, pressure and times.
        particles: what moves.
        generator: of the noise.

    Raises:
        InputError: if the ensemble changes the cell and the particles are not free and periodic in all directions.
        ConfigError: if there is no such ensemble.
    """
    timestep, thermostat_time = settings.timestep * units.fs, settings.thermostat_time * units.fs
    if ensemble == "nve":
        return VelocityVerlet(particles, timestep)
    if ensemble == "nvt-langevin":
        return Langevin(particles, timestep, settings.temperature, thermostat_time, generator)
    if ensemble == "nvt-nose-hoover":
        return NoseHooverChain(particles, timestep, settings.temperature, thermostat_time)
    if not ensemble.startswith("npt"):
        raise ConfigError(f"no ensemble '{ensemble}'")
    if not particles.has_volume:
        raise InputError(f"{ensemble} needs a structure that is periodic in three directions; its pbc is not")
    if not particles.free.all():
        raise InputError(f"{ensemble} moves every atom with the cell; the structure holds some fixed")
    return LangevinPiston(
        particles,
        timestep,
        settings.temperature,
        settings.pressure * units.GPa,
        thermostat_time,
        settings.barostat_time * units.fs,
        generator,
        isotropic=ensemble == "npt-isotropic",
    )
