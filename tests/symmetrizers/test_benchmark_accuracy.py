"""``atomsym benchmark symmetrizer-accuracy``: trains what is asked for, goes on, and says what turning costs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from atomsym.artifacts import load_model
from atomsym.core import AtomGraph, ConfigError
from atomsym.datasets import load_known
from atomsym.heads import intensive_property
from atomsym.symmetry.frames import random_elements
from atomsym.training import read_log
from atomsym.workflows.benchmarks import symmetrizer_accuracy as benchmark
from atomsym.workflows.benchmarks.symmetrizer_accuracy import (
    AccuracyComparison,
    AccuracyOutcome,
    AccuracyRow,
    AccuracySettings,
    CoreClock,
    run_accuracy,
)
from atomsym.workflows.benchmarks.symmetrizer_accuracy_cases import ACCURACY_SETS, accuracy_cases, accuracy_set
from atomsym.workflows.benchmarks.symmetrizer_accuracy_measures import seconds_each, turned
from atomsym.workflows.cli import app

LOGGED = "validation_target_mae_log10(GPa)"
METALS = {"Pt": 2.8, "Cu": 2.55, "Ag": 2.9}
SMALL = ("model.channels=96", "model.filters=8", "model.n_layers=1", "model.n_gaussians=4", "model.cutoff=3.5")


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ten surfaces of each of three metals, two atoms a layer, with one or two adsorbed atoms."""
    folder = tmp_path / "data"
    (folder / "adsorption").mkdir(parents=True)
    generator, frames = np.random.default_rng(0), []
    for metal, a in METALS.items():
        for index in range(10):
            places = [(metal, x, y, z) for x, y, z in ((0, 0, 0), (a, 0.1, 0), (1.3, 1.9, -2), (3.9, 2.1, -2))]
            places += [("O" if index % 3 else "N", a * k, 0.3 * index, 1.4) for k in range(1 + index % 2)]
            cell = f"{2 * a} 0 0 0.4 {1.9 * a} 0 0 0 20"
            energy = generator.normal(-3)
            lines = "".join(f"{symbol} {x} {y} {z}\n" for symbol, x, y, z in places)
            frames.append(
                f'{len(places)}\nLattice="{cell}" metal={metal} adsorption_energy={energy} pbc="T T T"\n{lines}'
            )
    (folder / "adsorption/fcc111_atomic_adsorption.xyz").write_text("".join(frames))
    monkeypatch.setenv("ATOMSYM_DATA", str(folder))
    monkeypatch.setattr(benchmark, "seconds_each", lambda *settings: 2e-3)
    return folder


def command(*options: str) -> Any:
    changes = [part for change in SMALL for part in ("--set", change)]
    return CliRunner().invoke(app, ["benchmark", "symmetrizer-accuracy", *options, *changes])


