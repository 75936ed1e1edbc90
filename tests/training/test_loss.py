"""The loss: its value, its gradient, missing labels, and independence of how a batch is cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
import training_problem as problem

from atomsym.core import AtomGraph, DataError, LabelledStructure
from atomsym.derivatives import evaluate, hessian
from atomsym.kernels.neighbors import connect
from atomsym.models import Potential
from atomsym.testing import tolerances
from atomsym.training import LossSection, Samples, batch_loss, new_potential, resolved_config

ALL_TERMS = LossSection(energy=2.0, forces=3.0, stress=50.0, virial=0.5, hessian=0.7, hessian_rows=0)


def model(**entries: object) -> Potential:
    config = problem.config(**entries)
    samples = Samples(problem.make_structures()[:4], 6.0, torch.float64)
    return new_potential(resolved_config(config, samples)[0])


def samples_of(structures: Sequence[LabelledStructure]) -> Samples:
    return Samples(structures, 6.0, torch.float64)


def loss_of(
    potential: Potential, structures: Sequence[LabelledStructure], loss: LossSection, **options: object
) -> float:
    samples = samples_of(structures)
    indices = range(len(structures))
    return float(batch_loss(potential, samples.batch(indices), loss, samples.counts(indices), **options).total.detach())


def by_hand(potential: Potential, structures: Sequence[LabelledStructure], loss: LossSection) -> float:
    """The formula of the docstring, one structure after the other, in numpy."""
    sums, counts = dict.fromkeys(loss.weights, 0.0), dict.fromkeys(loss.weights, 0)
    for s in structures:
        graph = connect(AtomGraph.from_arrays(s.positions, s.numbers, s.cell, s.pbc), 6.0)
        found = evaluate(potential, graph, ("energy", "forces"))
        items = {"energy": np.array([float(found.energy[0]) - s.energy]) / s.n_atoms}
        if s.forces is not None:
            items["forces"] = found.forces.numpy() - s.forces
        if s.stress is not None:
            items["stress"] = evaluate(potential, graph, ("stress",)).stress[0].numpy() - s.stress
            items["virial"] = items["stress"] * abs(np.linalg.det(s.cell)) / s.n_atoms
        if s.hessian is not None:
            items["hessian"] = hessian(potential, graph).numpy() - s.hessian
        for name, residual in items.items():
            size, delta = np.abs(residual), loss.huber_delta
            if loss.function == "huber":
                values = np.where(size <= delta, size**2, 2 * delta * size - delta**2)
            else:
                values = size**2
            sums[name] += s.weight * np.nansum(values)
            counts[name] += int((~np.isnan(residual)).sum())
    return sum(weight * sums[name] / max(counts[name], 1) for name, weight in loss.weights.items())


@pytest.mark.parametrize("function", ["squared", "huber"])
def test_the_loss_is_its_formula(structures: list[LabelledStructure], function: str) -> None:
    potential = model()
    loss = replace(ALL_TERMS, function=function, huber_delta=0.005)
    weighted = [replace(s, weight=0.5 + 0.25 * n) for n, s in enumerate(structures[:5])]
    forces = weighted[1].forces.copy()
    forces[2] = np.nan
    weighted[1] = replace(weighted[1], forces=forces)
    weighted[2] = replace(weighted[2], forces=None, stress=None)
    assert loss_of(potential, weighted, loss) == pytest.approx(by_hand(potential, weighted, loss), rel=1e-10)


@pytest.mark.parametrize("function", ["squared", "huber"])
def test_the_gradient_is_the_slope_of_the_loss(structures: list[LabelledStructure], function: str) -> None:
    potential = model()
    loss = replace(ALL_TERMS, function=function, hessian_rows=2)
    samples = samples_of(structures[:6])
    batch, counts = samples.batch(range(6)), samples.counts(range(6))
    batch_loss(potential, batch, loss, counts).total.backward()
    for weight in potential.parameters():
        value, step = weight.data.clone(), 1e-5
        at = []
        for sign in (1, -1):
            weight.data = value + sign * step
            at.append(float(batch_loss(potential, batch, loss, counts).total.detach()))
        weight.data = value
        slope = (at[0] - at[1]) / (2 * step)
        assert float(weight.grad) == pytest.approx(slope, rel=tolerances.FINITE_DIFFERENCE_FORCES.float64)


def test_the_gradient_of_a_network_is_the_slope_of_its_loss_with_hessians(structures: list[LabelledStructure]) -> None:
    settings = {"architecture": "mace", "cutoff": 4.5, "channels": 2, "max_degree": 1, "hidden": "0e", "n_layers": 2}
    samples = Samples(structures[:4], 4.5, torch.float64)
    potential = new_potential(resolved_config(problem.config(model=settings), samples)[0])
    batch, counts = samples.batch(range(4)), samples.counts(range(4))
    loss = replace(ALL_TERMS, hessian_rows=2)
    weights = [weight for weight in potential.parameters() if weight.requires_grad]
    gradient = torch.autograd.grad(batch_loss(potential, batch, loss, counts).total, weights)
    generator = torch.Generator().manual_seed(0)
    direction = [torch.randn(w.shape, generator=generator, dtype=w.dtype) for w in weights]
    slope = sum(float((g * d).sum()) for g, d in zip(gradient, direction, strict=True))
    step, at = 1e-5, []
    for sign in (1, -1):
        moved = [weight.data + sign * step * d for weight, d in zip(weights, direction, strict=True)]
        kept = [weight.data for weight in weights]
        for weight, value in zip(weights, moved, strict=True):
            weight.data = value
        at.append(float(batch_loss(potential, batch, loss, counts).total.detach()))
        for weight, value in zip(weights, kept, strict=True):
            weight.data = value
    assert slope == pytest.approx((at[0] - at[1]) / (2 * step), rel=1e-5)


@pytest.mark.parametrize("rows", [0, 3])
def test_the_losses_of_the_parts_of_a_batch_add_up(structures: list[LabelledStructure], rows: int) -> None:
    potential = model()
    loss = replace(ALL_TERMS, hessian_rows=rows)
    samples = samples_of(structures)
    everything = range(len(structures))
    whole = batch_loss(potential, samples.batch(everything), loss, samples.counts(everything), seed=(3,))
    parts = [[0, 5, 9], [1], [2, 3, 4, 6, 7, 8, 10, 11, 12, 13, 14, 15]]
    found = [batch_loss(potential, samples.batch(p), loss, samples.counts(everything), seed=(3,)) for p in parts]
    assert sum(float(part.total.detach()) for part in found) == pytest.approx(float(whole.total.detach()), rel=1e-12)
    whole_gradient = torch.autograd.grad(whole.total, list(potential.parameters()))
    summed = torch.autograd.grad(sum(part.total for part in found), list(potential.parameters()))
    for one, other in zip(whole_gradient, summed, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=0)


def test_a_missing_label_is_not_a_label_of_zero(structures: list[LabelledStructure]) -> None:
    potential, loss = model(), LossSection(energy=1.0, forces=1.0)
    lacking = [replace(structures[0], forces=None), structures[1]]
    alone = LossSection(energy=0.0, forces=1.0)
    assert loss_of(potential, lacking, alone) == pytest.approx(loss_of(potential, lacking[1:], alone), rel=1e-12)
    assert loss_of(potential, lacking, loss) != pytest.approx(
        loss_of(potential, [replace(lacking[0], forces=np.zeros((4, 3))), lacking[1]], loss), rel=1e-3
    )


def test_random_rows_of_a_hessian_give_its_loss_on_average(structures: list[LabelledStructure]) -> None:
    potential, loss = model(), LossSection(energy=0.0, forces=0.0, hessian=1.0, hessian_rows=6)
    one = [structures[0]]
    drawn = [loss_of(potential, one, loss, seed=(n,)) for n in range(40)]
    full = loss_of(potential, one, replace(loss, hessian_rows=0))
    assert len(set(drawn)) > 30
    assert np.mean(drawn) == pytest.approx(full, rel=0.1)


def test_an_isolated_atom_and_an_empty_neighborhood_have_a_loss() -> None:
    lone = LabelledStructure(
        np.array([18]), np.zeros((1, 3)), np.zeros((3, 3)), np.zeros(3, bool), energy=0.5,
        forces=np.zeros((1, 3)), hessian=np.eye(3),
    )  # fmt: skip
    loss = LossSection(energy=2.0, forces=1.0, hessian=1.0, hessian_rows=0)
    assert loss_of(model(), [lone], loss) == pytest.approx(2 * 0.25 + 3 / 9)


def test_i12_training_without_labels_is_refused(structures: list[LabelledStructure]) -> None:
    bare = [replace(s, forces=None, hessian=None) for s in structures]
    samples = samples_of(bare)
    with pytest.raises(DataError, match=r"none of 16 structures has forces labels.*data\.keys\.forces"):
        resolved_config(problem.config(), samples)
    stages = [{"start_epoch": 1, "loss": {"hessian": 1.0}}]
    with pytest.raises(DataError, match="has hessian labels"):
        resolved_config(problem.config(stages=stages, loss={"forces": 0.0}), samples)
