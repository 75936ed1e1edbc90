"""The atom graph: edge vectors and their derivatives, batches, copies on other devices and types, compilation."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from atomsym.core import AtomGraph, EdgeTopology, InputError
from atomsym.testing import tolerances


def random_graph(n_atoms: int = 5, n_edges: int = 12, seed: int = 0, *, strain: bool = False) -> AtomGraph:
    generator = torch.Generator().manual_seed(seed)
    edges = torch.randint(0, max(n_atoms, 1), (2, n_edges if n_atoms else 0), generator=generator)
    edges = edges[:, torch.argsort(edges[0], stable=True)]
    graph = AtomGraph.without_edges(
        torch.randn(n_atoms, 3, generator=generator, dtype=torch.float64),
        torch.randint(1, 119, (n_atoms,), generator=generator),
        torch.randn(3, 3, generator=generator, dtype=torch.float64),
        torch.tensor([True, False, True]),
    )
    shifts = torch.randint(-3, 4, (edges.shape[1], 3), generator=generator, dtype=torch.int32)
    graph = graph.with_edges(edges, shifts, 5.0)
    if not strain:
        return graph
    epsilon = 0.1 * torch.randn(1, 3, 3, generator=generator, dtype=torch.float64)
    return graph.with_positions(graph.positions, epsilon + epsilon.transpose(1, 2))


def test_edge_vectors_follow_their_definition() -> None:
    graph = random_graph(strain=True)
    assert graph.strain is not None
    for edge, vector in enumerate(graph.edge_vectors()):
        receiver, sender = graph.edge_index[:, edge].tolist()
        plain = graph.positions[sender] + graph.edge_shift[edge].double() @ graph.cell[0] - graph.positions[receiver]
        deformed = plain @ (torch.eye(3, dtype=torch.float64) + graph.strain[0])
        torch.testing.assert_close(vector, deformed, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("n_systems", [1, 3])
def test_f14_edge_vectors_are_differentiable_in_positions_cell_and_strain(n_systems: int) -> None:
    graph = AtomGraph.batch([random_graph(seed=seed, strain=True) for seed in range(n_systems)])

    def vectors(positions: Tensor, cell: Tensor, strain: Tensor) -> Tensor:
        return replace(graph, cell=cell).with_positions(positions, strain).edge_vectors()

    assert graph.strain is not None
    inputs = tuple(t.clone().requires_grad_() for t in (graph.positions, graph.cell, graph.strain))
    assert torch.autograd.gradcheck(vectors, inputs)
    assert torch.autograd.gradgradcheck(vectors, inputs)


def test_torch_func_passes_through_the_graph() -> None:
    graph = random_graph()

    def energy(positions: Tensor) -> Tensor:
        return graph.with_positions(positions).edge_vectors().square().sum(dim=1).exp().neg().exp().sum()

    by_func = torch.func.jacrev(torch.func.jacrev(energy))(graph.positions)
    by_autograd = torch.autograd.functional.hessian(energy, graph.positions)
    torch.testing.assert_close(by_func, by_autograd)
    many = torch.stack([graph.positions, 2 * graph.positions])
    torch.testing.assert_close(torch.vmap(energy)(many), torch.stack([energy(x) for x in many]))


def test_f06_a_batch_holds_its_members_unchanged_also_empty_ones() -> None:
    members = [
        random_graph(0),
        random_graph(4, 0, seed=1),
        random_graph(5, seed=2),
        random_graph(0),
        random_graph(1, 2),
    ]
    batch = AtomGraph.batch(members)
    assert batch.atoms_per_system.tolist() == [0, 4, 5, 0, 1]
    assert batch.n_systems == 5
    torch.testing.assert_close(batch.edge_vectors(), torch.cat([m.edge_vectors() for m in members]), rtol=0, atol=1e-14)
    assert torch.equal(batch.volume, torch.cat([m.volume for m in members]))
    assert batch.topology.n_nodes == 10
    nested = AtomGraph.batch([AtomGraph.batch(members[:2]), AtomGraph.batch(members[2:])])
    for field in fields(batch):
        value = getattr(batch, field.name)
        assert torch.equal(value, getattr(nested, field.name)) if isinstance(value, Tensor) else True


def test_graphs_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(InputError, match="at least one graph"):
        AtomGraph.batch([])
    with pytest.raises(InputError, match=r"graphs\[1\] has \(cutoff, dtype, device\)"):
        AtomGraph.batch([random_graph(), random_graph().to(dtype=torch.float32)])
    with pytest.raises(InputError, match="both have a strain"):
        AtomGraph.batch([random_graph(), random_graph(strain=True)])


def test_to_changes_the_floating_point_type_and_nothing_else() -> None:
    graph = random_graph(strain=True)
    graph.topology, graph.atoms_per_system  # noqa: B018  cached values have to travel along
    single = graph.to(dtype=torch.float32)
    for field in fields(graph):
        before, after = getattr(graph, field.name), getattr(single, field.name)
        if isinstance(before, Tensor):
            assert after.dtype == (torch.float32 if before.dtype == torch.float64 else before.dtype)
            torch.testing.assert_close(after.double(), before.double(), rtol=1e-6, atol=1e-6)
        else:
            assert after == before
    assert torch.equal(single.topology.sender_order, graph.topology.sender_order)
    assert graph.dtype == torch.float64
    meta = graph.to("meta")
    assert (
        meta.positions.device == meta.topology.receiver.device == meta.atoms_per_system.device == torch.device("meta")
    )


def test_moving_keeps_the_cached_wiring() -> None:
    graph = random_graph()
    topology = graph.topology
    assert graph.with_positions(graph.positions + 1).topology is topology
    assert graph.with_edges(graph.edge_index[:, :3], graph.edge_shift[:3], 5.0).topology is not topology


def test_graphs_compare_by_identity_and_can_be_keys() -> None:
    graph = random_graph()
    assert graph == graph
    assert graph != random_graph()
    assert len({graph, random_graph(), graph}) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positions": torch.zeros(2, 2)}, r"positions must be float of shape \(n_atoms, 3\)"),
        ({"positions": torch.zeros(2, 3, dtype=torch.int64)}, "positions must be float"),
        ({"numbers": torch.zeros(3, dtype=torch.int64)}, r"numbers must be integers of shape \(2,\)"),
        ({"numbers": torch.zeros(2)}, "numbers must be integers"),
        ({"cell": torch.zeros(1, 3, 3)}, r"cell must be \(3, 3\) and pbc \(3,\)"),
        ({"pbc": torch.zeros(1, 3, dtype=torch.bool)}, r"cell must be \(3, 3\) and pbc \(3,\)"),
    ],
)
def test_wrong_shapes_are_refused(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"positions": torch.zeros(2, 3), "numbers": torch.ones(2, dtype=torch.int64), **change}
    with pytest.raises(InputError, match=message):
        AtomGraph.without_edges(**arguments)


def test_unsorted_or_impossible_edges_are_refused() -> None:
    with pytest.raises(InputError, match="sorted by receiver"):
        EdgeTopology.from_edge_index(torch.tensor([[1, 0], [0, 1]]), 2)
    with pytest.raises(InputError, match="has the node 2; allowed are 0 to 1"):
        EdgeTopology.from_edge_index(torch.tensor([[0, 1], [2, 0]]), 2)
    with pytest.raises(InputError, match="must be int64"):
        EdgeTopology.from_edge_index(torch.zeros(2, 2), 2)


def test_a_compiled_function_takes_graphs_of_any_size() -> None:
    """The ``eager`` backend traces as the others do, without their compilers."""

    def energies(graph: AtomGraph, positions: Tensor) -> Tensor:
        moved = graph.with_positions(positions, torch.zeros_like(graph.cell))
        lengths = moved.edge_vectors().square().sum(dim=1)
        sums = torch.zeros(moved.n_atoms, dtype=lengths.dtype).index_add(0, moved.edge_index[0], lengths)
        return sums * moved.topology.receiver_offsets[1:] + moved.atoms_per_system[0]

    torch._dynamo.reset()
    compiled = torch.compile(energies, fullgraph=True, backend="eager")
    for n_atoms in (4, 6, 7):
        graph = random_graph(n_atoms, 3 * n_atoms)
        graph.topology, graph.atoms_per_system  # noqa: B018  tracing can read the cached values but not make them
        expected = energies(graph, 1.1 * graph.positions)
        torch.testing.assert_close(
            compiled(graph, 1.1 * graph.positions), expected, rtol=tolerances.ALGEBRA.float64, atol=0
        )
