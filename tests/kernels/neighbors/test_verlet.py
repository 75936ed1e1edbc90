"""The Verlet list promises: no edge within the cutoff is missing or displaced, whatever happened since the search."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from atomsym.core import AtomGraph, InputError
from atomsym.kernels.neighbors import VerletList, connect

CUTOFF, SKIN = 3.0, 0.8


def liquid(n_side: int = 4, seed: int = 0, pbc: tuple[bool, bool, bool] = (True, True, True)) -> AtomGraph:
    generator = torch.Generator().manual_seed(seed)
    sites = 2.3 * torch.cartesian_prod(*[torch.arange(float(n_side), dtype=torch.float64)] * 3)
    positions = sites + 0.6 * torch.rand(sites.shape, generator=generator, dtype=torch.float64)
    tilt = torch.tensor([[1, 0, 0], [0.4, 1, 0], [-0.2, 0.3, 1]], dtype=torch.float64)
    cell = 2.3 * n_side * tilt
    numbers = torch.ones(len(sites), dtype=torch.int64)
    return AtomGraph.without_edges(positions @ tilt, numbers, cell, torch.tensor(pbc))


def short_edges(graph: AtomGraph) -> Tensor:
    """(receiver, sender, shift) of edges within the cutoff, in one order."""
    near = torch.linalg.vector_norm(graph.edge_vectors(), dim=1) < CUTOFF
    rows = torch.cat([graph.edge_index.T, graph.edge_shift.to(torch.int64)], dim=1)[near]
    for column in reversed(range(5)):
        rows = rows[torch.argsort(rows[:, column], stable=True)]
    return rows


def is_complete(graph: AtomGraph) -> bool:
    """Whether the short edges are those of a fresh search."""
    return torch.equal(short_edges(graph), short_edges(connect(graph, CUTOFF, backend="reference")))


def walk(graph: AtomGraph, step: float, seed: int) -> AtomGraph:
    generator = torch.Generator().manual_seed(seed)
    move = torch.randn(graph.positions.shape, generator=generator, dtype=torch.float64)
    return graph.with_positions(graph.positions + step * move)


def trajectory(neighbors: VerletList) -> list[bool]:
    """Completeness at each of 25 steps of a random walk."""
    graph, complete = liquid(), []
    for number in range(25):
        graph = walk(graph, 0.1, number)
        complete.append(is_complete(neighbors.graph(graph)))
    return complete


def test_edges_are_complete_along_a_trajectory_with_few_searches() -> None:
    neighbors = VerletList(CUTOFF, skin=SKIN)
    assert all(trajectory(neighbors))
    assert 1 < neighbors.n_searches < 25


def test_mutant_a_stale_list_misses_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VerletList, "_within_skin", lambda *_: True)
    assert not all(trajectory(VerletList(CUTOFF, skin=SKIN)))


def test_mutant_a_whole_skin_of_movement_misses_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    correct = VerletList._within_skin
    monkeypatch.setattr(VerletList, "_within_skin", lambda self, moved, *rest: correct(self, moved / 2, *rest))
    assert not approaching_pair_is_seen()


def approaching_pair_is_seen() -> bool:
    """Two atoms beyond the list move towards each other, each by less than the skin and more than half of it."""
    apart = CUTOFF + SKIN + 0.01
    start = AtomGraph.without_edges(
        torch.tensor([[0, 0, 0], [apart, 0, 0]], dtype=torch.float64), torch.ones(2, dtype=torch.int64)
    )
    neighbors = VerletList(CUTOFF, skin=SKIN)
    assert neighbors.graph(start).n_edges == 0
    closer = torch.tensor([[0.6 * SKIN, 0, 0], [apart - 0.6 * SKIN, 0, 0]], dtype=torch.float64)
    return neighbors.graph(start.with_positions(closer)).n_edges == 2


def test_atoms_that_approach_each_other_are_seen() -> None:
    assert approaching_pair_is_seen()


def test_movement_below_half_the_skin_reuses_the_list() -> None:
    neighbors, graph = VerletList(CUTOFF, skin=SKIN), liquid()
    first = neighbors.graph(graph)
    direction = torch.nn.functional.normalize(torch.ones_like(graph.positions), dim=1)
    second = neighbors.graph(graph.with_positions(graph.positions + 0.49 * SKIN * direction))
    assert neighbors.n_searches == 1
    assert second.edge_index is first.edge_index
    assert second.topology is first.topology
    third = neighbors.graph(graph.with_positions(graph.positions + 0.51 * SKIN * direction))
    assert neighbors.n_searches == 2
    assert is_complete(second)
    assert is_complete(third)


@pytest.mark.parametrize("pbc", [(True, True, True), (True, False, True)])
@pytest.mark.parametrize("distance", [1, 3, 1000])
def test_f4_atoms_moved_by_lattice_vectors_keep_the_list_with_corrected_shifts(
    distance: int, pbc: tuple[bool, bool, bool]
) -> None:
    neighbors, graph = VerletList(CUTOFF, skin=SKIN), liquid(pbc=pbc)
    before = neighbors.graph(graph)
    generator = torch.Generator().manual_seed(1)
    moves = torch.randint(-distance, distance + 1, graph.positions.shape, generator=generator) * torch.tensor(pbc)
    moved = walk(graph.with_positions(graph.positions + moves.double() @ graph.cell[0]), 0.05, seed=2)
    after = neighbors.graph(moved)
    assert neighbors.n_searches == 1
    assert is_complete(after)
    assert not torch.equal(before.edge_shift, after.edge_shift)
    home = neighbors.graph(graph)
    assert torch.equal(home.edge_shift, before.edge_shift)


def test_f4_wrapping_into_the_cell_at_every_step_gives_the_right_edges() -> None:
    neighbors, graph = VerletList(CUTOFF, skin=SKIN), liquid()
    for number in range(12):
        graph = walk(graph, 0.08, number)
        fraction = graph.positions @ torch.linalg.inv(graph.cell[0])
        graph = graph.with_positions((fraction - fraction.floor()) @ graph.cell[0])
        assert is_complete(neighbors.graph(graph))
    assert neighbors.n_searches < 12


def test_mutant_shifts_left_alone_after_wrapping_displace_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atomsym.kernels.neighbors.verlet._move_images", lambda *_: None)
    neighbors, graph = VerletList(CUTOFF, skin=SKIN), liquid()
    neighbors.graph(graph)
    moved = graph.positions.clone()
    moved[0] += graph.cell[0, 1]
    assert not is_complete(neighbors.graph(graph.with_positions(moved)))


def deformed(graph: AtomGraph, amount: float, seed: int = 0) -> AtomGraph:
    generator = torch.Generator().manual_seed(seed)
    strain = torch.eye(3, dtype=torch.float64) + amount * torch.randn(3, 3, generator=generator, dtype=torch.float64)
    return replace(graph, positions=graph.positions @ strain, cell=graph.cell @ strain)


@pytest.mark.parametrize("pbc", [(True, True, True), (True, True, False), (False, False, True), (False, False, False)])
def test_a_changing_cell_never_loses_an_edge(pbc: tuple[bool, bool, bool]) -> None:
    neighbors, graph = VerletList(CUTOFF, skin=SKIN), liquid(pbc=pbc)
    for number in range(15):
        graph = walk(deformed(graph, 0.004, number), 0.01, number)
        assert is_complete(neighbors.graph(graph))
    assert neighbors.n_searches < 15


def test_a_deformation_within_the_skin_reuses_the_list_and_a_larger_one_does_not() -> None:
    neighbors, graph = VerletList(CUTOFF, skin=SKIN), liquid()
    neighbors.graph(graph)
    shrunk = replace(graph, positions=0.85 * graph.positions, cell=0.85 * graph.cell)
    assert is_complete(neighbors.graph(shrunk))
    assert neighbors.n_searches == 1  # 3.0 / 0.85 < 3.8
    denser = replace(graph, positions=0.75 * graph.positions, cell=0.75 * graph.cell)
    assert is_complete(neighbors.graph(denser))
    assert neighbors.n_searches == 2


def test_mutant_a_cell_change_that_is_ignored_misses_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    correct = VerletList._within_skin
    monkeypatch.setattr(
        VerletList, "_within_skin", lambda self, moved, stretch, graph: correct(self, moved, stretch * 0 + 1, graph)
    )
    neighbors, graph = VerletList(CUTOFF, skin=SKIN), liquid()
    neighbors.graph(graph)
    denser = replace(graph, positions=0.7 * graph.positions, cell=0.7 * graph.cell)
    assert not is_complete(neighbors.graph(denser))


def test_other_atoms_numbers_or_periodic_directions_lead_to_a_new_search() -> None:
    neighbors, graph = VerletList(CUTOFF, skin=SKIN), liquid()
    variants = [
        graph,
        replace(graph, numbers=graph.numbers + 1),
        replace(graph, pbc=torch.tensor([[True, False, True]])),
        liquid(n_side=3),
        AtomGraph.batch([graph, graph]),
        graph.to(dtype=torch.float32),
        replace(graph, cell=torch.zeros_like(graph.cell), pbc=torch.zeros_like(graph.pbc)),
    ]
    for count, variant in enumerate(variants, start=1):
        found = neighbors.graph(variant)
        assert neighbors.n_searches == count
        assert torch.equal(short_edges(found), short_edges(connect(variant, CUTOFF)))


def test_a_batch_is_searched_again_when_one_of_its_systems_needs_it() -> None:
    neighbors = VerletList(CUTOFF, skin=SKIN)
    still, moving = liquid(n_side=3), liquid(n_side=3, seed=1)
    neighbors.graph(AtomGraph.batch([still, moving]))
    assert is_complete(neighbors.graph(AtomGraph.batch([still, walk(moving, 0.02, 1)])))
    assert neighbors.n_searches == 1
    denser = replace(moving, positions=0.7 * moving.positions, cell=0.7 * moving.cell)
    assert is_complete(neighbors.graph(AtomGraph.batch([still, denser])))
    assert neighbors.n_searches == 2


def test_positions_changed_in_place_are_noticed() -> None:
    neighbors, graph = VerletList(CUTOFF, skin=SKIN), liquid()
    neighbors.graph(graph)
    graph.positions.mul_(0.7)
    graph.cell.mul_(0.7)
    assert is_complete(neighbors.graph(graph))
    assert neighbors.n_searches == 2


@pytest.mark.parametrize("what", ["positions", "cell"])
def test_i1_nan_is_an_input_error_and_leaves_no_list_behind(what: str) -> None:
    neighbors, graph = VerletList(CUTOFF, skin=SKIN), liquid()
    neighbors.graph(graph)
    broken = replace(graph, **{what: torch.full_like(getattr(graph, what), torch.nan)})
    with pytest.raises(InputError, match=what):
        neighbors.graph(broken)
    assert is_complete(neighbors.graph(graph))
    assert neighbors.n_searches == 2


def test_the_graph_states_the_radius_it_is_complete_to_and_keeps_its_gradients() -> None:
    graph = liquid()
    positions = graph.positions.clone().requires_grad_()
    found = VerletList(CUTOFF, skin=SKIN).graph(graph.with_positions(positions))
    assert found.cutoff == CUTOFF
    assert found.positions is positions
    assert float(torch.linalg.vector_norm(found.edge_vectors(), dim=1).detach().max()) < CUTOFF + SKIN


def test_no_atoms_and_no_skin_work() -> None:
    neighbors = VerletList(CUTOFF, skin=0.0)
    empty = AtomGraph.without_edges(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))
    assert neighbors.graph(empty).n_edges == 0
    graph = liquid()
    for _ in range(2):
        assert is_complete(neighbors.graph(graph))
    assert neighbors.n_searches == 2
    assert is_complete(neighbors.graph(walk(graph, 1e-6, 0)))
    assert neighbors.n_searches == 3


@pytest.mark.parametrize("setting", [{"cutoff": 0.0}, {"cutoff": float("nan")}, {"skin": -0.1}, {"skin": float("inf")}])
def test_settings_out_of_range_are_input_errors(setting: dict[str, float]) -> None:
    arguments = {"cutoff": CUTOFF, "skin": SKIN} | setting
    with pytest.raises(InputError):
        VerletList(arguments["cutoff"], skin=arguments["skin"])
