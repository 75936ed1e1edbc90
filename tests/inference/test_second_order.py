"""Energies whose radial functions are polynomials of second order have the Hessian of the potential."""

from __future__ import annotations

import pytest
import torch

from atomsym.core import AtomGraph
from atomsym.derivatives import evaluate, hessian
from atomsym.heads import HessianPotential
from atomsym.models import MACE
from atomsym.testing import tolerances
from atomsym.testing.convolutions import deviation

from .conftest import cluster, crystal, model

EXACT = tolerances.HESSIAN_VECTOR_PRODUCT.float64


def plain(potential: MACE, graph: AtomGraph, method: str) -> torch.Tensor:
    """By autograd through the networks: an unknown function is not expanded."""
    return hessian(lambda moved: potential(moved), graph, method=method)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "variant",
    ["default", "agnesi", "gaussian", "cutoff on weights", "density", "density, plain", "held", "published repulsion"],
)
def test_f10_hessians_are_those_through_the_networks(variant: str) -> None:
    potential, graph = model(variant), cluster()
    expected = plain(potential, graph, "rows")
    for method in ("rows", "vmap"):
        assert deviation(hessian(potential, graph, method=method), expected) < EXACT  # type: ignore[arg-type]


def test_energies_and_forces_are_the_potentials(variant: str) -> None:
    potential, graph = model(variant), crystal()
    found = evaluate(potential.second_order(graph), graph, ("forces",))
    expected = evaluate(potential, graph, ("forces",))
    assert deviation(found.energies, expected.energies) < EXACT
    assert found.forces is not None
    assert expected.forces is not None
    assert deviation(found.forces, expected.forces) < EXACT


def test_it_belongs_to_the_positions_it_was_made_for() -> None:
    """The mutant of the two above: an expansion at other positions is found out."""
    potential, graph = model(), cluster()
    moved = graph.with_positions(graph.positions + 0.01 * torch.eye(5, 3, dtype=torch.float64))
    elsewhere = potential.second_order(moved)
    expected = plain(potential, graph, "vmap")
    assert deviation(hessian(elsewhere, graph, method="vmap"), expected) > 1e3 * EXACT


def test_a_hessian_head_leaves_the_derivative_to_the_backbone() -> None:
    backbone = model("degree 2")
    potential = HessianPotential.of("mace", backbone.config).double()
    potential.backbone.load_state_dict(backbone.state_dict())
    expected = plain(backbone, cluster(), "vmap")
    assert deviation(hessian(potential, cluster(), method="vmap"), expected) < EXACT
