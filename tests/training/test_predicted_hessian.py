"""Losses of predicted Hessians: their value, their independence of how a batch is cut, and learning from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import training_problem as problem

from atomsym.core import ConfigError, LabelledStructure
from atomsym.heads import HessianPotential
from atomsym.training import LossSection, Samples, TrainingData, batch_loss, new_potential, resolved_config, train
from atomsym.training.predicted_hessian import MODES

BACKBONE = {
    "architecture": "mace", "channels": 4, "max_degree": 2, "hidden": "0e+1o+2e", "n_layers": 1, "radial_hidden": [8],
}  # fmt: skip
MODEL: dict[str, Any] = {
    "architecture": "hessian", "cutoff": 5.0, "backbone": BACKBONE,
    "head": {"cutoff": 7.0, "channels": 4, "n_radial": 6, "hidden": 8, "scale": 0.1},
}  # fmt: skip
LOSS = LossSection(energy=0.0, forces=0.0, predicted_hessian=0.7, hessian_subspace=0.2)


@pytest.fixture(scope="module")
def samples() -> Samples:
    """Six structures, two with Hessians: a crystal and a cluster."""
    rng = np.random.default_rng(3)
    kinds = [(True, True), (True, False), (False, True), (False, False), (True, False), (True, False)]
    made = [problem.labelled(rng, n, periodic=p, with_hessian=h) for n, (p, h) in enumerate(kinds)]
    return Samples(made, 5.0, torch.float64)


@pytest.fixture(scope="module")
def potential(samples: Samples) -> HessianPotential:
    config = problem.config(model=MODEL, loss={"energy": 1.0, "predicted_hessian": 1.0}, dtype="float64")
    found = new_potential(resolved_config(config, samples)[0])
    assert isinstance(found, HessianPotential)
    return found


def by_hand(potential: HessianPotential, samples: Samples) -> tuple[float, float]:
    """Mean absolute residuals of the entries, and in the space of the softest modes."""
    entries, subspace = [], []
    for index, structure in enumerate(samples.structures):
        if structure.hessian is None:
            continue
        predicted = potential.hessians(samples.graph(index))[0].numpy()
        values, vectors = np.linalg.eigh(structure.hessian)
        soft = vectors[:, :MODES]
        entries.append(np.abs(predicted - structure.hessian).ravel())
        subspace.append(np.abs(soft.T @ predicted @ soft - np.diag(values[:MODES])).ravel())
    return float(np.concatenate(entries).mean()), float(np.concatenate(subspace).mean())


def test_the_terms_are_their_formulas(potential: HessianPotential, samples: Samples) -> None:
    everything = range(len(samples))
    found = batch_loss(potential, samples.batch(everything), LOSS, samples.counts(everything))
    entries, subspace = by_hand(potential, samples)
    assert found.terms[-2:].tolist() == pytest.approx([0.7 * entries, 0.2 * subspace], rel=1e-9)
    assert float(found.total.detach()) == pytest.approx(float(found.terms.sum()), rel=1e-12)


def test_the_parts_of_a_batch_add_up(potential: HessianPotential, samples: Samples) -> None:
    everything = range(len(samples))
    counts = samples.counts(everything)
    whole = batch_loss(potential, samples.batch(everything), LOSS, counts)
    parts = [batch_loss(potential, samples.batch(part), LOSS, counts) for part in ([0, 3], [1], [2, 4, 5])]
    assert sum(float(part.total.detach()) for part in parts) == pytest.approx(float(whole.total.detach()), rel=1e-12)


def test_predictions_are_made_only_where_somebody_looks(
    potential: HessianPotential, samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("the head was run")

    monkeypatch.setattr(potential.head, "forward", refuse)
    batch_loss(potential, samples.batch([0, 1]), LossSection(), samples.counts([0, 1]))
    batch_loss(potential, samples.batch([1, 3]), LOSS, samples.counts([1, 3]))
    with pytest.raises(RuntimeError, match="the head was run"):
        batch_loss(potential, samples.batch([0, 1]), LOSS, samples.counts([0, 1]))


def test_a_head_learns(tmp_path: Path) -> None:
    """Trained on Hessians alone, it predicts those of other structures better than at the start, and says so."""
    rng = np.random.default_rng(1)
    made: list[LabelledStructure] = [
        problem.labelled(rng, n, periodic=False, with_hessian=True) for n in range(14)
    ]  # fmt: skip
    config = problem.config(
        model=MODEL, loss={"energy": 0.0, "forces": 0.0, "predicted_hessian": 1.0, "hessian_subspace": 0.1},
        optimizer={"learning_rate": 0.01}, batch={"structures": 2}, epochs=12,
    )  # fmt: skip
    result = train(config, TrainingData(made[:10], made[10:]), tmp_path)
    lines = (tmp_path / "log.csv").read_text().splitlines()
    column = lines[0].split(",").index("validation_hessian_mae_meV/A^2")
    errors = [float(line.split(",")[column]) for line in lines[1:]]
    assert result.complete
    assert min(errors) < 0.5 * errors[0]


def test_predicted_hessians_need_a_head(samples: Samples) -> None:
    plain = problem.config(model={"architecture": "mace", "cutoff": 5.0}, loss={"hessian_subspace": 1.0})
    with pytest.raises(ConfigError, match=r"loss.hessian_subspace is 1, but 'mace' predicts no Hessians"):
        resolved_config(plain, samples)


def test_a_wrong_key_of_the_backbone_is_an_error(samples: Samples) -> None:
    wrong = problem.config(model=MODEL | {"backbone": BACKBONE | {"chanels": 3}})
    with pytest.raises(ConfigError, match=r"model.backbone.chanels'; did you mean 'channels'"):
        resolved_config(wrong, samples)
