"""Configs: strict, typed, the same after YAML and JSON, completed from the data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import training_problem as problem

from atomsym.artifacts import config_from_json, config_to_json
from atomsym.core import AtomsymError, ConfigError, LabelledStructure
from atomsym.training import (
    Samples,
    TrainingConfig,
    config_to_yaml,
    dataset_statistics,
    model_cutoff,
    new_potential,
    parse_yaml,
    read_config,
    resolved_config,
    with_overrides,
)

YAML = """
model:
  architecture: morse
  cutoff: 6.0
  depth: [[8e-3]]
  alpha: [[1.5]]
  equilibrium: [[3.9]]
loss: {forces: 1e1, stress: 100}
data: {train: [a.xyz], reference_energies: {Ar: -0.5, No: -1}}
stages:
  - start_epoch: 10
    learning_rate: 1e-3
    loss: {energy: 10}
epochs: 20
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(text)
    return path


def test_a_file_becomes_typed_sections(tmp_path: Path) -> None:
    config = read_config(written(tmp_path, YAML), ["loss.forces=5", "stages.0.start_epoch=7", "seed=3"])
    assert (config.loss.forces, config.loss.stress, config.seed) == (5.0, 100.0, 3)
    assert config.data.train == ("a.xyz",)
    assert config.data.reference_energies == {"Ar": -0.5, "No": -1.0}
    first, second = config.all_stages()
    assert (first.start, first.end, first.loss.energy) == (0, 7, 1.0)
    assert (second.start, second.end, second.learning_rate, second.loss.energy) == (7, 20, 1e-3, 10.0)
    assert second.loss.forces == 5.0


def test_a_config_survives_yaml_and_json(tmp_path: Path) -> None:
    config = read_config(written(tmp_path, YAML))
    assert read_config(written(tmp_path, config_to_yaml(config))) == config
    assert config_from_json(TrainingConfig, config_to_json(config)) == config
    assert read_config(tmp_path / "run.yaml").hash == config.hash
    assert read_config(tmp_path / "run.yaml", ["seed=1"]).hash != config.hash


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("los.forces=1", "unknown key 'los'; did you mean 'loss'"),
        ("loss.force=1", "unknown key 'loss.force'; did you mean 'forces'"),
        ("loss.forces=much", "loss.forces must be float; found 'much'"),
        ("loss.forces=true", "loss.forces must be float; found True"),
        ("loss.forces=-1", "loss.forces must be >= 0"),
        ("loss.forces=.nan", "loss.forces must be float"),
        ("epochs=1.5", "epochs must be int"),
        ("epochs=0", "epochs must be >= 1"),
        ("optimizer.name=sgd", "optimizer.name is 'sgd'"),
        ("schedule.kind=cosin", "did you mean 'cosine'"),
        ("optimizer.betas=[0.9]", "optimizer.betas must have 2 items"),
        ("stages.0.loss={force: 1}", "in stages[0].loss: unknown key 'force'"),
        ("stages.0.start_epoch=0", "stages must begin one after the other"),
        ("model=mace", "model must be an object"),
        ("model={}", "model.architecture must name"),
        ("data.known_set=rmd17", "either known_set or train"),
        ("data.keys={energy: 1}", "data.keys.energy must be str"),
        ("loss={energy: 0, forces: 0}", "nothing to learn"),
        ("loss.forces", "must have the form entry=value"),
        ("epochs.more=1", "has no entries to set"),
        ("stages.3.loss={}", "is not there"),
        ("loss.forces=[1", "not YAML"),
        ("dtype=float16", "dtype is 'float16'"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, override: str, message: str) -> None:
    path = written(tmp_path, YAML)
    with pytest.raises(ConfigError) as caught:
        read_config(path, [override])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["", "- a", "a: [", "epochs: 1\nepochs: 2", "1: 2", "model: !!python/object:os.system {}", "a: &a [*a]", "\x00"],
)
def test_text_that_is_no_config_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"run\.yaml"):
        read_config(written(tmp_path, text))


def test_i11_mangled_configs_end_in_an_error_or_a_config(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    raw = YAML.encode()
    ends = {"config": 0, "error": 0}
    for _ in range(200):
        mangled = bytearray(raw)
        for _ in range(rng.integers(1, 3)):
            mangled[rng.integers(len(mangled))] = rng.choice([*b"0123456789ef.:-[]{}#*& ", rng.integers(256)])
        (tmp_path / "run.yaml").write_bytes(bytes(mangled))
        try:
            read_config(tmp_path / "run.yaml")
            ends["config"] += 1
        except AtomsymError:
            ends["error"] += 1
    assert min(ends.values()) > 5


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("1", 1), ("1.", 1.0), ("-.5", -0.5), ("No", "No"), ("on", "on"), ("true", True), ("~", None),
     ("1_000", "1_000"), ("0x10", "0x10"), ("1:30", "1:30"), ("2020-01-01", "2020-01-01"), (".inf", ".inf")],
)  # fmt: skip
def test_yaml_scalars_are_what_they_look_like(text: str, value: Any) -> None:
    found = parse_yaml(f"a: {text}", "here")["a"]
    assert found == value
    assert type(found) is type(value)


