"""``atomsym datasets``: the report of a file, and exit codes that a script can use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from atomsym.core import ConfigError, DataError
from atomsym.workflows.cli import app

SOUND = (
    '2\nProperties=species:S:1:pos:R:3:forces:R:3 energy=-31.0 config_type="a [b]" pbc="F F F"\n'
    "H 0 0 0 0 0 1\nH 0 0 0.74 0 0 -1\n"
)


def test_a_report_is_printed(tmp_path: Path) -> None:
    (tmp_path / "h2.xyz").write_text(SOUND)
    result = CliRunner().invoke(app, ["datasets", str(tmp_path / "h2.xyz")])
    assert result.exit_code == 0, result.output
    for text in ("energy from 'energy'", "H 2", "energy 1, forces 1", "a [b] 1", "nothing looks wrong"):
        assert text in result.output


def test_json_is_json(tmp_path: Path) -> None:
    (tmp_path / "h2.xyz").write_text(SOUND.replace("-31.0", "nan"))
    result = CliRunner().invoke(app, ["datasets", str(tmp_path / "h2.xyz"), "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["findings"][0]["kind"] == "not finite energy"


def test_shared_structures_of_two_files_are_counted(tmp_path: Path) -> None:
    (tmp_path / "h2.xyz").write_text(SOUND)
    other = tmp_path / "other.xyz"
    other.write_text(SOUND + SOUND.replace("0.74", "0.9"))
    result = CliRunner().invoke(app, ["datasets", str(tmp_path / "h2.xyz"), "--against", str(other)])
    assert "1 structures of" in result.output


def test_keys_and_units_can_be_given(tmp_path: Path) -> None:
    (tmp_path / "h2.xyz").write_text(SOUND.replace("energy", "mine"))
    arguments = ["datasets", str(tmp_path / "h2.xyz"), "--energy-key", "mine", "--energy-unit", "kcal/mol", "--json"]
    result = CliRunner().invoke(app, arguments)
    assert json.loads(result.stdout)["energy"]["composition_energies"]["H"] == pytest.approx(
        -31 * 0.0433641 / 2, rel=1e-5
    )


def test_faults_are_typed_errors(tmp_path: Path) -> None:
    (tmp_path / "h2.xyz").write_text(SOUND)
    result = CliRunner().invoke(app, ["datasets", str(tmp_path / "nothing.xyz")])
    assert isinstance(result.exception, DataError)
    wrong = CliRunner().invoke(app, ["datasets", str(tmp_path / "h2.xyz"), "--energy-unit", "spoon"])
    assert isinstance(wrong.exception, ConfigError)
