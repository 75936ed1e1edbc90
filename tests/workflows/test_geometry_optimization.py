"""The benchmark of optimizers: counts that are right, cases that are kept, failures that are recorded."""

from __future__ import annotations

import csv
import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.optimize import BFGS
from typer.testing import CliRunner

from atomsym.calculators.ase import AtomsymCalculator
from atomsym.core import ConfigError, InputError, MissingDependencyError
from atomsym.workflows.benchmarks.geometry_optimization import BenchmarkSettings, read_outcomes, run_benchmark
from atomsym.workflows.benchmarks.geometry_optimization_case import OPTIMIZERS, SADDLE_OPTIMIZERS, Outcome, measure
from atomsym.workflows.benchmarks.geometry_optimization_counting import CountingCalculator
from atomsym.workflows.benchmarks.geometry_optimization_plots import write_profiles
from atomsym.workflows.benchmarks.geometry_optimization_sets import cases_of
from atomsym.workflows.benchmarks.geometry_optimization_tables import costs_of, performance_profile, summaries, to_csv
from atomsym.workflows.cli import app
from atomsym.workflows.optimizers import RFO

EMT_NAME = "ase.calculators.emt:EMT"


@pytest.fixture
def settings(tmp_path: Path) -> BenchmarkSettings:
    folder = tmp_path / "molecules"
    folder.mkdir()
    for name in ("CO2", "H2O"):
        atoms = molecule(name)
        atoms.positions += np.random.default_rng(1).normal(0, 0.05, (len(atoms), 3))
        ase.io.write(folder / f"{name}.xyz", atoms, format="extxyz")
    return BenchmarkSettings((EMT_NAME,), (str(folder),), ("bfgs", "rfo", "rfo-start"), max_steps=60)


def outcome(optimizer: str, structure: str = "a", **changes: Any) -> Outcome:
    base = Outcome("set", structure, "minimum", "calc", optimizer, 3, True, 4, 5, 0, 0, 0.1, -1.0, 0.001, 0, "")
    return replace(base, **changes)


def test_evaluations_are_counted_once_a_structure() -> None:
    atoms = molecule("CO2")
    counter = CountingCalculator(EMT())
    atoms.calc = counter
    atoms.positions[0, 0] += 0.1
    optimizer = BFGS(atoms, logfile=None)
    optimizer.run(fmax=0.05, steps=5)
    assert (counter.evaluations, counter.hessian_evaluations, counter.hessians) == (optimizer.nsteps + 1, 0, 0)


def test_evaluations_for_hessians_are_counted_apart() -> None:
    atoms = molecule("CO2")
    counter = CountingCalculator(EMT())
    atoms.calc = counter
    atoms.positions[0, 0] += 0.1
    optimizer = RFO(atoms, hessian_every=0, hessian=counter.hessian)
    optimizer.run(fmax=0.05, steps=8)
    assert (counter.evaluations, counter.hessian_evaluations, counter.hessians) == (optimizer.nsteps + 1, 18, 1)


def test_every_case_is_measured_and_kept(settings: BenchmarkSettings, tmp_path: Path) -> None:
    outcomes, finished = run_benchmark(settings, tmp_path / "run")
    assert finished
    assert [(o.structure, o.optimizer) for o in outcomes] == [
        (name, optimizer) for name in ("CO2", "H2O") for optimizer in settings.optimizers
    ]
    assert all(o.converged and o.max_force is not None and o.max_force <= settings.fmax for o in outcomes)
    carbon = {o.optimizer: o for o in outcomes if o.structure == "CO2"}
    assert (carbon["bfgs"].n_imaginary, carbon["rfo"].n_imaginary) == (1, 0)  # in EMT, BFGS halts on a ridge here
    assert carbon["rfo-start"].hessians == 1
    assert read_outcomes(tmp_path / "run") == {o.key: o for o in outcomes}


