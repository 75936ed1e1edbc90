"""Training works: losses fall, the truth is approached, and the model file tells how."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import training_problem as problem

from atomsym.artifacts import load_model, read_card
from atomsym.core import CalculationError, ConfigError, DataError
from atomsym.derivatives import evaluate
from atomsym.models import Morse, MorseConfig
from atomsym.training import Observer, Samples, TrainingData, read_checkpoint, read_log, resume, train


def test_the_parameters_behind_the_labels_are_approached(tmp_path: Path, data: TrainingData) -> None:
    """Labels of one Morse potential are learned by another, from its forces alone."""
    truth = Morse(MorseConfig((18,), 6.0, ((0.011,),), ((1.6,),), ((3.75,),), onset=4.5))

    def relabelled(structures: object) -> list[object]:
        made = []
        for structure in structures:
            graph = Samples([structure], 6.0, torch.float64).graph(0)
            found = evaluate(truth, graph, ("forces",))
            made.append(replace(structure, energy=float(found.energy[0]), forces=found.forces.numpy(), stress=None))
        return made

    own = TrainingData(relabelled(data.train), relabelled(data.validation))
    config = problem.config(
        loss={"energy": 0.0, "forces": 1.0}, epochs=100, ema={"decay": 0.5}, batch={"structures": 4},
        optimizer={"learning_rate": 0.005, "amsgrad": False, "betas": [0.9, 0.99]},
        schedule={"kind": "cosine", "final_fraction": 0.0},
    )  # fmt: skip
    result = train(config, own, tmp_path)
    model = load_model(result.model_file)
    assert result.progress.best_loss < 0.02 * read_log(tmp_path / "log.csv")[0]["train_loss"]
    assert model.depth.item() == pytest.approx(0.011, rel=0.2)  # 0.008 at the start
    assert model.equilibrium.item() == pytest.approx(3.75, rel=0.01)  # 3.9 at the start


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_loss_of_a_network_falls(tmp_path: Path, data: TrainingData, dtype: str) -> None:
    config = problem.config(
        model={"architecture": "mace", "cutoff": 5.0, "channels": 4, "max_degree": 1, "hidden": "0e", "n_layers": 1},
        optimizer={"learning_rate": 0.02, "weight_decay": 1e-6}, epochs=25, dtype=dtype,
    )  # fmt: skip
    train(config, data, tmp_path)
    rows = read_log(tmp_path / "log.csv")
    assert rows[-1]["validation_loss"] < 0.2 * rows[0]["validation_loss"]
    assert load_model(tmp_path / "model.safetensors").elements == (18,)


def test_the_best_epoch_is_what_is_saved(tmp_path: Path, data: TrainingData) -> None:
    result = train(problem.config(epochs=6, optimizer={"learning_rate": 0.3}), data, tmp_path)
    rows = read_log(tmp_path / "log.csv")
    best = min(rows, key=lambda row: row["validation_loss"])
    assert best["epoch"] == result.progress.best_epoch < 6
    model = load_model(result.model_file)
    errors = []
    for structure in data.validation:
        graph = Samples([structure], 6.0, torch.float64).graph(0)
        errors.append(abs(float(evaluate(model, graph, ("energy",)).energy[0]) - structure.energy) / 4)
    assert 1e3 * np.mean(errors) == pytest.approx(best["validation_energy_mae_meV/atom"], rel=1e-8)


def test_the_model_file_tells_how_it_was_trained(tmp_path: Path, data: TrainingData) -> None:
    result = train(problem.config(epochs=1), data, tmp_path)
    card = read_card(tmp_path / "model.safetensors").card
    assert (card.name, card.licence, card.level_of_theory) == ("tiny", "MIT", "Lennard-Jones")
    assert card.training_data == "Lennard-Jones argon: 12 structures for training, 4 for validation"
    record = json.loads(card.training)
    assert record["config"]["model"]["elements"] == [18]
    assert record["validation_errors"]["all"]["forces"]["mae"] > 0
    assert record["structures"] == {"train": 12, "validation": 4}
    assert len(record["config_hash"]) == 64
    assert result.complete


def test_a_later_stage_has_its_own_loss_rate_and_best_epoch(tmp_path: Path, data: TrainingData) -> None:
    stages = [{"start_epoch": 2, "learning_rate": 1e-9, "loss": {"energy": 1000.0}, "schedule": {"kind": "constant"}}]
    result = train(problem.config(epochs=4, stages=stages, ema={"decay": 0.0, "warmup": False}), data, tmp_path)
    rows = read_log(tmp_path / "log.csv")
    assert [row["learning_rate"] for row in rows] == [0.02, 0.02, 1e-9, 1e-9]
    assert rows[2]["validation_energy_rmse_meV/atom"] == pytest.approx(
        rows[1]["validation_energy_rmse_meV/atom"], rel=1e-3
    )
    energy = 1e-3 * rows[2]["validation_energy_rmse_meV/atom"]
    assert rows[2]["validation_loss"] - rows[1]["validation_loss"] == pytest.approx(999 * energy**2, rel=1e-2)
    assert result.progress.best_epoch > 2


def test_no_improvement_ends_a_stage_and_then_the_run(tmp_path: Path, data: TrainingData) -> None:
    stages = [{"start_epoch": 50, "learning_rate": 1e-30}]
    config = problem.config(
        epochs=100, early_stop=3, stages=stages, optimizer={"learning_rate": 1e-30}, ema={"decay": 0.0, "warmup": False}
    )
    result = train(config, data, tmp_path)
    assert result.reason == "no improvement in 3 epochs"
    epochs = [row["epoch"] for row in read_log(tmp_path / "log.csv")]
    assert epochs[-1] > 51
    assert len(epochs) < 60


def test_the_plateau_schedule_lowers_the_rate(tmp_path: Path, data: TrainingData) -> None:
    schedule = {"kind": "plateau", "patience": 1, "decay": 0.5}
    train(problem.config(epochs=12, optimizer={"learning_rate": 0.2}, schedule=schedule), data, tmp_path)
    rows = read_log(tmp_path / "log.csv")
    reductions = sum(row["best"] == 0 for row in rows[:-1])
    assert reductions > 0
    factor = read_checkpoint(tmp_path).progress.plateau_factor
    assert factor == 0.5 ** sum(row["best"] == 0 for row in rows)


def test_a_step_clips_the_gradient(tmp_path: Path, data: TrainingData) -> None:
    output = {"name": "tiny", "step_log": True}
    train(problem.config(epochs=1, optimizer={"clip_norm": 1e-3}, output=output), data, tmp_path)
    assert all(row["gradient_norm"] > 1e-3 for row in read_log(tmp_path / "steps.csv"))
    second_moment = read_checkpoint(tmp_path).part("optimizer")["depth/exp_avg_sq"]
    assert float(second_moment.max()) < 1e-6


def test_a_gradient_that_is_not_finite_names_the_structures(tmp_path: Path, data: TrainingData) -> None:
    broken = replace(data.train[4], energy=1e300, source="made:broken")
    config = problem.config(batch={"structures": 1})
    with pytest.raises(CalculationError, match="made:broken"):
        train(config, TrainingData([*data.train[:4], broken], data.validation), tmp_path)


def test_training_needs_validation_structures(tmp_path: Path, data: TrainingData) -> None:
    with pytest.raises(ConfigError, match="no validation structures"):
        train(problem.config(), TrainingData(data.train, []), tmp_path)
    with pytest.raises(DataError, match="none of 0 structures"):
        train(problem.config(), TrainingData([], data.validation), tmp_path)


class Recorder(Observer):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, int]] = []
        self.epochs: list[float] = []
        self.closed = 0

    def on_step(self, epoch: int, n_epochs: int, position: int, n_batches: int, loss: float) -> None:
        self.steps.append((epoch, position))

    def on_epoch(self, row: object) -> None:
        self.epochs.append(row["epoch"])

    def close(self) -> None:
        self.closed += 1


def test_observers_see_every_step_and_epoch_once(tmp_path: Path, data: TrainingData) -> None:
    recorder = Recorder()
    train(problem.config(epochs=2), data, tmp_path, observer=recorder)
    assert recorder.steps == [(epoch, position) for epoch in range(2) for position in range(1, 5)]
    assert (recorder.epochs, recorder.closed) == ([1, 2], 1)


def test_the_same_seed_gives_the_same_model_and_another_does_not(tmp_path: Path, data: TrainingData) -> None:
    files = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / name).mkdir()
        train(problem.config(epochs=1, seed=seed), data, tmp_path / name)
        files.append((tmp_path / name / "model.safetensors").read_bytes())
    assert files[0] == files[1] != files[2]


def test_hessians_are_learned(tmp_path: Path, data: TrainingData) -> None:
    loss = {"energy": 0.0, "forces": 0.0, "hessian": 1.0, "hessian_rows": 3}
    train(problem.config(loss=loss, epochs=30), data, tmp_path)
    rows = read_log(tmp_path / "log.csv")
    assert min(row["validation_loss"] for row in rows) < 0.2 * rows[0]["train_loss"]


# Runs that start from a model -----------------------------------------------------------------------------------------

NETWORK = {"architecture": "mace", "cutoff": 5.0, "channels": 4, "max_degree": 1, "hidden": "0e", "n_layers": 1}


@pytest.fixture
def trained(tmp_path: Path, data: TrainingData) -> Path:
    folder = tmp_path / "first"
    folder.mkdir()
    train(problem.config(model=NETWORK, epochs=2), data, folder)
    return folder / "model.safetensors"


def shifted(structures: object, offset: float) -> list[object]:
    """The same labels at a level of theory whose atoms have another energy."""
    return [replace(s, energy=s.energy + offset * s.n_atoms) for s in structures]


def test_a_run_starts_from_the_weights_of_a_model_and_fits_its_reference_energies(
    tmp_path: Path, data: TrainingData, trained: Path
) -> None:
    other = TrainingData(shifted(data.train, -500.0), shifted(data.validation, -500.0))
    folder = tmp_path / "second"
    folder.mkdir()
    config = problem.config(model={}, start_from=str(trained), epochs=1, optimizer={"learning_rate": 1e-12})
    train(config, other, folder)
    before, after = load_model(trained), load_model(folder / "model.safetensors")
    for name, weight in after.state_dict().items():
        torch.testing.assert_close(weight, before.state_dict()[name], rtol=0, atol=1e-9)
    left = []
    for structure in other.train:
        graph = Samples([structure], 5.0, torch.float64).graph(0)
        left.append(float(evaluate(after, graph, ("energy",)).energy[0] - structure.energy) / structure.n_atoms)
    assert abs(np.mean(left)) < 1e-6  # least squares leave no mean error of argon
    assert after.config.atomic_energies[0] < before.config.atomic_energies[0] - 499
    rows = read_log(folder / "log.csv")
    assert rows[0]["validation_forces_mae_meV/A"] == pytest.approx(
        read_log(trained.parent / "log.csv")[-1]["validation_forces_mae_meV/A"], rel=1e-6
    )


def test_reference_energies_are_kept_or_given_on_request(tmp_path: Path, data: TrainingData, trained: Path) -> None:
    first = load_model(trained).config.atomic_energies[0]
    for name, choice, expected in (("kept", "keep", first), ("given", {"Ar": -7.0}, None)):
        folder = tmp_path / name
        folder.mkdir()
        train(
            problem.config(model={}, start_from=str(trained), epochs=1, data={"reference_energies": choice}),
            data,
            folder,
        )
        model = load_model(folder / "model.safetensors")
        if expected is not None:
            assert model.config.atomic_energies[0] == expected
    lone = Samples([replace(data.train[0], numbers=np.array([18]), positions=np.zeros((1, 3)), pbc=np.zeros(3, bool),
                            cell=np.zeros((3, 3)))], 5.0, torch.float64).graph(0)  # fmt: skip
    start = load_model(trained)
    offset = model.config.atomic_energies[0] - first
    assert float(evaluate(start, lone, ("energy",)).energy[0]) + offset == pytest.approx(-7.0, abs=1e-10)


def test_a_run_that_started_from_a_model_resumes_without_it(tmp_path: Path, data: TrainingData, trained: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    config = problem.config(model={}, start_from=str(trained), epochs=3)
    train(config, data, whole)
    train(replace(config, epochs=1), data, parts)
    trained.unlink()
    resume(parts, data, changes={"epochs": 3})
    for name, weight in load_model(whole / "model.safetensors").state_dict().items():
        assert torch.equal(weight, load_model(parts / "model.safetensors").state_dict()[name])


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"model": {**NETWORK, "channels": 8}}, "leave out model.channels"),
        ({"model": {"architecture": "nequip"}}, "has the architecture mace, not nequip"),
        ({"model": {}, "data": {"reference_energies": {"Cu": -1.0}}}, "has none for Ar"),
    ],
)
def test_a_start_that_does_not_fit_is_named(
    tmp_path: Path, data: TrainingData, trained: Path, entries: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        train(problem.config(**entries, start_from=str(trained)), data, tmp_path)
    with pytest.raises(ConfigError, match="architecture must name"):
        problem.config(model={})
    with pytest.raises(ConfigError, match="keep needs a model"):
        problem.config(data={"reference_energies": "keep"})
