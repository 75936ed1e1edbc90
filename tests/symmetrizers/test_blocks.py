"""Frames in blocks: the same results with the memory of one block."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.profiler import profile
from unconstrained import crystal, molecule, slab, symmetrized

from atomsym.core import AtomGraph
from atomsym.derivatives import evaluate, hessian
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
    """The most that is alive at any time of an evaluation with forces, beyond what was there before."""
    graph = slab()
    whole = symmetrized("quadrature", degree=5)
    parts = blocked({"method": "quadrature", "degree": 5}, 9 * graph.n_edges)
    assert whole.symmetrizer.n_frames == 216
    at_once, in_blocks = (most_memory(potential, graph) for potential in (whole, parts))
    assert at_once > 3 * in_blocks


def most_memory(potential: SymmetrizedPotential, graph: AtomGraph) -> int:
    """Peak of torch's own record of its allocations, bytes."""
    with profile(profile_memory=True) as found:
        evaluate(potential, graph, ("energy", "forces"))
    changes = [event for event in found.profiler.kineto_results.events() if event.name() == "[memory]"]
    alive = np.cumsum([event.nbytes() for event in sorted(changes, key=lambda each: each.start_ns())])
    return int(alive.max())


def test_weights_have_the_same_derivatives_in_blocks() -> None:
    settings = {"method": "full", "group": "SE3"}
    found = []
    for potential in (symmetrized(**settings), blocked(settings, 1)):
        result = evaluate(potential, molecule(5), ("energy", "forces"), create_graph=True)
        assert result.forces is not None
        loss = result.energy.sum() + result.forces.square().sum()
        found.append(torch.autograd.grad(loss, tuple(potential.parameters())))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


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
