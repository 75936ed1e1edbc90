"""Neighbor lists beside their peers: ``pytest tests/benchmarks/test_neighbors.py --benchmark-enable`` for times."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from atomsym.workflows.benchmarks.neighbors import SYSTEMS, Periodic, installed, ours, peer_search, run, run_gpu

from atomsym.core.errors import InputError

CASES = [(system, size, cutoff) for system in SYSTEMS for size in (1000, 10_000) for cutoff in (5.0, 6.0)]


def test_the_table_has_a_row_per_case_with_every_installed_peer() -> None:
    rows = run((200, 500), (3.0,), ("fcc", "water"), repeats=1)
    assert [(row["system"], row["n_atoms"]) for row in rows] == [
        ("fcc", 256),
        ("fcc", 500),
        ("water", 216),
        ("water", 512),
    ]
    for row in rows:
        assert row["n_edges"] > 0
        assert row["ours_ms"] > 0
        for peer in ("vesin", "matscipy"):
            assert (f"{peer}_ratio" in row) == installed(peer)


def test_an_unknown_system_is_an_input_error() -> None:
    with pytest.raises(InputError, match="glass"):
        run(systems=("glass",))


@pytest.mark.parametrize(("system", "size", "cutoff"), CASES)
@pytest.mark.parametrize("who", ["ours", "vesin", "matscipy"])
def test_cpu(benchmark: Any, system: str, size: int, cutoff: float, who: str) -> None:
    box = SYSTEMS[system](size)
    benchmark.group = f"{system} {len(box.positions)} atoms, {cutoff} Å"
    expected = ours(box, cutoff).n_edges
    if who == "ours":
        assert benchmark(lambda: ours(box, cutoff)).n_edges == expected
        return
    if not installed(who):
        pytest.skip(f"{who} is not installed")
    assert benchmark(peer_search(who, box, cutoff)) == expected


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize(("system", "size", "cutoff"), CASES)
@pytest.mark.parametrize("who", ["ours", "nvalchemi"])
def test_gpu(benchmark: Any, system: str, size: int, cutoff: float, who: str) -> None:
    if who != "ours" and not installed(who):
        pytest.skip(f"{who} is not installed")
    box = SYSTEMS[system](size)
    box = Periodic(box.positions.cuda(), box.cell.cuda())
    benchmark.group = f"{system} {len(box.positions)} atoms, {cutoff} Å, GPU"

    def call() -> int:
        found = ours(box, cutoff).n_edges if who == "ours" else peer_search(who, box, cutoff)()
        torch.cuda.synchronize()
        return found

    assert benchmark(call) == ours(box, cutoff).n_edges


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_gpu_table_needs_a_gpu() -> None:
    with pytest.raises(InputError, match="CUDA"):
        run_gpu()
