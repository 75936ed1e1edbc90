"""Vectors and tensors of a network without symmetry turn with the structure after the average over frames."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from unconstrained import bare, crystal, molecule, moved, symmetrized

from atomsym.core import AtomGraph, InputError
from atomsym.models import Potential
from atomsym.symmetrizers import symmetrized_tensors
from atomsym.symmetry.frames import random_elements
from atomsym.testing import tolerances

BOUND = tolerances.EQUIVARIANCE.float64
SETTINGS: list[dict[str, Any]] = [
    {"method": "weighted", "group": "E3"}, {"method": "weighted", "group": "SE3"},
    {"method": "full", "group": "SE3"}, {"method": "canonicalization"},
]  # fmt: skip


def plain() -> Potential:
    return bare().requires_grad_(False)


def tensors_of(model: Potential, rank: int, of_systems: bool) -> Any:
    """A network that turns nothing: products of three numbers that depend on the axes."""
    scale = torch.tensor([0.3, -1.1, 0.7], dtype=torch.float64)

    def output(graph: AtomGraph) -> Tensor:
        energies = model(graph)["energies"]
        values = torch.tanh(energies[:, None] * scale + scale.flip(0))
        for _ in range(rank - 1):
            values = values[..., None] * torch.cos(energies[:, None] * scale).reshape(-1, *([1] * (values.ndim - 1)), 3)
        if rank == 0:
            values = energies
        if not of_systems:
            return values
        return values.new_zeros(graph.n_systems, *values.shape[1:]).index_add(0, graph.system_index, values)

    return output


def turned(values: Tensor, operation: Tensor) -> Tensor:
    for axis in range(1, values.ndim):
        values = (values.movedim(axis, -1) @ operation.T).movedim(-1, axis)
    return values


@pytest.mark.parametrize("of_systems", [False, True])
@pytest.mark.parametrize("rank", [0, 1, 2, 4])
@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: "-".join(s.values()))
def test_tensors_turn_with_the_structure(settings: dict[str, Any], rank: int, of_systems: bool) -> None:
    wrapped, output = symmetrized(**settings).symmetrizer.requires_grad_(False), tensors_of(plain(), rank, of_systems)
    for graph in (molecule(), crystal()):
        found = symmetrized_tensors(wrapped, output, graph, of_systems)
        assert found.shape == (graph.n_systems if of_systems else graph.n_atoms, *([3] * rank))
        assert float(found.abs().max()) > 1e-3
        generator = torch.Generator().manual_seed(rank)
        for operation in random_elements(2, settings.get("group", "E3"), generator=generator):
            again = symmetrized_tensors(wrapped, output, moved(graph, operation), of_systems)
            bare_change = (turned(output(graph), operation) - output(moved(graph, operation))).abs().max()
            assert float((again - turned(found, operation)).abs().max()) < BOUND * max(1.0, float(found.abs().max()))
            assert float(bare_change) > 1e-3


def test_derivatives_go_through_the_frames() -> None:
    wrapped, output, graph = symmetrized(method="weighted").symmetrizer, tensors_of(plain(), 2, True), molecule()

    def along(x: Tensor) -> Tensor:
        return symmetrized_tensors(wrapped, output, graph.with_positions(x), True)

    assert torch.autograd.gradcheck(along, (graph.positions.clone().requires_grad_(),), atol=1e-6)


@pytest.mark.parametrize("shape", [(), (7,), (7, 3), (1, 3, 2)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="rotated copies"):
        symmetrized_tensors(symmetrized(method="full").symmetrizer, lambda _: torch.zeros(shape), molecule(), True)
