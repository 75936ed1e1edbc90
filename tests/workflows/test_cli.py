"""The command line answers wrong use with one message and exit code 2, and helps a newcomer."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import ase.io
import pytest
from ase.build import bulk

from atomsym.workflows.cli import main


def atomsym(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from atomsym.workflows.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


def test_help_names_every_command() -> None:
    result = atomsym("--help")
    assert result.returncode == 0
    commands = (
        "md",
        "relax",
        "train",
        "train-generator",
        "generate",
        "symmetry",
        "evaluate",
        "evaluate-hessians",
        "datasets",
        "check",
        "benchmark",
        "models",
        "convert",
    )
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
        (["md", "argon", "--ensemble", "nph"], "ensemble must be one of nve, nvt-langevin"),
        (["md", "argon", "--reference", "missing.dat"], "missing.dat cannot be read"),
        (["md", "argon", "--max-minutes", "0"], "--max-minutes must be above 0"),
        (["relax"], "name a SYSTEM to relax"),
        (["relax", "no-such-file.cif", "--model", "argon"], "neither a file nor a built-in system"),
        (["relax", "argon", "--pressure", "1"], "add --cell"),
        (["relax", "argon", "--resume", "run"], "no other setting than --max-steps; found SYSTEM"),
        (["relax", "--resume", "no-such-folder"], "holds no relaxation"),
        (["benchmark", "neighbors", "-o", "no/rows.json"], "no does not exist"),
        (["check", "no.such.module:Calculator"], "no.such.module"),
        (["check", "argon", "--elements", "Cu"], "does not evaluate Cu"),
        (["check", "argon", "--html", "no/page.html"], "no does not exist"),
    ],
)
def test_wrong_use_is_one_message_and_exit_code_2(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["atomsym", *arguments])
    with pytest.raises(SystemExit) as ended:  # any other exception would be a traceback
        main()
    assert ended.value.code == 2
    assert message in capsys.readouterr().err.replace("\n", " ")
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
    files = ("settings.json", "log.csv", "trajectory.extxyz", "restart.npz", "summary.json", "report.png")
    assert written == {*files, "analysis.json", "rdf.csv"}


@pytest.fixture
def small_argon(tmp_path: Path) -> Path:
    ase.io.write(tmp_path / "small.extxyz", bulk("Ar", "fcc", a=5.6, cubic=True) * (2, 2, 2))
    return tmp_path


def test_r02_md_stops_at_its_time_limit_and_goes_on(small_argon: Path) -> None:
    arguments = [
        "md",
        "small.extxyz",
        "--model",
        "argon",
        "--steps",
        "60",
        "--timestep",
        "4",
        "--checkpoint-every",
        "50",
    ]
    limited = atomsym(*arguments, "-o", "run", "--max-minutes", "1e-9", folder=small_argon)
    assert limited.returncode == 75
    assert "1 of 60 steps are done. Go on with: atomsym md --resume run" in " ".join(limited.stderr.split())
    resumed = atomsym("md", "--resume", "run", "--json", folder=small_argon)
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout)["finished"] is True
    assert atomsym(*arguments, "-o", "whole", folder=small_argon).returncode == 0
    for name in ("log.csv", "trajectory.extxyz"):
        assert (small_argon / "run" / name).read_bytes() == (small_argon / "whole" / name).read_bytes()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_r02_a_signal_ends_md_in_good_order(small_argon: Path, number: int) -> None:
    arguments = ["md", "small.extxyz", "--model", "argon", "--steps", "1000000", "-o", "run"]
    command = [sys.executable, "-c", "from atomsym.workflows.cli import main; main()", *arguments]
    with subprocess.Popen(command, cwd=small_argon, stderr=subprocess.PIPE, text=True) as process:
        log = small_argon / "run/log.csv"
        while process.poll() is None and not (log.exists() and log.stat().st_size > 1000):
            time.sleep(0.05)
        process.send_signal(number)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 75, errors
    assert "Go on with: atomsym md --resume run" in " ".join(errors.split())
    assert json.loads((small_argon / "run/summary.json").read_text())["steps_done"] > 50


def test_relax_tells_whether_it_has_converged(small_argon: Path) -> None:
    arguments = ["relax", "small.extxyz", "--model", "argon", "--cell", "--smax", "1e-4", "-o", "run"]
    short = atomsym(*arguments, "--max-steps", "1", folder=small_argon)
    assert short.returncode == 1
    assert "Not converged after 1 steps" in short.stderr
    limited = atomsym("relax", "--resume", "run", "--max-steps", "90", "--max-minutes", "1e-9", folder=small_argon)
    assert limited.returncode == 75
    assert "Go on with: atomsym relax --resume run --max-steps 90" in limited.stderr
    resumed = atomsym("relax", "--resume", "run", "--max-steps", "100", "--json", folder=small_argon)
    assert resumed.returncode == 0, resumed.stderr
    result = json.loads(resumed.stdout)
    assert result["converged"] is True
    assert result["end"]["max_stress"] <= 1e-4
    written = {path.name for path in (small_argon / "run").iterdir()}
    assert {"relaxed.extxyz", "result.json", "report.png", "trajectory.extxyz"} <= written


def test_check_takes_a_built_in_structure(tmp_path: Path) -> None:
    result = atomsym("check", "argon", "-s", "argon", "--only", "F-1", folder=tmp_path)
    assert result.returncode == 0, result.stderr


def test_models_lists_the_shipped_ones() -> None:
    result = atomsym("models", "--json")
    assert result.returncode == 0, result.stderr
    assert "argon" in {row["name"] for row in json.loads(result.stdout)}
