"""Integrators: conserved quantities, reversibility, exact distributions, and what may not move."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixBondLengths

from atomsym.calculators.ase import AtomsymCalculator
from atomsym.core import ConfigError, InputError, PropertyNotAvailableError
from atomsym.testing import tolerances
from atomsym.workflows.md import MdSettings
from atomsym.workflows.md.analysis import standard_error
from atomsym.workflows.md.integrators import (
    Integrator,
    Langevin,
    LangevinPiston,
    NoseHooverChain,
    Particles,
    make_integrator,
)
from atomsym.workflows.md.settings import ENSEMBLES

SIGMAS = tolerances.STATISTICAL_SIGMAS


def hot_argon(temperature: float = 60.0, n: int = 2, **calculator: Any) -> Particles:
    atoms = bulk("Ar", "fcc", a=5.5, cubic=True) * (n, n, n)
    atoms.calc = AtomsymCalculator("argon", **calculator)
    particles = Particles(atoms)
    particles.draw_momenta(temperature, np.random.default_rng(0))
    particles.evaluate(stress=True)
    return particles


def integrator(particles: Particles, ensemble: str, timestep: float = 4.0, **settings: Any) -> Integrator:
    chosen = {"temperature": 60.0, "thermostat_time": 200.0, "barostat_time": 400.0, **settings}
    described = MdSettings(system="", model="", ensemble=ensemble, timestep=timestep, **chosen)
    return make_integrator(described.ensemble, described, particles, np.random.default_rng(1))


def conserved(ensemble: str, timestep: float, steps: int) -> np.ndarray:
    """Conserved energy per atom in meV, at times that do not depend on the time step."""
    particles = hot_argon()
    moves = integrator(particles, ensemble, timestep)
    found = []
    for _ in range(steps):
        moves.step()
        found.append(moves.conserved_energy())
    return np.array(found) / len(particles.positions) * 1e3


def order_in_time_step(ensemble: str) -> float:
    coarse, fine = conserved(ensemble, 8.0, 100), conserved(ensemble, 4.0, 200)
    return float(np.log2(np.ptp(coarse) / np.ptp(fine)))


@pytest.mark.parametrize("ensemble", ["nve", "nvt-nose-hoover"])
def test_conserved_energy_deviates_by_the_square_of_the_time_step(ensemble: str) -> None:
    assert order_in_time_step(ensemble) == pytest.approx(2.0, abs=0.3)


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_conserved_energy_stays(ensemble: str) -> None:
    assert np.ptp(conserved(ensemble, 2.0, 200)) < tolerances.MD_CONSERVED_ENERGY


def test_a_wrong_piston_or_chain_does_not_conserve(monkeypatch: pytest.MonkeyPatch) -> None:
    right = LangevinPiston._push_piston

    def without_ideal_share(self: LangevinPiston, time: float) -> None:
        right(self, time)
        share = 2 * self.particles.kinetic_energy / self.particles.degrees_of_freedom
        self.strain_rate -= time / self.piston_mass * share * np.eye(3)

    monkeypatch.setattr(LangevinPiston, "_push_piston", without_ideal_share)
    assert np.ptp(conserved("npt-isotropic", 2.0, 200)) > tolerances.MD_CONSERVED_ENERGY
    monkeypatch.setattr(NoseHooverChain, "_kick", lambda self, time: Integrator._kick(self, 1.01 * time))
    assert np.ptp(conserved("nvt-nose-hoover", 2.0, 200)) > tolerances.MD_CONSERVED_ENERGY


@pytest.mark.parametrize("ensemble", ["nve", "nvt-nose-hoover", "npt-isotropic", "npt-full-cell"])
def test_motion_without_noise_is_reversible(ensemble: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LangevinPiston, "_friction", lambda self: None)
    particles = hot_argon()
    moves = integrator(particles, ensemble)
    start = particles.positions.copy()
    for _ in range(20):
        moves.step()
    particles.momenta *= -1
    for name in ("link_velocities", "strain_rate"):
        if hasattr(moves, name):
            setattr(moves, name, -getattr(moves, name))
    moved = np.abs(particles.positions - start).max()
    for _ in range(20):
        moves.step()
    assert moved > 0.1
    assert np.abs(particles.positions - start).max() < tolerances.MD_REVERSIBILITY


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_total_momentum_stays_zero(ensemble: str) -> None:
    particles = hot_argon()
    moves = integrator(particles, ensemble)
    for _ in range(50):
        moves.step()
    assert np.abs(particles.momenta.sum(axis=0)).max() < 1e-10
    assert particles.degrees_of_freedom == 3 * 32 - 3


def test_an_isotropic_piston_keeps_the_shape_and_a_full_one_the_orientation() -> None:
    for ensemble, changes_shape in (("npt-isotropic", False), ("npt-full-cell", True)):
        particles = hot_argon()
        start = particles.cell.copy()
        moves = integrator(particles, ensemble, pressure=0.2)
        for _ in range(60):
            moves.step()
        deformation = np.linalg.solve(start, particles.cell)
        assert np.linalg.det(deformation) < 0.98
        assert np.allclose(deformation, deformation[0, 0] * np.eye(3), atol=1e-12) is not changes_shape
        assert isinstance(moves, LangevinPiston)
        assert np.array_equal(moves.strain_rate, moves.strain_rate.T)


@pytest.mark.parametrize("ensemble", ["nve", "nvt-langevin", "nvt-nose-hoover"])
def test_held_atoms_do_not_move_and_do_not_count(ensemble: str) -> None:
    atoms = bulk("Ar", "fcc", a=5.5, cubic=True) * (2, 2, 2)
    atoms.rattle(0.1, seed=0)
    atoms.set_constraint(FixAtoms([0, 5]))
    atoms.calc = AtomsymCalculator("argon")
    particles = Particles(atoms)
    particles.draw_momenta(60.0, np.random.default_rng(0))
    particles.evaluate()
    before = particles.positions.copy()
    moves = integrator(particles, ensemble)
    for _ in range(20):
        moves.step()
    still = np.flatnonzero((particles.positions == before).all(axis=1))
    assert still.tolist() == [0, 5]
    assert particles.degrees_of_freedom == 3 * 30


# Exact distributions: an ideal gas needs no model, so a long run costs little ----------------------------------------


class NoForces(Calculator):
    """An ideal gas."""

    ignored_changes = frozenset(all_changes)  # its answer never changes

    implemented_properties = ("energy", "forces", "stress")

    def calculate(self, atoms: Atoms | None = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        self.atoms = atoms
        self.results = {"energy": 0.0, "forces": np.zeros((len(atoms), 3)), "stress": np.zeros(6)}


def ideal_gas(n_atoms: int, length: float) -> Particles:
    generator = np.random.default_rng(2)
    numbers = [18] * (n_atoms // 2) + [10] * (n_atoms - n_atoms // 2)  # two masses
    atoms = Atoms(numbers=numbers, positions=generator.uniform(0, length, (n_atoms, 3)), cell=[length] * 3, pbc=True)
    atoms.calc = NoForces()
    particles = Particles(atoms)
    particles.draw_momenta(300.0, generator)
    particles.evaluate(stress=True)
    return particles


def assert_within_sigmas(values: np.ndarray, expected: float) -> None:
    assert abs(values.mean() - expected) < SIGMAS * standard_error(values, 20), (values.mean(), expected)


def test_f17_langevin_kinetic_energies_are_canonical() -> None:
    particles = ideal_gas(6, 20.0)
    moves = Langevin(particles, 1.0, 300.0, 3.0, np.random.default_rng(3))
    kinetic = np.array([(moves.step(), particles.kinetic_energy)[1] for _ in range(4_000)]) / (units.kB * 300)
    shape = particles.degrees_of_freedom / 2  # K / kT is gamma-distributed: mean and variance f/2
    assert_within_sigmas(kinetic, shape)
    assert_within_sigmas((kinetic - shape) ** 2, shape)


def test_f17_volumes_of_an_ideal_gas_are_gamma_distributed() -> None:
    n_atoms, thermal = 6, units.kB * 300
    pressure = n_atoms * thermal / 20.0**3
    particles = ideal_gas(n_atoms, 20.0)
    moves = LangevinPiston(particles, 2.0, 300.0, pressure, 8.0, 16.0, np.random.default_rng(4))
    volumes = np.array([(moves.step(), particles.volume)[1] for _ in range(8_000)]) * pressure / thermal
    # p(V) ∝ V^(N−1) exp(−PV/kT) with the centre of mass at rest: mean and variance N
    assert_within_sigmas(volumes, n_atoms)
    assert_within_sigmas((volumes - n_atoms) ** 2, n_atoms)


# Distributions of a real potential -----------------------------------------------------------------------------------


def production(ensemble: str, temperature: float, pressure: float, steps: int) -> Iterator[tuple[Particles, float]]:
    particles = hot_argon(temperature)
    start = integrator(particles, "nvt-langevin", temperature=temperature, thermostat_time=100.0)
    for _ in range(1000):
        start.step()
    particles.evaluate(stress=True)
    moves = integrator(particles, ensemble, temperature=temperature, pressure=pressure, barostat_time=300.0)
    for step in range(steps):
        moves.step()
        if step >= 500:
            yield particles, moves.conserved_energy()


@pytest.mark.slow
@pytest.mark.parametrize("ensemble", [name for name in ENSEMBLES if name != "nve"])
def test_f17_kinetic_energies_of_argon_are_canonical(ensemble: str) -> None:
    kinetic = np.array([p.kinetic_energy for p, _ in production(ensemble, 60.0, 1e-4, 15_000)]) / (units.kB * 60.0)
    shape = (3 * 32 - 3) / 2
    assert_within_sigmas(kinetic, shape)
    assert_within_sigmas((kinetic - shape) ** 2, shape)


@pytest.mark.slow
@pytest.mark.parametrize("ensemble", ["nvt-langevin", "nvt-nose-hoover"])
def test_f17_energies_at_two_temperatures_have_the_ratio_of_their_boltzmann_factors(ensemble: str) -> None:
    temperatures = (58.0, 62.0)
    samples = [np.array([p.energy for p, _ in production(ensemble, t, 1e-4, 15_000)]) for t in temperatures]
    expected = 1 / (units.kB * temperatures[0]) - 1 / (units.kB * temperatures[1])
    assert_ratio(samples, expected)


@pytest.mark.slow
def test_f17_volumes_at_two_pressures_have_the_ratio_of_their_boltzmann_factors() -> None:
    pressures = (0.0, 0.02)
    samples = [np.array([q.volume for q, _ in production("npt-isotropic", 60.0, p, 20_000)]) for p in pressures]
    expected = (pressures[1] - pressures[0]) * units.GPa / (units.kB * 60.0)
    assert_ratio(samples, -expected)


def assert_ratio(samples: list[np.ndarray], expected: float) -> None:
    """log p₂(x)/p₁(x) = expected · x + constant: fitted by maximum likelihood on blocks, which give the error."""
    slopes = []
    for block in range(10):
        first, second = (np.array_split(values, 10)[block] for values in samples)
        slopes.append(_logistic_slope(first, second))
    error = np.std(slopes, ddof=1) / np.sqrt(10)
    assert abs(np.mean(slopes) - expected) < SIGMAS * error, (np.mean(slopes), expected, error)


def _logistic_slope(first: np.ndarray, second: np.ndarray) -> float:
    x = np.concatenate([first, second])
    centre, width = x.mean(), x.std()
    design = np.stack([np.ones_like(x), (x - centre) / width], axis=1)
    label = np.concatenate([np.zeros(len(first)), np.ones(len(second))])
    weights = np.zeros(2)
    for _ in range(50):
        probability = 1 / (1 + np.exp(-design @ weights))
        curvature = (design * (probability * (1 - probability))[:, None]).T @ design
        weights += np.linalg.solve(curvature, design.T @ (label - probability))
    return float(weights[1] / width)


# Input ---------------------------------------------------------------------------------------------------------------


def test_what_cannot_be_simulated_is_said() -> None:
    gas = molecule("H2O")
    gas.calc = EMT()
    with pytest.raises(InputError, match="periodic in three directions"):
        integrator(Particles(gas), "npt")
    held = bulk("Ar", cubic=True)
    held.set_constraint(FixAtoms([0]))
    with pytest.raises(InputError, match="holds some fixed"):
        integrator(Particles(held), "npt-full-cell")
    held.set_constraint(FixAtoms([0, 1, 2, 3]))
    with pytest.raises(InputError, match="nothing to move"):
        Particles(held)
    held.set_constraint(FixBondLengths([[0, 1]]))
    with pytest.raises(InputError, match="FixBondLengths"):
        Particles(held)
    held.set_constraint()
    held.set_masses([39.9, 0.0, 39.9, 39.9])
    with pytest.raises(InputError, match=r"atoms\[1\] has no mass"):
        Particles(held)
    with pytest.raises(ConfigError, match="no ensemble"):
        make_integrator("nph", MdSettings("", ""), hot_argon(), np.random.default_rng())


def test_pressure_without_stress_is_refused() -> None:
    particles = hot_argon()
    particles.evaluate()
    with pytest.raises(PropertyNotAvailableError, match="stress"):
        particles.pressure_tensor()
