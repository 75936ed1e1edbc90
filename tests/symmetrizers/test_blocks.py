"""Frames in blocks: the same results with the memory of one block."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from unconstrained import bare, crystal, molecule, slab, symmetrized

from atomsym.core import AtomGraph
from atomsym.derivatives import evaluate, hessian
from atomsym.derivatives.memory import kept_bytes
from atomsym.symmetrizers import SymmetrizedPotential
from atomsym.symmetrizers.copies import frame_blocks
from atomsym.testing import tolerances

EXACT = tolerances.ALGEBRA.float64
METHODS: list[dict[str, Any]] = [
    {"method": "weighted"},
    {"method": "weighted", "group": "E2"},
    {"method": "full", "direct_forces": True},
    {"method": "quadrature", "degree": 2},
]


def blocked(settings: dict[str, Any], edges: int) -> SymmetrizedPotential:
    potential = symmetrized(**settings)
    potential.block_edges = edges
    return potential


@pytest.mark.parametrize("settings", METHODS, ids=lambda value: "-".join(map(str, value.values())))
def test_blocks_give_the_same(settings: dict[str, Any]) -> None:
    molecules = AtomGraph.batch([molecule(5), molecule(1), molecule(6, 2)])
    for structure, edges in ((AtomGraph.batch([crystal(), slab()]), 1000), (molecules, 100), (molecules, 1)):
        properties = ("energy", "forces", "virial")
        expected = evaluate(symmetrized(**settings), structure, properties)
        found = evaluate(blocked(settings, edges), structure, properties)
        for name in (*properties, "energies"):
            a, b = getattr(found, name), getattr(expected, name)
            assert float((a - b).abs().max()) < EXACT * max(1.0, float(b.abs().max())), name
        for name, value in expected.outputs.items():
            torch.testing.assert_close(found.outputs[name], value, rtol=0, atol=1e-11)


@pytest.mark.parametrize("method", ["rows", "vmap"])
def test_second_derivatives_go_through_blocks(method: Any) -> None:
    settings = {"method": "weighted", "group": "SE3"}
    expected = hessian(symmetrized(**settings), molecule(5), method=method)
    found = hessian(blocked(settings, 60), molecule(5), method=method)
    assert float((found - expected).abs().max()) < 1e-10 * float(expected.abs().max())


def test_a_block_in_training_would_see_all_frames_at_once() -> None:
    """Training is left alone: its graph is kept for the weights anyway."""
    potential = blocked({"method": "full"}, 1).train()
    calls: list[int] = []
    potential.model.register_forward_hook(lambda model, given, output: calls.append(given[0].n_systems))
    potential(molecule())
    assert calls == [8]


def test_memory_is_that_of_a_block() -> None:
    graph = slab()
    settings = {"method": "quadrature", "degree": 3}
    whole = symmetrized(**settings)
    n = whole.symmetrizer.n_frames
    assert n == 64
    one = kept_bytes(bare(), graph, twice=False)
    assert kept_bytes(whole, graph, twice=False) > 0.5 * n * one
    assert kept_bytes(blocked(settings, graph.n_edges), graph, twice=False) < 0.2 * n * one


def test_blocks_cover_all_frames_once() -> None:
    graph = AtomGraph.batch([molecule(5), molecule(1), molecule(6, 2)])
    frames = symmetrized("full").symmetrizer.frames(graph)
    edges = torch.bincount(graph.system_index[graph.edge_index[0]], minlength=3)[frames.system]
    for limit in (1, 50, 10**9):
        blocks = frame_blocks(graph, frames, limit)
        assert [start for start, _ in blocks] == [0, *(stop for _, stop in blocks[:-1])]
        assert blocks[-1][1] == frames.n_frames
        assert all(int(edges[a:b].sum()) <= limit or b - a == 1 for a, b in blocks)
    assert len(frame_blocks(graph, frames, 10**9)) == 1
    assert frame_blocks(graph, frames.part(0, 0), 5) == [(0, 0)]
