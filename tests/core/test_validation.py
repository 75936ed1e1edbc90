"""Every faulty structure ends in a typed error that names the atom; every sound one passes, whatever its dtype."""

from __future__ import annotations

import itertools
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from atomsym.core import (
    AtomGraph,
    AtomsymError,
    InputError,
    UnsupportedElementError,
    validate_distances,
    validate_graph,
    validate_structure,
)

POSITIONS = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.96], [0.93, 0.0, -0.24]])
NUMBERS = np.array([8, 1, 1])
COORDINATE = st.floats() | st.floats(-10, 10) | st.just(0.0)


def pair_graph(positions: Any, numbers: Any, shift: tuple[int, int, int] = (0, 0, 0), **kwargs: Any) -> AtomGraph:
    graph = AtomGraph.from_arrays(positions, numbers, **kwargs)
    edges = torch.tensor([[0, 1], [1, 0]]) if len(numbers) > 1 else torch.tensor([[0, 0], [0, 0]])
    shifts = torch.tensor([shift, [-s for s in shift]], dtype=torch.int32)
    return graph.with_edges(edges, shifts, 5.0)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_i01_non_finite_values_are_named_by_atom_and_axis(value: float) -> None:
    positions = POSITIONS.copy()
    positions[2, 1] = value
    with pytest.raises(InputError, match=rf"positions of atoms\[2\] have y = {value}; all coordinates must be finite"):
        validate_structure(positions, NUMBERS)
    with pytest.raises(InputError, match=rf"positions of atoms\[2\] have y = {value}"):
        validate_graph(AtomGraph.from_arrays(positions, NUMBERS))
    cell = 5 * np.eye(3)
    cell[1, 2] = value
    with pytest.raises(InputError, match=rf"cell\[1\] have z = {value}"):
        validate_structure(POSITIONS, NUMBERS, cell, True)
    with pytest.raises(InputError, match=rf"cell of lattice vector 1 of system 0 have z = {value}"):
        validate_graph(AtomGraph.from_arrays(POSITIONS, NUMBERS, cell, True))


@pytest.mark.parametrize("distance", [0.0, 1e-9, 0.099])
def test_i02_overlapping_atoms_are_refused_unless_allowed(distance: float) -> None:
    positions = np.concatenate([POSITIONS, POSITIONS[1:2] + distance * np.array([[0.6, 0.0, 0.8]])])
    numbers = np.append(NUMBERS, 1)
    with pytest.raises(InputError, match=r"atoms\[1\] and atoms\[3\] are .* Å apart; at least 0.1 Å is needed"):
        validate_structure(positions, numbers)
    validate_structure(positions, numbers, allow_overlap=True)
    validate_structure(positions, numbers, min_distance=0.999 * distance)
    with pytest.raises(InputError, match=r"atoms\[0\] and atoms\[1\] are .* apart"):
        validate_graph(pair_graph(positions[[1, 3]], [1, 1]))
    validate_graph(pair_graph(positions[[1, 3]], [1, 1]), allow_overlap=True)
    with pytest.raises(InputError, match=r"atoms\[0\] and atoms\[1\] are .* apart"):
        validate_distances(pair_graph(positions[[1, 3]], [1, 1]))
    validate_distances(pair_graph(positions[[1, 3]], [1, 1]), min_distance=0.999 * distance)


def test_i02_overlap_through_a_periodic_boundary_is_found() -> None:
    cell = np.array([[4.0, 0, 0], [1.0, 5.0, 0], [0.5, 0.3, 6.0]])
    fractional = np.array([[0.999, 0.5, 0.5], [0.001, 0.5, 0.5]])
    for pbc, overlap in ((True, True), ([True, False, False], True), ([False, True, True], False)):
        if overlap:
            with pytest.raises(InputError, match=r"atoms\[0\] and atoms\[1\] are 0.008 Å apart"):
                validate_structure(fractional @ cell, [1, 1], cell, pbc)
        else:
            validate_structure(fractional @ cell, [1, 1], cell, pbc)
    graph = pair_graph(fractional @ cell, [1, 1], (1, 0, 0), cell=cell, pbc=True)
    with pytest.raises(InputError, match=r"atoms\[0\] and atoms\[1\] \(its image at shift \(1, 0, 0\)\) are 0.008 Å"):
        validate_graph(graph)


