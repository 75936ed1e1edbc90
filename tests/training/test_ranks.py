"""Several processes train as one does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import torch
import training_problem as problem

from atomsym.artifacts import config_to_json
from atomsym.testing import tolerances
from atomsym.training import EdgeBatcher, TrainingConfig, TrainingData, read_checkpoint, read_log, train

SETTINGS = {
    "epochs": 2,
    "loss": {"energy": 1.0, "forces": 1.0, "stress": 100.0, "hessian": 1.0, "hessian_rows": 2},
    "batch": {"structures": 5},  # of 12: uneven parts, and a last batch that is cut into 1 + 1
    "output": {"name": "tiny", "step_log": True},
}


def run_ranks(folder: Path, config: TrainingConfig, size: int) -> None:
    folder.mkdir()
    (folder / "begin.json").write_text(config_to_json(config))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    program = [sys.executable, str(Path(__file__).with_name("run_program.py")), str(folder), "train"]
    base = {**os.environ, "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    running = [
        subprocess.Popen(program, env={**base, "RANK": str(rank)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for rank in range(size)
    ]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()


def test_two_ranks_train_as_one(tmp_path: Path, data: TrainingData) -> None:
    config = problem.config(**SETTINGS)
    (tmp_path / "one").mkdir()
    train(config, data, tmp_path / "one")
    run_ranks(tmp_path / "two", config, 2)
    one, two = read_checkpoint(tmp_path / "one"), read_checkpoint(tmp_path / "two")
    assert one.progress.step == two.progress.step > 0
    for name, tensor in one.tensors.items():
        torch.testing.assert_close(two.tensors[name], tensor, rtol=tolerances.BACKEND_PARITY.float64, atol=1e-14)
    rows = [read_log(tmp_path / name / "log.csv") for name in ("one", "two")]
    for a, b in zip(*rows, strict=True):
        for key in a.keys() - {"seconds"}:
            assert abs(a[key] - b[key]) <= 1e-8 * abs(a[key]), key


def test_the_parts_of_the_ranks_are_the_batch_and_even() -> None:
    batcher = EdgeBatcher([100, 1, 1, 50, 49, 0, 0, 3], structures=8, edges=0, seed=0)
    batch = batcher.epoch(0)[0]
    for size in (1, 2, 3, 10):
        parts = [batcher.shard(batch, rank, size) for rank in range(size)]
        assert sorted(index for part in parts for index in part) == sorted(batch)
    loads = [sum(batcher.n_edges[index] for index in batcher.shard(batch, rank, 2)) for rank in range(2)]
    assert max(loads) - min(loads) <= 10
