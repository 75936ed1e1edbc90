"""Forces beside the energy: their losses, their errors, and the calculator that gives them when asked."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from learned_examples import CUTOFF, cluster, crystal

from atomsym.calculators.ase import AtomsymCalculator
from atomsym.core import ConfigError, LabelledStructure
from atomsym.derivatives import evaluate
from atomsym.models import FAENet, FAENetConfig, Potential
from atomsym.training import (
    LossSection,
    Samples,
    TrainingConfig,
    batch_loss,
    new_potential,
    predict,
    resolved_config,
)
from atomsym.training.metrics import ErrorSums

SETTINGS: dict[str, Any] = {
    "architecture": "faenet", "cutoff": CUTOFF, "channels": 24, "filters": 10, "n_layers": 2, "n_gaussians": 6,
    "period_group_channels": 2, "direct_forces": True, "force_channels": 7,
}  # fmt: skip
LOSS = LossSection(energy=0.0, forces=0.0, direct_forces=3.0, force_consistency=0.5)


def labelled(graph: Any, seed: int, *, forces: bool = True) -> LabelledStructure:
    rng = np.random.default_rng(seed)
    found = rng.standard_normal((graph.n_atoms, 3)) if forces else None
    if found is not None:
        found[0] = np.nan  # not known
    arrays = (graph.numbers, graph.positions, graph.cell[0], graph.pbc[0])
    return LabelledStructure(*(array.numpy() for array in arrays), energy=float(rng.standard_normal()), forces=found)


@pytest.fixture(scope="module")
def samples() -> Samples:
    """Three structures; forces of the last one, and of one atom of each, are not known."""
    graphs = (crystal(), cluster(), crystal())
    made = [replace(labelled(graph, seed, forces=seed < 2), weight=1.0 + seed) for seed, graph in enumerate(graphs)]
    return Samples(made, CUTOFF, torch.float64)


def config(model: dict[str, Any], loss: dict[str, float]) -> TrainingConfig:
    return TrainingConfig(model=model, loss=LossSection(**loss))


@pytest.fixture(scope="module")
def potential(samples: Samples) -> Potential:
    return new_potential(resolved_config(config(SETTINGS, {"direct_forces": 1.0}), samples)[0])


def test_the_terms_are_their_formulas(potential: Potential, samples: Samples) -> None:
    everything = range(len(samples))
    counts = samples.counts(everything)
    found = batch_loss(potential, samples.batch(everything), LOSS, counts)
    direct = agreement = 0.0
    for index in (0, 1):
        structure, result = samples.structures[index], evaluate(potential, samples.graph(index), ("forces",))
        assert structure.forces is not None
        assert result.forces is not None
        known = ~np.isnan(structure.forces)
        predicted, derived = result.outputs["forces"].numpy(), result.forces.numpy()
        direct += structure.weight * float(np.square(predicted - structure.forces)[known].sum())
        agreement += structure.weight * float(np.square(predicted - derived)[known].sum())
    assert counts.forces == 24
    expected = [3.0 * direct / 24, 0.5 * agreement / 24]
    assert found.terms[2:4].tolist() == pytest.approx(expected, rel=1e-9)
    assert float(found.total.detach()) == pytest.approx(sum(expected), rel=1e-9)
    parts = [batch_loss(potential, samples.batch(part), LOSS, counts) for part in ([0], [1, 2])]
    assert sum(float(part.total.detach()) for part in parts) == pytest.approx(sum(expected), rel=1e-9)


def test_only_direct_forces_learn_to_agree(potential: Potential, samples: Samples) -> None:
    """The forces of the energy are the target: nothing of the energy's head gets a gradient."""
    everything = range(len(samples))
    loss = replace(LOSS, direct_forces=0.0)
    found = batch_loss(potential, samples.batch(everything), loss, samples.counts(everything))
    weights = dict(potential.named_parameters())
    gradients = torch.autograd.grad(found.total, list(weights.values()), allow_unused=True)
    reached = {name for name, gradient in zip(weights, gradients, strict=True) if gradient is not None}
    assert not any(name.startswith(("head.", "mix")) for name in reached)
    assert {name for name in weights if name.startswith("force_head")} <= reached


