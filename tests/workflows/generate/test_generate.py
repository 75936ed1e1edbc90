"""Runs of generation: conditions that hold, results that do not depend on interruptions, files that can be read."""

from __future__ import annotations

import csv
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from typer.testing import CliRunner

from atomsym.artifacts.generators import load_generator
from atomsym.core import AtomsymError, ConfigError, DataError, InputError, MissingDependencyError
from atomsym.generators import draw_different
from atomsym.generators.realisation import closest_contact
from atomsym.symmetry.wyckoff import Protostructure, SymmetricCrystal, canonical
from atomsym.workflows.cli import app
from atomsym.workflows.generate import GenerateSettings, resume_generate, run_generate
from atomsym.workflows.generate.command import parse_groups
from atomsym.workflows.generate.entry import Entry
from atomsym.workflows.generate.ranking import element_entries, rank
from atomsym.workflows.stopping import StoppedError

EMT = "ase.calculators.emt:EMT"


def settings_of(file: Path, **changes: Any) -> GenerateSettings:
    return replace(GenerateSettings(n=6, generator=str(file), elements=("Cu", "Au"), max_atoms=12), **changes)


def texts(entries: tuple[Entry, ...]) -> list[str]:
    return [entry.to_text() for entry in entries]


def test_all_conditions_hold(generator_file: Path, tmp_path: Path) -> None:
    settings = settings_of(generator_file, n=8, require=("Cu", "Au"), space_groups=(62, 123, 136, 225), max_atoms=16)
    made = run_generate(settings, tmp_path / "run")
    structures = [entry.protostructure for entry in made.entries]
    assert len({canonical(structure) for structure in structures}) == len(structures) == 8
    for entry in made.entries:
        assert set(entry.protostructure.composition) == {29, 79}
        assert entry.protostructure.space_group in settings.space_groups
        assert entry.protostructure.n_atoms <= 16
        assert entry.crystal is not None
        assert closest_contact(entry.crystal) == pytest.approx(entry.contact)
        assert entry.found_group == entry.protostructure.space_group


def test_an_exact_composition(generator_file: Path, tmp_path: Path) -> None:
    made = run_generate(settings_of(generator_file, n=3, elements=(), formula="Cu3Au"), tmp_path / "run")
    for entry in made.entries:
        counts = entry.protostructure.composition
        assert counts[29] == 3 * counts[79]


def test_the_calculator_takes_arguments(generator_file: Path, tmp_path: Path) -> None:
    lj = {"relax": "ase.calculators.lj:LennardJones", "max_steps": 1, "realisations": 1, "prototypes": ()}
    settings = settings_of(generator_file, n=2, **lj)
    weak, strong = (
        run_generate(replace(settings, kwargs={"sigma": 2.3, "rc": 6.0, "epsilon": epsilon}), tmp_path / str(epsilon))
        for epsilon in (1.0, 2.0)
    )
    read = GenerateSettings.from_file(tmp_path / "2.0" / "settings.json")
    assert read.kwargs == {"sigma": 2.3, "rc": 6.0, "epsilon": 2.0}
    for one, other in zip(weak.references, strong.references, strict=True):
        assert one.energy is not None
        assert other.energy is not None
    assert [each.energy for each in strong.references] != [each.energy for each in weak.references]


