"""Known crystals come before random ones: their geometries are taken, kept with the run, and named in its table."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from typer.testing import CliRunner

from atomsym.core import AtomsymError, ConfigError, DataError
from atomsym.generators.realisation import expected_volume
from atomsym.symmetry.wyckoff import Protostructure, canonical
from atomsym.workflows.cli import app
from atomsym.workflows.generate import GenerateSettings, resume_generate, run_generate
from atomsym.workflows.generate.entry import RANDOM
from atomsym.workflows.generate.prototypes import read_kept, read_prototypes, write_prototypes
from atomsym.workflows.stopping import StoppedError

EMT = "ase.calculators.emt:EMT"
RATIO = 1.31


@pytest.fixture
def known_file(tmp_path: Path) -> Path:
    """L1₀ iron platinum with a c/a of its own, and a crystal that nothing here has the template of."""
    layered = Atoms("FePt", cell=[2.7, 2.7, 2.7 * RATIO], scaled_positions=[[0, 0, 0], [0.5] * 3], pbc=True)
    layered.info["id"] = "layers"
    path = tmp_path / "known.extxyz"
    ase.io.write(path, [bulk("Si"), layered])
    return path


def settings_of(generator: Path, prototypes: tuple[str, ...], **changes: Any) -> GenerateSettings:
    """AuCu in P4/mmm with two atoms: layers, or chains along c."""
    wanted: dict[str, Any] = {"n": 2, "formula": "AuCu", "space_groups": (123,), "n_atoms": 2, "realisations": 1}
    return GenerateSettings(generator=str(generator), prototypes=prototypes, **(wanted | changes))


def test_geometries_are_those_of_the_known_crystal(generator_file: Path, known_file: Path, tmp_path: Path) -> None:
    made = run_generate(settings_of(generator_file, (str(known_file),), n=9), tmp_path / "run")
    layers = canonical(Protostructure(123, ((29, "a"), (79, "d"))))
    named = [entry for entry in made.entries if entry.source != RANDOM]
    assert [entry.source for entry in named] == ["known.extxyz:layers"]
    assert [entry for entry in made.entries if canonical(entry.protostructure) == layers] == named
    crystal = named[0].crystal
    assert crystal is not None
    a, _, c = np.linalg.norm(crystal.cell, axis=1)
    assert c / a == pytest.approx(RATIO)
    scale = expected_volume({29: 1, 79: 1}) / expected_volume({26: 1, 78: 1})
    assert a * a * c == pytest.approx(2.7**3 * RATIO * scale)
    kept = read_kept(tmp_path / "run" / "prototypes.json")
    assert [name for name, _ in kept] == ["known.extxyz:layers"]  # silicon is of no use here


def test_of_known_and_random_geometries_the_one_of_least_energy_is_kept(generator_file: Path, tmp_path: Path) -> None:
    """A known crystal that is stretched to four times its width is worse than any random one."""
    path = tmp_path / "long.extxyz"
    ase.io.write(path, Atoms("FePt", cell=[2.1, 2.1, 8.4], scaled_positions=[[0, 0, 0], [0.5] * 3], pbc=True))
    settings = settings_of(generator_file, (str(path),), n=9, realisations=4)
    drawn, relaxed = (
        run_generate(
            GenerateSettings(**(vars(settings) | {"relax": relax, "max_steps": 1})), tmp_path / f"run{relax[:3]}"
        )
        for relax in ("", EMT)
    )
    assert [entry.source for entry in drawn.entries if entry.source != RANDOM] == ["long.extxyz:0"]
    assert all(entry.source == RANDOM for entry in relaxed.entries)


def test_aflow_is_there_unless_it_is_not_wanted(generator_file: Path, tmp_path: Path) -> None:
    salt = {"space_groups": (225,), "n_atoms": 8, "n": 1}
    (entry,) = run_generate(settings_of(generator_file, ("aflow",), **salt), tmp_path / "known").entries
    assert "_225_" in entry.source
    (entry,) = run_generate(settings_of(generator_file, (), **salt), tmp_path / "random").entries
    assert entry.source == RANDOM
    assert not (tmp_path / "random" / "prototypes.json").exists()


def test_an_interrupted_run_needs_the_file_no_more(generator_file: Path, known_file: Path, tmp_path: Path) -> None:
    settings = settings_of(generator_file, (str(known_file), "aflow"), n=3, realisations=3)
    whole = run_generate(settings, tmp_path / "whole")
    answers = iter([False, False, False, "SIGINT"])  # while drawing, after drawing, and between crystals
    with pytest.raises(StoppedError, match="realising crystals"):
        run_generate(settings, tmp_path / "parts", should_stop=lambda: next(answers, "SIGINT"))
    known_file.unlink()
    again = resume_generate(tmp_path / "parts")
    assert [entry.to_text() for entry in again.entries] == [entry.to_text() for entry in whole.entries]
    assert "known.extxyz:layers" in {entry.source for entry in whole.entries}
    (tmp_path / "parts" / "prototypes.json").write_text('[{"name": "none"}]')
    with pytest.raises(DataError, match=r"prototypes\.json: damaged"):
        resume_generate(tmp_path / "parts")


@pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")  # of spglib, through pymatgen
def test_the_table_says_where_a_geometry_came_from(
    generator_file: Path, known_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["generate", "-n", "9", "--formula", "AuCu", "-g", "123", "--n-atoms", "2", "--json", "-o", "run"]
    result = CliRunner().invoke(
        app, [*arguments, "--generator", str(generator_file), "--prototypes", known_file.name], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader((tmp_path / "run" / "crystals.csv").read_text().splitlines()))
    assert sorted({row["geometry"] for row in rows}) == ["known.extxyz:layers", "random"]
    assert json.loads(result.stdout)["from_prototypes"] == 1
    assert "known.extxyz:layers" in (tmp_path / "run" / "gallery.html").read_text()
    kept = json.loads((tmp_path / "run" / "settings.json").read_text())["prototypes"]
    assert kept == [str(known_file)]  # the run goes on from any folder


def test_floats_of_kept_crystals_are_exact(tmp_path: Path) -> None:
    known = read_prototypes(("aflow",), 0.01)[:40]
    write_prototypes(tmp_path / "kept.json", known, [crystal.protostructure for _, crystal in known])
    again = read_kept(tmp_path / "kept.json")
    assert [name for name, _ in again] == [name for name, _ in known]
    for (_, old), (_, new) in zip(known, again, strict=True):
        assert new.protostructure == old.protostructure
        assert (new.cell == old.cell).all()
        assert (new.parameters == old.parameters).all()


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (["--prototypes", "missing.csv"], DataError, "missing.csv is neither a file"),
        (["--prototypes", "empty.csv"], DataError, "no column"),
        (["--prototypes", "aflow", "--no-prototypes"], ConfigError, "cannot be given with --prototypes"),
    ],
)
def test_prototypes_that_cannot_be_read_are_told_before_the_work(
    generator_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    kind: type[AtomsymError],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.csv").write_text("nothing\n1\n")
    with pytest.raises(kind, match=message):
        CliRunner().invoke(
            app, ["generate", "--generator", str(generator_file), *arguments, "-o", "run"], catch_exceptions=False
        )
    assert not Path("run").exists()
