"""``atomsym check`` on ASE's own calculators: what it finds, what it writes, and how it answers wrong use."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.io import write
from typer.testing import CliRunner

from atomsym.calculators.ase.load import parse_kwargs
from atomsym.core import ConfigError, InputError
from atomsym.testing import Verdict
from atomsym.workflows.check import CheckOptions, ReportCard, load_calculator, run_check
from atomsym.workflows.check.ase_evaluator import AseEvaluator, declared_dtype, shared_atoms, structure_of
from atomsym.workflows.check.command import check_command
from atomsym.workflows.check.page import number, page_of
from atomsym.workflows.check.samples import choose_elements, fitted, samples_for, simple_crystal

ARGON = {"sigma": 3.405, "epsilon": 0.0103}
LJ = "ase.calculators.lj:LennardJones"
QUICK = ("F-1", "F-2", "F-7", "F-11", "F-18")


def verdicts(card: ReportCard) -> dict[str, Verdict]:
    return {result.id: result.verdict for result in card.results}


@pytest.fixture(scope="module")
def lj_card() -> ReportCard:
    options = CheckOptions(elements=("Ar",), duration=0.2, timestep=2.0)
    return run_check(LennardJones(**ARGON), options, name="LJ argon", command="atomsym check LJ")


def test_lennard_jones_fails_only_at_its_cutoff(lj_card: ReportCard) -> None:
    found = verdicts(lj_card)
    assert found.pop("F-11") is Verdict.FAIL
    for identifier in ("F-10", "F-14", "F-15"):
        assert found.pop(identifier) is Verdict.NOT_APPLICABLE
    assert found.pop("F-16") in (Verdict.PASS, Verdict.WARN)  # a run this short may not resolve the drift
    assert set(found.values()) == {Verdict.PASS}
    (cutoff,) = (result for result in lj_card.results if result.id == "F-11")
    assert "jump: force" in cutoff.explanation
    assert cutoff.data["cutoff"] == pytest.approx(3 * ARGON["sigma"], abs=1e-6)
    assert lj_card.exit_code == 1


def test_smooth_lennard_jones_has_no_energy_or_force_jump() -> None:
    card = run_check(LennardJones(**ARGON, smooth=True), CheckOptions(elements=("Ar",), only=("F-11",)))
    jumps = {m.name.split("relative ")[1]: m for m in card.results[0].measurements if "dimer" in m.name}
    assert jumps["energy jump"].passed
    assert jumps["force jump"].passed
    assert not jumps["Hessian jump"].passed


def test_emt_is_found_to_jump_and_to_rewrite_its_results() -> None:
    card = run_check(EMT(), CheckOptions(only=("F-1", "F-6", "F-7", "F-8", "F-9", "F-11")))
    assert verdicts(card) == {
        "F-1": Verdict.PASS, "F-6": Verdict.WARN, "F-7": Verdict.PASS, "F-8": Verdict.PASS, "F-9": Verdict.PASS,
        "F-11": Verdict.FAIL,
    }  # fmt: skip
    assert "energy (by" in card.results[-1].explanation


def test_structures_fit_a_calculator_in_reduced_units() -> None:
    evaluator = AseEvaluator(LennardJones())
    samples = samples_for(evaluator)
    assert samples.pairs[0][2] == pytest.approx(1.09, abs=0.03)
    assert samples.skewed is not None
    assert np.linalg.det(samples.skewed.cell) < 0


def test_crystal_is_scaled_to_its_minimum() -> None:
    crystal = fitted(AseEvaluator(EMT()), simple_crystal([29]))
    assert crystal.cell[0, 0] == pytest.approx(3.59, abs=0.02)


class Declared(Calculator):
    """A Lennard-Jones calculator that announces elements, cutoff and precision, and knows nothing else."""

    implemented_properties = ("energy", "forces")

    def __init__(self, elements: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.elements = tuple(elements)
        self.r_max = 6.0
        self.dtype = "torch.float32"
        self.inner = LennardJones(sigma=2.0, epsilon=0.1, rc=6.0, smooth=True)

    def calculate(self, atoms: Atoms | None = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        assert atoms is not None
        if not set(atoms.symbols) <= set(self.elements):
            raise NotImplementedError(f"no parameters for {atoms.symbols}")
        plain = atoms.copy()
        plain.calc = self.inner
        self.results = {"energy": plain.get_potential_energy(), "forces": plain.get_forces()}


def test_what_a_calculator_declares_is_used() -> None:
    evaluator = AseEvaluator(Declared(["Fe", "Ni"]))
    assert evaluator.elements == (26, 28)
    assert evaluator.cutoff == 6.0
    assert declared_dtype(evaluator.calculator) == "float32"
    assert choose_elements(evaluator) == [26, 28]
    assert set(samples_for(evaluator).bulk.numbers) == {26, 28}  # type: ignore[union-attr]
    card = run_check(Declared(["Fe", "Ni"]), CheckOptions(only=("F-1", "F-8")))
    assert card.conditions["precision"] == "float32 (declared by the calculator)"
    assert verdicts(card) == {"F-1": Verdict.PASS, "F-8": Verdict.NOT_APPLICABLE}


class OneAttractingPair(Declared):
    """Carbon and fluorine fall into each other; every other pair repels."""

    def calculate(self, atoms: Atoms | None = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        assert atoms is not None
        if sorted(atoms.symbols) == ["C", "F"]:
            self.results = {name: -value for name, value in self.results.items()}


def test_close_atoms_of_all_declared_elements_are_looked_at() -> None:
    elements = ["H", "C", "N", "O", "F"]
    samples = samples_for(AseEvaluator(Declared(elements)))
    assert samples.cluster is not None
    assert set(samples.cluster.numbers.tolist()) == {1, 8}
    assert len({(a, b) for a, b, _ in samples.pairs}) == len(samples.pairs) == 15
    assert len(samples_for(AseEvaluator(Declared(elements)), elements=["H", "O"]).pairs) == 3
    only = CheckOptions(only=("F-18",))
    assert verdicts(run_check(Declared(elements), only)) == {"F-18": Verdict.PASS}
    (result,) = run_check(OneAttractingPair(elements), only).results
    assert result.verdict is Verdict.FAIL
    assert result.worst is not None
    assert "C–F" in result.worst.name


def test_undeclared_elements_are_found_by_trying() -> None:
    calculator = Declared(["O", "H"])
    del calculator.elements
    calculator.elements = None  # type: ignore[assignment]
    evaluator = AseEvaluator(calculator)
    calculator.elements = ("O", "H")
    assert choose_elements(evaluator) == [1, 8]


def test_no_usable_element_is_said() -> None:
    calculator = Declared(["Og"])
    evaluator = AseEvaluator(calculator)
    evaluator.elements = None
    with pytest.raises(ConfigError, match="--elements"):
        choose_elements(evaluator)


def test_molecules_get_molecular_structures() -> None:
    samples = samples_for(AseEvaluator(LennardJones(sigma=1.0)), elements=("H", "O"))
    assert samples.cluster is not None
    assert samples.cluster.n_atoms == 6
    assert len(samples.pairs) == 3


@pytest.mark.parametrize(("atoms", "periodic"), [(bulk("Cu", cubic=True), True), (molecule("CH3OH"), False)])
def test_structure_file_is_used(atoms: Atoms, periodic: bool, tmp_path: Path) -> None:
    file = tmp_path / "structure.extxyz"
    write(file, atoms)
    samples = samples_for(AseEvaluator(EMT()), file)
    assert (samples.bulk is not None) is periodic
    assert samples.cluster is not None
    assert set(samples.cluster.numbers) == set(atoms.numbers)
    card = run_check(EMT(), CheckOptions(structure=file, only=("F-1", "F-3")))
    assert card.passed


def test_unreadable_structure_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.cif"):
        samples_for(AseEvaluator(EMT()), tmp_path / "missing.cif")


def test_evaluator_shares_memory_with_the_structure() -> None:
    structure = structure_of(bulk("Cu", cubic=True))
    atoms = shared_atoms(structure)
    assert np.shares_memory(atoms.positions, structure.positions)
    atoms.cell[0, 0] = 9.0
    assert structure.cell[0, 0] == 9.0


def test_evaluator_equals_ase() -> None:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=1)
    result = AseEvaluator(EMT()).evaluate(structure_of(atoms), ("energy", "forces", "stress", "energies"))
    atoms.calc = EMT()
    assert result.energy == atoms.get_potential_energy()
    assert np.array_equal(result.forces, atoms.get_forces())
    assert np.array_equal(result.stress, atoms.get_stress(voigt=False))  # type: ignore[arg-type]
    assert np.array_equal(result.energies, atoms.get_potential_energies())  # type: ignore[arg-type]


# Report --------------------------------------------------------------------------------------------------------------


def test_json_has_every_number(lj_card: ReportCard) -> None:
    content = json.loads(lj_card.to_json())
    assert content["name"] == "LJ argon"
    assert content["passed"] is False
    assert len(content["results"]) == len(lj_card.results)
    first = content["results"][0]
    assert first["verdict"] == "pass"
    assert first["value"] <= first["bound"] == 1e-10
    assert first["measurements"][0]["passed"] is True
    assert content["versions"]["ase"]


def test_page_is_one_well_formed_file(lj_card: ReportCard) -> None:
    page = page_of(lj_card)
    body = page[page.index("<main>") : page.index("</main>") + 7]
    tree = ElementTree.fromstring(re.sub(r" class=bad", ' class="bad"', body))
    assert len(tree.findall(".//section")) == len(lj_card.results)
    plots = tree.findall(".//{http://www.w3.org/2000/svg}svg")
    assert len(plots) == 9  # F-1, 2, 7, 8, 9, 11, 13, 16, 18
    assert not re.findall(r'(?:src|href)="(?!#)(?!https?://(?:www\.w3\.org|purl\.org))', body)
    assert "Does not pass" in page
    for result in lj_card.results:
        assert result.title in page


def test_page_escapes_what_a_calculator_says() -> None:
    card = run_check(EMT(), CheckOptions(only=("F-15",)), name="<script>alert(1)</script>")
    assert "<script>" not in page_of(card)


def test_page_of_some_checks_does_not_claim_all() -> None:
    page = page_of(run_check(EMT(), CheckOptions(only=("F-1",))))
    assert "Passes the chosen checks" in page
    assert "Passes the physics report card" not in page


def test_numbers_are_written_for_reading() -> None:
    assert [number(x) for x in (2.4e-15, 1e-8, -1e-8, 0.25, 0.0)] == ["2.4 × 10⁻¹⁵", "10⁻⁸", "−10⁻⁸", "0.25", "0"]


# Loading -------------------------------------------------------------------------------------------------------------


def test_calculators_are_loaded_by_name() -> None:
    assert isinstance(load_calculator("ase.calculators.emt:EMT"), EMT)
    assert load_calculator(LJ, {"sigma": 3.4}).parameters.sigma == 3.4


@pytest.mark.parametrize(
    ("spec", "kwargs", "message"),
    [
        ("no.such.module:Thing", {}, "no.such.module"),
        ("ase.calculators.emt:Nothing", {}, "Nothing"),
        ("ase.calculators.emt:parameters", {}, "a calculator class or a function is needed"),
        (":EMT", {}, "module:factory"),
        ("ase.calculators.emt:", {}, "module:factory"),
        ("ase.build:molecule", {"name": "H2O", "nonsense": 1}, "nonsense"),
        ("builtins:dict", {}, "no ASE calculator"),
        ("no-such-model", {}, "no-such-model"),
    ],
)
def test_wrong_calculators_are_refused(spec: str, kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, InputError, ValueError), match=message):
        load_calculator(spec, kwargs)


@pytest.mark.parametrize("text", ["sigma=3", "[1, 2]", "{"])
def test_wrong_arguments_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--kwargs"):
        parse_kwargs(text)


@pytest.mark.parametrize("options", [{"dtype": "float16"}, {"cutoff": -1.0}, {"only": ("F-99",)}])
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        CheckOptions(**options)


# Command line --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def app() -> typer.Typer:
    made = typer.Typer()
    made.command("check")(check_command)
    return made


def test_command_prints_a_table_and_writes_a_page(app: typer.Typer, tmp_path: Path) -> None:
    page, numbers = tmp_path / "emt.html", tmp_path / "emt.json"
    arguments = ["ase.calculators.emt:EMT", "--html", str(page), "--json-file", str(numbers)]
    result = CliRunner().invoke(app, [*arguments, "--only", "F-1", "--only", "9"])
    assert result.exit_code == 0, result.output
    assert "2 passed" in result.output
    assert "Forces are conservative" in result.output
    assert page.read_text().startswith("<!doctype html>")
    assert "atomsym check ase.calculators.emt:EMT --only F-1 --only 9" in page.read_text()
    assert json.loads(numbers.read_text())["passed"] is True


def test_command_prints_json_and_nothing_else(app: typer.Typer) -> None:
    result = CliRunner().invoke(
        app, [LJ, "--kwargs", json.dumps(ARGON), "--elements", "Ar", "--only", "F-11", "--json"]
    )
    assert result.exit_code == 1
    content = json.loads(result.stdout)
    assert content["results"][0]["verdict"] == "fail"
    assert "--elements Ar" in content["command"]


def test_command_refuses_a_missing_folder_before_it_runs(app: typer.Typer, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["ase.calculators.emt:EMT", "--html", str(tmp_path / "no" / "page.html")])
    assert isinstance(result.exception, InputError)
    assert "no does not exist" in str(result.exception)


def test_command_explains_itself(app: typer.Typer) -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    for word in ("--kwargs", "--structure", "--elements", "--html", "--thorough", "Exit code"):
        assert word in result.output
