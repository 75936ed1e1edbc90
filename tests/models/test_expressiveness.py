"""What architectures can tell apart: the pairs of the geometric Weisfeiler–Leman test, decided without training.

Random weights in double precision separate two environments unless no weights can; equal energies agree to rounding.

Source of the pairs: Joshi, Bodnar, Mathis, Cohen, Liò, ICML 2023 (arXiv 2301.09308). The four-body pairs are changed:
with the published triangle, which is isosceles, a rotation turns one structure of each pair into the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, pi, sin
from typing import Any

import pytest
import torch
from torch import Tensor

from atomsym.core import AtomGraph
from atomsym.models import ESEN, MACE, ESENConfig, LearnedPotential, MACEConfig, NequIP, NequIPConfig

Point = tuple[float, float, float]
Edges = Sequence[tuple[int, int]]

CUTOFF = 12.0
EQUAL, DIFFERENT = 1e-13, 1e-11  # relative; nothing may lie between
SCALENE, ISOSCELES = ((3, -4), (0, 5), (-4, -3)), ((3, -4), (0, 5), (-3, -4))
COMMON: dict[str, Any] = {
    "elements": (6,),
    "cutoff": CUTOFF,
    "atomic_energies": (0.0,),
    "average_neighbors": 1.0,
    "channels": 8,
    "radial_hidden": (8,),
}


def wired(points: Sequence[Point], edges: Edges) -> AtomGraph:
    """Carbon atoms with exactly these edges, in both directions."""
    both = sorted({*edges, *((b, a) for a, b in edges)})
    graph = AtomGraph.from_arrays(points, [6] * len(points))
    return graph.with_edges(torch.tensor(both).T.contiguous(), torch.zeros(len(both), 3, dtype=torch.int32), CUTOFF)


def star(*leaves: Point) -> AtomGraph:
    """A centre at the origin, wired to every leaf and nothing else."""
    return wired(((0, 0, 0), *leaves), [(0, leaf + 1) for leaf in range(len(leaves))])


def triangle(corners: Sequence[tuple[float, float]], height: float, angle: float = 0.0) -> list[Point]:
    """Three points (x, z) at a height y, turned about y."""
    c, s = cos(angle), sin(angle)
    return [(c * x + s * z, height, c * z - s * x) for x, z in corners]


def prism(corners: Sequence[tuple[float, float]], top: float) -> AtomGraph:
    return star(*triangle(corners, 2), *triangle(corners, -2, pi / 5), (0, top, 0))


def pyramid(corners: Sequence[tuple[float, float]], top: float) -> AtomGraph:
    return star(*triangle(corners, 0), (0, top, 0))


PAIRS = {
    "two-body": (star((5, 0, 0), (3, 0, 4)), star((5, 0, 0), (-5, 0, 0))),
    "three-body": (
        star((5, 0, 5), (5, 5, 5), (-5, -5, 5), (0, 5, 5)),
        star((5, 0, 5), (5, 5, 5), (-5, -5, 5), (0, -5, 5)),
    ),
    "four-body": (prism(SCALENE, 5), prism(SCALENE, -5)),
    "mirror": (pyramid(SCALENE, 5), pyramid(SCALENE, -5)),
    "published four-body": (prism(ISOSCELES, 5), prism(ISOSCELES, -5)),
    "published mirror": (pyramid(ISOSCELES, 5), pyramid(ISOSCELES, -5)),
}
"""Pairs whose sets of n-body scalars agree up to the named order around the centre; mirror images agree in all."""


def chain(k: int, bend: int) -> AtomGraph:
    """k atoms in a row with one bent bond at each end; ``bend`` = ±1 turns the first to either side."""
    points = [(4 * bend, -3, 0), *((0, 5 * i, 0) for i in range(k)), (4, 5 * (k - 1) + 3, 0)]
    return wired(points, [(i, i + 1) for i in range(k + 1)])


def ring(fold: int, angle: float) -> AtomGraph:
    """A planar star with a rotation axis of this fold, turned by an angle about it."""
    turns = [angle + 2 * pi * i / fold for i in range(fold)]
    return star(*((5 * cos(turn), 5 * sin(turn), 0) for turn in turns))


def mace(**changes: Any) -> LearnedPotential:
    return seeded(MACE, MACEConfig(**(COMMON | {"max_degree": 3, "hidden": "0e", "n_layers": 1} | changes)))


def nequip(**changes: Any) -> LearnedPotential:
    return seeded(NequIP, NequIPConfig(**(COMMON | {"max_degree": 3, "hidden": "0e+1o+2e+3o"} | changes)))


def esen(**changes: Any) -> LearnedPotential:
    sizes = {"edge_channels": 8, "feed_forward_channels": 8, "max_degree": 3}
    return seeded(ESEN, ESENConfig(**(COMMON | sizes | changes)))


def seeded(potential: type[LearnedPotential], config: Any) -> LearnedPotential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return potential(config).double().requires_grad_(False)


def differ(one: Tensor, other: Tensor) -> bool:
    """Whether two results differ; refuses to decide if the difference is neither rounding nor clear."""
    relative = float((one - other).abs().max() / torch.maximum(one.abs(), other.abs()).max())
    assert relative < EQUAL or relative > DIFFERENT, relative
    return relative > DIFFERENT


def told_apart(potential: LearnedPotential, pair: tuple[AtomGraph, AtomGraph]) -> bool:
    one, other = (potential(graph)["energies"].sum() for graph in pair)
    return differ(one, other)


BODY_ORDER = {"two-body": 3, "three-body": 4, "four-body": 5}  # what it takes to see more than the named scalars


@pytest.mark.parametrize("correlation", [1, 2, 3, 4])
def test_one_layer_of_mace_has_the_body_order_of_its_correlation(correlation: int) -> None:
    potential = mace(correlation=correlation)
    found = {name: told_apart(potential, pair) for name, pair in PAIRS.items()}
    expected = {name: correlation + 1 >= BODY_ORDER.get(name, 99) for name in PAIRS}
    assert found == expected


def test_one_layer_of_nequip_has_body_order_two() -> None:
    potential = nequip(n_layers=1)
    assert not any(told_apart(potential, pair) for pair in PAIRS.values())


@pytest.mark.parametrize("make", [mace, nequip])
def test_more_layers_raise_the_body_order_but_tell_no_mirror_images_apart(make: Any) -> None:
    found = {name: told_apart(make(n_layers=2), pair) for name, pair in PAIRS.items()}
    assert found["two-body"]
    assert not any(found[name] for name in PAIRS if "mirror" in name or "published" in name)


@pytest.mark.parametrize("changes", [{}, {"feed_forward": "grid"}, {"edge_activation": "grid"}, {"parity": False}])
def test_one_layer_of_esen_tells_all_pairs_apart_but_mirror_images(changes: dict[str, Any]) -> None:
    """Its norm divides by the length of what was summed: the body order has no end. Parity hides mirror images."""
    found = {name: told_apart(esen(n_layers=1, **changes), pair) for name, pair in PAIRS.items()}
    expected = {name: name in BODY_ORDER for name in PAIRS} | {"mirror": changes.get("parity") is False}
    assert found == expected


def features_of(potential: LearnedPotential, module: str, graph: AtomGraph) -> Tensor:
    """What a part of the potential says of the centre, shape (irreps.dim, channels)."""
    seen: list[Any] = []
    handle = potential.get_submodule(module).register_forward_hook(lambda _, __, output: seen.append(output))
    potential(graph)
    handle.remove()
    features: Tensor = seen[0][0] if isinstance(seen[0], tuple) else seen[0]
    return features[0]


@pytest.mark.parametrize("correlation", [1, 2, 3, 4])
def test_pseudoscalars_of_products_tell_mirror_images_apart_from_five_bodies_on(correlation: int) -> None:
    potential = mace(correlation=correlation, hidden="0e+0o", n_layers=2)
    for corners, chiral in ((SCALENE, correlation == 4), (ISOSCELES, False)):
        one, other = (features_of(potential, "products.0", pyramid(corners, top)) for top in (5, -5))
        scale = float(one[0].abs().max())
        assert not differ(one[0], other[0])
        assert float((one[1] + other[1]).abs().max()) < EQUAL * scale  # one is minus the other
        if chiral:
            assert float(one[1].abs().max()) > DIFFERENT * scale
        else:
            assert float(one[1].abs().max()) < EQUAL * scale


@pytest.mark.parametrize("n_layers", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("k", [2, 3, 4])
def test_chains_are_told_apart_once_their_ends_meet(k: int, n_layers: int) -> None:
    """Products let both ends meet in the middle; linear messages must travel from one end to the other."""
    pair = (chain(k, -1), chain(k, 1))
    assert told_apart(mace(correlation=2, hidden="0e+1o", max_degree=1, n_layers=n_layers), pair) == (
        n_layers >= k // 2 + 1
    )
    assert told_apart(nequip(hidden="0e+1o", max_degree=1, n_layers=n_layers), pair) == (n_layers >= k + 1)
    assert told_apart(esen(max_degree=1, n_layers=n_layers), pair) == (n_layers >= k // 2)  # it sees one cutoff farther


@pytest.mark.parametrize("make", [mace, nequip, esen])
def test_invariant_features_never_tell_chains_apart(make: Any) -> None:
    hidden = {} if make is esen else {"hidden": "0e"}
    assert not any(told_apart(make(**hidden, max_degree=0, n_layers=n), (chain(2, -1), chain(2, 1))) for n in (3, 5))


@pytest.mark.parametrize("degree", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("fold", [2, 3, 5])
def test_the_orientation_of_a_ring_is_seen_from_the_degree_of_its_fold_on(fold: int, degree: int) -> None:
    irreps = "+".join(f"{order}{'eo'[order % 2]}" for order in range(degree + 1))
    parts = (
        (mace(max_degree=degree, correlation=1), "interactions.0"),
        (nequip(max_degree=degree, hidden=irreps, n_layers=2), "layers.0"),
        (esen(max_degree=degree, n_layers=1), "degree_embedding"),
    )
    for potential, part in parts:
        one, other = (features_of(potential, part, ring(fold, angle)) for angle in (0.0, 2 * pi / (fold + 1.5)))
        assert differ(one, other) == (degree >= fold), part
