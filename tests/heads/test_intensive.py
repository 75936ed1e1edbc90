"""Intensive properties: the mean over atoms, of any network, in the same files and the same training as potentials."""

from __future__ import annotations

import copy
import csv
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from hessian_examples import BACKBONES
from typer.testing import CliRunner

from atomsym.artifacts import ModelCard, config_from_dict, load_model, read_card, save_model
from atomsym.calculators.ase import AtomsymCalculator
from atomsym.core import (
    AtomGraph,
    CalculationError,
    ConfigError,
    DataError,
    InputError,
    LabelledStructure,
    UnsupportedElementError,
)
from atomsym.datasets import write_extxyz
from atomsym.derivatives import evaluate
from atomsym.heads import IntensiveProperty, IntensivePropertyConfig, intensive_property, system_property
from atomsym.kernels.neighbors import connect
from atomsym.models import ARGON, FAENetConfig, Potential, Sum
from atomsym.symmetrizers import SymmetrizedPotential
from atomsym.symmetry.frames import random_elements
from atomsym.testing import tolerances
from atomsym.training import TrainingConfig, TrainingData, read_log, resume, train
from atomsym.workflows.cli import app
from atomsym.workflows.train.run import finish_run

QUANTITY, UNIT = "log10 of the bulk modulus", "log10(GPa)"
CARD = ModelCard("tiny", level_of_theory="none", training_data="made", licence="MIT", citation="none")
FAENET = FAENetConfig(
    (8, 14, 22), 3.0, (-0.2, 0.1, -0.4), average_neighbors=3.0, channels=24, filters=8, n_layers=2,
    n_gaussians=6, period_group_channels=2,
)  # fmt: skip
NETWORKS = {"mace": BACKBONES["mace"], "nequip": BACKBONES["nequip"], "faenet": FAENET}
POSITIONS = np.array([[0.0, 0.0, 0.0], [1.7, 0.2, 0.1], [0.1, 1.8, 1.6]])
NUMBERS = np.array([22, 8, 14])
CELL = np.array([[3.4, 0.1, 0.0], [0.2, 3.6, 0.3], [0.1, 0.0, 3.5]])


def model(name: str = "faenet") -> IntensiveProperty:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return IntensiveProperty.of(name, NETWORKS[name], QUANTITY, UNIT).to(torch.float64).eval()


def crystal(repeats: tuple[int, int, int] = (1, 1, 1), rotation: Any = None) -> AtomGraph:
    rotation = np.eye(3) if rotation is None else rotation
    atoms = Atoms(NUMBERS, POSITIONS, cell=CELL, pbc=True) * repeats
    return AtomGraph.from_arrays(atoms.positions @ rotation, atoms.numbers, np.array(atoms.cell) @ rotation, True)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_property_does_not_grow_with_the_cell(name: str) -> None:
    one, large = model(name), crystal((2, 1, 3))
    value = intensive_property(one, crystal())
    assert value.shape == (1,)
    assert value.dtype == torch.float64
    assert float((intensive_property(one, large) - value).abs()) < tolerances.EXTENSIVITY.float64
    total = float(one(connect(large, one.cutoff))["energies"].detach().sum())  # what a sum would give
    assert abs(total - float(value)) > 1e-2
    batch = AtomGraph.batch([crystal(), large, crystal()])
    torch.testing.assert_close(
        intensive_property(one, batch), value.expand(3), rtol=0, atol=tolerances.BATCHING.float64
    )


def test_frames_make_it_invariant() -> None:
    torch.manual_seed(2)
    bare = model()
    wrapped = SymmetrizedPotential.of("intensive", bare.config, {"method": "weighted", "samples": 4})
    wrapped.model.load_state_dict(bare.state_dict())
    wrapped = wrapped.to(torch.float64).eval()
    assert (wrapped.quantity, wrapped.unit) == (QUANTITY, UNIT)
    (rotation,) = random_elements(1, "E3", generator=torch.Generator().manual_seed(0)).numpy()
    limit = tolerances.ROTATION_ENERGY.float64
    change = intensive_property(wrapped, crystal(rotation=rotation)) - intensive_property(wrapped, crystal())
    assert float(change.abs()) < limit
    alone = intensive_property(bare, crystal(rotation=rotation)) - intensive_property(bare, crystal())
    assert float(alone.abs()) > 1e3 * limit


