"""Predicted Hessians by the engine are those of the potential, for every kind of MACE and head."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms

from atomsym.calculators.ase import AtomsymCalculator
from atomsym.calculators.evaluator import Evaluator
from atomsym.core import AtomGraph, InputError
from atomsym.heads import HessianPotential
from atomsym.inference import HessianEngine, NotCoveredError
from atomsym.testing import tolerances
from atomsym.testing.convolutions import deviation

from .conftest import CUTOFF, VARIANTS, cluster, crystal, headed, model

EXACT = tolerances.BACKEND_PARITY.float64
ROUGHER = {"agnesi", "soft", "gaussian", "cutoff on weights", "density, plain", "held"}
"""Variants whose radial functions have two derivatives only, for which the engine's tables are made less exact."""


def engine_of(potential: HessianPotential) -> HessianEngine:
    engine = HessianEngine.of(potential)
    assert engine is not None
    return engine


def assert_same(potential: HessianPotential, bound: float) -> None:
    engine = engine_of(potential)
    graphs = [crystal(reach=CUTOFF), cluster(), crystal(reach=CUTOFF)]
    expected = potential.hessians(AtomGraph.batch(graphs))
    for found, other in zip(engine.hessians(AtomGraph.batch(graphs)), expected, strict=True):
        assert deviation(found, other) < bound
    for graph, other in zip(graphs, expected, strict=True):
        assert deviation(engine.hessians(graph)[0], other) < bound


def test_they_are_the_potentials(variant: str) -> None:
    assert_same(headed(variant), tolerances.INFERENCE.float64 if variant in ROUGHER else EXACT)


@pytest.mark.parametrize(
    "head", [{"correlation": 1}, {"correlation": 3}, {"channels": 9, "scale": 0.3}, {"cutoff": 1.0}]
)
def test_with_every_head(head: dict[str, Any]) -> None:
    assert set(VARIANTS) > ROUGHER
    assert_same(headed(**head), EXACT)


def test_without_the_sum_rule_and_without_edges() -> None:
    potential = headed()
    engine, graph = engine_of(potential), cluster()
    (found,) = engine.hessians(graph, sum_rule=False)
    assert deviation(found, potential.hessians(graph, sum_rule=False)[0]) < EXACT
    assert deviation(found, engine.hessians(graph)[0]) > 1e3 * EXACT
    bare = AtomGraph.from_arrays(graph.positions.numpy(), graph.numbers.numpy())
    assert torch.equal(engine.hessians(bare)[0], engine.hessians(graph)[0])
    single = AtomGraph.from_arrays([[0.0, 0.0, 0.0]], [8])
    assert float(engine.hessians(single)[0].abs().max()) < tolerances.ACOUSTIC_SUM.float64


def test_they_are_symmetric_and_turn_with_the_atoms() -> None:
    graph, engine = cluster(), engine_of(headed())
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))).Q
    turned = graph.with_positions(graph.positions @ turn.T)
    (matrix,), (expected,) = engine.hessians(graph), engine.hessians(turned)
    assert deviation(matrix, matrix.T) < tolerances.ALGEBRA.float64
    n = graph.n_atoms
    rotated = torch.einsum("ab,ibjd,cd->iajc", turn, matrix.view(n, 3, n, 3), turn).reshape(3 * n, 3 * n)
    assert deviation(rotated, expected) < tolerances.EQUIVARIANCE.float64


def test_an_engine_of_other_weights_is_outdated_and_found_out() -> None:
    potential = headed()
    engine = engine_of(potential)
    for weights in (potential.head.products, potential.backbone.embedding):
        assert not engine.outdated()
        with torch.no_grad():
            weights.mul_(1.001)
        assert engine.outdated()
        assert deviation(engine.hessians(cluster())[0], potential.hessians(cluster())[0]) > 1e3 * EXACT
        engine = engine_of(potential)


def test_what_does_not_fit_is_refused() -> None:
    engine = engine_of(headed())
    with pytest.raises(InputError, match=r"torch\.float64 on the cpu"):
        engine.hessians(cluster(torch.float32))
    close = AtomGraph.from_arrays([[0.0, 0.0, 0.0], [0.05, 0.0, 0.0]], [8, 8])
    with pytest.raises(NotCoveredError):
        engine.hessians(close)
    assert HessianEngine.of(HessianPotential.of("mace", model(product="so2").config).double()) is None


def atoms() -> Atoms:
    graph = cluster()
    return Atoms(numbers=graph.numbers.numpy(), positions=graph.positions.numpy())


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_calculator_predicts_by_it(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    potential = headed()
    expected = AtomsymCalculator(potential, dtype="float64", engine="autograd").get_hessian(atoms(), method="predicted")
    calculator = AtomsymCalculator(potential, dtype=dtype)
    with monkeypatch.context() as patched:
        patched.setattr(HessianPotential, "hessians", lambda *_, **__: pytest.fail("not by the engine"))
        found = calculator.get_hessian(atoms(), method="predicted")
    bound = EXACT if dtype == "float64" else tolerances.INFERENCE.float32  # weights were rounded
    assert np.abs(found - expected).max() < bound * np.abs(expected).max()
    some = calculator.get_hessian(atoms(), method="predicted", indices=[2, 0])
    rows = [6, 7, 8, 0, 1, 2]
    assert np.abs(some - found[np.ix_(rows, rows)]).max() < EXACT * np.abs(found).max()
    with torch.no_grad():
        calculator.potential.get_parameter("head.products").mul_(1.1)
    if dtype == "float64":
        assert np.abs(calculator.get_hessian(atoms(), method="predicted") - found).max() > 1e3 * EXACT


def test_close_atoms_are_left_to_the_potential() -> None:
    close = Atoms("O2", [[0.0, 0.0, 0.0], [0.05, 0.0, 0.0]])
    found, expected = (
        AtomsymCalculator(headed(), allow_overlap=True, engine=engine).get_hessian(close, method="predicted")
        for engine in ("auto", "autograd")
    )
    assert np.array_equal(found, expected)


def test_a_hessian_alone_costs_no_energy(monkeypatch: pytest.MonkeyPatch) -> None:
    calculator = AtomsymCalculator(headed(), hessian="predicted")
    with monkeypatch.context() as patched:
        patched.setattr(Evaluator, "evaluate", lambda *_: pytest.fail("nobody asked for an energy"))
        found = calculator.get_hessian(atoms())
        assert np.array_equal(calculator.get_hessian(atoms()), found)
    energy = calculator.get_potential_energy(atoms())
    assert np.isfinite(energy)
    assert np.array_equal(calculator.get_property("hessian", atoms(), allow_calculation=False), found)
