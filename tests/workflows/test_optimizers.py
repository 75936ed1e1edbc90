"""Second-order optimizers: quadratic convergence, trust, invariance, exact resumption, typed refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.morse import MorsePotential
from ase.constraints import FixAtoms, FixBondLengths
from ase.filters import FrechetCellFilter
from ase.io import Trajectory
from ase.optimize import BFGS
from scipy.spatial.transform import Rotation

from atomsym.core import AtomsymError, CalculationError, ConfigError, InputError
from atomsym.workflows.hessian_source import hessian_of
from atomsym.workflows.optimizers import PRFO, RFO, Newton, SecondOrderOptimizer
from atomsym.workflows.optimizers.model_surfaces import MullerBrown, Quadratic, one_atom

WIDE = {"trust_radius": 2.0, "largest_radius": 2.0}
MINIMIZERS = (RFO, Newton)


TETRAHEDRON = 0.6 * np.array([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])


def fine_hessian(atoms: Atoms) -> np.ndarray:
    """Differences so fine that they do not depend on the frame."""
    return hessian_of(atoms, step=2e-4).hessian


def stretched(name: str = "CH3CH2OH") -> Atoms:
    atoms = molecule(name, calculator=EMT())
    atoms.positions += np.random.default_rng(5).normal(0, 0.08, (len(atoms), 3))
    return atoms


def test_newton_finds_the_minimum_of_a_quadratic_function_in_one_step() -> None:
    atoms = one_atom(Quadratic(), (0.9, 0.4, -0.5))
    optimizer = Newton(atoms, **WIDE)
    assert optimizer.run(fmax=1e-10, steps=5)
    assert optimizer.nsteps == 1
    assert atoms.positions[0] == pytest.approx(Quadratic.minimum, abs=1e-12)


def test_rational_steps_converge_quadratically() -> None:
    atoms = one_atom(Quadratic(), (0.5, 0.0, 0.1))
    optimizer, forces = RFO(atoms, **WIDE), []
    optimizer.attach(lambda: forces.append(np.linalg.norm(atoms.get_forces()[0])))
    assert optimizer.run(fmax=1e-9, steps=10)
    late = [i for i in range(1, len(forces) - 1) if 1e-7 < forces[i] < 0.5]
    assert late
    assert all(forces[i + 1] < 2 * forces[i] ** 2 for i in late)


@pytest.mark.parametrize("method", MINIMIZERS)
@pytest.mark.parametrize("every", [0, 1, 3])
def test_a_curved_valley_ends_in_a_minimum(method: type[SecondOrderOptimizer], every: int) -> None:
    atoms = one_atom(MullerBrown(), (-0.82, 0.70, 0.3))  # near the saddle point, where one curvature is negative
    optimizer = method(atoms, hessian_every=every)
    assert optimizer.run(fmax=1e-5, steps=100)
    minima = np.array([[-0.558224, 1.441726, 0], [0.623499, 0.028038, 0], [-0.050011, 0.466694, 0]])
    assert np.linalg.norm(minima - atoms.positions[0], axis=1).min() < 1e-4


@pytest.mark.parametrize("method", MINIMIZERS)
def test_steps_stay_within_the_trust_radius(method: type[SecondOrderOptimizer]) -> None:
    atoms = stretched()
    before = [atoms.get_positions()]
    optimizer = method(atoms, trust_radius=0.02, largest_radius=0.02)
    optimizer.attach(lambda: before.append(atoms.get_positions()))
    optimizer.run(fmax=0.01, steps=6)
    moves = np.sqrt((np.diff(before[1:], axis=0) ** 2).sum(axis=(1, 2)) / len(atoms))
    assert moves.max() <= 0.02 + 1e-9
    assert moves.max() > 0.019


def test_a_ridge_is_left_downhill() -> None:
    """No slope along the negative curvature: only the hard case of the trust region leaves it."""
    atoms = one_atom(Quadratic((-1.0, 4.0, 9.0)), tuple(Quadratic.minimum + 1e-12))
    Newton(atoms, trust_radius=0.2).step()
    assert atoms.get_potential_energy() < -0.015


@pytest.mark.parametrize("method", MINIMIZERS)
@pytest.mark.parametrize("every", [0, 1])
def test_molecules_reach_the_minimum_of_bfgs_in_fewer_steps(method: type[SecondOrderOptimizer], every: int) -> None:
    reference, atoms = stretched("CO2"), stretched("CO2")
    bfgs, optimizer = BFGS(reference, logfile=None), method(atoms, hessian_every=every)
    assert bfgs.run(fmax=0.01, steps=200)
    assert optimizer.run(fmax=0.01, steps=200)
    assert optimizer.nsteps < bfgs.nsteps
    assert atoms.get_potential_energy() == pytest.approx(reference.get_potential_energy(), abs=1e-3)
    assert optimizer.hessian_calls == 1 if every == 0 else 1 < optimizer.hessian_calls <= optimizer.nsteps


@pytest.mark.parametrize("method", [RFO, Newton, PRFO])
def test_a_turned_start_takes_the_same_steps(method: type[SecondOrderOptimizer]) -> None:
    turn = Rotation.from_rotvec([0.4, -1.1, 0.7]).as_matrix()
    first = Atoms("Ar4", np.random.default_rng(2).normal(0, 0.2, (4, 3)) + TETRAHEDRON)
    second = Atoms("Ar4", first.positions @ turn.T + 3.0)
    for atoms in (first, second):
        atoms.calc = MorsePotential(epsilon=1.0, r0=1.5, rcut1=20.0, rcut2=21.0)
        method(atoms, hessian_every=3, hessian=fine_hessian).run(fmax=1e-9, steps=8)
    expected = first.positions @ turn.T + 3.0
    assert np.abs(second.positions - expected).max() < 1e-5


@pytest.mark.parametrize("method", [RFO, Newton, PRFO])
@pytest.mark.parametrize("every", [0, 2])
def test_resuming_is_exact(method: type[SecondOrderOptimizer], every: int, tmp_path: Path) -> None:
    whole, parts = stretched(), stretched()
    reference = method(whole, hessian_every=every)
    reference.run(fmax=1e-9, steps=7)
    for steps in (4, 3):
        optimizer = method(parts, hessian_every=every, restart=tmp_path / "restart.json")
        for _ in range(steps):
            optimizer.step()
        parts = Atoms(parts.symbols, parts.positions, calculator=EMT())
    assert np.array_equal(parts.positions, whole.positions)
    assert optimizer.hessian_calls == reference.hessian_calls


def test_held_atoms_stay_and_trajectories_are_written(tmp_path: Path) -> None:
    atoms = stretched()
    atoms.set_constraint(FixAtoms([0, 1]))
    held = atoms.positions[:2].copy()
    optimizer = RFO(atoms, trajectory=tmp_path / "run.traj", logfile=str(tmp_path / "log"))
    assert optimizer.run(fmax=0.01, steps=100)
    assert np.array_equal(atoms.positions[:2], held)
    with Trajectory(tmp_path / "run.traj") as frames:
        assert len(frames) == optimizer.nsteps + 1
    assert "RFO" in (tmp_path / "log").read_text()


def test_a_crystal_keeps_its_translations_out() -> None:
    atoms = bulk("Cu", cubic=True) * (2, 1, 1)
    atoms.calc = EMT()
    atoms.rattle(0.05, seed=3)
    centre = atoms.positions.mean(axis=0)
    assert RFO(atoms, hessian_every=0).run(fmax=0.001, steps=30)
    assert atoms.positions.mean(axis=0) == pytest.approx(centre, abs=1e-9)


@pytest.mark.parametrize("every", [0, 1, 4])
def test_a_saddle_point_is_found_from_its_neighborhood(every: int) -> None:
    atoms = one_atom(MullerBrown(), (-0.7, 0.75, 0.1))
    assert PRFO(atoms, hessian_every=every).run(fmax=1e-5, steps=60)
    assert atoms.positions[0] == pytest.approx(MullerBrown.saddle, abs=1e-4)


def test_a_saddle_point_is_found_from_a_minimum_along_a_direction() -> None:
    atoms = one_atom(MullerBrown(), (0.6234994, 0.0280377, 0.0))
    direction = np.zeros((4, 3))
    direction[0] = (-0.4, 0.26, 0.0)
    optimizer = PRFO(atoms, direction=direction)
    optimizer.step()
    assert atoms.positions[0, 0] < 0.62
    assert optimizer.run(fmax=1e-5, steps=100)
    assert atoms.positions[0] == pytest.approx((0.212487, 0.292988, 0.0), abs=1e-4)
    assert optimizer.followed_mode.shape == (4, 3)
    assert np.linalg.norm(optimizer.followed_mode) == pytest.approx(1)


def test_the_wrong_sign_along_the_followed_mode_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted bug: downhill along the followed mode too. What is found then is no saddle point."""
    right = PRFO.choose_step

    def wrong(self: PRFO, model: Any, radius: float) -> np.ndarray:
        step = right(self, model, radius)
        followed = int(np.abs(model.modes.T @ self.followed_mode[0]).argmax())
        step[followed] *= -1
        return step

    monkeypatch.setattr(PRFO, "choose_step", wrong)
    atoms = one_atom(MullerBrown(), (-0.7, 0.75, 0.1))
    PRFO(atoms).run(fmax=1e-5, steps=60)
    assert np.linalg.norm(atoms.positions[0] - MullerBrown.saddle) > 0.1


