"""Energies and their first three derivatives pass the cutoff without a jump."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from atomsym.core import AtomGraph
from atomsym.models import ARGON, COPPER, ZBL, LennardJones, LennardJonesConfig, Morse, Potential, ZBLConfig
from atomsym.nn import edge_lengths, polynomial_cutoff
from atomsym.testing import tolerances

POTENTIALS: dict[str, Callable[[], Potential]] = {
    "lennard-jones": lambda: LennardJones(ARGON),
    "lennard-jones-envelope": lambda: LennardJones(replace(ARGON, onset=None)),
    "morse": lambda: Morse(COPPER),
    "zbl": lambda: ZBL(ZBLConfig()),
}


def dimer_energy(potential: Any, number: int, cutoff: float) -> Callable[[Tensor], Tensor]:
    """Energy of two atoms as a function of their distance, edges present on both sides of the cutoff."""
    graph = AtomGraph.from_arrays([[0, 0, 0], [0, 0, 1]], [number, number]).with_edges(
        torch.tensor([[0, 1], [1, 0]]), torch.zeros(2, 3, dtype=torch.int32), cutoff + 1
    )
    axis = torch.tensor([[0, 0, 0], [0.48, 0.6, 0.64]], dtype=torch.float64)

    def energy(distance: Tensor) -> Tensor:
        output = potential(graph.with_positions(distance * axis))
        return (output["energies"] if isinstance(output, dict) else output).sum()

    return energy


def derivatives(energy: Callable[[Tensor], Tensor], distance: float) -> list[float]:
    """E, E', E'' and E''' by autograd."""
    x = torch.tensor(distance, dtype=torch.float64, requires_grad=True)
    values = [energy(x)]
    for _ in range(3):
        last = values[-1]
        step = torch.autograd.grad(last, x, create_graph=True)[0] if last.requires_grad else torch.zeros_like(x)
        values.append(step)
    return [float(value.detach()) for value in values]


def jumps(potential: Any, number: int, cutoff: float) -> list[float]:
    """Jump of E and its three derivatives at the cutoff, relative to their largest value in the outer half.

    One-sided values are extrapolated to zero distance from the cutoff by Richardson's rule.
    """
    energy = dimer_energy(potential, number, cutoff)
    largest = [0.0] * 4
    for k in range(100):
        for order, value in enumerate(derivatives(energy, cutoff * (0.5 + 0.005 * k))):
            largest[order] = max(largest[order], abs(value))
    h = 1e-4 * cutoff
    series = [derivatives(energy, cutoff - h / divisor) for divisor in (1, 2, 4)]
    outside = derivatives(energy, cutoff + h)
    inside = [(8 * c - 6 * b + a) / 3 for a, b, c in zip(*series, strict=True)]
    return [abs(i - o) / scale for i, o, scale in zip(inside, outside, largest, strict=True)]


@pytest.mark.parametrize("name", sorted(POTENTIALS))
def test_f11_energy_and_three_derivatives_are_continuous_at_the_cutoff(name: str) -> None:
    potential = POTENTIALS[name]()
    found = jumps(potential, 29 if name == "morse" else 18, potential.cutoff)
    assert max(found[:3]) < tolerances.CUTOFF_JUMP.float64
    assert found[3] < tolerances.CUTOFF_THIRD_DERIVATIVE.float64


@pytest.mark.parametrize("name", sorted(POTENTIALS))
def test_f11_nothing_at_all_is_left_at_and_beyond_the_cutoff(name: str) -> None:
    potential = POTENTIALS[name]()
    energy = dimer_energy(potential, 29 if name == "morse" else 18, potential.cutoff)
    for distance in (potential.cutoff, potential.cutoff + 1e-3, potential.cutoff + 0.9, 1e4):
        assert derivatives(energy, distance) == [0.0] * 4


def test_f11_the_switch_leaves_the_potential_alone_before_its_onset_and_joins_smoothly() -> None:
    plain = LennardJones(replace(ARGON, cutoff=50.0, onset=49.0))
    switched = LennardJones(ARGON)
    onset = ARGON.onset or 0.0
    one, other = dimer_energy(plain, 18, 50.0), dimer_energy(switched, 18, 8.5)
    for distance in (3.0, 3.8, 5.0, onset):
        assert derivatives(one, distance) == pytest.approx(derivatives(other, distance), rel=1e-12)
    below, above = derivatives(other, onset - 1e-7), derivatives(other, onset + 1e-7)
    assert above == pytest.approx(below, rel=1e-4)


def lennard_jones_with(weight: Callable[[Tensor], Tensor]) -> Callable[[AtomGraph], Tensor]:
    config = LennardJonesConfig((18,), 20.0, ARGON.epsilon, ARGON.sigma, onset=19.0)
    potential = LennardJones(config)

    def energies(graph: AtomGraph) -> Tensor:
        distance = edge_lengths(graph.edge_vectors())
        pairs = potential.pair_energy(distance, graph.numbers[graph.edge_index[0]], graph.numbers[graph.edge_index[1]])
        return torch.zeros(2, dtype=graph.dtype).index_add(0, graph.edge_index[0], 0.5 * pairs * weight(distance))

    return energies


CUT = 8.5
MUTANTS: list[tuple[str, int, Callable[[Tensor], Tensor]]] = [
    ("truncated", 0, lambda d: (d < CUT).to(d.dtype)),
    ("force jumps", 1, lambda d: (1 - d / CUT).clamp(min=0)),
    ("Hessian jumps", 2, lambda d: (1 - d / CUT).clamp(min=0) ** 2),
    ("third derivative jumps", 3, lambda d: polynomial_cutoff(d, CUT)),
]


@pytest.mark.parametrize(("order", "weight"), [(m[1], m[2]) for m in MUTANTS], ids=[m[0] for m in MUTANTS])
def test_f11_planted_jumps_are_found(order: int, weight: Callable[[Tensor], Tensor]) -> None:
    found = jumps(lennard_jones_with(weight), 18, CUT)
    bounds = [tolerances.CUTOFF_JUMP.float64] * 3 + [tolerances.CUTOFF_THIRD_DERIVATIVE.float64]
    assert found[order] > 10 * bounds[order]
    assert all(found[lower] < bounds[lower] for lower in range(order))