def test_files_keep_what_it_is_and_the_calculator_gives_it_under_its_name(tmp_path: Path) -> None:
    bare = model()
    wrapped = SymmetrizedPotential.of("intensive", bare.config, "full").to(torch.float64).eval()
    potentials: list[Potential] = [bare, wrapped]
    for number, potential in enumerate(potentials):
        file = tmp_path / f"{number}.safetensors"
        save_model(potential, file, CARD)
        again = load_model(file, dtype=torch.float64)
        assert (again.quantity, again.unit) == (QUANTITY, UNIT)
        assert torch.equal(intensive_property(again, crystal()), intensive_property(potential, crystal()))
        one, two = (Atoms(NUMBERS, POSITIONS, cell=CELL, pbc=True) * (n, 1, 1) for n in (1, 2))
        value = pytest.approx(float(intensive_property(potential, crystal())), abs=tolerances.BATCHING.float64)
        one.calc = AtomsymCalculator(file)
        assert one.calc.get_property(QUANTITY, one) == value
        assert one.calc.results == {QUANTITY: value}
        if number:  # the frames of a supercell are not those of its cell
            assert one.calc.calculate_many([one, one], [QUANTITY]) == [{QUANTITY: value}] * 2
        else:
            assert one.calc.calculate_many([one, two], [QUANTITY]) == [{QUANTITY: value}] * 2
        twins = [copy.deepcopy(one.calc), pickle.loads(pickle.dumps(one.calc))]  # noqa: S301
        twins.append(AtomsymCalculator(again))
        for calculator in twins:
            calculator.calculate(one)
            assert calculator.results == {QUANTITY: value}
            for refused in ("energy", "forces", "stress", "hessian"):
                with pytest.raises(PropertyNotImplementedError, match=f"{refused}; it computes {QUANTITY}$"):
                    calculator.get_property(refused, one)
            with pytest.raises(InputError, match=r"the log10 of the bulk modulus \(log10\(GPa\)\), not energies"):
                calculator.get_hessian(one, method="rows")
    assert "energy" in AtomsymCalculator.implemented_properties
    with pytest.raises(InputError, match="not energies"):
        evaluate(bare, connect(crystal(), bare.cutoff), ("forces",))


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ConfigError, match="quantity and unit in words"):
        IntensiveProperty.of("faenet", FAENET, " ", UNIT)
    with pytest.raises(ConfigError, match="quantity and unit in words"):
        IntensiveProperty.of("faenet", FAENET, "energy", "eV")
    with pytest.raises(ConfigError, match="elements and cutoff"):
        IntensiveProperty(IntensivePropertyConfig((8, 14), 3.0, dict(model().config.model), QUANTITY, UNIT))
    with pytest.raises(ConfigError, match="gives the log10 of the bulk modulus already"):
        IntensiveProperty.of("intensive", model().config, "other", "1")
    with pytest.raises(ConfigError, match="no room for the log10"):
        Sum.of(model())
    with pytest.raises(InputError, match="gives energies"):
        intensive_property(model().model, crystal())
    nothing = AtomGraph.from_arrays(np.zeros((0, 3)), np.zeros(0, dtype=int))
    with pytest.raises(InputError, match="without atoms"):
        intensive_property(model(), nothing)
    with pytest.raises(UnsupportedElementError):
        intensive_property(model(), AtomGraph.from_arrays([[0, 0, 0]], [1]))
    with pytest.raises(InputError, match="has no edges yet"):
        system_property(model(), crystal())
    broken = model()
    with torch.no_grad():
        next(broken.parameters()).fill_(float("nan"))
    with pytest.raises(CalculationError, match="the log10 of the bulk modulus nan of system 0"):
        intensive_property(broken, crystal())
    statistics: Any = None
    with pytest.raises(ConfigError, match="lack: unit"):
        IntensiveProperty.config_from_statistics({"model": {}, "quantity": QUANTITY}, statistics)
    assert IntensiveProperty.of("lennard-jones", ARGON, QUANTITY, UNIT).continuous


def crystals() -> list[LabelledStructure]:
    """Cells of one to three repeats that are stretched or pressed; y follows from the stretch alone."""
    rng, structures = np.random.default_rng(0), []
    for number in range(24):
        atoms = Atoms(NUMBERS, POSITIONS, cell=CELL, pbc=True) * (1 + number % 3, 1, 1)
        scale = rng.uniform(0.92, 1.08)
        atoms.set_cell(scale * np.array(atoms.cell), scale_atoms=True)
        structures.append(
            LabelledStructure(
                atoms.numbers.astype(np.int64), atoms.positions, np.array(atoms.cell), np.ones(3, bool),
                target=2.0 - 8.0 * (scale - 1.0), group=f"repeats {1 + number % 3}", source=f"made:{number}",
            )
        )  # fmt: skip
    return structures


def training(**changes: Any) -> TrainingConfig:
    network: dict[str, Any] = {"architecture": "faenet", "cutoff": 3.5, "channels": 24, "filters": 8, "n_layers": 1}
    network |= {"n_gaussians": 8, "period_group_channels": 2}
    described = {"architecture": "intensive", "quantity": QUANTITY, "unit": UNIT, "model": network}
    entries: dict[str, Any] = {
        "model": {**described, "symmetrizer": "stochastic"}, "loss": {"target": 1, "energy": 0, "forces": 0},
        "batch": {"structures": 4}, "epochs": 20, "optimizer": {"learning_rate": 0.01},
        "output": {"name": "tiny", "licence": "MIT", "step_log": True},
    }  # fmt: skip
    return config_from_dict(TrainingConfig, {**entries, **changes})