def test_a_stopped_benchmark_goes_on_and_takes_more_optimizers(settings: BenchmarkSettings, tmp_path: Path) -> None:
    calls = iter(range(100))
    first, finished = run_benchmark(settings, tmp_path / "run", should_stop=lambda: next(calls) == 2)
    assert (len(first), finished) == (2, False)
    with (tmp_path / "run/cases.jsonl").open("a") as stream:
        stream.write('{"set_name": "cut o')  # killed while it wrote
    more = replace(settings, optimizers=(*settings.optimizers, "newton"))
    started: list[int] = []
    outcomes, finished = run_benchmark(more, tmp_path / "run", lambda number, total, _: started.append(number))
    assert (len(outcomes), finished, len(started)) == (8, True, 6)
    assert outcomes[:2] == first
    with pytest.raises(ConfigError, match=r"begun with fmax = 0\.01, now it is 0\.1"):
        run_benchmark(replace(settings, fmax=0.1), tmp_path / "run")
    (tmp_path / "run/cases.jsonl").write_text("{}\n{}\n")
    with pytest.raises(InputError, match=r"cases\.jsonl, line 1: not a finished case"):
        run_benchmark(settings, tmp_path / "run")


def test_failures_are_outcomes(settings: BenchmarkSettings, tmp_path: Path) -> None:
    ase.io.write(Path(settings.sets[0]) / "bad.xyz", Atoms("XeF", [[0, 0, 0], [0, 0, 2.0]]), format="extxyz")
    outcomes, finished = run_benchmark(replace(settings, optimizers=("bfgs",)), tmp_path / "run")
    assert finished
    failed = [o for o in outcomes if o.error]
    assert [(o.structure, o.converged, o.energy) for o in failed] == [("bad", False, None)]
    (row,) = summaries([replace(o, unsupported=False) for o in outcomes])
    assert (row.cases, row.succeeded, row.failed) == (3, pytest.approx(2 / 3), pytest.approx(1 / 3))


def test_summaries_tell_the_best_minimum_from_others() -> None:
    rows = summaries(
        [
            outcome("rfo", energy=-2.0, steps=3),
            outcome("bfgs", energy=-1.5, steps=9, n_imaginary=1),
            outcome("rfo", "b", converged=False, energy=-5.0),
            outcome("bfgs", "b", energy=-1.0, steps=11),
        ]
    )
    rfo, bfgs = rows
    assert (rfo.best, rfo.succeeded, rfo.mean_steps, rfo.false_minima) == (0.5, 0.5, 3.0, 0.0)
    assert (bfgs.best, bfgs.succeeded, bfgs.median_steps, bfgs.false_minima) == (0.5, 1.0, 10.0, 0.5)
    (none,) = summaries([outcome("rfo", converged=False)])
    assert none.mean_steps is None
    header, *lines = csv.reader(to_csv(rows).splitlines())
    assert header[:4] == ["set_name", "calculator", "optimizer", "cases"]
    assert len(lines) == 2


def test_a_saddle_point_of_the_wrong_order_is_no_success() -> None:
    assert outcome("prfo", target="saddle", n_imaginary=1).succeeded
    assert not outcome("prfo", target="saddle", n_imaginary=2).succeeded
    assert not outcome("prfo", target="saddle", n_imaginary=0).succeeded


def test_performance_profiles_are_those_of_dolan_and_more() -> None:
    costs = np.array([[1.0, 2.0, np.inf], [4.0, 2.0, np.inf], [3.0, np.inf, np.inf], [np.inf, np.inf, np.inf]])
    first, second, third = performance_profile(costs)
    assert (first[0].tolist(), first[1].tolist()) == ([1.0, 2.0], [0.5, 0.75])
    assert (second[0].tolist(), second[1].tolist()) == ([1.0, 2.0], [0.25, 0.5])
    assert third[0].size == 0


def test_profiles_compare_only_problems_that_all_have_tried() -> None:
    outcomes = [outcome("rfo", steps=0), outcome("bfgs", steps=6), outcome("rfo", "b")]
    outcomes += [outcome(name, "c", converged=False, unsupported=True) for name in ("rfo", "bfgs")]
    assert costs_of(outcomes, ["rfo", "bfgs"], "steps").tolist() == [[1.0, 6.0]]


def test_profiles_are_drawn_even_if_one_solves_nothing(tmp_path: Path) -> None:
    pairs = [
        [outcome("rfo", hessian_evaluations=18), outcome("fire", converged=False)],
        [outcome("rfo", hessians=2, cpu_s=0.5), outcome("fire", converged=False, cpu_s=0.5)],
    ]
    for outcomes in pairs:
        (path,) = write_profiles(outcomes, tmp_path)
        assert path.read_bytes().startswith(b"\x89PNG")