def test_a_hessian_function_takes_the_place_of_our_own() -> None:
    calculator = Quadratic()
    atoms, calls = one_atom(calculator, (0.4, 0.0, 0.0)), []

    def hessian(atoms: Atoms) -> np.ndarray:
        calls.append(len(atoms))
        return calculator.get_hessian(atoms)

    assert Newton(atoms, hessian=hessian, **WIDE).run(fmax=1e-9, steps=3)
    assert calls == [4]
    with pytest.raises(InputError, match=r"gave the shape \(2, 2\)"):
        Newton(one_atom(calculator, (0.4, 0, 0)), hessian=lambda _: np.eye(2)).run()
    with pytest.raises(CalculationError, match="the Hessian is not finite"):
        Newton(one_atom(calculator, (0.4, 0, 0)), hessian=lambda _: np.full((3, 3), np.nan)).run()


def refusals() -> list[tuple[Any, dict[str, Any], str]]:
    water, held, bonded = stretched("H2O"), stretched("H2O"), stretched("H2O")
    held.set_constraint(FixAtoms([0, 1, 2]))
    bonded.set_constraint(FixBondLengths([[0, 1]]))
    copper = bulk("Cu", cubic=True)
    copper.calc = EMT()
    single = Atoms("Cu", calculator=EMT())
    return [
        (FrechetCellFilter(copper), {}, "move atoms, not cells; found a FrechetCellFilter"),
        (molecule("H2O"), {}, "no calculator"),
        (held, {}, "every atom is held"),
        (bonded, {}, "FixBondLengths"),
        (single, {}, "only move as a rigid body"),
        (water, {"hessian_every": -1}, "hessian_every must be 0"),
        (water, {"hessian_every": 1.5}, "hessian_every must be 0"),
        (water, {"trust_radius": 0.0}, "trust radii must be"),
        (water, {"trust_radius": float("nan")}, "trust radii must be"),
    ]


@pytest.mark.parametrize(("atoms", "settings", "message"), refusals(), ids=lambda value: str(value)[:24])
def test_what_cannot_be_optimized_is_refused(atoms: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(AtomsymError, match=message):
        RFO(atoms, **settings).step()


def test_modes_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ConfigError, match="found -1"):
        PRFO(stretched("H2O"), mode=-1)
    with pytest.raises(ConfigError, match="there are 3 modes; mode 3 does not exist"):
        PRFO(stretched("H2O"), mode=3).step()
    with pytest.raises(InputError, match="zero or not finite"):
        PRFO(stretched("H2O"), direction=np.zeros(9))
    with pytest.raises(InputError, match="for 3 atoms"):
        PRFO(stretched("H2O"), direction=np.ones(6))


def test_a_restart_file_of_another_method_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "restart.json"
    RFO(stretched(), restart=path).step()
    with pytest.raises(ConfigError, match="Newton of 27 free coordinates cannot go on"):
        Newton(stretched(), restart=path)
    path.write_text("{")
    with pytest.raises(ConfigError, match="not a usable restart file of RFO"):
        RFO(stretched(), restart=path)