def test_the_seed_decides(generator_file: Path, tmp_path: Path) -> None:
    first, second, other = (
        run_generate(settings_of(generator_file, n=3, seed=seed), tmp_path / name)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert texts(first.entries) == texts(second.entries) != texts(other.entries)


def test_it_aims_at_properties(aiming_generator_file: Path, tmp_path: Path) -> None:
    wishes = {"targets": ("formation_energy_per_atom=-3",), "guidance": 4.0}
    settings = settings_of(aiming_generator_file, **wishes)
    aimed = run_generate(settings, tmp_path / "aimed").drawn.found
    plain = run_generate(settings_of(aiming_generator_file), tmp_path / "plain").drawn.found
    expected = draw_different(
        load_generator(str(aiming_generator_file)), settings.n, conditions=settings.conditions(), seed=settings.seed,
        space_groups=settings.space_groups, targets={"formation_energy_per_atom": -3.0}, guidance=4.0,
    )  # fmt: skip
    assert aimed == expected.found != plain


def test_a_run_that_is_interrupted_gives_the_same(generator_file: Path, tmp_path: Path) -> None:
    settings = settings_of(generator_file, n=4)
    whole = run_generate(settings, tmp_path / "whole")
    answers = iter([False, False, False, "SIGINT"])  # while drawing, after drawing, and between crystals
    with pytest.raises(StoppedError, match="realising crystals"):
        run_generate(settings, tmp_path / "parts", should_stop=lambda: next(answers, "SIGINT"))
    assert texts(resume_generate(tmp_path / "parts").entries) == texts(whole.entries)
    with pytest.raises(InputError, match="holds a run already"):
        run_generate(settings, tmp_path / "parts")


def test_a_damaged_run_is_refused(generator_file: Path, tmp_path: Path) -> None:
    run_generate(settings_of(generator_file, n=2), tmp_path / "run")
    (tmp_path / "run" / "protostructures.json").write_text("{")
    with pytest.raises(DataError, match="damaged"):
        resume_generate(tmp_path / "run")
    with pytest.raises(ConfigError, match="holds no generation"):
        resume_generate(tmp_path)


@pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")  # of spglib, through pymatgen
def test_the_command_writes_what_it_says(generator_file: Path, tmp_path: Path) -> None:
    pytest.importorskip("chemiscope")
    folder = tmp_path / "run"
    arguments = ["generate", "-n", "4", "--system", "Cu-Au", "--generator", str(generator_file), "--max-atoms", "8"]
    result = CliRunner().invoke(app, [*arguments, "--relax", EMT, "--max-steps", "20", "--json", "-o", str(folder)])
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    rows = list(csv.DictReader((folder / "crystals.csv").read_text().splitlines()))
    frames = ase.io.read(folder / "crystals.extxyz", ":")
    assert summary["generated"] == len(rows) == len(frames) == len(list((folder / "cif").glob("*.cif"))) == 4
    assert all(set(frame.symbols) == {"Cu", "Au"} for frame in frames)
    hulls = [float(row["above_hull"]) for row in rows]
    assert hulls == sorted(hulls)
    assert hulls[0] >= 0
    for row, frame in zip(rows, frames, strict=True):
        assert frame.get_potential_energy() / len(frame) == pytest.approx(float(row["energy"]), abs=1e-6)
    assert len(json.loads((folder / "crystals.json").read_text())) == 4
    assert "Cu–Au crystals" in (folder / "gallery.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--space-group", "231"], "no space group 231"),
        (["--space-group", "a"], "space groups are numbers"),
        (["--space-group", "62,196-194"], "a range of space groups goes up, such as 194-196; found '196-194'"),
        (["--dtype", "float16"], "float16"),
        (["--device", "gpu"], "'gpu' cannot be used here: there is no such device"),
        (["-n", "0"], "n must be 1 to"),
        (["--elements", ","], "--elements names no element"),
        (["--elements", "Xx"], "'Xx' is not a chemical element"),
        (["--formula", "Ti!"], "not a chemical formula"),
        (["--formula", "TiO2", "--exclude", "O"], "may not occur"),
        (["--system", "Ti-O", "--elements", "Ti"], "--system says"),
        (["--free"], "needs a calculator"),
        (["--kwargs", '{"fixed_cutoff": true}'], "name it with --relax"),
        (["--relax", EMT, "--kwargs", "[1]"], "must be a JSON object"),
        (["--n-atoms", "80", "--max-atoms", "40"], "--n-atoms 80 is more than the 40"),
        (["--n-atoms", "500"], "--n-atoms 500 is more than the 120"),
        (["--temperature", "0"], "temperature must be positive"),
        (["--target", "mass=3"], "'mass' is not a property"),
        (["--target", "formation_energy_per_atom"], "NAME=VALUE"),
        (["--target", "a=1", "--target", "a=2"], "two targets for a"),
        (["--guidance", "-1"], "guidance must be"),
        (["--generator", "nobody"], "nobody"),
        (
            ["--formula", "TiO2", "--space-group", "227", "--n-atoms", "9"],
            "no crystal of the space groups|no crystal of",
        ),
        (["--relax", "nothing"], "nothing"),
    ],
)
def test_wrong_wishes_are_refused_before_any_work(
    generator_file: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    named = [] if "--generator" in arguments else ["--generator", str(generator_file)]
    result = CliRunner().invoke(app, ["generate", *named, *arguments, "-o", str(tmp_path / "run")])
    assert isinstance(result.exception, AtomsymError)
    assert re.search(message, str(result.exception))
    assert not (tmp_path / "run").exists()


def test_a_missing_package_is_told_before_the_work(
    generator_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "chemiscope", None)
    with pytest.raises(MissingDependencyError, match=r"atomsym\[generate\]"):
        run_generate(settings_of(generator_file), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_groups_are_numbers_and_ranges() -> None:
    assert parse_groups("62, 194-196,62") == (62, 194, 195, 196)


def test_entries_survive_their_text() -> None:
    structure = Protostructure(136, ((22, "a"), (8, "f")))
    crystal = SymmetricCrystal(structure, np.diag([4.6, 4.6, 1 / 3]), np.array([[0, 0, 0], [0.1 + 0.2, 0, 0]]))
    free = (crystal.cell, crystal.fractional_positions, crystal.numbers)
    entry = Entry(structure, -3.25, "salt", 0.7, crystal, free, -8.5, True, 12, 136, "")
    again = Entry.from_text(entry.to_text())
    assert again.to_text() == entry.to_text()
    assert again.crystal is not None
    assert (again.crystal.parameters == crystal.parameters).all()
    with pytest.raises(DataError):
        Entry.from_text("{}")


def test_the_best_comes_first_and_failures_last() -> None:
    """Made-up energies: a compound below the line between the elements, one above, one that failed, one without."""

    def entry(energy: float | None, note: str = "", structure: tuple[int, str] = (225, "b")) -> Entry:
        made = Protostructure(225, ((29, "a"), (79, structure[1])))
        crystal = SymmetricCrystal(made, 4 * np.eye(3), np.zeros((2, 3)))
        return Entry(made, -1.0, "random", 0.8, crystal, None, energy, True, 1, 225, note)

    references = [
        each.with_(energy=0.0 if each.protostructure.space_group == 225 else 1.0)
        for each in element_entries({29, 79}, 0)
    ]
    ranked = rank([entry(0.3), entry(None), entry(-9.0, "failed"), entry(-0.2)], references)
    assert [each.index for each in ranked] == [3, 0, 1, 2]
    assert [each.formation_energy for each in ranked] == [pytest.approx(-0.2), pytest.approx(0.3), None, None]
    assert [each.above_hull for each in ranked] == [pytest.approx(0.0), pytest.approx(0.5), None, None]