def test_errors_of_direct_forces_have_a_row_of_their_own(potential: Potential, samples: Samples) -> None:
    batch = samples.batch([0, 1])
    predictions, errors = predict(potential, batch), ErrorSums()
    errors.add(batch, predictions)
    assert predictions.direct_forces is not None
    difference = (predictions.direct_forces - batch.forces).abs()
    found = errors.errors("all", "direct_forces")
    assert found.count == 24
    assert found.mae == pytest.approx(float(difference.nanmean()), rel=1e-12)
    assert found.mae != errors.errors("all", "forces").mae


@pytest.mark.parametrize("wrapped", [False, True])
def test_losses_of_direct_forces_need_a_model_with_some(samples: Samples, wrapped: bool) -> None:
    model = SETTINGS | {"direct_forces": False} | ({"symmetrizer": "full"} if wrapped else {})
    with pytest.raises(ConfigError, match=r"loss\.force_consistency is 2, but the model predicts no forces"):
        new_potential(resolved_config(config(model, {"force_consistency": 2.0}), samples)[0])


def atoms() -> Atoms:
    graph = crystal()
    return Atoms(graph.numbers.numpy(), graph.positions.numpy(), cell=graph.cell[0].numpy(), pbc=True)


def test_the_calculator_gives_direct_forces_when_asked(potential: Potential) -> None:
    gradient, direct = AtomsymCalculator(potential), AtomsymCalculator(potential, forces="direct")
    assert (gradient.conservative, direct.conservative) == (True, False)
    expected = evaluate(potential, crystal(skin=0.0), ("forces",))
    for calculator, forces in ((gradient, expected.forces), (direct, expected.outputs["forces"])):
        assert forces is not None
        found = calculator.get_property("forces", atoms())
        assert np.abs(found - forces.numpy()).max() < 1e-12 * float(forces.abs().max())
    assert direct.get_potential_energy(atoms()) == pytest.approx(gradient.get_potential_energy(atoms()), abs=1e-12)
    assert np.array_equal(direct.get_stress(atoms()), gradient.get_stress(atoms()))
    sent = pickle.loads(pickle.dumps(direct))  # noqa: S301
    for twin in (copy.deepcopy(direct), sent):
        assert not twin.conservative
        assert np.array_equal(twin.get_forces(atoms()), direct.get_forces(atoms()))


def test_direct_forces_are_turned_back_and_averaged_over_frames(samples: Samples) -> None:
    """All frames of principal axes: an exact symmetry of direct forces too, of a model that has none."""
    complete, _ = resolved_config(config(SETTINGS | {"symmetrizer": "full"}, {"direct_forces": 1.0}), samples)
    symmetrized = new_potential(complete)
    assert symmetrized.direct_outputs == ("forces",)
    turn = torch.tensor([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]], dtype=torch.float64)
    graph = cluster()
    turned = replace(graph, positions=graph.positions @ turn.T)
    with torch.no_grad():
        before, after = symmetrized(graph)["forces"], symmetrized(turned)["forces"]
    assert (after - before @ turn.T).abs().max() < 1e-10 * before.abs().max()


def test_calculators_refuse_direct_forces_that_are_not_there() -> None:
    entries = {name: value for name, value in SETTINGS.items() if name not in ("architecture", "direct_forces")}
    model = FAENet(FAENetConfig((8, 14, 22), atomic_energies=(0.0, 0.0, 0.0), average_neighbors=3.0, **entries))
    with pytest.raises(ConfigError, match=r"forces is 'direct', but this faenet potential predicts none"):
        AtomsymCalculator(model, forces="direct")
    with pytest.raises(ConfigError, match="forces is 'head'; allowed are 'gradient' and 'direct'"):
        AtomsymCalculator(model, forces="head")
