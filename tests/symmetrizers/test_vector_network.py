"""Vectors of learned canonicalization: they turn with the system, and rounding is not taken for a direction."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase.build import bulk

from atomsym.core import AtomGraph
from atomsym.kernels.neighbors import connect
from atomsym.symmetrizers import VectorNetwork, vector_network
from atomsym.symmetry.frames import polar_frame, random_elements
from atomsym.testing import tolerances

CUTOFF = 5.0


def network(dtype: torch.dtype) -> VectorNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return VectorNetwork((8, 12), CUTOFF, channels=8).to(dtype)


def crystal(*, moved: float, dtype: torch.dtype = torch.float64, turned: bool = True) -> AtomGraph:
    """Magnesium oxide in a general direction; one atom moved off its centre of inversion in the larger cell, Å."""
    atoms = bulk("MgO", "rocksalt", a=4.21) * (2, 1, 1)
    atoms.positions[0] += moved * np.array([0.6, -0.3, 0.5])
    atoms.positions[1] += moved * np.array([-0.2, 0.7, 0.1])
    (rotation,) = random_elements(1, "SE3", generator=torch.Generator().manual_seed(1)).numpy()
    rotation = rotation if turned else np.eye(3)
    graph = AtomGraph.from_arrays(atoms.positions @ rotation, atoms.numbers, np.array(atoms.cell) @ rotation, True)
    return connect(graph, CUTOFF).to(dtype=dtype)


def almost_cubic(dtype: torch.dtype) -> AtomGraph:
    """A cell whose angles are 90° but for the rounding of a cosine, as files have it."""
    cell = np.eye(3) * 4.0
    cell[2, 0], cell[2, 1] = 2.4e-16, 2.4e-16
    places = np.array([[0.0, 0.0, 0.0], [0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]])
    return connect(AtomGraph.from_arrays(places @ cell, [12, 8, 8, 8], cell, True), CUTOFF).to(dtype=dtype)


def gradient(graph: AtomGraph) -> float:
    """Largest derivative of a frame's entries by the weights."""
    found = network(graph.dtype)
    frame = polar_frame(found(graph).to(torch.float64), proper=False)
    weights = list(found.parameters())
    total = (frame * torch.arange(9.0, dtype=torch.float64).reshape(3, 3)).sum()
    return max(
        float(g.abs().max()) for g in torch.autograd.grad(total, weights, materialize_grads=True, allow_unused=True)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_centre_of_inversion_leaves_no_vectors_and_no_gradient(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs = [crystal(moved=0.0, dtype=dtype), almost_cubic(dtype)]
    for graph in graphs:
        assert torch.equal(network(dtype)(graph), torch.zeros(1, 3, 3, dtype=dtype))
        assert gradient(graph) == 0.0
    monkeypatch.setattr(vector_network, "_ROUNDING", -1)  # the noise that would be a frame otherwise
    assert float(network(dtype)(graphs[0]).detach().abs().max()) > 0
    assert all(gradient(graph) > 1 for graph in graphs)


@pytest.mark.parametrize("moved", [0.3, 1e-3])
def test_without_one_vectors_turn_with_the_system(moved: float) -> None:
    own = network(torch.float64)
    before, after = (own(crystal(moved=moved, turned=turned)).detach() for turned in (False, True))
    (rotation,) = random_elements(1, "SE3", generator=torch.Generator().manual_seed(1))
    assert (before.norm(dim=2) > 0).all()
    error = (after - before @ rotation).abs().max() / before.abs().max()
    assert float(error) < tolerances.EQUIVARIANCE.float64
    assert (network(torch.float32)(crystal(moved=moved, dtype=torch.float32)).detach().norm(dim=2) > 0).all()
