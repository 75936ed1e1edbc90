"""The commands train and evaluate, as a user runs them."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from atomsym.artifacts import load_model, read_card
from atomsym.calculators.ase import AtomsymCalculator
from atomsym.core import AtomsymError, ConfigError
from atomsym.models import Potential
from atomsym.training import DataSection, TrainingConfig, read_checkpoint, read_log, start
from atomsym.workflows.cli import main
from atomsym.workflows.evaluate import evaluate_structures
from atomsym.workflows.train import load_data, split_structures, with_reference_energies

TENSORBOARD = find_spec("tensorboard") is not None  # an extra that the tests do without
CONFIG = """
model: {architecture: morse, cutoff: 5.0, depth: [[0.3]], alpha: [[1.4]], equilibrium: [[2.8]]}
data: {train: [copper.extxyz], n_validation: 3, test: [test.extxyz]}
loss: {energy: 1, forces: 10, stress: 100}
epochs: 3
batch: {structures: 4}
output: {name: copper, licence: MIT, level_of_theory: EMT, tensorboard: TENSORBOARD}
""".replace("TENSORBOARD", str(TENSORBOARD).lower())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rattled copper with EMT labels, and a config."""
    place = tmp_path_factory.mktemp("copper")
    rng = np.random.default_rng(0)
    frames = []
    for number in range(15):
        atoms = bulk("Cu", "fcc", a=3.6 + 0.05 * rng.normal(), cubic=True)
        atoms.positions += rng.normal(0, 0.1, atoms.positions.shape)
        atoms.calc = EMT()
        atoms.get_forces()
        atoms.get_stress()
        atoms.info["config_type"] = "even" if number % 2 == 0 else "odd"
        frames.append(atoms)
    ase.io.write(place / "copper.extxyz", frames[:11])
    ase.io.write(place / "test.extxyz", frames[11:])
    (place / "run.yaml").write_text(CONFIG)
    return place


@dataclass
class Finished:
    returncode: int
    stdout: str
    stderr: str


def atomsym(*arguments: str, folder: Path) -> Finished:
    """The command, run within this process: an own one would take seconds to start."""
    out, errors = io.StringIO(), io.StringIO()
    before, argv = Path.cwd(), sys.argv
    os.chdir(folder)
    sys.argv = ["atomsym", *arguments]
    code = 0
    try:
        with redirect_stdout(out), redirect_stderr(errors):
            main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    finally:
        os.chdir(before)
        sys.argv = argv
    return Finished(code, out.getvalue(), errors.getvalue())


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    result = atomsym("train", "run.yaml", "-o", "run", "--json", folder=folder)
    assert result.returncode == 0, result.stderr
    (folder / "result.json").write_text(result.stdout)
    return folder / "run"


def test_a_run_leaves_a_usable_model_logs_errors_and_pictures(folder: Path, run: Path) -> None:
    written = {path.name for path in run.iterdir()}
    assert written == {
        "config.yaml", "log.csv", "checkpoint.safetensors", "model.safetensors", "errors.json", "learning.png",
        "parity-validation.png", "parity-test.extxyz.png", *(["tensorboard"] if TENSORBOARD else []),
    }  # fmt: skip
    assert bool(list((run / "tensorboard").glob("events*"))) == TENSORBOARD
    result = json.loads((folder / "result.json").read_text())
    assert result["reason"] == "3 epochs done"
    assert result["errors"]["test.extxyz"]["n_structures"] == 4
    assert [row["epoch"] for row in read_log(run / "log.csv")] == [1, 2, 3]
    atoms = ase.io.read(folder / "test.extxyz", index=0)
    atoms.calc = AtomsymCalculator(run / "model.safetensors")
    assert np.isfinite(atoms.get_potential_energy())
    assert read_card(run / "model.safetensors").card.training_data.startswith("copper.extxyz: 8 structures")