def test_i02_self_images_are_found_on_the_graph() -> None:
    graph = pair_graph([[0, 0, 0]], [1], (1, 0, 0), cell=np.diag([0.05, 3, 3]), pbc=True)
    with pytest.raises(InputError, match=r"atoms\[0\] and atoms\[0\] \(its image at shift \(1, 0, 0\)\) are 0.05 Å"):
        validate_graph(graph)


@given(st.integers(0, 2**32 - 1), st.integers(2, 40))
@settings(max_examples=60, deadline=None)
def test_i02_agrees_with_all_pairs_of_all_images(seed: int, n_atoms: int) -> None:
    rng = np.random.default_rng(seed)
    pbc = rng.random(3) < 0.6
    cell = np.eye(3) * rng.uniform(1.0, 3.0, 3) + rng.uniform(-0.4, 0.4, (3, 3))
    positions = rng.uniform(-1, 2, (n_atoms, 3)) @ cell
    shifts = np.array(list(itertools.product(*(range(-4, 5) if p else (0,) for p in pbc)))) @ cell
    vectors = positions[None, None] + shifts[:, None, None] - positions[None, :, None]
    lengths = np.linalg.norm(vectors, axis=3)
    lengths[:, np.arange(n_atoms), np.arange(n_atoms)] = np.inf
    expectation = pytest.raises(InputError, match="apart") if lengths.min() < 0.1 else nullcontext()
    with expectation:
        validate_structure(positions, np.ones(n_atoms, dtype=int), cell, pbc)


@pytest.mark.parametrize(("number", "words"), [(0, "atomic number 0"), (119, "atomic number 119"), (-1, "number -1")])
def test_i03_impossible_elements_are_refused(number: int, words: str) -> None:
    numbers = np.array([8, number, 1])
    with pytest.raises(InputError, match=rf"atoms\[1\] has the {words if 'atomic' in words else 'atomic ' + words}"):
        validate_structure(POSITIONS, numbers)
    with pytest.raises(InputError, match=r"atoms\[1\] has the atomic number"):
        validate_graph(AtomGraph.from_arrays(POSITIONS, numbers))


def test_i03_elements_that_the_model_does_not_know_are_refused() -> None:
    message = r"atoms\[0\] is O \(Z=8\); the model knows H, C. Pick a model with: atomsym models --element O"
    with pytest.raises(UnsupportedElementError, match=message):
        validate_structure(POSITIONS, NUMBERS, elements=(1, 6))
    graph = AtomGraph.from_arrays(POSITIONS, NUMBERS)
    with pytest.raises(UnsupportedElementError, match=message):
        validate_graph(graph, (1, 6))
    hydrogen = AtomGraph.from_arrays([[0, 0, 0]], [1])
    with pytest.raises(UnsupportedElementError, match=r"atoms\[0\] of system 1 is O"):
        validate_graph(AtomGraph.batch([hydrogen, graph]), (1, 6))
    validate_structure(POSITIONS, NUMBERS, elements=(1, 8))


@pytest.mark.parametrize("numbers", [[8.5, 1, 1], ["O", "H", "H"], [np.nan, 1, 1], [True, True, True], [8, 1]])
def test_i03_numbers_must_be_integers_one_per_atom(numbers: list[Any]) -> None:
    with pytest.raises(InputError, match="numbers must"):
        validate_structure(POSITIONS, numbers)


def test_i04_i05_no_atoms_and_one_atom_are_sound() -> None:
    for positions, numbers in (([], []), (np.zeros((0, 3)), np.zeros(0)), ([[1, 2, 3]], [118])):
        validate_structure(positions, numbers)
        validate_structure(positions, numbers, 5 * np.eye(3), True)
        validate_graph(AtomGraph.from_arrays(positions, numbers))
    assert AtomGraph.from_arrays([], []).positions.shape == (0, 3)


