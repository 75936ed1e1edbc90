"""``atomsym benchmark tensor-products --in-model``: one recipe with every product, and what training folders say."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from typer.testing import CliRunner

from atomsym.artifacts import ModelCard, save_model
from atomsym.core import ConfigError, InputError
from atomsym.models import MACE
from atomsym.workflows.benchmarks import tensor_products_in_model as in_model
from atomsym.workflows.benchmarks.tensor_products_in_model import PRODUCT_WORDS, InModelSettings, run_in_model
from atomsym.workflows.benchmarks.tensor_products_trained import read_trained, time_epochs, trained_markdown
from atomsym.workflows.cli import app

CARD = ModelCard("tiny", "none", "none", "MIT", "none", "random weights")
SMALL = InModelSettings(systems=("mol27",), channels=4)


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    def seconds(task: object, repeats: int) -> float:
        task()  # type: ignore[operator]
        return 1e-3

    monkeypatch.setattr(in_model, "best_seconds", seconds)


def trained_folder(folder: Path, product: str, forces: list[float]) -> Path:
    """As ``atomsym train`` leaves it: an epoch of 100 s for each error of the forces (meV/Å)."""
    folder.mkdir()
    config = SMALL.config(product)  # type: ignore[arg-type]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_model(MACE(config), folder / "model.safetensors", CARD)
    plain = json.loads(json.dumps({"architecture": "mace", **asdict(config)}))
    (folder / "config.yaml").write_text(yaml.safe_dump({"model": plain, "data": {"known_set": "3bpa"}}))
    part = {"errors": {"all": {"energy": {"mae": 0.002}, "forces": {"mae": 1e-3 * min(forces)}}}}
    (folder / "errors.json").write_text(json.dumps({"validation": part, "600 K": part}))
    lines = [f"{n + 1},{100.0 * (n + 1)},{error}" for n, error in enumerate(forces)]
    (folder / "log.csv").write_text("\n".join(["epoch,seconds,validation_forces_mae_meV/A", *lines]) + "\n")
    return folder


def test_every_word_is_measured_in_the_same_recipe(tmp_path: Path) -> None:
    asked = iter([False, True])
    rows, finished = run_in_model(SMALL, tmp_path / "run", should_stop=lambda: next(asked))
    assert (len(rows), finished) == (1, False)
    rows, finished = run_in_model(SMALL, tmp_path / "run")
    assert finished
    assert [row.product for row in rows] == list(PRODUCT_WORDS)
    weights = {row.product: row.weights for row in rows}
    assert weights["cp"] < weights["clebsch-gordan"]  # one radial weight instead of one a coupling
    assert len({(row.atoms, row.edges) for row in rows}) == 1
    assert {row.step_ms for row in rows} == {1.0}
    with pytest.raises(ConfigError, match="begun with channels"):
        run_in_model(InModelSettings(systems=("mol27",), channels=8), tmp_path / "run")


def test_trained_models_are_compared_at_equal_time(tmp_path: Path) -> None:
    slow = trained_folder(tmp_path / "slow", "clebsch-gordan", [30.0, 20.0, 25.0, 10.0])
    fast = trained_folder(tmp_path / "fast", "cp", [40.0, 22.0])
    rows = read_trained([slow, fast])
    assert [(row.product, row.epochs, row.forces_then) for row in rows] == [
        ("clebsch-gordan", 4, 20.0),
        ("cp", 2, 22.0),
    ]
    assert rows[0].weights > rows[1].weights
    assert rows[0].errors["600 K"] == (pytest.approx(2.0), pytest.approx(10.0))
    assert "| 2.00 / 10.0 | 2.00 / 10.0 | 20.0 |" in trained_markdown(rows)


def test_times_in_turn_count_before_the_clock_of_the_runs(tmp_path: Path) -> None:
    slow = trained_folder(tmp_path / "slow", "clebsch-gordan", [30.0, 20.0, 25.0, 10.0])
    fast = trained_folder(tmp_path / "fast", "cp", [40.0, 22.0])
    rows = read_trained([slow, fast], [30.0, 50.0])  # 100 s of the quicker run are three epochs of the other
    assert [(row.epoch_seconds, row.forces_then) for row in rows] == [(30.0, 20.0), (50.0, 22.0)]
    assert [row.forces_then for row in read_trained([slow, fast], [25.0, 51.0])] == [10.0, 40.0]


def test_an_epoch_of_each_run_is_trained_again(tmp_path: Path) -> None:
    structures = []
    for number in range(6):
        atoms = molecule("H2O")
        atoms.positions[0, 0] += 0.02 * number
        atoms.calc = SinglePointCalculator(atoms, energy=-10.0 + 0.1 * number, forces=np.zeros((3, 3)))
        structures.append(atoms)
    write(tmp_path / "water.xyz", structures)
    folders = []
    for product in ("clebsch-gordan", "cp"):
        folder = tmp_path / product
        folder.mkdir()
        (folder / "config.yaml").write_text(
            "model: {architecture: mace, cutoff: 3.0, channels: 2, hidden: 0e+1o, max_degree: 1, correlation: 1, "
            f"product: {product}}}\ndata: {{train: ['{tmp_path / 'water.xyz'}'], validation_fraction: 0.4}}\nepochs: 9"
        )
        folders.append(folder)
    said: list[tuple[int, int, str]] = []
    seconds = time_epochs(folders, 2, lambda *told: said.append(told))
    assert len(seconds) == 2
    assert all(0 < each < 60 for each in seconds)
    assert [what for *_, what in said] == 2 * ["an epoch of clebsch-gordan", "an epoch of cp"]
    assert [path.name for path in folders[0].iterdir()] == ["config.yaml"]  # the run itself is left alone
    assert time_epochs(folders, 2, should_stop=lambda: True) == []


def test_the_command_lists_both(tmp_path: Path) -> None:
    folder = trained_folder(tmp_path / "so2", "so2", [5.0])
    arguments = ["--in-model", "--quick", "--trained", str(folder), "--json", "-o", str(tmp_path / "out")]
    found = CliRunner().invoke(app, ["benchmark", "tensor-products", *arguments])
    assert found.exit_code == 0, found.output
    result = json.loads(found.stdout)
    assert [row["product"] for row in result["models"]] == list(PRODUCT_WORDS)
    assert result["trained"][0]["product"] == "so2"
    assert json.loads((tmp_path / "out/in_model.json").read_text()) == result
    text = (tmp_path / "out/in_model.md").read_text()
    assert "## In a MACE model" in text
    assert "| so2 | so2 | 3bpa |" in text


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no finished training"):
        read_trained([tmp_path])
    folder = trained_folder(tmp_path / "run", "cp", [5.0])
    (folder / "config.yaml").write_text("model: {architecture: faenet}\n")
    with pytest.raises(InputError, match="KeyError: 'product'"):
        read_trained([folder])
    with pytest.raises(ConfigError, match="systems can be"):
        InModelSettings(systems=("gold",))
