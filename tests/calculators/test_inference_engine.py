"""The calculator uses the inference engine by itself, and nobody can tell but by the clock."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from atomsym.calculators.ase import AtomsymCalculator
from atomsym.calculators.evaluator import Evaluator
from atomsym.core import ConfigError, InputError
from atomsym.models import ARGON, MACE, LennardJones, MACEConfig
from atomsym.testing import tolerances


def potential(seed: int = 4) -> MACE:
    config = MACEConfig((1, 8, 14), 3.5, (-10.0, -100.0, -200.0), average_neighbors=8.0, channels=8, repulsion="smooth")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return MACE(config).double()


def crystal() -> Atoms:
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.1, seed=1)
    return atoms


def close(found: np.ndarray, expected: np.ndarray) -> bool:
    return bool(np.abs(found - expected).max() < tolerances.INFERENCE.float64 * np.abs(expected).max())


@pytest.mark.parametrize("atoms", [crystal(), molecule("H2O")], ids=["crystal", "molecule"])
def test_results_equal_those_of_autograd(atoms: Atoms) -> None:
    model = potential()
    fast, plain = AtomsymCalculator(model), AtomsymCalculator(model, engine="autograd")
    names = ["energy", "energies", "forces"] + (["stress"] if atoms.pbc.all() else [])
    for name in names:
        assert close(np.asarray(fast.get_property(name, atoms)), np.asarray(plain.get_property(name, atoms)))
    assert fast._ready()._engine is not None
    assert plain._ready()._engine is None


def test_the_engine_is_made_at_the_first_call_and_shared_with_copies() -> None:
    calculator = AtomsymCalculator(potential())
    evaluator = calculator._ready()
    assert evaluator._engine is None
    forces = calculator.get_forces(crystal())
    twin = copy.deepcopy(calculator)
    assert evaluator._engine is not None
    assert twin._ready()._engine is evaluator._engine
    sent = pickle.loads(pickle.dumps(calculator))  # noqa: S301
    other = crystal()
    other.rattle(0.01, seed=2)
    assert close(sent.get_forces(crystal()), forces)
    assert close(sent.get_forces(other), twin.get_forces(other))


def test_weights_that_change_afterwards_change_the_results() -> None:
    model = potential()
    evaluator = Evaluator(model, device=torch.device("cpu"), dtype=torch.float64)
    atoms = crystal()
    graph = evaluator.graph(atoms.positions, atoms.numbers, atoms.cell.array, atoms.pbc)
    before = evaluator.evaluate(graph, ("forces",))
    with torch.no_grad():
        model.embedding.mul_(1.3)
    after = evaluator.evaluate(graph, ("forces",))
    plain = Evaluator(model, device=torch.device("cpu"), dtype=torch.float64, engine="autograd")
    expected = plain.evaluate(graph, ("forces",))
    assert not close(before.forces.numpy(), expected.forces.numpy())
    assert close(after.forces.numpy(), expected.forces.numpy())


def test_structures_that_the_engine_leaves_out_are_evaluated_all_the_same() -> None:
    atoms = Atoms("SiO", [[0, 0, 0], [0.05, 0, 0]])
    results = [
        AtomsymCalculator(potential(), allow_overlap=True, engine=engine).get_forces(atoms)
        for engine in ("auto", "autograd")
    ]
    assert np.array_equal(*results)


def test_only_the_energy_is_computed_when_only_it_is_asked_for() -> None:
    model, atoms = potential(), crystal()
    fast, plain = AtomsymCalculator(model), AtomsymCalculator(model, engine="autograd")
    assert fast.get_potential_energy(atoms) == pytest.approx(plain.get_potential_energy(atoms), rel=1e-9)
    assert "forces" not in fast.results


def test_finite_differences_are_those_of_the_engines_forces_and_derivatives_stay_exact() -> None:
    model, atoms = potential(), molecule("H2O")
    fast, plain = AtomsymCalculator(model), AtomsymCalculator(model, engine="autograd")
    expected = plain.get_hessian(atoms)
    bound = tolerances.HESSIAN_FINITE_DIFFERENCE.float64 * np.abs(expected).max()
    assert 0 < np.abs(fast.get_hessian(atoms, method="finite-difference") - expected).max() < bound
    assert np.array_equal(fast.get_hessian(atoms), expected)


def test_the_setting_is_checked_and_stored() -> None:
    with pytest.raises(ConfigError, match="autograd"):
        AtomsymCalculator(potential(), engine="fast")
    with pytest.raises(InputError, match="autograd"):
        Evaluator(potential(), device=torch.device("cpu"), dtype=torch.float64, engine="fast")
    assert AtomsymCalculator(potential(), engine="autograd").todict()["engine"] == "autograd"
    calculator = AtomsymCalculator(LennardJones(ARGON))
    assert calculator.get_forces(Atoms("Ar2", [[0, 0, 0], [0, 0, 3.5]])).shape == (2, 3)
    assert calculator._ready()._engine is None