def test_it_is_trained_logged_and_evaluated_in_its_own_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    structures = crystals()
    data = TrainingData(structures[:18], structures[18:])
    (tmp_path / "run").mkdir()
    result = train(training(), data, tmp_path / "run")
    assert result.model_file is not None
    trained = load_model(result.model_file, dtype=torch.float64)
    assert (trained.quantity, trained.unit) == (QUANTITY, UNIT)
    labels = np.array([s.target for s in structures[18:]], dtype=float)
    found = []
    for structure in structures[18:]:
        graph = AtomGraph.from_arrays(structure.positions, structure.numbers, structure.cell, True)
        found.append(float(intensive_property(trained, graph)))
    error = float(np.abs(np.array(found) - labels).mean())
    assert error < 0.35 * float(np.abs(labels - labels.mean()).mean())
    record = json.loads(read_card(result.model_file).card.training)
    assert record["units"] == {"target": UNIT}
    assert set(record["validation_errors"]["all"]) == {"target"}

    rows = read_log(tmp_path / "run/log.csv")
    assert not any("meV" in column or "energy" in column for column in rows[0])
    best = rows[record["best_epoch"] - 1]
    assert best[f"validation_target_mae_{UNIT}"] == pytest.approx(error, rel=1e-6)
    assert best["validation_loss"] == pytest.approx(best[f"validation_target_rmse_{UNIT}"] ** 2)
    assert 0 < best[f"train_target_mae_{UNIT}"] < 1
    steps = read_log(tmp_path / "run/steps.csv")
    assert all(row["loss_target"] == row["loss"] > 0 for row in steps)

    files = {path.name for path in finish_run(result, data).files}
    assert files == {"learning.png", "parity-validation.png", "errors.json"}
    monkeypatch.chdir(tmp_path)
    write_extxyz(structures[18:], "test.xyz")
    asked = ["evaluate", str(result.model_file), "test.xyz", "--key", "target=target"]
    shown = CliRunner().invoke(app, [*asked, "--csv", "each.csv", "--plot", "parity.png"]).output
    assert QUANTITY in " ".join(shown.split())
    assert f"{error:.3g}" in shown
    assert "meV" not in shown
    assert (tmp_path / "parity.png").stat().st_size > 10_000
    with open("each.csv", newline="") as file:
        each = list(csv.DictReader(file))
    assert [float(row[f"target_{UNIT}"]) for row in each] == labels.tolist()
    assert np.abs([float(row[f"target_error_{UNIT}"]) for row in each]).mean() == pytest.approx(error)
    assert [float(row[f"predicted_target_{UNIT}"]) for row in each] == pytest.approx(found)
    told = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)
    assert (told["target"], told["units"]) == (QUANTITY, {"target": UNIT})
    assert told["errors"]["all"]["target"]["mae"] == pytest.approx(error)
    assert "group repeats 2" in told["errors"]

    # From the trained model: its values of the elements take up a constant that the labels are moved by.
    moved = [replace(structure, target=(structure.target or 0.0) + 5.0) for structure in structures]
    tuned = training(model={}, start_from=str(result.model_file), epochs=1, optimizer={"learning_rate": 1e-9})
    (tmp_path / "tuned").mkdir()
    again = train(tuned, TrainingData(moved[:18], moved[18:]), tmp_path / "tuned")
    assert again.progress.best_errors["all"]["target"]["mae"] < 0.1


def test_a_run_goes_on_with_its_log_and_its_own_data(tmp_path: Path) -> None:
    structures = crystals()
    data = TrainingData(structures[:18], structures[18:])
    for name, epochs in (("whole", 2), ("parts", 1)):
        (tmp_path / name).mkdir()
        train(training(epochs=epochs), data, tmp_path / name)
    others = [replace(structure, target=0.0) for structure in structures]
    with pytest.raises(ConfigError, match="not the structures that the run began with"):
        resume(tmp_path / "parts", TrainingData(others[:18], others[18:]), changes={"epochs": 2})
    resume(tmp_path / "parts", data, changes={"epochs": 2})
    whole, parts = (read_log(tmp_path / name / "log.csv") for name in ("whole", "parts"))
    assert [{**row, "seconds": 0} for row in whole] == [{**row, "seconds": 0} for row in parts]


def test_energies_and_targets_are_not_mixed_up(tmp_path: Path) -> None:
    structures = crystals()
    data = TrainingData(structures[:18], structures[18:])
    with pytest.raises(ConfigError, match=r"log10\(GPa\)\), no energies and forces.* labels of energy, forces"):
        train(training(loss={}), data, tmp_path)
    with pytest.raises(ConfigError, match="gives energies; take architecture: intensive"):
        train(training(model={"architecture": "faenet"}), data, tmp_path)
    with pytest.raises(ConfigError, match="lack: quantity"):
        train(training(model={"architecture": "intensive", "unit": "1", "model": {}}), data, tmp_path)
    energies = [replace(structure, target=None, energy=1.0) for structure in structures]
    with pytest.raises(DataError, match="has target labels"):
        train(training(), TrainingData(energies, energies), tmp_path)
