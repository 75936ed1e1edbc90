"""The command line answers wrong use with one message and exit code 2, and helps a newcomer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


def atomsym(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from atomsym.workflows.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


def test_help_names_every_command() -> None:
    result = atomsym("--help")
    assert result.returncode == 0
    for command in ("md", "check", "benchmark", "models"):
        assert command in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["md"], "name a SYSTEM to run"),
        (["md", "no-such-file.cif", "--model", "argon"], "neither a file nor a built-in system"),
        (["md", "argon", "--model", "no-such-model"], "no-such-model"),
        (["md", "argon", "--timestep=-1"], "timestep must be positive"),
        (["md", "--resume", "no-such-folder"], "no-such-folder"),
        (["check", "no.such.module:Calculator"], "no.such.module"),
    ],
)
def test_wrong_use_is_one_message_and_exit_code_2(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = atomsym(*arguments, folder=tmp_path)
    assert result.returncode == 2
    assert message in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_md_writes_a_run_and_prints_its_summary(tmp_path: Path) -> None:
    arguments = ["md", "argon", "--steps", "20", "--equilibration-steps", "10", "--json", "-o", "run"]
    result = atomsym(*arguments, folder=tmp_path)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["n_atoms"] == 500
    written = {path.name for path in (tmp_path / "run").iterdir()}
    expected = {"settings.json", "log.csv", "trajectory.extxyz", "restart.npz", "summary.json", "report.png"}
    assert written == expected


def test_models_lists_the_shipped_ones() -> None:
    result = atomsym("models", "--json")
    assert result.returncode == 0, result.stderr
    assert "argon" in {row["name"] for row in json.loads(result.stdout)}
