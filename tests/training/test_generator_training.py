"""Training of generators: the loss falls, a run that was killed goes on exactly, wrong configs are named."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from atomsym.artifacts import load_generator, read_generator_card
from atomsym.core import ArtifactError, CalculationError, ConfigError
from atomsym.core.configs import config_from_dict, config_to_json
from atomsym.generators import batch_of
from atomsym.training import config_to_yaml, read_checkpoint, read_log
from atomsym.training.checkpoints import read_checkpoint_of
from atomsym.training.config_files import read_config_of
from atomsym.training.generators import (
    GENERATOR_RUN,
    GeneratorData,
    GeneratorTrainingConfig,
    mean_loss,
    new_generator,
    resume_generator,
    train_generator,
)

PROGRAM = Path(__file__).with_name("generator_program.py")
_SPEC = importlib.util.spec_from_file_location("generator_program", PROGRAM)
assert _SPEC is not None
assert _SPEC.loader is not None
program = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(program)
tiny_config, tiny_data, CRYSTALS = program.tiny_config, program.tiny_data, program.CRYSTALS


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train_generator(tiny_config(epochs=25, ema={"decay": 0.8}), tiny_data(), folder)
    return folder


def assert_same_run(one: Path, other: Path) -> None:
    a, b = (read_checkpoint_of(GENERATOR_RUN, folder) for folder in (one, other))
    assert a.tensors.keys() == b.tensors.keys()
    for name, tensor in a.tensors.items():
        assert torch.equal(tensor, b.tensors[name]), name
    assert replace(a.progress, seconds=0.0, log_bytes=0) == replace(b.progress, seconds=0.0, log_bytes=0)
    assert (one / "generator.safetensors").read_bytes() == (other / "generator.safetensors").read_bytes()
    rows = [[{**row, "seconds": 0.0} for row in read_log(folder / "log.csv")] for folder in (one, other)]
    assert rows[0] == rows[1]


def test_the_loss_falls_and_the_samples_are_the_crystals(run: Path) -> None:
    rows = read_log(run / "log.csv")
    assert [row["epoch"] for row in rows] == list(range(1, 26))
    assert rows[-1]["validation_loss"] < 0.5 * rows[0]["validation_loss"]
    assert rows[-1]["train_loss"] < 0.5 * rows[0]["train_loss"]
    best = min(rows, key=lambda row: row["validation_loss"])
    generator = load_generator(run / "generator.safetensors")
    found = mean_loss(generator, tiny_data().validation, seed=0, draws=50)
    assert float(found) == pytest.approx(best["validation_loss"], rel=0.2)


def test_the_best_generator_is_saved_with_its_story(run: Path) -> None:
    described = read_generator_card(run / "generator.safetensors")
    assert described.card.name == "five"
    assert described.card.training_data == "five crystals: 40 crystals for training, 10 for validation"
    record = json.loads(described.card.training)
    rows = read_log(run / "log.csv")
    best = min(rows, key=lambda row: row["validation_loss"])
    assert (record["best_epoch"], record["crystals"]) == (best["epoch"], {"train": 40, "validation": 10})
    assert record["validation_loss"] == pytest.approx(best["validation_loss"], rel=1e-6)
    generator = load_generator(run / "generator.safetensors")
    assert generator.group_counts.sum() == 40
    assert generator.properties == ("gap",)
    assert float(generator.state_dict()["property_means"]) == pytest.approx(2.0)


def test_a_killed_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    config = tiny_config()
    for name in ("whole", "pieces"):
        (tmp_path / name).mkdir()
    (tmp_path / "pieces" / "begin.json").write_text(config_to_json(config))
    train_generator(config, tiny_data(), tmp_path / "whole")
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), str(tmp_path / "pieces"), "train"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for seen, _ in enumerate(process.stdout, start=1):
        if seen == 5:
            process.kill()
            break
    process.communicate()
    assert read_checkpoint_of(GENERATOR_RUN, tmp_path / "pieces").progress.step < 12
    result = resume_generator(tmp_path / "pieces", tiny_data())
    assert result.complete
    assert_same_run(tmp_path / "whole", tmp_path / "pieces")


def test_a_stopped_run_goes_on_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "pieces").mkdir()
    train_generator(tiny_config(), tiny_data(), tmp_path / "whole")
    asked = iter([""] * 8 + ["enough"])
    first = train_generator(tiny_config(), tiny_data(), tmp_path / "pieces", stop=lambda: next(asked))
    assert (first.complete, first.reason, first.progress.step, first.progress.position) == (False, "enough", 4, 1)
    second = resume_generator(tmp_path / "pieces", tiny_data())
    assert second.complete
    assert_same_run(tmp_path / "whole", tmp_path / "pieces")
    third = resume_generator(tmp_path / "pieces", tiny_data(), changes={"epochs": 6})
    assert third.progress.epoch == 6


def test_it_stops_when_validation_does_not_improve(tmp_path: Path) -> None:
    config = tiny_config(epochs=60, early_stop=2, optimizer={"learning_rate": 0.5}, schedule={"kind": "constant"})
    result = train_generator(config, tiny_data(), tmp_path)
    assert result.reason == "no improvement in 2 epochs"
    assert result.progress.best_epoch == result.progress.epoch - 2


def test_the_plateau_schedule_lowers_the_rate(tmp_path: Path) -> None:
    config = tiny_config(epochs=8, optimizer={"learning_rate": 3.0}, schedule={"kind": "plateau", "patience": 1})
    train_generator(config, tiny_data(), tmp_path)
    rows = read_log(tmp_path / "log.csv")
    expected, rate = [], 3.0
    for row in rows:
        rate *= 1.0 if row["best"] else 0.8
        expected.append(rate)
    assert [row["learning_rate"] for row in rows] == pytest.approx(expected)
    assert rate < 3.0, "the rate is too high to improve at every epoch"


def test_another_program_or_other_data_do_not_go_on(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no checkpoint\.safetensors in it"):
        read_checkpoint(run)
    with pytest.raises(ConfigError, match="holds a training run"):
        train_generator(tiny_config(), tiny_data(), run)
    data = tiny_data()
    with pytest.raises(ConfigError, match="not the crystals that the run began with"):
        resume_generator(run, GeneratorData(data.validation, data.train))
    with pytest.raises(ConfigError, match="only epochs, early_stop, max_minutes, device may change, not seed"):
        resume_generator(run, data, changes={"seed": 1})
    without = GeneratorData(batch_of(CRYSTALS), batch_of(CRYSTALS))
    with pytest.raises(ConfigError, match="takes 1 properties, but the data come with 0"):
        train_generator(tiny_config(), without, tmp_path)
    none = GeneratorData(data.train, data.validation.select(torch.tensor([], dtype=torch.int64)))
    with pytest.raises(ConfigError, match="no validation crystals"):
        train_generator(tiny_config(), none, tmp_path)
    with pytest.raises(CalculationError, match="not finite in step"):
        train_generator(tiny_config(optimizer={"learning_rate": 1e30}), data, tmp_path)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"epoch": 3}, "unknown key 'epoch'; did you mean 'epochs'"),
        ({"generator": {"architecture": "wyfomer"}}, "did you mean 'wyformer'"),
        ({"generator": {"layers": 3}}, r"generator\.architecture must name"),
        ({"generator": {"architecture": "wyformer", "layer": 3}}, "unknown key 'generator.layer'; did you mean"),
        ({"data": {}}, "at least one set"),
        ({"data": {"train": ["a"], "test": ["a"]}}, "names a set of crystals twice"),
        ({"data": {"train": ["a"], "validation_fraction": 1.0}}, "validation_fraction must be between"),
        ({"batch": {"crystals": 0}}, "batch.crystals must be >= 1"),
        ({"validation_draws": 0}, "validation_draws must be >= 1"),
        ({"output": {"name": "x", "step_log": True}}, "have neither step_log"),
        ({"epochs": 0}, "epochs must be >= 1"),
    ],
)
def test_wrong_settings_are_named(entries: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tiny_config(**entries)


def test_a_wrong_value_of_the_generator_is_named() -> None:
    config = tiny_config(generator={**program.TINY, "heads": 3})
    with pytest.raises(ConfigError, match="in generator: 3 heads do not divide"):
        new_generator(config)


def test_a_config_survives_yaml_and_partial_sections_keep_their_own_defaults(tmp_path: Path) -> None:
    config = tiny_config()
    (tmp_path / "config.yaml").write_text(config_to_yaml(config))
    assert read_config_of(GeneratorTrainingConfig, tmp_path / "config.yaml") == config
    changed = read_config_of(GeneratorTrainingConfig, tmp_path / "config.yaml", ["batch.crystals=8"])
    assert changed.batch.crystals == 8
    partial = config_from_dict(
        GeneratorTrainingConfig,
        {"generator": program.TINY, "data": {"train": ["a"]}, "optimizer": {"learning_rate": 0.1}},
    )
    assert (partial.optimizer.name, partial.optimizer.amsgrad) == ("adamw", False)


def test_the_same_seed_gives_the_same_weights() -> None:
    one, two, other = (new_generator(tiny_config(seed=seed)).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())
    assert not torch.equal(one["network.mixer.weight"], other["network.mixer.weight"])
