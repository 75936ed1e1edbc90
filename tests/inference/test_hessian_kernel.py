"""The kernel of the Hessian head: batches, many atoms, threads, single precision, and every weight of the head."""

from __future__ import annotations

import pytest
import torch

from atomsym.core import AtomGraph
from atomsym.heads import HessianPotential
from atomsym.inference import HessianEngine, engine_for
from atomsym.testing import tolerances
from atomsym.testing.convolutions import deviation

from .conftest import ELEMENTS, cluster, crystal, headed

EXACT = tolerances.BACKEND_PARITY.float64


def cloud(n_atoms: int, dtype: torch.dtype = torch.float64) -> AtomGraph:
    """Atoms near the first points of a cubic grid, in free space."""
    draw = torch.Generator().manual_seed(n_atoms)
    grid = 1.6 * torch.cartesian_prod(*[torch.arange(5.0, dtype=torch.float64)] * 3)[:n_atoms]
    positions = grid + 0.1 * torch.randn(n_atoms, 3, dtype=torch.float64, generator=draw)
    numbers = torch.tensor(ELEMENTS)[torch.randint(len(ELEMENTS), (n_atoms,), generator=draw)]
    return AtomGraph.from_arrays(positions.numpy(), numbers.numpy(), dtype=dtype)


def engine_of(potential: HessianPotential, dtype: torch.dtype = torch.float64) -> HessianEngine:
    backbone = engine_for(potential, dtype)
    assert backbone is not None
    return HessianEngine(potential, backbone)


def test_systems_of_a_batch_are_what_they_are_alone() -> None:
    potential = headed()
    engine, systems = engine_of(potential), [cloud(n) for n in (9, 0, 1, 18, 2, 70)]
    found, expected = engine.hessians(AtomGraph.batch(systems)), potential.hessians(AtomGraph.batch(systems))
    assert [tuple(matrix.shape) for matrix in found] == [(3 * s.n_atoms, 3 * s.n_atoms) for s in systems]
    for graph, matrix, other in zip(systems, found, expected, strict=True):
        assert torch.equal(matrix, engine.hessians(graph)[0])
        if graph.n_atoms > 1:
            assert deviation(matrix, other) < EXACT


def test_an_open_system_is_a_periodic_one_in_a_wide_cell() -> None:
    """Without periodic directions no pairs are listed."""
    potential, graph = headed(), cloud(12)
    engine = engine_of(potential)
    wide = AtomGraph.from_arrays(graph.positions.numpy(), graph.numbers.numpy(), 60 * torch.eye(3).numpy(), True)
    assert deviation(engine.hessians(wide)[0], engine.hessians(graph)[0]) < tolerances.ALGEBRA.float64


@pytest.mark.parametrize("structures", [[cloud(70)], [cloud(20), cloud(7), cloud(33)], [crystal(), crystal()]])
def test_threads_do_not_change_a_bit(structures: list[AtomGraph]) -> None:
    engine, threads = engine_of(headed()), torch.get_num_threads()
    graph = AtomGraph.batch(structures)
    try:
        found = []
        for number in (1, 3):
            torch.set_num_threads(number)
            found.append(engine.hessians(graph))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, several) for one, several in zip(*found, strict=True))


def test_in_single_precision() -> None:
    potential = headed()
    single = engine_of(potential, torch.float32)
    for graph, same in ((cluster(), cluster(torch.float32)), (crystal(), crystal(torch.float32))):
        (found,), (expected,) = single.hessians(same), potential.hessians(graph)
        assert found.dtype == torch.float32
        assert deviation(found.double(), expected) < tolerances.INFERENCE.float32


def test_every_weight_of_the_head_counts() -> None:
    potential, graph = headed(correlation=3), cloud(11)
    backbone = engine_for(potential, torch.float64)
    assert backbone is not None
    before = HessianEngine(potential, backbone).hessians(graph)[0]
    for name, weight in potential.head.named_parameters():
        kept = weight.detach().clone()
        with torch.no_grad():
            weight[-1:].mul_(1.5)
        found = HessianEngine(potential, backbone).hessians(graph)[0]
        assert deviation(found, potential.hessians(graph)[0]) < EXACT, name
        assert deviation(found, before) > 1e3 * EXACT, name
        with torch.no_grad():
            weight.copy_(kept)
