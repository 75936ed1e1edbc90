"""The list of models: potentials and generators, and what is told of one of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from atomsym.artifacts import generator_files, read_generator_card
from atomsym.core import ArtifactError, ConfigError, InputError
from atomsym.workflows import models
from atomsym.workflows.cli import app


def shown(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["models", *arguments], env={"COLUMNS": "300"}, catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def rows(*arguments: str) -> Any:
    return json.loads(shown(*arguments, "--json"))


def test_generators_stand_in_a_table_of_their_own() -> None:
    text = shown()
    potentials, generators = text.split("Generators of crystals")
    assert "argon" in potentials
    assert "wyformer" not in potentials
    line = next(line for line in generators.splitlines() if "wyformer" in line)
    described = read_generator_card("wyformer")
    assert f"{described.n_parameters:,}" in line
    assert f"{described.size / 1e6:.1f} MB" in line
    assert described.card.training_data in line


def test_json_says_which_is_which() -> None:
    kinds = {row["name"]: row["kind"] for row in rows()}
    assert kinds["argon"] == "potential"
    assert {name for name, kind in kinds.items() if kind == "generator"} == {file.stem for file in generator_files()}
    assert {row["name"] for row in rows("--element", "Ar")} == {"argon"}


def test_one_of_them_is_told_in_full(tmp_path: Path) -> None:
    text = shown("water")
    for part in ("potential", "mace", "H O", "PBE0+TS", "sha256"):
        assert part in text
    generator = rows("wyformer")
    assert (generator["kind"], generator["elements"], generator["cutoff"]) == ("generator", [], None)
    assert generator["properties"] == ["formation_energy_per_atom", "band_gap"]
    assert "formation_energy_per_atom, band_gap" in " ".join(shown("wyformer").split())
    assert rows("wyckoffdiff")["properties"] == []
    training = json.loads(read_generator_card("wyformer").card.training)
    assert generator["training"] == training
    assert f"best epoch {training['best_epoch']}" in shown("wyformer")
    assert rows("argon")["training"] == ""
    copied = tmp_path / "mine.safetensors"
    copied.write_bytes(Path(generator["path"]).read_bytes())
    assert rows(str(copied)) == generator | {"name": "mine", "path": str(copied)}


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="wyformer"):
        models.find_row("wyformr")
    (tmp_path / "text").write_text("no model")
    with pytest.raises(ArtifactError):
        models.find_row(str(tmp_path / "text"))
    with pytest.raises(ConfigError, match="narrows the list"):
        CliRunner().invoke(app, ["models", "argon", "--element", "Ar"], catch_exceptions=False)


def test_a_damaged_generator_is_a_row_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file,) = (path for path in generator_files() if path.stem == "wyformer")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(file.read_bytes()[:-1])
    monkeypatch.setattr(models, "generator_files", lambda: [broken])
    (row,) = models.generator_rows()
    assert (row.name, row.kind) == ("broken", "generator")
    assert "does not fit its hash" in row.error
    assert "damaged" in shown()
