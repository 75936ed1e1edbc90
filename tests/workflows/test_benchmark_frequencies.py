"""Frequencies beside a reference: paired, averaged and drawn as told; what cannot be compared says why."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.calculators.calculator import Calculator, all_changes
from typer.testing import CliRunner

from atomsym.core import ConfigError, MissingDependencyError
from atomsym.workflows.benchmarks import frequencies as module
from atomsym.workflows.benchmarks.frequencies import (
    MOLECULES,
    FrequencyResult,
    FrequencySettings,
    MoleculeComparison,
    Vibrations,
    compare_frequencies,
    rows_of,
    start_of,
)
from atomsym.workflows.cli import app

SPRINGS = f"{__name__}:Springs"


class Springs(Calculator):
    """Springs between all pairs at rest at the start: ``stiffness`` scales every wavenumber by its square root."""

    implemented_properties = ("energy", "forces")

    def __init__(self, stiffness: float = 1.0, breaks_on: str = "", pull: float = 0.0) -> None:
        super().__init__()
        self.stiffness, self.breaks_on, self.pull = 30.0 * stiffness, breaks_on, pull

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        formula = atoms.get_chemical_formula()
        if formula == self.breaks_on:
            raise RuntimeError("out of luck")
        name = next(name for name in MOLECULES if start_of(name).get_chemical_formula() == formula)
        start = start_of(name)
        arm = atoms.positions[:, None] - atoms.positions[None]
        length = np.linalg.norm(arm, axis=2) + np.eye(len(atoms))
        stretch = (length - (1 + self.pull) * start.get_all_distances()) * (1 - np.eye(len(atoms)))
        self.results = {
            "energy": 0.25 * self.stiffness * float((stretch**2).sum()),
            "forces": -(self.stiffness * (stretch / length)[..., None] * arm).sum(axis=1),
        }


def settings(**changes: Any) -> FrequencySettings:
    chosen: dict[str, Any] = {
        "kwargs": {"stiffness": 1.21},
        "reference": SPRINGS,
        "reference_kwargs": {},
        "molecules": ("H2O", "NH3", "HF"),
    }
    return FrequencySettings(SPRINGS, **{**chosen, **changes})


def test_errors_are_those_of_stiffer_springs() -> None:
    """Wavenumbers go with the root of the stiffness: all 10 % higher, so every error is known."""
    result = compare_frequencies(settings())
    assert [found.error for found in result.molecules] == ["", "", ""]
    reference = np.concatenate([found.reference.wavenumbers for found in result.molecules if found.reference])
    errors = result.errors()
    assert (errors["n_molecules"], errors["n_modes"], errors["n_imaginary"]) == (3, 3 + 6 + 1, 0)
    assert errors["mae_1_cm"] == pytest.approx(0.1 * reference.mean(), rel=1e-3)
    assert errors["mean_1_cm"] == pytest.approx(errors["mae_1_cm"], rel=1e-9)
    assert errors["rmse_1_cm"] == pytest.approx(0.1 * np.sqrt((reference**2).mean()), rel=1e-3)
    assert errors["largest_1_cm"] == pytest.approx(0.1 * reference.max(), rel=1e-3)
    energies = [found.reference.zero_point_energy for found in result.molecules if found.reference]
    assert errors["zero_point_mae_eV"] == pytest.approx(0.1 * np.mean(energies), rel=1e-3)
    assert energies[2] == pytest.approx(0.5 * reference[-1] / 8065.54394, rel=1e-6)


def test_signs_do_not_cancel_in_absolute_errors() -> None:
    first = MoleculeComparison("A", 2, Vibrations((100.0,), 0.1, 1), Vibrations((110.0,), 0.2, 1), "")
    second = replace(first, name="B", model=Vibrations((70.0,), 0.0, 1))
    errors = FrequencyResult(settings(), (first, second)).errors()
    assert (errors["mae_1_cm"], errors["mean_1_cm"], errors["largest_1_cm"]) == (20.0, -10.0, 30.0)
    assert errors["zero_point_mae_eV"] == pytest.approx(0.1)
    imaginary = replace(first, model=Vibrations((-5.0,), 0.0, 1))
    assert FrequencyResult(settings(), (imaginary,)).errors()["n_imaginary"] == 1
    assert FrequencyResult(settings(), (replace(first, error="x"),)).errors()["mae_1_cm"] is None


def test_each_method_is_taken_at_its_own_minimum() -> None:
    longer = compare_frequencies(settings(kwargs={"stiffness": 1.0, "pull": 0.03}))
    # springs of another length of rest are as stiff as before at their own minimum
    assert longer.errors()["largest_1_cm"] == pytest.approx(0.0, abs=1.0)
    model = longer.molecules[0].model
    assert model is not None
    assert model.steps > 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kwargs": {"breaks_on": "H2O"}}, "model: CalculationError"),
        ({"reference_kwargs": {"breaks_on": "H2O"}}, "reference: CalculationError"),
        ({"kwargs": {"pull": 1.2}, "max_steps": 100}, "bonds have changed"),
        ({"kwargs": {"pull": 0.1}, "max_steps": 1, "fmax": 1e-6}, "not at rest after 1 steps"),
    ],
)
def test_what_cannot_be_compared_says_why(changes: dict[str, Any], words: str) -> None:
    result = compare_frequencies(settings(molecules=("H2O",), **changes))
    (found,) = result.molecules
    assert words in found.error
    assert found.unsupported is ("model" in words and "breaks_on" in str(changes["kwargs"]))
    assert result.errors()["n_modes"] == 0


def test_an_element_that_the_model_does_not_know_is_no_error_of_others(tmp_path: Path) -> None:
    result = compare_frequencies(
        FrequencySettings("copper-morse", reference=SPRINGS, reference_kwargs={}, molecules=("HF",))
    )
    assert result.molecules[0].unsupported
    assert "UnsupportedElementError" in result.molecules[0].error


def test_another_pairing_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    real = module.normal_modes

    def unsorted(atoms: Any, hessian: Any) -> Any:
        found = real(atoms, hessian)
        turned = found.wavenumbers[::-1] if atoms.calc.stiffness > 31 else found.wavenumbers
        return replace(found, wavenumbers=turned)

    monkeypatch.setattr(module, "normal_modes", unsorted)
    with pytest.raises(AssertionError):
        test_errors_are_those_of_stiffer_springs()


def test_the_list_is_twenty_closed_shells_of_five_elements() -> None:
    assert len(set(MOLECULES)) == 20
    for name in MOLECULES:
        atoms = start_of(name)
        assert set(atoms.symbols) <= set("HCNOF")
        assert atoms.numbers.sum() % 2 == 0
        assert not atoms.get_initial_magnetic_moments().any()


def test_the_command_writes_table_plot_and_json(tmp_path: Path) -> None:
    arguments = [
        "benchmark", "frequencies", SPRINGS, "--kwargs", '{"stiffness": 1.21}', "--reference", SPRINGS,
        "--molecules", "H2O,HF", "-o", str(tmp_path / "out"),
    ]  # fmt: skip
    answer = CliRunner().invoke(app, [*arguments, "--json"])
    assert answer.exit_code == 0, answer.output
    written = json.loads(answer.stdout)
    assert written == json.loads((tmp_path / "out/result.json").read_text())
    assert written["errors"]["n_modes"] == 4
    rows = list(csv.DictReader((tmp_path / "out/modes.csv").read_text().splitlines()))
    assert [(row["molecule"], row["mode"]) for row in rows] == [("H2O", "1"), ("H2O", "2"), ("H2O", "3"), ("HF", "1")]
    assert float(rows[0]["model_1_cm"]) == pytest.approx(1.1 * float(rows[0]["reference_1_cm"]), rel=1e-3)
    assert (tmp_path / "out/frequencies.png").read_bytes().startswith(b"\x89PNG")
    shown = CliRunner(env={"COLUMNS": "160"}).invoke(app, arguments)
    assert "zero-point energy MAE" in shown.stderr
    none = CliRunner().invoke(app, [*arguments[:2], "copper-morse", *arguments[5:]])
    assert none.exit_code == 1
    assert "not compared" in none.stderr


def test_wrong_settings_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for changes, words in (
        ({"molecules": ("unobtainium",)}, "no molecule 'unobtainium'"),
        ({"molecules": ("H",)}, "one atom"),
        ({"molecules": ()}, "one or more molecules"),
        ({"fmax": 0.0}, "fmax must be positive"),
    ):
        with pytest.raises(ConfigError, match=words):
            settings(**changes)
    with pytest.raises(ConfigError, match=r"no\.such"):
        compare_frequencies(replace(settings(), model="no.such:Thing"))

    def missing(spec: str, kwargs: dict[str, Any]) -> Any:
        try:
            raise ImportError("tblite")
        except ImportError as error:
            raise ConfigError("cannot be imported") from error

    monkeypatch.setattr(module, "load_calculator", missing)
    with pytest.raises(MissingDependencyError, match=r"atomsym\[label\]"):
        compare_frequencies(FrequencySettings("ase.calculators.emt:EMT"))


def test_rows_are_those_of_compared_molecules_only() -> None:
    good = MoleculeComparison("A", 2, Vibrations((100.0,), 0.1, 1), Vibrations((110.0,), 0.2, 1), "")
    rows = rows_of(FrequencyResult(settings(), (good, replace(good, name="B", error="broken"))))
    assert [(row["molecule"], row["difference_1_cm"]) for row in rows] == [("A", 10.0)]
