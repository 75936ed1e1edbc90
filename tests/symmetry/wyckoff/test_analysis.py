"""From crystals to their occupied positions and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from atomsym.core import InputError
from atomsym.symmetry.wyckoff import Protostructure, SymmetricCrystal, analyse, wyckoff_positions
from atomsym.symmetry.wyckoff.location import locate, orbit_of
from atomsym.testing import tolerances

ROUND_OFF = tolerances.BACKEND_PARITY.float64


def cell_of(group: int) -> np.ndarray:
    """A cell of the crystal system, no more symmetric than that."""
    a, b, c = 7.1, 8.3, 9.7
    if group <= 2:
        return np.array([[a, 0, 0], [-1.1, b, 0], [0.7, 1.9, c]])
    if group <= 15:
        return np.array([[a, 0, 0], [0, b, 0], [-2.1, 0, c]])
    if group <= 74:
        return np.diag([a, b, c])
    if group <= 142:
        return np.diag([a, a, c])
    if group <= 194:
        return np.array([[a, 0, 0], [-a / 2, a * 3**0.5 / 2, 0], [0, 0, c]])
    return np.diag([a, a, a])


def crystal(group: int, seed: int = 0) -> SymmetricCrystal:
    """The general position and one that is not, of different elements, at random places."""
    letters = [position.letter for position in wyckoff_positions(group)]
    orbits = {(6, letters[-1]), (14, letters[len(letters) // 2])}
    structure = Protostructure(group, tuple(orbits))
    parameters = np.random.default_rng(seed).uniform(0.05, 0.95, (len(structure.orbits), 3))
    return SymmetricCrystal(structure, cell_of(group), parameters)


def distances(found: SymmetricCrystal) -> np.ndarray:
    """Sorted distances between nearest images, which no choice of axes or origin changes."""
    difference = found.fractional_positions[:, None] - found.fractional_positions
    shifts = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    images = (difference - np.rint(difference))[:, :, None] + shifts
    return np.sort(np.linalg.norm(images @ found.cell, axis=-1).min(axis=-1).ravel())


GROUPS = (1, 2, 5, 12, 15, 38, 47, 62, 70, 88, 115, 136, 146, 148, 152, 166, 186, 194, 198, 205, 216, 225, 227, 230)


@pytest.mark.parametrize("group", GROUPS)
def test_a_crystal_is_found_back(group: int) -> None:
    made = crystal(group)
    found = analyse(made.cell, made.fractional_positions, made.numbers)
    assert found.protostructure.space_group == group
    assert sorted(found.protostructure.multiplicities) == sorted(made.protostructure.multiplicities)
    assert found.protostructure.composition == made.protostructure.composition
    assert np.abs(distances(found) - distances(made)).max() < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("group", range(1, 231))
def test_every_group_is_found_back(group: int) -> None:
    test_a_crystal_is_found_back(group)


@pytest.mark.parametrize("group", GROUPS)
def test_letters_and_parameters_are_those_of_the_table(group: int) -> None:
    rng = np.random.default_rng(group)
    for position in wyckoff_positions(group):
        point = position.coordinates(rng.uniform(0.05, 0.95, 3))[-1]
        orbit = orbit_of(group, point)
        found, parameters = locate(group, orbit)
        assert (found.letter, len(orbit)) == (position.letter, position.multiplicity)
        difference = found.coordinates(parameters)[:, None] - orbit
        assert np.abs(difference - np.rint(difference)).max(axis=-1).min(axis=1).max() < ROUND_OFF


def test_noise_within_the_tolerance_is_removed() -> None:
    made = crystal(136)
    noise = np.random.default_rng(1).normal(scale=2e-3, size=(made.n_atoms, 3))
    places = made.fractional_positions + noise @ np.linalg.inv(made.cell)
    assert analyse(made.cell, places, made.numbers, symprec=0.05).protostructure.space_group == 136
    assert analyse(made.cell, places, made.numbers, symprec=1e-4).protostructure.space_group == 1


def test_a_supercell_in_other_axes_is_the_same_crystal() -> None:
    made = crystal(166)
    places = np.concatenate([made.fractional_positions + np.array([n, 0, 0]) for n in range(2)]) / [2, 1, 1]
    turn, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))
    cell = np.diag([2, 1, 1]) @ made.cell @ turn
    found = analyse(cell, places + 0.3, np.tile(made.numbers, 2))
    assert found.protostructure.space_group == 166
    assert found.n_atoms == made.n_atoms
    assert abs(np.linalg.det(found.cell)) == pytest.approx(abs(np.linalg.det(made.cell)))


@pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")
@pytest.mark.parametrize("group", [12, 62, 166, 227])
def test_an_independent_finder_agrees(group: int) -> None:
    spglib = pytest.importorskip("spglib")
    made = crystal(group, seed=3)
    dataset = spglib.get_symmetry_dataset((made.cell, made.fractional_positions, made.numbers), symprec=1e-3)
    assert dataset.number == group


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cell": np.zeros((3, 3))}, "must have a volume"),
        ({"cell": np.eye(2)}, r"found shapes \(2, 2\)"),
        ({"fractional_positions": [[0, 0, np.nan]]}, "must be finite"),
        ({"fractional_positions": np.zeros((0, 3)), "numbers": []}, "at least one atom"),
        ({"numbers": [119]}, "atomic numbers are 1 to 118"),
        ({"numbers": [1, 1]}, "n atomic numbers"),
        ({"fractional_positions": [["x", 0, 0]]}, "made of numbers"),
        ({"symprec": 0.0}, "symprec must be positive"),
        ({"fractional_positions": [[0, 0, 0], [0, 0, 0]], "numbers": [1, 1]}, "no space group found"),
    ],
)
def test_what_is_no_crystal_is_refused(changes: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {"cell": 4 * np.eye(3), "fractional_positions": [[0, 0, 0]], "numbers": [29]}
    with pytest.raises(InputError, match=message):
        analyse(**(good | changes))
