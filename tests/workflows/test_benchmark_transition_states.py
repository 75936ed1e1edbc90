"""A set of guesses: each search is proved or says why not, is kept, and goes on after a stop."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase.io
import pytest
from ase import Atoms
from ase.build import molecule
from typer.testing import CliRunner

from atomsym.core import ConfigError
from atomsym.workflows.benchmarks.transition_states import (
    SearchBenchmarkSettings,
    SearchOutcome,
    run_search_benchmark,
    to_csv,
)
from atomsym.workflows.cli import app
from atomsym.workflows.optimizers import RFO

XTB: dict[str, Any] = {"calculator": "tblite.ase:TBLite", "kwargs": {"verbosity": 0}}


@pytest.fixture
def guesses(tmp_path: Path) -> Path:
    """One that leads to a transition state, and one that is a minimum."""
    folder = tmp_path / "guesses-ts"
    folder.mkdir()
    ase.io.write(folder / "01_hcn.xyz", Atoms("CNH", [[0, 0, 0], [1.2, 0, 0], [0.5, 1.1, 0]]))
    water = Atoms("OH2", [[0, 0, 0.0], [0, 0.7714, 0.5634], [0, -0.7714, 0.5634]])
    ase.io.write(folder / "02_water.xyz", water)
    return folder


def test_every_search_is_an_outcome(guesses: Path, tmp_path: Path) -> None:
    tblite = pytest.importorskip("tblite.ase")
    minimum = ase.io.read(guesses / "02_water.xyz")
    minimum.calc = tblite.TBLite(verbosity=0)
    assert RFO(minimum).run(fmax=0.01, steps=20)
    ase.io.write(guesses / "02_water.xyz", Atoms(minimum.numbers, minimum.positions))
    settings = SearchBenchmarkSettings(**XTB, set_name=str(guesses))
    outcomes, finished = run_search_benchmark(settings, tmp_path / "run")
    assert finished
    cyanide, water = outcomes
    assert (cyanide.status, cyanide.formula, cyanide.n_atoms) == ("verified", "CHN", 3)
    assert cyanide.imaginary == pytest.approx(-1426, abs=15)
    assert (cyanide.barrier, cyanide.barrier_backward) == (
        pytest.approx(3.175, abs=0.01),
        pytest.approx(2.307, abs=0.01),
    )
    assert [bond[:5] for bond in (*cyanide.bonds_broken, *cyanide.bonds_formed)] == ["C0–H2", "N1–H2"]
    assert water.status == "failed"
    assert "the guess is a minimum" in water.error
    assert not (tmp_path / "run/02_water").exists()
    again, _ = run_search_benchmark(settings, tmp_path / "run", should_stop=lambda: pytest.fail("nothing is left"))
    assert [outcome.status for outcome in again] == ["verified", "failed"]
    header, *rows = csv.reader(to_csv(outcomes).splitlines())
    assert len(rows) == 2
    assert rows[0][header.index("bonds_formed")].startswith("N1–H2")
    with pytest.raises(ConfigError, match="begun with fmax"):
        run_search_benchmark(replace(settings, fmax=0.1), tmp_path / "run")


def test_a_search_that_was_stopped_goes_on(guesses: Path, tmp_path: Path) -> None:
    pytest.importorskip("tblite")
    settings = SearchBenchmarkSettings(**XTB, set_name=str(guesses), names=("01",))
    calls = iter(range(1000))
    outcomes, finished = run_search_benchmark(settings, tmp_path / "run", should_stop=lambda: next(calls) == 40)
    assert (outcomes, finished) == ([], False)
    assert (tmp_path / "run/01_hcn/restart.npz").is_file()
    outcomes, finished = run_search_benchmark(settings, tmp_path / "run")
    assert [outcome.status for outcome in outcomes] == ["verified"]
    assert finished


def test_elements_that_a_model_does_not_know_are_recorded_as_such(guesses: Path, tmp_path: Path) -> None:
    settings = SearchBenchmarkSettings("copper-morse", set_name=str(guesses))
    outcomes, finished = run_search_benchmark(settings, tmp_path / "run")
    assert finished
    assert [outcome.status for outcome in outcomes] == ["unsupported", "unsupported"]
    assert "UnsupportedElementError" in outcomes[0].error


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"set_name": "s22"}, "set of minima"),
        ({"names": ("99",)}, "begins with 99"),
        ({"calculator": "no.such:Thing"}, r"no\.such"),
        ({"optimizer": "sd"}, "optimizer must be one of prfo, geometric"),
        ({"fmax": 0.0}, "fmax must be positive"),
    ],
)
def test_wrong_settings_are_refused(guesses: Path, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    settings = SearchBenchmarkSettings("copper-morse", set_name=str(guesses))
    with pytest.raises(ConfigError, match=message):
        run_search_benchmark(replace(settings, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_only_a_verified_search_is_called_so() -> None:
    outcome = SearchOutcome("set", "a", "H2O", 3)
    assert outcome.status == "not verified"
    assert replace(outcome, error="x").status == "failed"
    assert replace(outcome, error="x", unsupported=True).status == "unsupported"
    assert replace(outcome, verified=True).status == "verified"


def test_the_command_writes_a_table(guesses: Path, tmp_path: Path) -> None:
    ase.io.write(guesses / "03_copper.xyz", molecule("H2O"))
    arguments = [
        "benchmark", "transition-states", "--calculator", "copper-morse", "--set", str(guesses), "-o",
        str(tmp_path / "out"),
    ]  # fmt: skip
    answer = CliRunner().invoke(app, [*arguments, "--json"])
    assert answer.exit_code == 0, answer.output
    assert [row["unsupported"] for row in json.loads(answer.stdout)] == [True, True, True]
    assert {"table.csv", "table.json", "cases.jsonl"} <= {file.name for file in (tmp_path / "out").iterdir()}
    shown = CliRunner(env={"COLUMNS": "200"}).invoke(app, arguments)
    assert "3 unsupported" in shown.stderr
