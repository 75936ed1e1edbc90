"""What each symmetrizer promises: exactness, continuity, reproducibility; and what it does not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from unconstrained import CUTOFF, bare, crystal, molecule, moved, periodic, slab, symmetrized

from atomsym.core import AtomGraph
from atomsym.derivatives import evaluate
from atomsym.kernels.neighbors import connect
from atomsym.models import Potential
from atomsym.symmetrizers import symmetrizer, symmetrizers
from atomsym.symmetry.frames import crystal_point_group, point_group, random_elements, sampled_frames
from atomsym.testing import tolerances

EXACT = tolerances.ALGEBRA.float64
MIRROR = torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64))
EXACT_METHODS: list[dict[str, Any]] = [
    *({"method": method, "group": group} for method in ("full", "weighted") for group in ("E3", "SE3", "E2", "SE2")),
    {"method": "weighted", "threshold": 0.0},
    {"method": "weighted", "samples": 10},
    *(
        {"method": "canonicalization", "group": group, "projection": projection}
        for group in ("E3", "SE3")
        for projection in ("polar", "gram-schmidt")
    ),
]


def energy(potential: Potential, graph: AtomGraph) -> float:
    return float(evaluate(potential, graph, ("energy",)).energy[0])


def interaction(potential: Potential, graph: AtomGraph) -> float:
    """Energy without that of the isolated atoms: what there is to be exact."""
    alone = {1: 0.0, 6: -1.0, 8: -2.0, 14: -3.0}
    return energy(potential, graph) - sum(alone[number] for number in graph.numbers.tolist())


def identify(settings: dict[str, Any]) -> str:
    return "-".join(map(str, settings.values()))


# Exactness -----------------------------------------------------------------------------------------------------------


def test_the_bare_potential_is_not_invariant() -> None:
    values = [energy(bare(), moved(molecule(), g)) for g in random_elements(4, "SE3", generator=seeded(1))]
    assert max(values) - min(values) > 0.1


@pytest.mark.parametrize("settings", EXACT_METHODS, ids=identify)
@pytest.mark.parametrize("structure", [molecule, crystal, slab])
def test_energies_are_exactly_invariant(settings: dict[str, Any], structure: Any) -> None:
    potential, graph = symmetrized(**settings), structure()
    group = settings.get("group", "E3")
    assert potential.symmetrizer.exact == group
    expected = interaction(potential, graph)
    assert abs(expected) > 0.1
    for operation in random_elements(2, group, generator=seeded(2)):
        found = interaction(potential, moved(graph, operation, shift=1.3))
        # A canonical frame amplifies rounding by the ratio of its vectors' sizes.
        bound = EXACT if settings["method"] != "canonicalization" else tolerances.EQUIVARIANCE.float64
        assert abs(found - expected) < bound * max(1.0, abs(expected))


@pytest.mark.parametrize("method", ["full", "weighted", "canonicalization"])
def test_groups_without_reflections_tell_a_mirror_image_apart(method: str) -> None:
    graph, image = molecule(), moved(molecule(), MIRROR)
    chiral = symmetrized(method, group="SE3")
    assert abs(energy(chiral, image) - energy(chiral, graph)) > 1e-3
    assert abs(energy(symmetrized(method), image) - energy(symmetrized(method), graph)) < 1e-10


def test_a_finite_group_is_kept_exactly_and_nothing_else() -> None:
    potential, graph = symmetrized("group", name="Oh"), molecule()
    expected = energy(potential, graph)
    assert potential.symmetrizer.exact == "finite"
    assert potential.symmetrizer.n_frames == 48
    for operation in point_group("Oh")[::7]:
        assert abs(energy(potential, moved(graph, operation)) - expected) < EXACT * abs(expected)
    (turn,) = random_elements(1, "SE3", generator=seeded(3))
    assert abs(energy(potential, moved(graph, turn)) - expected) > 1e-4


def test_a_crystal_averaged_over_its_own_point_group_has_forces_of_its_symmetry() -> None:
    cell = 4.3 * torch.tensor([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]], dtype=torch.float64)
    positions = torch.tensor([[0.0, 0, 0], [0.25, 0.25, 0.25]], dtype=torch.float64) @ cell
    graph = periodic(positions, torch.tensor([14, 8]), cell)
    operations = tuple(tuple(map(tuple, m)) for m in crystal_point_group(graph).round(decimals=12).tolist())
    stress = {
        name: evaluate(potential, graph, ("stress", "forces"))
        for name, potential in (("bare", bare()), ("averaged", symmetrized("group", operations=operations)))
    }
    found = stress["averaged"].stress
    assert found is not None
    assert len(operations) == 24
    torch.testing.assert_close(found[0], found[0, 0, 0] * torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-12)
    assert float(stress["averaged"].forces.abs().max()) < 1e-12  # type: ignore[union-attr]
    assert float((stress["bare"].stress - found).abs().max()) > 1e-3  # type: ignore[operator]


def test_a_quadrature_becomes_invariant_with_its_degree() -> None:
    graphs = [moved(molecule(), g) for g in random_elements(3, "E3", generator=seeded(4))]
    spreads = []
    for degree in (1, 5, 11):
        potential = symmetrized("quadrature", degree=degree)
        values = [energy(potential, graph) for graph in graphs]
        spreads.append(max(values) - min(values))
    assert spreads[1] < spreads[0]
    assert spreads[2] < 0.02 * spreads[0]
    assert potential.symmetrizer.exact == ""


def test_frames_agree_with_the_average_over_all_rotations_only_for_invariant_functions() -> None:
    """A frame average is invariant, but not the mean over all rotations: both are legitimate, they differ."""
    reference = energy(symmetrized("quadrature", degree=11), molecule())
    assert abs(energy(symmetrized("full"), molecule()) - reference) > 1e-3


def test_the_deterministic_frame_is_not_invariant() -> None:
    """The flaw that published models with one fixed frame have: a rotation changes the energy."""
    potential = symmetrized("deterministic")
    assert potential.symmetrizer.exact == ""
    values = [energy(potential, moved(molecule(), g)) for g in random_elements(8, "SE3", generator=seeded(5))]
    assert max(values) - min(values) > 1e-2


# Random frames -------------------------------------------------------------------------------------------------------


def test_the_mean_of_stochastic_frames_is_the_full_average() -> None:
    graph, potential = molecule(), symmetrized("full")
    every = potential.symmetrizer.frames(graph)
    parts = []
    for k in range(8):
        drawn = sampled_frames(every, torch.full((1, 1), (k + 0.5) / 8, dtype=torch.float64))
        potential.symmetrizer.frames = lambda graph, drawn=drawn: drawn  # type: ignore[method-assign]
        parts.append(energy(potential, graph))
    assert sum(parts) / 8 == pytest.approx(energy(symmetrized("full"), graph), abs=EXACT)
    assert max(parts) - min(parts) > 1e-2


@pytest.mark.parametrize(
    "settings", [{"method": "stochastic"}, {"method": "weighted", "samples": 3, "choice": "random"}], ids=identify
)
def test_random_frames_can_be_reproduced_in_evaluation_and_vary_in_training(settings: dict[str, Any]) -> None:
    graph, other = molecule(), molecule(7, seed=1)
    potential = symmetrized(**settings)
    value = energy(potential, graph)
    torch.rand(5)  # whatever others draw
    assert energy(potential, graph) == value
    batch = AtomGraph.batch([other, graph, other])
    found = evaluate(potential, batch, ("energy",)).energy
    assert float(found[1]) == pytest.approx(value, abs=EXACT)
    assert len({round(energy(symmetrized(**settings, seed=seed), graph), 9) for seed in range(6)}) > 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        potential.train()
        drawn = [energy(potential, graph) for _ in range(8)]
        torch.manual_seed(0)
        assert [energy(potential, graph) for _ in range(8)] == drawn
    assert len(set(drawn)) > 1


def test_samples_of_training_leave_evaluation_whole_and_have_its_mean() -> None:
    graph = molecule()
    potential, whole = symmetrized("weighted", training_samples=2), energy(symmetrized("weighted"), graph)
    assert energy(potential, graph) == whole
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        potential.train()
        assert potential.symmetrizer.frames(graph).n_frames == 2
        drawn = torch.tensor([energy(potential, graph) for _ in range(400)])
    spread = float(drawn.std()) / 20
    assert spread > 1e-3
    assert abs(float(drawn.mean()) - whole) < 4 * spread


def test_augmentation_turns_in_training_and_does_nothing_afterwards() -> None:
    graph, potential = molecule(), symmetrized("augmentation")
    assert energy(potential, graph) == pytest.approx(energy(bare(), graph), abs=EXACT)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        potential.train()
        assert len({round(energy(potential, graph), 9) for _ in range(4)}) == 4


# Continuity (F-13) ---------------------------------------------------------------------------------------------------


def crossing(t: float) -> AtomGraph:
    """A molecule whose two largest second moments are equal at t = 0."""
    positions = molecule().positions
    x = positions - positions.mean(0)
    axes = torch.linalg.eigh(x.T @ x)[1]
    scaled = (x @ axes) / (x @ axes).norm(dim=0)
    scaled = scaled * torch.tensor([4.0, 9.0 - t, 9.0 + t], dtype=torch.float64).sqrt()
    return connect(AtomGraph.without_edges(scaled @ axes.T, molecule().numbers), CUTOFF)


@pytest.mark.parametrize("method", ["full", "weighted", "quadrature"])
def test_f13_energy_where_principal_values_meet(method: str) -> None:
    potential = symmetrized(method)
    jump = abs(energy(potential, crossing(1e-9)) - energy(potential, crossing(-1e-9)))
    if potential.continuous:
        assert jump < tolerances.CONTINUITY.float64
    else:
        assert jump > 1e-2


@pytest.mark.parametrize("shape", ["linear", "dimer", "atom", "planar", "octahedral"])
@pytest.mark.parametrize("method", sorted(symmetrizers()))
def test_f13_degenerate_shapes_have_finite_energies_forces_and_hessians(method: str, shape: str) -> None:
    settings = {"name": "D2h"} if method == "group" else {}
    potential, graph = symmetrized(method, **settings), shaped(shape)
    x = graph.positions.clone().requires_grad_()
    value = potential(graph.with_positions(x))["energies"].sum()
    assert value.isfinite()
    if graph.n_edges:
        (forces,) = torch.autograd.grad(value, x, create_graph=True)
        (second,) = torch.autograd.grad(forces.square().sum(), x)
        assert forces.isfinite().all()
        assert second.isfinite().all()


@pytest.mark.parametrize("shape", ["linear", "planar", "octahedral"])
def test_f13_weighted_energies_are_the_limit_from_every_side(shape: str) -> None:
    potential, graph = symmetrized("weighted"), shaped(shape)
    limits = [energy(potential, graph)]
    for k in range(6):
        step = torch.randn(graph.positions.shape, generator=seeded(k), dtype=torch.float64)
        e1, e2, e3 = (energy(potential, graph.with_positions(graph.positions + n * 1e-4 * step)) for n in (1, 2, 3))
        limits.append(3 * e1 - 3 * e2 + e3)
    assert max(limits) - min(limits) < tolerances.CONTINUITY.float64


def test_a_linear_molecule_is_as_invariant_as_the_quadrature_that_takes_over() -> None:
    graph = shaped("linear")
    turns = random_elements(4, "E3", generator=seeded(6))

    def spread(degree: int) -> float:
        values = [energy(symmetrized("weighted", degree=degree), moved(graph, g)) for g in turns]
        return max(values) - min(values)

    assert spread(11) < 0.05 * spread(1)


def shaped(name: str) -> AtomGraph:
    places = {
        "linear": [[-1.2, 0, 0], [0, 0, 0], [1.1, 0, 0]],
        "dimer": [[0, 0, 0], [0, 0, 1.1]],
        "atom": [[0.3, 0.2, 0.1]],
        "planar": [[0, 0, 0], [1.2, 0, 0], [1.3, 1.1, 0], [-0.1, 1.5, 0]],
        "octahedral": [[0, 0, 0], *([s * 1.5 * (a == b) for b in range(3)] for a in range(3) for s in (1, -1))],
    }[name]
    return connect(AtomGraph.from_arrays(places, ([8] + [6, 1, 1] * 2)[: len(places)]), CUTOFF)


@pytest.mark.parametrize(
    ("settings", "continuous", "stochastic", "n_frames"),
    [
        ({"method": "full"}, False, False, 8),
        ({"method": "full", "group": "SE3"}, False, False, 4),
        ({"method": "full", "group": "E2"}, False, False, 4),
        ({"method": "full", "group": "SE2"}, False, False, 2),
        ({"method": "stochastic"}, False, True, 1),
        ({"method": "deterministic"}, False, False, 1),
        ({"method": "weighted"}, True, False, None),
        ({"method": "weighted", "samples": 4}, False, False, None),
        ({"method": "weighted", "samples": 4, "choice": "random"}, False, True, 4),
        ({"method": "weighted", "training_samples": 1}, True, True, None),
        ({"method": "group", "name": "O"}, True, False, 24),
        ({"method": "quadrature", "degree": 3}, True, False, 64),
        ({"method": "canonicalization"}, False, False, 1),
        ({"method": "augmentation"}, True, True, 1),
    ],
    ids=str,
)
def test_symmetrizers_say_what_they_are(
    settings: dict[str, Any], continuous: bool, stochastic: bool, n_frames: int | None
) -> None:
    potential = symmetrized(**settings)
    own = potential.symmetrizer
    assert (own.continuous, own.stochastic, own.n_frames) == (continuous, stochastic, n_frames)
    assert potential.continuous is continuous
    assert symmetrizer(settings["method"]) is type(own)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def conservation_error(potential: Potential) -> float:
    """Largest change of the total energy on a trajectory (velocity Verlet) through the crossing, eV."""
    start, end = crossing(-0.2), crossing(0.2)
    x, v, mass = start.positions, (end.positions - start.positions) / 400, 3.2e4  # per step; eV step²/Å²
    totals = []
    found = evaluate(potential, start, ("energy", "forces"))
    for _ in range(400):
        assert found.forces is not None
        v = v + 0.5 * found.forces / mass
        x = x + v
        moving = connect(AtomGraph.without_edges(x, start.numbers), CUTOFF)
        found = evaluate(potential, moving, ("energy", "forces"))
        assert found.forces is not None
        v = v + 0.5 * found.forces / mass
        totals.append(float(found.energy) + 0.5 * mass * float(v.square().sum()))
    return max(totals) - min(totals)


def test_f16_energy_is_lost_where_frames_jump_and_conserved_where_they_do_not() -> None:
    assert conservation_error(symmetrized("weighted")) < 1e-3
    assert conservation_error(symmetrized("full")) > 5e-3
    assert conservation_error(symmetrized("deterministic")) > 0.5