def test_i07_contradictory_cells_are_refused_and_unusual_ones_accepted() -> None:
    with pytest.raises(InputError, match=r"pbc\[2\] is True but cell\[2\] is a zero vector; give the lattice vector"):
        validate_structure(POSITIONS, NUMBERS, np.diag([5.0, 5.0, 0.0]), True)
    with pytest.raises(InputError, match=r"pbc\[0\] is True"):
        validate_structure(POSITIONS, NUMBERS, None, True)
    with pytest.raises(InputError, match=r"pbc\[2\] of system 0 is True but cell\[2\] is a zero vector"):
        validate_graph(AtomGraph.from_arrays(POSITIONS, NUMBERS, np.diag([5.0, 5.0, 0.0]), True))
    with pytest.raises(InputError, match="linearly dependent"):
        validate_structure(POSITIONS, NUMBERS, [[5, 0, 0], [0, 5, 0], [5, 5, 0]], True)
    angle = np.deg2rad(10)
    needle = 20 * np.array([[1, 0, 0], [np.cos(angle), np.sin(angle), 0], [np.cos(angle), np.sin(angle) / 2, 0.1]])
    for cell, pbc in (
        (np.diag([5.0, 5.0, 0.0]), [True, True, False]),
        (np.diag([5.0, 5.0, -5.0]), True),
        (needle, True),
        (1e6 * np.eye(3), True),
        ([[0, 0, 0], [0, 0, 4], [0, 0, 0]], [False, True, False]),
    ):
        validate_structure(POSITIONS, NUMBERS, cell, pbc)


def unusual_layouts() -> list[tuple[str, Any, Any]]:
    strided = np.zeros((6, 5))
    strided[::2, 1:4] = POSITIONS
    read_only = POSITIONS.copy()
    read_only.setflags(write=False)
    return [
        ("float32", POSITIONS.astype(np.float32), NUMBERS.astype(np.uint8)),
        ("big-endian", POSITIONS.astype(">f8"), NUMBERS.astype(">i4")),
        ("strided", strided[::2, 1:4], np.repeat(NUMBERS, 2)[::2]),
        ("column order", np.asfortranarray(POSITIONS), NUMBERS),
        ("read-only", read_only, NUMBERS),
        ("lists", POSITIONS.tolist(), NUMBERS.tolist()),
        ("float numbers", POSITIONS, NUMBERS.astype(float)),
    ]


@pytest.mark.parametrize(
    ("positions", "numbers"), [u[1:] for u in unusual_layouts()], ids=[u[0] for u in unusual_layouts()]
)
def test_i09_any_dtype_and_layout_gives_the_same_graph(positions: Any, numbers: Any) -> None:
    validate_structure(positions, numbers)
    graph = AtomGraph.from_arrays(positions, numbers)
    assert graph.numbers.tolist() == NUMBERS.tolist()
    torch.testing.assert_close(graph.positions, torch.from_numpy(POSITIONS), rtol=0, atol=1e-7)
    graph.positions.fill_(0)  # a copy: the caller's array stays as it is
    assert abs(float(np.asarray(positions)[1][2]) - 0.96) < 1e-6


def test_i09_integer_positions_and_tensors_are_accepted() -> None:
    validate_structure([[0, 0, 0], [1, 0, 0]], [1, 1])
    validate_structure(torch.tensor(POSITIONS, requires_grad=True), torch.tensor(NUMBERS), torch.eye(3) * 9, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((POSITIONS[:, :2], NUMBERS), r"positions must have shape \(n_atoms, 3\); found \(3, 2\)"),
        ((POSITIONS + 1j, NUMBERS), "positions must be real numbers"),
        (([[0, 0, 0], [0, 0]], [1, 1]), "positions cannot be read as an array"),
        ((POSITIONS, NUMBERS, np.eye(2)), r"cell must have shape \(3, 3\); found \(2, 2\)"),
        ((POSITIONS, NUMBERS, np.eye(3), [True, True]), "pbc must be three bools"),
        ((POSITIONS, NUMBERS, np.eye(3), "TTT"), "pbc must be three bools"),
    ],
)
def test_wrong_shapes_and_kinds_are_refused(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        validate_structure(*arguments)


@given(
    st.lists(st.lists(COORDINATE, min_size=3, max_size=3), max_size=6),
    st.lists(st.integers(1, 118) | st.integers(-(2**40), 2**40), max_size=6),
    st.lists(st.lists(COORDINATE, min_size=3, max_size=3), min_size=3, max_size=3),
    st.lists(st.booleans(), min_size=3, max_size=3),
)
@settings(max_examples=300, deadline=None)
def test_i01_i09_any_input_passes_or_ends_in_a_typed_error(
    positions: list[Any], numbers: list[int], cell: list[Any], pbc: list[bool]
) -> None:
    try:
        validate_structure(positions, numbers, cell, pbc)
    except AtomsymError:
        return
    assert np.isfinite(np.array(positions, dtype=float)).all()
    assert len(positions) == len(numbers)
    assert all(1 <= number <= 118 for number in numbers)
