"""R-1, R-2, R-5: a run that was killed, stopped or damaged goes on exactly, or says why it cannot."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import training_problem as problem

from atomsym.artifacts import config_to_json
from atomsym.core import ArtifactError, ConfigError
from atomsym.training import Observer, TrainingConfig, TrainingData, read_checkpoint, read_log, resume, train

EVERYTHING = {
    "epochs": 4,
    "loss": {"energy": 1.0, "forces": 1.0, "stress": 100.0, "hessian": 1.0},
    "stages": [{"start_epoch": 2, "learning_rate": 0.005, "loss": {"energy": 10.0}, "schedule": {"kind": "constant"}}],
    "schedule": {"kind": "plateau", "patience": 1, "warmup_epochs": 0.5},
}


def kill_and_resume(folder: Path, config: TrainingConfig, at_steps: list[int]) -> int:
    """Run the program, SIGKILL it after each number of steps, let the last session end; returns sessions."""
    folder.mkdir()
    (folder / "begin.json").write_text(config_to_json(config))
    program = [sys.executable, str(Path(__file__).with_name("run_program.py")), str(folder)]
    sessions = 0
    for limit in [*at_steps, 10**9]:
        action = "resume" if sessions else "train"
        process = subprocess.Popen([*program, action], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for seen, _ in enumerate(process.stdout, start=1):
            if seen >= limit:
                process.kill()
                break
        _, errors = process.communicate()
        sessions += 1
        assert process.returncode in (0, -9), errors
        if process.returncode == 0:
            break
    return sessions


def assert_same_run(one: Path, other: Path) -> None:
    """Weights, averages, optimizer, best model, progress and logs are equal to the last bit."""
    a, b = read_checkpoint(one), read_checkpoint(other)
    assert a.tensors.keys() == b.tensors.keys()
    for name, tensor in a.tensors.items():
        assert torch.equal(tensor, b.tensors[name]), name
    assert replace(a.progress, seconds=0.0, log_bytes=0) == replace(b.progress, seconds=0.0, log_bytes=0)
    assert (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()
    assert (one / "steps.csv").read_bytes() == (other / "steps.csv").read_bytes()
    rows = [[{**row, "seconds": 0.0} for row in read_log(folder / "log.csv")] for folder in (one, other)]
    assert rows[0] == rows[1]


def run_config(dtype: str, **entries: object) -> TrainingConfig:
    output = {"name": "tiny", "step_log": True, "checkpoint_steps": 3}
    return problem.config(**{**EVERYTHING, **entries}, dtype=dtype, output=output)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_r01_a_killed_run_ends_with_the_same_bits(tmp_path: Path, data: TrainingData, dtype: str) -> None:
    config = run_config(dtype)
    (tmp_path / "whole").mkdir()
    train(config, TrainingData(data.train, data.validation), tmp_path / "whole")
    assert kill_and_resume(tmp_path / "pieces", config, at_steps=[5]) == 2
    assert_same_run(tmp_path / "whole", tmp_path / "pieces")


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_r01_twenty_random_kills(tmp_path: Path, data: TrainingData, dtype: str) -> None:
    config = run_config(dtype, epochs=25)
    (tmp_path / "whole").mkdir()
    train(config, TrainingData(data.train, data.validation), tmp_path / "whole")
    kills = np.random.default_rng(1).integers(1, 8, 20).tolist()
    assert kill_and_resume(tmp_path / "pieces", config, kills) == 21
    assert_same_run(tmp_path / "whole", tmp_path / "pieces")


class StopAfter:
    """A stop request in the middle of the run."""

    def __init__(self, calls: int) -> None:
        self.calls = calls

    def __call__(self) -> str:
        self.calls -= 1
        return "asked to" if self.calls <= 0 else ""


@pytest.mark.parametrize("calls", [1, 4, 5, 6, 11])
def test_r02_a_run_that_is_asked_to_stop_is_continued_exactly(tmp_path: Path, data: TrainingData, calls: int) -> None:
    config = run_config("float64")
    for name in ("whole", "pieces"):
        (tmp_path / name).mkdir()
    train(config, data, tmp_path / "whole")
    first = train(config, data, tmp_path / "pieces", stop=StopAfter(calls))
    assert not first.complete
    assert first.reason == "asked to"
    second = resume(tmp_path / "pieces", data)
    assert second.complete
    assert_same_run(tmp_path / "whole", tmp_path / "pieces")


def test_a_time_limit_ends_the_session_and_not_the_run(tmp_path: Path, data: TrainingData) -> None:
    result = train(problem.config(max_minutes=1e-9), data, tmp_path)
    assert (result.complete, result.reason) == (False, "time limit")
    assert resume(tmp_path, data, changes={"max_minutes": 0.0}).complete


def test_a_complete_run_goes_on_when_more_epochs_are_asked_for(tmp_path: Path, data: TrainingData) -> None:
    train(problem.config(epochs=2), data, tmp_path)
    assert resume(tmp_path, data).progress.epoch == 2
    assert resume(tmp_path, data, changes={"epochs": 4}).progress.epoch == 4
    assert [row["epoch"] for row in read_log(tmp_path / "log.csv")] == [1, 2, 3, 4]


def test_a_run_is_continued_with_its_own_data_and_settings_only(tmp_path: Path, data: TrainingData) -> None:
    with pytest.raises(ArtifactError, match="holds no training run"):
        resume(tmp_path, data)
    train(problem.config(epochs=1), data, tmp_path)
    with pytest.raises(ConfigError, match="holds a training run"):
        train(problem.config(epochs=1), data, tmp_path)
    with pytest.raises(ConfigError, match="not the structures"):
        resume(tmp_path, TrainingData(data.train[1:], data.validation))
    with pytest.raises(ConfigError, match="not seed"):
        resume(tmp_path, data, changes={"seed": 3})


def test_a_damaged_checkpoint_is_refused(tmp_path: Path, data: TrainingData) -> None:
    train(problem.config(epochs=1), data, tmp_path)
    path = tmp_path / "checkpoint.safetensors"
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(20):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(damaged))
        with pytest.raises(ArtifactError):
            read_checkpoint(tmp_path)
        path.write_bytes(whole[: rng.integers(len(whole))])
        with pytest.raises(ArtifactError):
            read_checkpoint(tmp_path)
    path.write_bytes((tmp_path / "model.safetensors").read_bytes())
    with pytest.raises(ArtifactError, match="format"):
        read_checkpoint(tmp_path)


def test_r05_a_full_disk_leaves_the_last_checkpoint(
    tmp_path: Path, data: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    from atomsym.artifacts import atomic

    real = atomic._write
    written = []

    def full(path: Path, content: bytes) -> None:
        if "checkpoint" in path.name and len(written) == 2:
            real(path, content[: len(content) // 2])
            raise OSError(28, "No space left on device")
        written.append(path) if "checkpoint" in path.name else None
        real(path, content)

    config = run_config("float64")
    (tmp_path / "whole").mkdir()
    train(config, data, tmp_path / "whole")
    (tmp_path / "pieces").mkdir()
    monkeypatch.setattr(atomic, "_write", full)
    with pytest.raises(ArtifactError, match="it needs"):
        train(config, data, tmp_path / "pieces")
    monkeypatch.setattr(atomic, "_write", real)
    assert read_checkpoint(tmp_path / "pieces").progress.step == 3
    resume(tmp_path / "pieces", data)
    assert_same_run(tmp_path / "whole", tmp_path / "pieces")


def test_training_leaves_the_callers_random_numbers_and_threads_alone(tmp_path: Path, data: TrainingData) -> None:
    torch.manual_seed(5)
    before = (torch.random.get_rng_state(), torch.get_default_dtype(), torch.get_num_threads())
    train(problem.config(epochs=1), data, tmp_path, observer=Observer())
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert before[1:] == (torch.get_default_dtype(), torch.get_num_threads())