def test_methods_are_trained_measured_and_read_the_second_time(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    names = ("none", "weighted", "stochastic")
    asked = ["adsorption", "--epochs", "2", "--json", "-o", str(folder), *(p for n in names for p in ("--only", n))]
    found = command(*asked)
    assert found.exit_code == 0, found.output
    result = json.loads(found.stdout)
    assert json.loads((folder / "result.json").read_text()) == result
    assert (folder / "symmetrizer-accuracy.png").stat().st_size > 10_000
    rows = {row["outcome"]["method"]: row for row in result["rows"]}
    assert list(rows) == ["none", "stochastic", "weighted"]  # in the order of the set
    for row in rows.values():
        assert row["milliseconds"] == pytest.approx(2.0)
        assert row["outcome"]["epochs"] == len(row["outcome"]["curve"]) == 2
        assert row["outcome"]["energy_mae"] > 0
        assert row["outcome"]["forces_mae"] is None
    none, weighted = rows["none"]["outcome"], rows["weighted"]["outcome"]
    assert (none["exact"], weighted["exact"], weighted["continuous"]) == ("", "E2", True)
    assert none["turned_change"] > 1e-2
    assert weighted["turned_change"] < 0.1 * none["turned_change"]  # single precision is left
    assert rows["weighted"]["frames"] > 1
    assert rows["none"]["frames"] == 1
    assert result["baseline"][""] > 0
    assert any(row["equal_time"] is not None for row in rows.values())
    curves = {name: row["outcome"]["curve"] for name, row in rows.items()}
    worst = max(curve[-1][1] for curve in curves.values())
    for name, row in rows.items():
        enough = [seconds for seconds, error in curves[name] if error <= worst]
        assert row["equal_error"] == enough[0]
    times = {name: (folder / name / "checkpoint.safetensors").stat().st_mtime_ns for name in names}
    again = command(*asked)
    assert json.loads(again.stdout)["rows"] == result["rows"]
    assert times == {name: (folder / name / "checkpoint.safetensors").stat().st_mtime_ns for name in names}
    shown = command(*(option for option in asked if option != "--json")).output
    assert all(name in shown for name in names)
    other = command("adsorption", "--epochs", "3", "-o", str(folder))
    assert isinstance(other.exception, ConfigError)
    assert "take another folder" in str(other.exception)


def crystals() -> list[dict[str, Any]]:
    """Pairs of atoms, once or twice in a cell; their moduli follow from the elements and the length of the cell."""
    generator, entries = np.random.default_rng(0), []
    for x, first in enumerate(("Li", "Na", "Mg", "Al", "Si")):
        for y, second in enumerate(("O", "S", "Se", "F", "Cl")):
            symbols, a = (first, second) * (1 + (x + y) % 2), generator.uniform(3.0, 3.4)
            sites = [
                {"species": [{"element": s, "occu": 1.0}], "abc": [k / len(symbols), 0.5, 0.1 * k]}
                for k, s in enumerate(symbols)
            ]
            lattice = [[a * len(symbols) / 2, 0.0, 0.0], [0.3, a, 0.0], [0.0, 0.2, a]]
            bulk = 10.0 ** (1.5 + 0.1 * x + 0.05 * y - (a - 3.2))
            structure = {"lattice": {"matrix": lattice}, "sites": sites}
            entries.append({"structure": structure, "bulk_modulus_vrh": bulk, "shear_modulus_vrh": bulk / 1.8})
    return entries


def test_moduli_are_trained_under_their_names_and_measured_in_their_unit(tmp_path: Path, data: Path) -> None:
    (data / "matcalc_benchmarks").mkdir()
    file = data / "matcalc_benchmarks/mp-binary-pbe-elasticity-2025.1.json"
    file.write_text(json.dumps(crystals()))
    faenet = ("channels=56", "filters=8", "n_layers=1", "n_gaussians=4", "cutoff=3.6")
    for method, changes in (("mace", ("cutoff=3.6",)), ("weighted", faenet)):
        asked = ["elasticity", "--epochs", "1", "--only", method, "-o", str(tmp_path / method)]
        for change in changes:
            asked += ["--set", f"model.model.{change}"]
        found = CliRunner().invoke(app, ["benchmark", "symmetrizer-accuracy", *asked])
        assert found.exit_code == 0, found.output
    assert "log10(GPa)" in found.output
    assert "meV" not in found.output
    assert (tmp_path / "weighted/symmetrizer-accuracy.png").stat().st_size > 10_000
    for method in ("mace", "weighted"):
        result = json.loads((tmp_path / method / "result.json").read_text())
        assert [row["outcome"]["part"] for row in result["rows"]] == ["bulk-modulus", "shear-modulus"]
        for row in result["rows"]:
            part = row["outcome"]["part"]
            file = tmp_path / method / f"{method}-{part}" / "model.safetensors"
            model = load_model(file)
            assert (model.quantity, model.unit) == (f"log10 of the {part.replace('-', ' ')}", "log10(GPa)")
            parts = load_known(f"mp-binary-{part}", folder=data)
            labels, train = ([s.target or 0.0 for s in parts[name]] for name in ("test", "train"))
            assert seconds_each(file, parts["test"][:2]) > 0
            graphs = [
                AtomGraph.from_arrays(s.positions, s.numbers, s.cell, s.pbc, dtype=torch.float32) for s in parts["test"]
            ]
            values = [float(intensive_property(model, graph)) for graph in graphs]
            errors = np.abs(np.array(values) - labels)
            assert row["outcome"]["energy_mae"] == pytest.approx(errors.mean(), rel=1e-3)
            assert row["outcome"]["curve"][0][1] == read_log(file.parent / "log.csv")[0][LOGGED]
            assert row["outcome"]["turned_change"] < 1e-4
            mean = np.abs(np.mean(train) - np.array(labels)).mean()
            assert result["baseline"][part] == pytest.approx(mean)
            assert 0 < result["composition"][part] < mean  # moduli follow from the elements here


def test_a_stopped_training_goes_on(tmp_path: Path) -> None:
    settings = AccuracySettings("adsorption", ("augmentation",), epochs=2, changes=SMALL)
    asked = iter([False, False, True])
    stopped = run_accuracy(settings, tmp_path / "out", stop=lambda: next(asked, True))
    assert not stopped.finished
    assert stopped.rows == ()
    assert not (tmp_path / "out/augmentation/outcome.json").exists()
    done = run_accuracy(settings, tmp_path / "out")
    assert done.finished
    outcome = done.rows[0].outcome
    whole = run_accuracy(settings, tmp_path / "whole").rows[0].outcome
    assert (outcome.energy_mae, outcome.best_epoch) == (whole.energy_mae, whole.best_epoch)
    assert len(outcome.curve) == 2


def test_each_metal_has_a_training_of_its_own() -> None:
    cases = accuracy_cases(accuracy_set("unseen-metal"), ("weighted",), epochs=1)
    assert [case.name for case in cases] == [
        f"weighted-{metal}" for metal in ("Ag", "Au", "Cu", "Ir", "Pd", "Pt", "Rh")
    ]
    assert {case.config.data.known_set for case in cases} == {
        f"fcc111-adsorption-without-{case.part}" for case in cases
    }


def test_the_picture_of_the_metals_has_room_for_all_methods(tmp_path: Path) -> None:
    from atomsym.workflows.benchmarks.symmetrizer_accuracy_plot import write_picture

    chosen = accuracy_set("unseen-metal")
    errors = (5.0, 6.0, None, None, 5.0, 6.0, None, None, 0.1)
    rows = tuple(
        AccuracyRow(
            AccuracyOutcome(method, metal, "faenet", "", True, 10, 1, 1, 60.0, *errors, ((60.0, 5.0),)),
            1.0,
            2.0,
            5.0,
            60.0,
        )
        for method in chosen.methods
        for metal in ("Ag", "Cu")
    )
    assert len(chosen.methods) == 6
    result = AccuracyComparison(AccuracySettings("unseen-metal"), rows, {"Ag": 9.0, "Cu": 6.0}, {}, 1, True)
    assert write_picture(result, tmp_path / "metals.png").stat().st_size > 10_000


@pytest.mark.parametrize("name", ACCURACY_SETS)
def test_methods_differ_in_nothing_but_the_symmetrizer(name: str) -> None:
    cases = {case.method: case.config for case in accuracy_cases(accuracy_set(name))}
    bare = cases.pop("none")
    for method, config in cases.items():
        assert (config.loss, config.schedule, config.batch, config.epochs, config.seed, config.dtype) == (
            bare.loss, bare.schedule, bare.batch, bare.epochs, bare.seed, bare.dtype,
        )  # fmt: skip
        if method not in ("mace", "nequip"):
            assert config.model["model"] == bare.model, method
            assert config.model["symmetrizer"]["method"] == method
            assert config.optimizer == bare.optimizer


def test_turned_structures_are_the_same_bodies(data: Path) -> None:
    structures = list(load_known("fcc111-adsorption", folder=data)["test"])
    found = turned(structures, "SE2", 3)
    (first,) = random_elements(1, "SE2", generator=torch.Generator().manual_seed(3)).numpy()
    for before, after in zip(structures, found, strict=True):
        for a, b in ((before.positions, after.positions), (before.cell, after.cell)):
            np.testing.assert_allclose(a @ a.T, b @ b.T, atol=1e-12)
            np.testing.assert_allclose(a[:, 2], b[:, 2], atol=1e-12)
        assert not np.allclose(before.positions, after.positions)
        assert before.energy == after.energy
    assert abs(np.linalg.det(first) - 1) < 1e-12


def test_the_clock_adds_up_over_sessions(tmp_path: Path) -> None:
    clock = CoreClock(tmp_path, 0)
    clock.on_epoch({})
    clock.on_epoch({})
    (tmp_path / "core_seconds.json").write_text("[5.0, 9.0]")
    CoreClock(tmp_path, 1).on_epoch({})  # the second epoch was broken off
    first, second = json.loads((tmp_path / "core_seconds.json").read_text())
    assert first == 5.0
    assert 5.0 <= second < 6.0


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    for settings, message in (({"set_name": "gold"}, "no set 'gold'"), ({"set_name": "ethanol", "timed": 0}, "timed")):
        with pytest.raises(ConfigError, match=message):
            AccuracySettings(**settings)
    with pytest.raises(ConfigError, match="no method 'mace' of unseen-metal"):
        run_accuracy(AccuracySettings("unseen-metal", ("mace",)), tmp_path)