def test_overrides_leave_the_data_they_are_applied_to_alone() -> None:
    data = {"loss": {"energy": 1.0}}
    assert with_overrides(data, ["loss.energy=2"]) == {"loss": {"energy": 2}}
    assert data == {"loss": {"energy": 1.0}}


def test_what_a_model_takes_from_the_data_is_written_into_the_config(structures: list[LabelledStructure]) -> None:
    samples = Samples(structures, 4.5, torch.float64)
    config = problem.config(
        model={"architecture": "mace", "cutoff": 4.5, "channels": 4, "max_degree": 1, "hidden": "0e"}
    )
    complete, statistics = resolved_config(config, samples)
    assert complete.model["elements"] == [18]
    assert complete.model["average_neighbors"] == pytest.approx(samples.n_edges().sum() / 64)
    assert complete.model["scale"] == pytest.approx(np.sqrt(np.mean([np.square(s.forces).mean() for s in structures])))
    assert complete.model["channels"] == 4
    assert complete.model["atomic_energies"] == list(statistics.atomic_energies)
    again = config_from_json(TrainingConfig, config_to_json(complete))
    first, second = new_potential(complete).state_dict(), new_potential(again).state_dict()
    assert all(bool((first[name] == second[name]).all()) for name in first)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"architecture": "mase", "cutoff": 5.0}, "no architecture 'mase'; did you mean 'mace'"),
        ({"architecture": "mace", "cutof": 5.0}, "unknown key 'model.cutof'; did you mean 'cutoff'"),
        ({"architecture": "mace", "cutoff": "5"}, "model.cutoff must be float"),
        ({"architecture": "mace"}, "model.cutoff is missing"),
        ({"architecture": "morse", "cutoff": 6.0}, "lack: depth, alpha, equilibrium"),
        ({**problem.MORSE, "elements": [29]}, "hold Ar"),
    ],
)
def test_a_wrong_model_section_is_named(
    structures: list[LabelledStructure], model: dict[str, Any], message: str
) -> None:
    config = problem.config(model=model)
    with pytest.raises(ConfigError) as caught:
        resolved_config(config, Samples(structures, model_cutoff(config), torch.float64))
    assert message in str(caught.value)


def water(n_h: int, n_o: int, energy: float) -> LabelledStructure:
    numbers = np.array([1] * n_h + [8] * n_o)
    positions = np.arange(3 * len(numbers), dtype=float).reshape(-1, 3) * 3
    return LabelledStructure(numbers, positions, np.zeros((3, 3)), np.zeros(3, bool), energy=energy)


def test_reference_energies_are_fitted_taken_or_given() -> None:
    mixed = [water(2, 1, 2 * -1.5 - 7.0), water(1, 1, -8.5), water(4, 1, 4 * -1.5 - 7.0)]
    samples = Samples(mixed, 2.0, torch.float64)
    fitted = dataset_statistics(samples)
    assert fitted.elements == (1, 8)
    assert fitted.atomic_energies == pytest.approx((-1.5, -7.0))
    assert fitted.mean_interaction_energy == pytest.approx(0, abs=1e-12)
    given = dataset_statistics(samples, {"O": -6.0, "H": -1.0})
    assert given.atomic_energies == (-1.0, -6.0)
    with pytest.raises(ConfigError, match="lack O"):
        dataset_statistics(samples, {"H": -1.0})
    with pytest.raises(ConfigError, match="no structure is a single atom of H, O"):
        dataset_statistics(samples, "isolated")
    alone = Samples([*mixed, water(1, 0, -1.25), water(0, 1, -6.5)], 2.0, torch.float64)
    assert dataset_statistics(alone, "isolated").atomic_energies == (-1.25, -6.5)


def test_a_crystal_with_one_atom_is_not_taken_for_an_isolated_atom() -> None:
    crystal = replace(water(1, 0, -3.0), cell=2.0 * np.eye(3), pbc=np.ones(3, bool))
    with pytest.raises(ConfigError, match="no structure is a single atom of H"):
        dataset_statistics(Samples([crystal], 1.5, torch.float64), "isolated")


def test_one_composition_alone_still_gives_reference_energies() -> None:
    samples = Samples([water(2, 1, -10.0), water(2, 1, -10.2)], 2.0, torch.float64)
    found = dataset_statistics(samples)
    assert found.atomic_energies == pytest.approx((-10.1 / 3, -10.1 / 3))
