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
    commands = ("md", "relax", "train", "evaluate", "datasets", "check", "benchmark", "models", "convert")
    for command in commands:
        assert command in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["md"], "name a SYSTEM to run"),
        (["md", "no-such-file.cif", "--model", "argon"], "neither a file nor a built-in system"),
        (["md", "argon", "--model", "no-such-model"], "no-such-model"),
        (["md", "argon", "--timestep=-1"], "timestep must be positive"),
        (["md", "--resume", "no-such-folder"], "no-such-folder"),
        (["md", "argon", "--seed=-1"], "seed must be finite and not negative"),
        (["md", "argon", "--resume", "run"], "takes no other setting"),
        (["md", "argon", "-o", "/proc/no/run"], "cannot make the folder"),
        (["benchmark", "neighbors", "-o", "no/rows.json"], "no does not exist"),
        (["check", "no.such.module:Calculator"], "no.such.module"),
        (["check", "argon", "--elements", "Cu"], "does not evaluate Cu"),
        (["check", "argon", "--html", "no/page.html"], "no does not exist"),
    ],
)
def test_wrong_use_is_one_message_and_exit_code_2(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = atomsym(*arguments, folder=tmp_path)
    assert result.returncode == 2
    assert message in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        ("2\n\nAr 0 0 0\nAr 0 0 0.01\n", "0.01 Å apart"),
        ("2\n\nAr 0 0 0\nAr nan 0 5\n", "nan"),
        ("2\n\nAr 0 0 0\nU 0 0 5\n", "U"),
    ],
)
def test_check_refuses_a_structure_that_cannot_be_evaluated(structure: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "bad.xyz").write_text(structure)
    result = atomsym("check", "argon", "-s", "bad.xyz", "--only", "F-1", folder=tmp_path)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


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
