"""Frames of systems: exact averages, finite derivatives, defined answers where frames lose their meaning."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from atomsym.core import AtomGraph, InputError
from atomsym.kernels.neighbors import connect
from atomsym.symmetry import random_rotations, wigner_d
from atomsym.symmetry.frames import (
    GROUPS,
    POINT_GROUPS,
    FramePoints,
    Frames,
    crystal_point_group,
    deterministic_frames,
    frame_points,
    gram_schmidt_frame,
    is_proper,
    largest_frames,
    point_group,
    polar_frame,
    principal_axes,
    principal_frames,
    ragged_ranges,
    random_elements,
    require_group,
    rotation_quadrature,
    sampled_frames,
    weighted_frames,
)
from atomsym.symmetry.frames.smooth import smooth_maximum, smooth_step
from atomsym.testing import tolerances

EXACT = tolerances.ALGEBRA.float64


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def cloud(n: int, seed: int = 0, system: int = 0) -> FramePoints:
    x = torch.randn(n, 3, generator=generator(seed), dtype=torch.float64) * torch.tensor([1.6, 1.1, 0.7])
    owner = torch.full((n,), system)
    return FramePoints(x - x.mean(0), owner, owner, system + 1)


def turned(points: FramePoints, operation: Tensor) -> FramePoints:
    return FramePoints(points.vectors @ operation.T, points.system, points.owner, points.n_systems)


def average(points: FramePoints, frames: Frames) -> Tensor:
    """Mean over the frames of an even function of the points without any symmetry between the axes; per system."""
    directions = torch.tensor([[0.9, 0.4, -0.3], [0.2, -1.1, 0.5]], dtype=torch.float64)
    totals = torch.zeros(points.n_systems, dtype=torch.float64)
    for system in range(points.n_systems):
        own = frames.system == system
        turned = points.vectors[points.system == system] @ frames.rotations[own]
        values = (torch.cos(turned @ directions.T + 0.3) @ totals.new_tensor([1.0, 0.7])).sum(1)
        totals[system] = frames.weights[own] @ values
    return totals


def weighted(points: FramePoints, group: str, threshold: float = 0.25) -> Frames:
    return weighted_frames(points, group, rotation_quadrature(3, group), threshold=threshold)  # type: ignore[arg-type]


# Principal axes and weighted frames ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("group", "n"), list(zip(GROUPS, (8, 4, 4, 2), strict=True)))
def test_principal_frames_are_as_many_as_the_group_has_signs(group: str, n: int) -> None:
    frames = principal_frames(cloud(6), group)  # type: ignore[arg-type]
    assert frames.n_frames == n
    assert float(frames.weights.sum()) == pytest.approx(1)
    torch.testing.assert_close(frames.rotations @ frames.rotations.mT, torch.eye(3).double().expand(n, 3, 3))
    assert len({tuple(r.flatten().round(decimals=8).tolist()) for r in frames.rotations}) == n
    assert (torch.linalg.det(frames.rotations) > 0).all() == is_proper(group)  # type: ignore[arg-type]


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("method", ["principal", "weighted", "all pairs"])
def test_averages_are_invariant_under_the_whole_group(group: str, method: str) -> None:
    def frames(points: FramePoints) -> Frames:
        if method == "principal":
            return principal_frames(points, group)  # type: ignore[arg-type]
        return weighted(points, group, 0.25 if method == "weighted" else 0.0)

    points = cloud(6)
    expected = average(points, frames(points))
    for operation in random_elements(4, group, generator=generator(1)):  # type: ignore[arg-type]
        moved = turned(points, operation)
        assert abs(float(average(moved, frames(moved)) - expected)) < EXACT * abs(float(expected))


def test_without_reflections_a_mirror_image_is_told_apart() -> None:
    points, mirror = cloud(6), torch.diag(torch.tensor([1.0, 1.0, -1.0]).double())
    for frames in (lambda p: principal_frames(p, "SE3"), lambda p: weighted(p, "SE3")):
        image = turned(points, mirror)
        assert abs(float(average(points, frames(points)) - average(image, frames(image)))) > 1e-3


def test_the_deterministic_frame_depends_on_how_the_system_lies() -> None:
    points = cloud(6)
    values = {
        round(float(average(moved, deterministic_frames(moved, "SE3"))), 6)
        for moved in (turned(points, r) for r in random_rotations(8, generator=generator(2)))
    }
    assert 1 < len(values) <= 4
    frame = deterministic_frames(points, "SE3").rotations
    assert float(torch.linalg.det(frame)) == pytest.approx(1)


def test_systems_of_a_batch_have_the_frames_that_they_have_alone() -> None:
    alone = [cloud(5, 1), cloud(1, 2), cloud(7, 3)]
    together = FramePoints(
        torch.cat([points.vectors for points in alone]),
        torch.tensor([0] * 5 + [2] + [3] * 7),
        torch.tensor([0] * 5 + [2] + [3] * 7),
        4,
    )
    for make in (lambda p: principal_frames(p, "E3"), lambda p: weighted(p, "E3")):
        frames = make(together)
        totals = torch.zeros(4, dtype=torch.float64).index_add(0, frames.system, frames.weights)
        torch.testing.assert_close(totals, torch.ones(4, dtype=torch.float64))  # the empty one has frames too
        assert (frames.system.diff() >= 0).all()
        for points, number in zip(alone, (0, 2, 3), strict=True):
            own = frames.system == number
            expected = make(points)
            torch.testing.assert_close(frames.rotations[own], expected.rotations)
            torch.testing.assert_close(frames.weights[own], expected.weights)


def meeting_values(t: float) -> FramePoints:
    """Points whose two largest second moments cross at t = 0."""
    points = cloud(6, 5)
    axes = principal_axes((points.vectors.T @ points.vectors).unsqueeze(0))[0]
    x = points.vectors @ axes
    x = x / x.norm(dim=0) * torch.tensor([2.0 + t, 2.0 - t, 1.0], dtype=torch.float64).sqrt()
    return FramePoints(x @ axes.T, points.system, points.owner, 1)


def test_where_principal_values_meet_their_frames_jump_and_weighted_ones_do_not() -> None:
    before, after = meeting_values(-1e-9), meeting_values(1e-9)

    def jump(make: object) -> float:
        return abs(float(average(after, make(after)) - average(before, make(before))))  # type: ignore[operator]

    assert jump(lambda p: principal_frames(p, "E3")) > 5e-3
    for threshold in (0.0, 0.25, 0.75):
        assert jump(lambda p, threshold=threshold: weighted(p, "E3", threshold)) < tolerances.CONTINUITY.float64


def bent(angle: float) -> FramePoints:
    x = torch.tensor([[0.0, 0, 0], [1.1, 0, 0], [-1.3 * math.cos(angle), 1.3 * math.sin(angle), 0]]).double()
    turn = random_rotations(1, generator=generator(8))[0]
    owner = torch.zeros(3, dtype=torch.int64)
    return FramePoints((x - x.mean(0)) @ turn, owner, owner, 1)


def test_weighted_averages_are_smooth_through_the_straight_line() -> None:
    """Values on a grid of angles have no unexpected fourth differences, and both ends of the range agree in kind."""
    angles = torch.linspace(-0.3, 0.3, 241).tolist()
    values = torch.stack([average(bent(a), weighted(bent(a), "E3")) for a in angles]).squeeze(1)
    assert float(values.diff(n=4).abs().max()) < 1e-4 * float(values.abs().max())
    near = average(bent(1e-9), weighted(bent(1e-9), "E3"))
    assert abs(float(near - average(bent(0.0), weighted(bent(0.0), "E3")))) < tolerances.CONTINUITY.float64


def test_a_larger_threshold_leaves_frames_out_without_losing_exactness() -> None:
    counts = [weighted(cloud(8), "SE3", threshold).n_frames for threshold in (0.0, 0.1, 0.25, 0.75)]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] < counts[0] / 2


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize(
    "points",
    [
        torch.zeros(0, 3),
        torch.zeros(1, 3),
        torch.zeros(3, 3),
        torch.tensor([[0.0, 0, 1], [0, 0, -1]]),
        torch.tensor([[1.0, 2, 3], [-1, -2, -3], [2, 4, 6], [-2, -4, -6]]),
        torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]]),
        torch.cat([torch.eye(3), -torch.eye(3)]),
    ],
    ids=["none", "atom", "coinciding", "dimer along z", "line", "square", "octahedron"],
)
def test_degenerate_systems_have_frames_and_finite_derivatives(group: str, points: Tensor) -> None:
    for make in (principal_frames, weighted):
        x = points.double().requires_grad_()
        owner = torch.zeros(len(x), dtype=torch.int64)
        frames = make(FramePoints(x, owner, owner, 1), group)  # type: ignore[arg-type]
        assert float(frames.weights.detach().sum()) == pytest.approx(1)
        rows = frames.rotations @ frames.rotations.mT
        torch.testing.assert_close(rows, torch.eye(3).double().expand_as(rows))
        value = (frames.rotations * torch.arange(9.0).reshape(3, 3).sin()).sum((1, 2)).cos() @ frames.weights
        if value.requires_grad and len(x):
            (first,) = torch.autograd.grad(value, x, create_graph=True)
            assert first.isfinite().all()
            if first.requires_grad:
                (second,) = torch.autograd.grad(first.square().sum(), x)
                assert second.isfinite().all()


def test_axes_have_the_derivatives_of_the_eigenvectors() -> None:
    x = cloud(5).vectors.requires_grad_()

    def function(vectors: Tensor) -> Tensor:
        axes = principal_axes((vectors.T @ vectors).unsqueeze(0))[0]
        return (axes.unsqueeze(2) * axes.unsqueeze(1)).flatten()  # without their signs

    assert torch.autograd.gradcheck(function, (x,))
    assert torch.autograd.gradgradcheck(lambda v: function(v)[:5], (x,))


def test_weights_and_frames_of_pairs_have_two_derivatives() -> None:
    start = cloud(4, 3)

    def function(vectors: Tensor) -> Tensor:
        points = FramePoints(vectors, start.system, start.owner, 1)
        frames = weighted(points, "E3", 0.1)
        return (frames.weights[:, None, None] * frames.rotations**2 * torch.arange(3.0)).sum((0, 1))

    x = start.vectors.clone().requires_grad_()
    assert torch.autograd.gradcheck(function, (x,))
    assert torch.autograd.gradgradcheck(function, (x,))


# Weighted frames of the plane ----------------------------------------------------------------------------------------


def ring(n: int, height: float = 0.3) -> FramePoints:
    """n points on a regular polygon and one above its middle: principal axes in the plane are arbitrary."""
    angles = 0.2 + torch.arange(n) * (2 * math.pi / n)
    x = torch.stack([1.4 * angles.cos(), 1.4 * angles.sin(), 0 * angles], 1)
    x = torch.cat([x, torch.tensor([[0.0, 0.0, height]])]).double()
    owner = torch.zeros(len(x), dtype=torch.int64)
    return FramePoints(x - x.mean(0), owner, owner, 1)


@pytest.mark.parametrize("n", [3, 4, 5, 6])
def test_a_polygon_has_as_many_frames_as_corners_and_a_mean_that_does_not_turn(n: int) -> None:
    points = ring(n)
    frames = weighted(points, "SE2", 0.5)
    assert frames.n_frames == n
    assert weighted(points, "E2", 0.5).n_frames == 2 * n
    for operation in random_elements(3, "E2", generator=generator(3)):
        moved = turned(points, operation)
        expected = float(average(points, weighted(points, "E2", 0.5)))
        assert abs(float(average(moved, weighted(moved, "E2", 0.5))) - expected) < EXACT * abs(expected)


def test_planar_averages_are_smooth_where_one_moment_overtakes_another() -> None:
    """A square is squeezed into a rectangle: frames of order two join those of order four, and replace them."""

    def squeezed(t: float) -> FramePoints:
        points = ring(4)
        owner = points.owner
        return FramePoints(points.vectors * torch.tensor([1 + t, 1 - t, 1]).double(), owner, owner, 1)

    places = torch.linspace(-0.4, 0.4, 401).tolist()
    averages = [average(squeezed(t), weighted(squeezed(t), "SE2", 0.5)) for t in places]
    values = torch.stack(averages).squeeze(1)
    counts = {weighted(squeezed(t), "SE2", 0.5).n_frames for t in places}
    assert counts == {2, 4, 6}
    assert float(values.diff(n=4).abs().max()) < 1e-4 * float(values.abs().max())
    assert float(values.max() - values.min()) > 1e-2


def test_the_number_of_planar_frames_does_not_grow_with_the_system() -> None:
    for n in (5, 50, 500):
        assert weighted(cloud(n, n), "SE2", 0.0).n_frames <= 21 + 4


def test_weights_and_frames_of_moments_have_two_derivatives() -> None:
    start = cloud(5, 3)

    def function(vectors: Tensor) -> Tensor:
        points = FramePoints(vectors, start.system, start.owner, 1)
        frames = weighted(points, "E2", 0.1)
        return (frames.weights[:, None, None] * (frames.rotations + 1) ** 3 * torch.arange(3.0)).sum((0, 1))

    x = start.vectors.clone().requires_grad_()
    assert torch.autograd.gradcheck(function, (x,))
    assert torch.autograd.gradgradcheck(function, (x,))


def test_the_smooth_maximum_and_step() -> None:
    values, index = torch.tensor([1.0, 3.0, 2.0, 0.0]).double(), torch.tensor([0, 0, 0, 1])
    found = smooth_maximum(values, index, 3)
    assert found.tolist() == pytest.approx([3.0, 0.0, 0.0], rel=1e-5)
    mixed = torch.tensor([5.0, 4.9, 4.7]).double()
    once, twice = (smooth_maximum(mixed.repeat(n), torch.zeros(3 * n, dtype=torch.int64), 1) for n in (1, 2))
    assert 4.9 < float(once) <= 5.0
    torch.testing.assert_close(twice, once)
    t = torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.0]).double().requires_grad_()
    step = smooth_step(t)
    assert step.tolist() == pytest.approx([0, 0, 0.5, 1, 1])
    (slope,) = torch.autograd.grad(step.sum(), t)
    assert slope.tolist() == pytest.approx([0, 0, 2.1875, 0, 0])


@pytest.mark.parametrize("values", [{"threshold": 0.8}, {"threshold": -0.1}, {"flatness": 0.0}, {"flatness": 1.0}])
def test_weighted_frames_refuse_settings_out_of_range(values: dict[str, float]) -> None:
    with pytest.raises(InputError, match="weighted frames need"):
        weighted_frames(cloud(3), "E3", rotation_quadrature(1, "E3"), **values)


def test_an_unknown_group_is_an_error() -> None:
    with pytest.raises(InputError, match="no group 'O3'"):
        principal_frames(cloud(3), "O3")  # type: ignore[arg-type]


# Points --------------------------------------------------------------------------------------------------------------


def crystal(shift: float = 0.0, images: bool = False, repeat: int = 1) -> AtomGraph:
    cell = torch.tensor([[3.1, 0.2, 0.0], [0.0, 3.4, 0.4], [0.3, 0.0, 3.8]]).double()
    fractional = torch.tensor([[0.1, 0.2, 0.3], [0.55, 0.6, 0.85], [0.9, 0.1, 0.5]]).double()
    if images:
        fractional = fractional + torch.tensor([[1.0, 0, -2], [0, 3, 0], [0, 0, 0]])
    positions = torch.cat([fractional @ cell + k * cell[0] for k in range(repeat)]) + shift
    cell = cell * torch.tensor([[float(repeat)], [1.0], [1.0]])
    numbers = torch.tensor([14, 8, 8]).repeat(repeat)
    graph = AtomGraph.without_edges(positions, numbers, cell, torch.ones(3, dtype=torch.bool))
    return connect(graph, 4.5)


def moments(graph: AtomGraph) -> Tensor:
    points = frame_points(graph, 4.5)
    return points.vectors.T @ points.vectors


def test_points_of_a_crystal_know_neither_origin_nor_images_nor_the_cell() -> None:
    expected = moments(crystal())
    torch.testing.assert_close(moments(crystal(shift=0.7)), expected)
    torch.testing.assert_close(moments(crystal(images=True)), expected)
    torch.testing.assert_close(moments(crystal(repeat=2)), 2 * expected)


def test_edges_beyond_the_cutoff_make_no_points() -> None:
    graph = crystal()
    longer = connect(AtomGraph.without_edges(graph.positions, graph.numbers, graph.cell[0], graph.pbc[0]), 6.0)
    torch.testing.assert_close(moments(longer), moments(graph))


def test_points_follow_a_strain() -> None:
    strain = torch.tensor([[[0.02, 0.01, 0.0], [0.01, -0.03, 0.005], [0.0, 0.005, 0.01]]]).double()
    deformation = torch.eye(3).double() + strain[0]
    molecule = connect(AtomGraph.from_arrays([[0, 0, 0], [1.0, 0.2, 0], [0.1, 1.3, 0.4]], [1, 8, 1]), 4.5)
    for graph in (molecule, crystal()):
        strained = frame_points(graph.with_positions(graph.positions, strain), 9.0).vectors
        deformed = replace(graph, positions=graph.positions @ deformation, cell=graph.cell @ deformation)
        torch.testing.assert_close(strained, frame_points(deformed, 9.0).vectors)


def test_ragged_ranges() -> None:
    found = ragged_ranges(torch.tensor([5, 9, 0]), torch.tensor([2, 0, 3]))
    assert found.tolist() == [5, 6, 0, 1, 2]


# One frame of three vectors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("project", [polar_frame, gram_schmidt_frame])
@pytest.mark.parametrize("proper", [False, True])
def test_a_canonical_frame_turns_with_the_vectors(project: object, proper: bool) -> None:
    vectors = torch.randn(5, 3, 3, generator=generator(4), dtype=torch.float64)
    frame = project(vectors, proper=proper)  # type: ignore[operator]
    torch.testing.assert_close(frame @ frame.mT, torch.eye(3).double().expand(5, 3, 3))
    for operation in random_rotations(4, generator=generator(5), improper=not proper):
        found = project(vectors @ operation.T, proper=proper)  # type: ignore[operator]
        assert float((found - operation @ frame).abs().max()) < tolerances.EQUIVARIANCE.float64
    if proper:
        torch.testing.assert_close(torch.linalg.det(frame), torch.ones(5).double())


def test_the_polar_frame_is_the_nearest_orthogonal_matrix() -> None:
    vectors = torch.randn(6, 3, 3, generator=generator(6), dtype=torch.float64)
    for proper in (False, True):
        frame = polar_frame(vectors, proper=proper)
        distance = (frame - vectors.mT).square().sum((1, 2))
        for other in random_rotations(50, generator=generator(7), improper=not proper):
            assert (distance <= (other - vectors.mT).square().sum((1, 2)) + 1e-12).all()


@pytest.mark.parametrize("project", [polar_frame, gram_schmidt_frame])
@pytest.mark.parametrize("proper", [False, True])
def test_canonical_frames_have_two_derivatives(project: object, proper: bool) -> None:
    vectors = torch.randn(2, 3, 3, generator=generator(9), dtype=torch.float64).requires_grad_()

    def function(v: Tensor) -> Tensor:
        return project(v, proper=proper)  # type: ignore[operator]

    assert torch.autograd.gradcheck(function, (vectors,))
    assert torch.autograd.gradgradcheck(function, (vectors,))


@pytest.mark.parametrize("project", [polar_frame, gram_schmidt_frame])
@pytest.mark.parametrize("proper", [False, True])
@pytest.mark.parametrize("rank", [0, 1, 2])
def test_canonical_frames_of_dependent_vectors_are_frames_with_finite_derivatives(
    project: object, proper: bool, rank: int
) -> None:
    factors = torch.randn(3, rank, generator=generator(10), dtype=torch.float64)
    vectors = (factors @ torch.randn(rank, 3, generator=generator(11), dtype=torch.float64)).unsqueeze(0)
    vectors.requires_grad_()
    frame = project(vectors, proper=proper)  # type: ignore[operator]
    torch.testing.assert_close(frame @ frame.mT, torch.eye(3).double().unsqueeze(0))
    (first,) = torch.autograd.grad(frame.sum(), vectors, create_graph=True)
    assert first.isfinite().all()
    if first.requires_grad:
        (second,) = torch.autograd.grad(first.sum(), vectors)
        assert second.isfinite().all()


def test_vectors_of_another_shape_are_an_error() -> None:
    with pytest.raises(InputError, match="three for each system"):
        polar_frame(torch.zeros(2, 2, 3, dtype=torch.float64), proper=True)


# Fixed sets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("degree", [0, 1, 2, 5])
def test_a_quadrature_integrates_wigner_matrices_up_to_its_degree_and_not_beyond(degree: int) -> None:
    rotations, weights = rotation_quadrature(degree, "SE3")
    assert len(weights) == (degree + 1) ** 2 * math.ceil((degree + 1) / 2)
    found = [torch.einsum("n,nab->ab", weights, d).abs().max() for d in wigner_d(degree + 1, rotations)]
    assert float(found[0]) == pytest.approx(1)
    assert all(float(value) < EXACT for value in found[1:-1])
    assert float(found[-1]) > 0.01


@pytest.mark.parametrize("group", GROUPS)
def test_quadratures_and_random_elements_belong_to_their_group(group: str) -> None:
    z = torch.tensor([0.0, 0.0, 1.0]).double()
    for elements in (rotation_quadrature(2, group)[0], random_elements(20, group, generator=generator(3))):  # type: ignore[arg-type]
        torch.testing.assert_close(elements @ elements.mT, torch.eye(3).double().expand_as(elements))
        assert bool((torch.linalg.det(elements) < 0).any()) is not is_proper(group)  # type: ignore[arg-type]
        if group.endswith("2"):
            torch.testing.assert_close(elements @ z, z.expand(len(elements), 3))


def test_random_elements_of_the_plane_are_uniform() -> None:
    elements = random_elements(4000, "SE2", generator=generator(12))
    for power in (1, 2):
        angles = power * torch.atan2(elements[:, 1, 0], elements[:, 0, 0])
        assert abs(float(angles.cos().mean())) + abs(float(angles.sin().mean())) < 6 / math.sqrt(4000)


@pytest.mark.parametrize("name", POINT_GROUPS)
def test_point_groups_are_groups(name: str) -> None:
    orders = dict(zip(POINT_GROUPS, (1, 2, 4, 8, 12, 16, 24, 12, 24, 24, 24, 48, 60, 120), strict=True))
    operations = point_group(name)
    assert len(operations) == orders[name]
    torch.testing.assert_close(operations[0], torch.eye(3).double())
    torch.testing.assert_close(require_group(operations), operations)


def test_the_icosahedral_average_is_exact_up_to_degree_five() -> None:
    found = [d.mean(0).abs().max() for d in wigner_d(6, point_group("I"))]
    assert all(float(value) < EXACT for value in found[1:6])
    assert float(found[6]) > 0.01


def test_what_is_no_group_is_an_error() -> None:
    octahedral = point_group("O")
    for operations, message in (
        (octahedral[:-1], "not among the operations"),
        (1.1 * octahedral, "not orthogonal"),
        (octahedral.repeat(2, 1, 1), "must be different"),
        (octahedral[0], "shape"),
    ):
        with pytest.raises(InputError, match=message):
            require_group(operations)
    with pytest.raises(InputError, match="no point group 'Q'"):
        point_group("Q")


FCC = torch.tensor([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]).double()
HEXAGONAL = torch.tensor([[1, 0, 0], [-0.5, math.sqrt(3) / 2, 0], [0, 0, math.sqrt(8 / 3)]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("cell", "fractional", "numbers", "order"),
    [
        (3.6 * FCC, [[0, 0, 0]], [29], 48),
        (5.4 * FCC, [[0, 0, 0], [0.25, 0.25, 0.25]], [14, 14], 48),
        (5.4 * FCC, [[0, 0, 0], [0.25, 0.25, 0.25]], [31, 33], 24),
        (3.2 * HEXAGONAL, [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]], [12, 12], 24),
        (torch.diag(torch.tensor([3.0, 3.0, 4.0]).double()), [[0, 0, 0]], [26], 16),
        (torch.diag(torch.tensor([3.0, 3.5, 4.0]).double()), [[0, 0, 0], [0.1, 0.2, 0.3]], [26, 8], 1),
        (torch.diag(torch.tensor([3.0, 3.5, 4.0]).double()), [[0, 0, 0], [0.0, 0.0, 0.3]], [26, 8], 4),
    ],
    ids=["fcc", "diamond", "zincblende", "hcp", "tetragonal", "triclinic", "polar"],
)
def test_the_point_group_of_a_crystal(
    cell: Tensor, fractional: list[list[float]], numbers: list[int], order: int
) -> None:
    turn = random_rotations(1, generator=generator(13))[0]
    sites = torch.tensor(fractional).double()
    positions = sites @ cell @ turn.T + 0.3
    skewed = torch.tensor([[1.0, 0, 0], [2, 1, 0], [0, -1, 1]]).double() @ cell @ turn.T  # another basis of the lattice
    for basis in (cell @ turn.T, skewed):
        operations = crystal_point_group(AtomGraph.from_arrays(positions.tolist(), numbers, basis.tolist(), True))
        assert len(operations) == order
        require_group(operations)


def test_a_molecule_has_no_crystal_point_group() -> None:
    with pytest.raises(InputError, match="periodic in three directions"):
        crystal_point_group(AtomGraph.from_arrays([[0, 0, 0]], [1]))


# Fewer frames --------------------------------------------------------------------------------------------------------


def test_the_mean_over_draws_is_the_whole_average() -> None:
    points = cloud(6)
    every = principal_frames(points, "E3")
    draws = (torch.arange(8.0).double() + 0.5) / 8
    parts = [average(points, sampled_frames(every, draw.reshape(1, 1))) for draw in draws]
    torch.testing.assert_close(torch.stack(parts).mean(0), average(points, every))
    assert float(torch.stack(parts).std()) > 1e-3


def test_frames_are_drawn_as_often_as_their_weights_say_with_their_derivatives() -> None:
    weights = torch.tensor([0.5, 0.1, 0.4, 0.25, 0.75]).double().requires_grad_()
    rotations = torch.eye(3).double().expand(5, 3, 3)
    frames = Frames(rotations, weights, torch.tensor([0, 0, 0, 1, 1]))
    uniforms = torch.rand(2, 20000, generator=generator(14), dtype=torch.float64)
    drawn = sampled_frames(frames, uniforms)
    torch.testing.assert_close(drawn.weights.detach(), torch.full((40000,), 1 / 20000).double())
    value = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]).double()
    # The derivative of Σ v w is v, but only as many draws as there are tell of it: those of the weights' own size.
    places = torch.searchsorted(torch.tensor([0.5, 0.6, 1.0]).double(), uniforms[0].contiguous(), right=True)
    (slope,) = torch.autograd.grad((drawn.weights[:20000] * value[places]).sum(), weights)
    assert slope[:3].tolist() == pytest.approx(value[:3].tolist(), rel=0.1)
    with pytest.raises(InputError, match="uniforms"):
        sampled_frames(frames, torch.zeros(2).double())


def test_the_heaviest_frames_stay_with_all_that_are_as_heavy() -> None:
    weights = torch.tensor([0.3, 0.2, 0.3, 0.2, 0.6, 0.4]).double()
    frames = Frames(torch.eye(3).double().expand(6, 3, 3), weights, torch.tensor([0, 0, 0, 0, 1, 1]))
    one, three = largest_frames(frames, 1, 2), largest_frames(frames, 3, 2)
    assert one.weights.tolist() == pytest.approx([0.5, 0.5, 1.0])
    assert three.weights.tolist() == pytest.approx(weights.tolist())
    points = cloud(6)
    for operation in random_elements(3, "E3", generator=generator(15)):
        moved = turned(points, operation)
        kept = [average(p, largest_frames(weighted(p, "E3", 0.0), 12, 1)) for p in (points, moved)]
        assert abs(float(kept[0] - kept[1])) < EXACT * abs(float(kept[0]))
    with pytest.raises(InputError, match="at least one"):
        largest_frames(frames, 0, 2)


def test_equivalent_frames_stay_together_in_single_precision_too() -> None:
    corners = torch.tensor([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
    counts = set()
    for operation in random_elements(6, "E3", generator=generator(16)):
        vectors = (corners.double() @ operation.T).float()
        owner = torch.zeros(8, dtype=torch.int64)
        counts.add(largest_frames(weighted(FramePoints(vectors, owner, owner, 1), "E3", 0.0), 5, 1).n_frames)
    assert len(counts) == 1
    assert counts.pop() > 5