def test_the_errors_are_those_of_an_independent_calculation(folder: Path, run: Path) -> None:
    errors, forces = [], []
    for atoms in ase.io.read(folder / "test.extxyz", index=":"):
        own = atoms.copy()
        own.calc = AtomsymCalculator(run / "model.safetensors")
        errors.append((own.get_potential_energy() - atoms.get_potential_energy()) / len(atoms))
        forces.append(own.get_forces() - atoms.get_forces())
    stated = json.loads((run / "errors.json").read_text())["test.extxyz"]["errors"]["all"]
    assert stated["energy"]["mae"] == pytest.approx(np.abs(errors).mean(), rel=1e-9)
    assert stated["forces"]["rmse"] == pytest.approx(np.sqrt(np.square(forces).mean()), rel=1e-9)


def test_evaluate_gives_tables_files_and_pictures(folder: Path, run: Path) -> None:
    arguments = ("evaluate", "run/model.safetensors", "test.extxyz", "--csv", "each.csv", "--plot", "parity.png")
    result = atomsym(*arguments, "--json", folder=folder)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    expected = json.loads((run / "errors.json").read_text())["test.extxyz"]
    assert found["errors"] == expected["errors"]
    assert {"all", "group even", "group odd", "element Cu"} == set(found["errors"])
    with (folder / "each.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    mean = np.mean([abs(float(row["energy_error_eV/atom"])) for row in rows])
    assert mean == pytest.approx(found["errors"]["all"]["energy"]["mae"])
    assert (folder / "parity.png").stat().st_size > 10_000
    shown = atomsym(*arguments, folder=folder)
    assert "group even" in shown.stdout
    assert "meV/atom" in shown.stdout


def test_evaluation_does_not_depend_on_the_batches(folder: Path, run: Path) -> None:
    config = TrainingConfig(model={"architecture": "morse"}, data=DataSection(train=(str(folder / "copper.extxyz"),)))
    structures = load_data(config).train
    model = load_model(run / "model.safetensors")
    tables = [evaluate_structures(model, structures, max_edges=edges).errors.table() for edges in (1, 700, 10**6)]
    for table in tables[1:]:
        for quantity, errors in table["all"].items():
            assert errors.mae == pytest.approx(tables[0]["all"][quantity].mae, rel=1e-10)


def test_a_run_that_starts_from_a_model_reads_it_once_and_goes_on_without_it(
    folder: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "start.safetensors").write_bytes((run / "model.safetensors").read_bytes())
    (tmp_path / "copper.extxyz").write_bytes((folder / "copper.extxyz").read_bytes())
    text = CONFIG.replace(CONFIG.splitlines()[1], "start_from: start.safetensors").replace(", test: [test.extxyz]", "")
    (tmp_path / "tuned.yaml").write_text(text.replace("n_validation: 3", "n_validation: 3, reference_energies: keep"))
    read: list[object] = []

    def counted(*arguments: object, **settings: Any) -> Potential:
        read.append(arguments[0])
        return load_model(*arguments, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(start, "load_model", counted)
    result = atomsym("train", "tuned.yaml", "-o", "tuned", "--set", "epochs=1", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    assert read == ["start.safetensors"]
    (tmp_path / "start.safetensors").unlink()
    result = atomsym("train", "--resume", "tuned", "--set", "epochs=2", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    assert [row["epoch"] for row in read_log(tmp_path / "tuned/log.csv")] == [1, 2]


def test_a_dry_run_shows_the_plan_and_writes_nothing(folder: Path) -> None:
    before = sorted(folder.iterdir())
    result = atomsym("train", "run.yaml", "--dry-run", "--set", "loss.forces=7", folder=folder)
    assert result.returncode == 0, result.stderr
    assert "forces: 7.0" in result.stdout
    assert "elements:\n  - 29" in result.stdout
    assert "neighbors of an atom" in result.stderr
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_r02_a_signal_leaves_a_run_that_goes_on_exactly(folder: Path, tmp_path: Path, number: int) -> None:
    for name in ("copper.extxyz", "test.extxyz", "run.yaml"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    long = ("--set", "epochs=300", "--set", "output.step_log=true", "--set", "output.tensorboard=false")
    command = [sys.executable, "-c", "from atomsym.workflows.cli import main; main()"]
    process = subprocess.Popen(
        [*command, "train", "run.yaml", *long, "-o", "run"], cwd=tmp_path, stderr=subprocess.PIPE
    )
    log = tmp_path / "run" / "log.csv"
    while not log.exists() or len(log.read_text().splitlines()) < 3:
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.02)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 75
    assert "atomsym train --resume run" in " ".join(errors.decode().split())
    reached = read_checkpoint(tmp_path / "run").progress
    assert 0 < reached.step < 600
    result = atomsym("train", "--resume", "run", "--set", f"epochs={reached.epoch + 2}", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    steps = [row["step"] for row in read_log(tmp_path / "run" / "steps.csv")]
    assert steps == list(range(1, 2 * (reached.epoch + 2) + 1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "name a CONFIG.yaml"),
        (["train", "no.yaml"], "no.yaml cannot be read"),
        (["train", "run.yaml", "--set", "loss.force=1"], "did you mean 'forces'"),
        (["train", "run.yaml", "--set", "model.cutof=1"], "did you mean 'cutoff'"),
        (["train", "run.yaml", "--set", "data.train=[no.xyz]"], "no.xyz does not exist"),
        (["train", "run.yaml", "--set", "data.keys.energy=E_ref"], "E_ref"),
        (["train", "run.yaml", "--set", "data.units.energy=parsec"], "parsec"),
        (["train", "run.yaml", "--set", "data.n_train=100"], "the set has 11"),
        (["train", "run.yaml", "--set", "loss.hessian=1"], "hessian"),
        (["train", "run.yaml", "--set", "device=abacus"], "abacus"),
        (["train", "--resume", "nowhere"], "holds no training run"),
        (["train", "run.yaml", "--resume", "nowhere"], "leave out CONFIG"),
        (["evaluate", "no-model", "test.extxyz"], "no-model"),
        (["evaluate", "argon", "test.extxyz"], "Cu"),
        (["evaluate", "copper-morse", "test.extxyz", "--plot", "no/parity.png"], "does not exist"),
        (["evaluate", "copper-morse", "test.extxyz", "--dtype", "float8"], "float8"),
    ],
)
def test_wrong_use_is_one_message(folder: Path, arguments: list[str], message: str) -> None:
    before = sorted(folder.iterdir())
    result = atomsym(*arguments, folder=folder)
    assert result.returncode == 2, result.stdout
    assert message in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.stderr
    assert sorted(folder.iterdir()) == before


def test_structures_are_held_out_as_asked_for(folder: Path) -> None:
    def parts(**entries: object) -> tuple[list[str], list[str]]:
        section = DataSection(train=(str(folder / "copper.extxyz"),), **entries)
        data = load_data(TrainingConfig(model={"architecture": "morse"}, data=section))
        return [s.source for s in data.train], [s.source for s in data.validation]

    train, validation = parts(n_validation=3)
    assert (len(train), len(validation)) == (8, 3)
    assert not set(train) & set(validation)
    assert parts(n_validation=3) == (train, validation)
    train, validation = parts(split="block", validation_fraction=0.2)
    assert [int(source.rpartition(":")[2]) for source in train] == sorted(range(9))
    section = DataSection(train=(str(folder / "copper.extxyz"),), split="group", validation_fraction=0.4)
    data = load_data(TrainingConfig(model={"architecture": "morse"}, data=section))
    assert not {s.group for s in data.train} & {s.group for s in data.validation}
    with pytest.raises(AtomsymError):
        split_structures(data.train, DataSection(n_train=1000), 0)


def test_isolated_atoms_of_a_file_become_reference_energies(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "iso.xyz").write_text("1\nenergy=-2.5 pbc=F\nCu 0 0 0\n")
    section = DataSection(train=(str(folder / "copper.extxyz"),), isolated_atoms=str(tmp_path / "iso.xyz"))
    config = with_reference_energies(TrainingConfig(model={"architecture": "morse"}, data=section))
    assert config.data.reference_energies == {"Cu": -2.5}
    with pytest.raises(ConfigError, match="known_set brings its own"):
        DataSection(known_set="3bpa", isolated_atoms="iso.xyz")
