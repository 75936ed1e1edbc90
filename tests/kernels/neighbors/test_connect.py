"""``connect`` promises: the same graph with edges, and the topology that the edges imply."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch

from atomsym.core import AtomGraph, EdgeTopology, InputError
from atomsym.kernels.neighbors import connect, neighbor_list


def graph_of(n_atoms: int, seed: int = 0) -> AtomGraph:
    generator = torch.Generator().manual_seed(seed)
    side = max((10.0 * n_atoms) ** (1 / 3), 3.0)
    positions = side * torch.rand(n_atoms, 3, generator=generator, dtype=torch.float64)
    cell = side * torch.eye(3, dtype=torch.float64)
    return AtomGraph.without_edges(
        positions, torch.ones(n_atoms, dtype=torch.int64), cell, torch.ones(3, dtype=torch.bool)
    )


@pytest.mark.parametrize("backend", ["cpp", "reference"])
@pytest.mark.parametrize("n_atoms", [0, 1, 5, 300])
def test_topology_equals_the_one_computed_from_the_edges(n_atoms: int, backend: str) -> None:
    graph = connect(graph_of(n_atoms), 4.0, backend=backend)
    assert ("topology" in graph.__dict__) == (backend == "cpp")
    expected = EdgeTopology.from_edge_index(graph.edge_index, graph.n_atoms)
    for field in fields(expected):
        assert torch.equal(getattr(graph.topology, field.name), getattr(expected, field.name)), field.name


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.usefixtures("thread_setting")
def test_topology_of_many_edges_is_the_same_for_any_number_of_threads(threads: int) -> None:
    torch.set_num_threads(threads)
    graph = connect(graph_of(2500), 6.0, backend="cpp")
    assert graph.n_edges > 100_000  # shared by the threads from here on
    assert torch.equal(graph.topology.sender_order, torch.argsort(graph.edge_index[1], stable=True))


def test_the_graph_keeps_its_atoms_and_gets_edges() -> None:
    bare = graph_of(20)
    graph = connect(bare, 3.0)
    assert bare.n_edges == 0
    assert graph.cutoff == 3.0
    assert graph.positions is bare.positions
    edges = neighbor_list(bare.positions, 3.0, bare.cell, bare.pbc)
    assert torch.equal(graph.edge_index, edges.edge_index)
    lengths = torch.linalg.vector_norm(graph.edge_vectors(), dim=1)
    assert float(lengths.max()) < 3.0


def test_a_batch_of_graphs_has_no_edges_between_systems() -> None:
    graphs = [graph_of(n, seed=n) for n in (4, 1, 30)]
    together = connect(AtomGraph.batch(graphs), 3.5)
    alone = AtomGraph.batch([connect(graph, 3.5) for graph in graphs])
    assert torch.equal(together.edge_index, alone.edge_index)
    assert torch.equal(together.edge_shift, alone.edge_shift)


def test_gradients_flow_through_edge_vectors_of_a_connected_graph() -> None:
    bare = graph_of(6)
    positions = bare.positions.clone().requires_grad_()
    graph = connect(bare.with_positions(positions), 3.0)
    (gradient,) = torch.autograd.grad(graph.edge_vectors().square().sum(), positions)
    assert torch.isfinite(gradient).all()


def test_a_negative_cutoff_is_an_input_error() -> None:
    with pytest.raises(InputError, match="cutoff"):
        connect(graph_of(3), -1.0)
