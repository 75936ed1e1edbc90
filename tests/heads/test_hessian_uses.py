"""Predicted Hessians where users ask for Hessians: derivatives, the calculator, batches and some of the atoms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from hessian_examples import build, crystal, molecule

from atomsym.calculators.ase import AtomsymCalculator
from atomsym.core import AtomGraph, ConfigError, InputError
from atomsym.derivatives import hessian, hessians
from atomsym.models import ARGON, LennardJones
from atomsym.testing import tolerances
from atomsym.testing.convolutions import deviation


def atoms() -> Atoms:
    graph = molecule()
    return Atoms(numbers=graph.numbers.numpy(), positions=graph.positions.numpy())


def test_the_method_predicted_is_the_heads_answer_for_the_atoms_that_are_asked_for() -> None:
    potential, graph = build(), molecule()
    (whole,) = potential.hessians(graph)
    assert torch.equal(hessian(potential, graph, method="predicted"), whole)
    rows = [9, 10, 11, 3, 4, 5]
    part = hessian(potential, graph, method="predicted", indices=[3, 1])
    assert torch.equal(part, whole[rows][:, rows])


def test_of_every_system_of_a_batch() -> None:
    potential, graphs = build(), [molecule(), crystal()]
    found = hessians(potential, AtomGraph.batch(graphs), method="predicted", indices=[1, 6])
    for matrix, graph, index in zip(found, graphs, (1, 1), strict=True):
        rows = slice(3 * index, 3 * index + 3)
        assert deviation(matrix, potential.hessians(graph)[0][rows, rows]) < tolerances.BATCHING.float64


def test_the_default_differentiates() -> None:
    potential, graph = build(), molecule()
    derivative = hessian(potential.energy_model, graph)
    assert deviation(hessian(potential, graph), derivative) < tolerances.ALGEBRA.float64
    assert deviation(hessian(potential, graph, method="predicted"), derivative) > 0.1  # the head was never trained


def test_a_model_without_a_head_is_refused() -> None:
    graph = AtomGraph.from_arrays([[0, 0, 0], [0, 0, 4.0]], [18, 18])
    with pytest.raises(InputError, match="predicts no Hessians"):
        hessian(LennardJones(ARGON), graph.with_edges(torch.tensor([[0, 1], [1, 0]]), torch.zeros(2, 3).int(), 8.5),
                method="predicted")  # fmt: skip


def test_the_calculator_predicts_if_told_to() -> None:
    potential = build()
    (expected,) = potential.hessians(molecule())
    told = AtomsymCalculator(potential, hessian="predicted")
    np.testing.assert_allclose(told.get_hessian(atoms()), expected.numpy(), rtol=0, atol=1e-12)
    plain = AtomsymCalculator(potential)
    np.testing.assert_allclose(plain.get_hessian(atoms(), method="predicted"), expected.numpy(), rtol=0, atol=1e-12)
    assert np.abs(plain.get_hessian(atoms()) - expected.numpy()).max() > 0.01
    with pytest.raises(ConfigError, match="hessian is 'guessed'"):
        AtomsymCalculator(potential, hessian="guessed")


def test_first_derivatives_use_the_backbones_inference_engine() -> None:
    potential = build()
    fast, slow = AtomsymCalculator(potential), AtomsymCalculator(potential, engine="autograd")
    assert fast._ready()._current_engine() is not None
    difference = np.abs(fast.get_forces(atoms()) - slow.get_forces(atoms())).max()
    assert difference < tolerances.INFERENCE.float64 * np.abs(slow.get_forces(atoms())).max()
