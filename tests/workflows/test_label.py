"""Labelling: resumable after a SIGKILL, the same with any number of workers, and never ended by one bad structure."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from atomsym.core import AtomsymError, ConfigError, InputError, MissingDependencyError
from atomsym.datasets import read_dataset, require_labels
from atomsym.workflows.cli import main
from atomsym.workflows.journal import FAILURE, LABELS, Journal
from atomsym.workflows.label import LabelSettings, make_engine, run_label
from atomsym.workflows.label.command import engine_settings
from atomsym.workflows.label.workers import Workers

SPRINGS = "label_engines:springs"


@pytest.fixture(autouse=True)
def engines_of_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


def frames(count: int = 12) -> list[Atoms]:
    """Water and methane in turn; number 3 is refused, number 5 ends its worker, number 7 is charged."""
    found = []
    for index in range(count):
        atoms = molecule("H2O" if index % 2 else "CH4")
        atoms.rattle(0.05, seed=index)
        atoms.info["config_type"] = "water" if index % 2 else "methane"
        found.append(atoms)
    found[3].numbers[0], found[5].numbers[0] = 85, 86
    found[7].info["charge"] = 1
    return found


@pytest.fixture
def settings(tmp_path: Path) -> LabelSettings:
    ase.io.write(tmp_path / "in.extxyz", frames())
    return LabelSettings(tmp_path / "in.extxyz", tmp_path / "out.extxyz", SPRINGS, properties=("energy", "forces"))


def test_labels_stand_in_the_order_of_the_input_and_failures_in_a_table(settings: LabelSettings) -> None:
    seen: list[tuple[int, int, int]] = []
    chosen = replace(settings, properties=("energy", "forces", "hessian"), workers=2)
    result = run_label(chosen, progress=lambda *counts: seen.append(counts))
    assert (result.complete, result.n_structures, result.n_labelled, result.n_failed) == (True, 12, 9, 3)
    assert seen[0] == (0, 12, 0)
    assert seen[-1] == (12, 12, 3)
    kept = [index for index in range(12) if index not in (3, 5, 7)]
    labelled = read_dataset(result.output)
    require_labels(labelled, ("energy", "forces", "hessian"))
    for index, structure in zip(kept, labelled, strict=True):
        atoms = frames()[index]
        assert structure.group == atoms.info["config_type"]
        assert structure.positions == pytest.approx(atoms.positions, abs=1e-7)
        assert structure.energy == pytest.approx((structure.positions**2).sum(), rel=1e-12)
        assert structure.forces == pytest.approx(-2 * structure.positions)
        assert structure.hessian == pytest.approx(2 * np.eye(3 * len(atoms)), abs=1e-9)
    with open(result.failures, newline="") as file:
        rows = {int(row["index"]): row["reason"] for row in csv.DictReader(file)}
    assert rows[3] == "no springs for astatine"
    assert rows[5] == "the worker process ended: exit status 7"
    assert "charge = 1" in rows[7]
    assert sorted(rows) == [3, 5, 7]
    summary = json.loads(chosen.summary.read_text())
    assert (summary["level_of_theory"], summary["n_failed"]) == ("springs", 3)
    assert not chosen.partial.exists()


def test_a_killed_run_goes_on_and_gives_the_same_file(settings: LabelSettings, tmp_path: Path) -> None:
    whole = replace(settings, output=tmp_path / "whole.extxyz")
    run_label(whole)
    program = "import sys; from atomsym.workflows.cli import main; main()"
    command = [sys.executable, "-c", program, "label", str(settings.input), "-o", str(settings.output)]
    command += ["--engine", SPRINGS, "--set", "delay=0.2", "--properties", "energy,forces"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    journal = settings.partial / "results.bin"
    deadline = time.monotonic() + 120
    while not (journal.exists() and journal.stat().st_size > 1000):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    slow = replace(settings, engine_settings={"delay": 0.2})
    with Journal(journal) as left:
        done = len(left)
    assert 1 <= done < 12
    with pytest.raises(InputError, match="--resume"):
        run_label(slow)
    with pytest.raises(ConfigError, match="other engine_settings"):
        run_label(settings, resume=True)
    seen: list[int] = []
    result = run_label(slow, resume=True, progress=lambda n, total, failed: seen.append(n))
    assert seen[0] == done
    assert result.output.read_bytes() == whole.output.read_bytes()
    assert result.failures.read_bytes() == whole.failures.read_bytes()


def test_a_stopped_run_says_why_and_goes_on(settings: LabelSettings) -> None:
    asked = iter(range(100))
    first = run_label(settings, should_stop=lambda: "time limit" if next(asked) >= 3 else "")
    assert (first.complete, first.reason, first.output.exists()) == (False, "time limit", False)
    assert 0 < first.n_labelled + first.n_failed < 12
    assert run_label(settings, resume=True).complete
    with pytest.raises(InputError, match="exists already"):
        run_label(settings)


def entries(path: Path, count: int) -> None:
    with Journal(path) as journal:
        for index in range(count):
            journal.append(index, FAILURE if index == 1 else LABELS, bytes([index]) * 20)


def test_the_journal_loses_only_what_was_half_written(tmp_path: Path) -> None:
    entries(tmp_path / "two", 2)
    entries(tmp_path / "three", 3)
    shorter, longer = ((tmp_path / name).read_bytes() for name in ("two", "three"))
    for size in range(len(shorter), len(longer)):
        (tmp_path / "cut").write_bytes(longer[:size])
        with Journal(tmp_path / "cut") as journal:
            assert (len(journal), journal.n_failed, journal.content(1)) == (2, 1, b"\x01" * 20)
            journal.append(2, LABELS, bytes([2]) * 20)
        assert (tmp_path / "cut").read_bytes() == longer
    damaged = bytearray(longer)
    damaged[-1] ^= 1
    (tmp_path / "cut").write_bytes(damaged)
    with Journal(tmp_path / "cut") as journal:
        assert 2 not in journal


def test_workers_answer_have_one_thread_and_are_replaced_when_they_end() -> None:
    taken: list[int] = []

    def requests() -> Iterator[tuple[int, bytes]]:
        for index, request in enumerate([b"abc", b"end", b"def", b"end", b"ghi"]):
            taken.append(index)
            yield index, request

    before = dict(os.environ)
    with Workers("label_engines:last_words", {"tail": "!"}, 1) as workers:
        answers = {}
        for answer in workers.answers(requests()):
            assert len(taken) <= len(answers) + 3  # two in hand, one that has just been answered
            answers[answer.index] = answer
    assert [answers[i].content for i in (0, 2, 4)] == [b"cba1!", b"fed1!", b"ihg1!"]
    assert answers[1].failure == answers[3].failure == "the worker process ended: out of luck"
    assert dict(os.environ) == before


def interrupted_at_the_first_answer() -> None:
    with Workers("label_engines:last_words", {"tail": "!"}, 1) as workers:
        for answer in workers.answers([(0, b"abc"), (1, b"sleep"), (2, b"sleep")]):
            assert answer.content == b"cba1!"
            raise KeyboardInterrupt


def test_an_error_ends_workers_that_are_busy() -> None:
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interrupted_at_the_first_answer()
    assert time.monotonic() - started < 100  # the request sleeps for 120 s


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"engine": "gfn3-xtb"}, ConfigError, "known are gfn2-xtb, gfn1-xtb, pyscf"),
        ({"workers": 0}, ConfigError, "--workers must be at least 1"),
        ({"properties": ("energy", "charges")}, ConfigError, "found charges"),
        ({"properties": ()}, ConfigError, "found none"),
        ({"output": Path("out.pdb")}, ConfigError, "must end in one of"),
        ({"output": Path("/no/such/folder/out.xyz")}, InputError, "does not exist"),
        ({"input": Path("missing.xyz")}, InputError, r"missing\.xyz does not exist"),
        ({"engine": "no_such_module:engine"}, ConfigError, "cannot be loaded"),
        ({"engine_settings": {"colour": "red"}}, ConfigError, "does not take these settings"),
    ],
)
def test_wrong_settings_are_refused_before_any_work(
    settings: LabelSettings, change: dict[str, Any], error: type[AtomsymError], message: str
) -> None:
    with pytest.raises(error, match=message):
        run_label(replace(settings, **change))
    assert not settings.partial.exists()


def test_a_damaged_frame_ends_the_run_before_it_begins(settings: LabelSettings) -> None:
    settings.input.write_text(settings.input.read_text() + "2\nlast frame\nH 0 0 0\n")
    with pytest.raises(InputError, match="frame 12: ASE cannot read it"):
        run_label(settings)
    settings.input.write_text("")
    with pytest.raises(InputError):
        run_label(settings)


def test_a_missing_package_is_named_with_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for engine, extra in (("gfn2-xtb", "label"), ("pyscf", "pyscf")):
        with pytest.raises(MissingDependencyError, match=rf"atomsym\[{extra}\]"):
            make_engine(engine)


def test_options_of_an_engine_are_names_and_values() -> None:
    assert engine_settings(["functional=pbe", "grid=3", "basis="]) == {"functional": "pbe", "grid": 3, "basis": ""}
    for wrong in ("functional", "=3"):
        with pytest.raises(ConfigError, match="name=value"):
            engine_settings([wrong])


def atomsym(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Exit code of the command in this process."""
    monkeypatch.setattr(sys, "argv", ["atomsym", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_the_command_prints_its_result_as_json(
    settings: LabelSettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("label", str(settings.input), "-o", str(settings.output.with_suffix(".lmdb")), "--engine", SPRINGS)
    assert atomsym(monkeypatch, *command, "--hessians", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["complete"], result["n_labelled"], result["n_failed"]) == (True, 9, 3)
    assert sum(one.hessian is not None for one in read_dataset(result["output"])) == 9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("label", "missing.xyz"), "missing.xyz does not exist"),
        (("label", "missing.xyz", "--engine", "orca"), "engine 'orca' is unknown"),
        (("label", "missing.xyz", "-o", "out.cif"), "must end in one of"),
        (("label", "missing.xyz", "--max-minutes", "0"), "--max-minutes must be above 0"),
        (("organic-xtb", "--molecules", "0"), "molecules must be at least 1"),
        (("organic-xtb", "--elements", "H,C,Si"), "elements are H, C and any of"),
        (("organic-xtb", "--out", "nowhere", "--resume"), "holds no set to go on with"),
    ],
)
def test_wrong_use_of_the_commands_is_one_message_and_exit_code_2(
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("tblite")
    monkeypatch.chdir(tmp_path)
    assert atomsym(monkeypatch, *arguments) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