def test_sets_are_found_by_name_without_ions_and_radicals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ATOMSYM_DATA", raising=False)
    with pytest.raises(ConfigError, match="Set ATOMSYM_DATA"):
        cases_of("baker")
    folder = tmp_path / "geomopt/baker_ts"
    folder.mkdir(parents=True)
    for name in ("01_hcn", "01_hcn_downhill", "04_ch3o"):
        ase.io.write(folder / f"{name}.xyz", molecule("H2O"))
    (tmp_path / "geomopt/reference_energies.csv").write_text(
        "set,file,charge,multiplicity\nbaker_ts,01_hcn.xyz,0,1\nbaker_ts,04_ch3o.xyz,0,2\n"
    )
    monkeypatch.setenv("ATOMSYM_DATA", str(tmp_path))
    (case,) = cases_of("baker-ts")
    assert (case.name, case.target, len(case.atoms())) == ("01_hcn", "saddle", 3)
    with pytest.raises(ConfigError, match="neither a folder nor a set"):
        cases_of("no-such-set")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no xyz files"):
        cases_of(str(tmp_path / "empty"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fmax": 0.0}, "fmax must be positive"),
        ({"optimizers": ()}, "name one or more optimizers"),
        ({"optimizers": ("sd",)}, "there is no optimizer 'sd'"),
        ({"optimizers": ("prfo",)}, "none of the optimizers is for these sets"),
        ({"calculators": ("no.such:Thing",)}, "no.such"),
    ],
)
def test_wrong_settings_are_refused(
    settings: BenchmarkSettings, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        run_benchmark(replace(settings, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", [*OPTIMIZERS, *SADDLE_OPTIMIZERS])
def test_every_optimizer_starts(name: str) -> None:
    if name.startswith("geometric"):
        pytest.importorskip("geometric")
    atoms = molecule("H2O")
    counter = CountingCalculator(AtomsymCalculator("organic") if name.endswith("-predicted") else EMT())
    atoms.calc = counter
    atoms.positions[0, 2] += 0.05
    optimizer = {**OPTIMIZERS, **SADDLE_OPTIMIZERS}[name](atoms, counter)
    optimizer.run(fmax=1e-6, steps=1)
    assert counter.evaluations >= 2


def test_predicted_hessians_are_those_of_the_head_and_need_one(settings: BenchmarkSettings, tmp_path: Path) -> None:
    calculator = AtomsymCalculator("organic")
    atoms = molecule("H2O")
    counter = CountingCalculator(calculator)
    atoms.calc = counter
    found = counter.predicted_hessian(atoms)
    assert np.allclose(found, calculator.get_hessian(atoms, method="predicted"), rtol=0, atol=1e-9)
    assert np.abs(found - counter.hessian(atoms)).max() > 1e-2
    assert (counter.evaluations, counter.hessian_evaluations, counter.hessians) == (0, 0, 2)
    for name in (EMT_NAME, "copper-morse"):
        chosen = replace(settings, calculators=(name,), optimizers=("bfgs", "rfo-predicted"))
        with pytest.raises(ConfigError, match=f"{name} predicts no Hessians; leave out rfo-predicted"):
            run_benchmark(chosen, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_processor_time_is_that_of_the_optimization_alone(settings: BenchmarkSettings, tmp_path: Path) -> None:
    chosen = replace(settings, calculators=("organic",), optimizers=("bfgs", "rfo", "rfo-predicted"))
    outcomes, _ = run_benchmark(chosen, tmp_path / "run")
    assert all(o.converged and o.n_imaginary == 0 for o in outcomes)
    assert all(o.cpu_s is not None and o.cpu_s > 0 for o in outcomes)
    by_name = {row.optimizer: row for row in summaries(outcomes)}
    assert by_name["rfo-predicted"].mean_steps == pytest.approx(by_name["rfo"].mean_steps, abs=4)
    assert all(row.mean_above_lowest is not None and 0 <= row.mean_above_lowest < 1e-4 for row in by_name.values())
    assert costs_of(outcomes, list(by_name), "cpu_s").shape == (2, 3)


def test_arguments_go_to_other_packages_or_to_own_models_alone() -> None:
    both = BenchmarkSettings(("organic", EMT_NAME), ("s22",), ("bfgs",), kwargs={"asap_cutoff": True})
    assert (both.arguments_for("organic"), both.arguments_for(EMT_NAME)) == ({}, {"asap_cutoff": True})
    own = BenchmarkSettings(("organic",), ("s22",), ("bfgs",), kwargs={"hessian": "finite-difference"})
    assert own.arguments_for("organic") == {"hessian": "finite-difference"}


def test_cases_from_before_times_were_measured_still_count() -> None:
    (row,) = summaries([outcome("rfo"), outcome("rfo", "b", cpu_s=1.0)])
    assert (row.mean_cpu_s, row.mean_steps, row.mean_above_lowest) == (None, 4.0, 0.0)
    (row,) = summaries([outcome("rfo", cpu_s=2.0), outcome("rfo", "b", cpu_s=1.0)])
    assert row.mean_cpu_s == 1.5


def test_the_command_writes_tables_and_plots(settings: BenchmarkSettings, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    arguments = [EMT_NAME, "--sets", settings.sets[0], "--optimizers", "bfgs,rfo", "-o", str(folder)]
    result = CliRunner().invoke(app, ["benchmark", "geometry-optimization", *arguments, "--json"])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert [row["optimizer"] for row in rows] == ["bfgs", "rfo"]
    written = {file.name for file in folder.iterdir()}
    assert {"cases.jsonl", "cases.csv", "summary.csv", "summary.json", "profile-molecules.png"} <= written
    stopped = CliRunner().invoke(app, ["benchmark", "geometry-optimization", *arguments, "--max-minutes", "0"])
    assert isinstance(stopped.exception, ConfigError)


def test_structures_that_a_model_does_not_support_are_recorded_as_such(tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    ase.io.write(folder / "h2o.xyz", molecule("H2O"))
    ase.io.write(folder / "sih4.xyz", molecule("SiH4"))
    settings = BenchmarkSettings((EMT_NAME, "copper-morse"), (str(folder),), ("bfgs",), max_steps=60)
    outcomes, finished = run_benchmark(settings, tmp_path / "run")
    assert finished
    assert [(o.structure, o.calculator == EMT_NAME, o.unsupported) for o in outcomes] == [
        ("h2o", True, False), ("h2o", False, True), ("sih4", True, True), ("sih4", False, True),
    ]  # fmt: skip
    assert "UnsupportedElementError" in outcomes[1].error
    emt, morse = summaries(outcomes)
    assert (emt.cases, emt.unsupported, emt.succeeded, emt.failed) == (2, 1, 1.0, 0.0)
    assert (morse.cases, morse.unsupported, morse.succeeded, morse.mean_steps) == (2, 2, None, None)
    assert read_outcomes(tmp_path / "run") == {o.key: o for o in outcomes}


class Breaking(EMT):
    """Fails with something that no list of errors has, but not at the start."""

    calculations = 0

    def calculate(self, *arguments: Any, **options: Any) -> None:
        self.calculations += 1
        if self.calculations > 2:
            raise KeyError("no such parameter")
        super().calculate(*arguments, **options)


def test_whatever_a_calculator_raises_is_an_outcome(settings: BenchmarkSettings) -> None:
    case = cases_of(settings.sets[0])[0]
    for optimizer in ("bfgs", "rfo"):
        found = measure(case, f"{__name__}:Breaking", {}, optimizer, 1e-6, 30)
        assert (found.converged, found.unsupported) == (False, False)
        assert "KeyError" in found.error


def test_s22_is_there_without_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ATOMSYM_DATA", raising=False)
    cases = cases_of("s22")
    assert len(cases) == len({case.name for case in cases}) == 22
    assert sorted(len(case.atoms()) for case in cases)[:3] == [6, 8, 10]
    assert all(case.target == "minimum" for case in cases)


def test_the_missing_package_of_an_optimizer_is_named_before_anything(
    settings: BenchmarkSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "geometric" else real(name, *a))
    with pytest.raises(MissingDependencyError, match=r"atomsym\[geometric\]"):
        run_benchmark(replace(settings, optimizers=("geometric",)), tmp_path / "run")
    assert not (tmp_path / "run").exists()
