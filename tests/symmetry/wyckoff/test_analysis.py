"""From crystals to their occupied positions and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from atomsym.core import InputError
from atomsym.core.elements import atomic_number_of
from atomsym.symmetry.wyckoff import Protostructure, SymmetricCrystal, analyse, canonical, wyckoff_positions
from atomsym.symmetry.wyckoff.location import locate, orbit_of
from atomsym.testing import tolerances

Make = Callable[..., SymmetricCrystal]
ROUND_OFF = tolerances.BACKEND_PARITY.float64


@pytest.fixture
def crystal(crystal_of: Callable[[Protostructure, int], SymmetricCrystal]) -> Make:
    """The general position and one that is not, of different elements, at random places."""

    def make(group: int, seed: int = 0) -> SymmetricCrystal:
        letters = [position.letter for position in wyckoff_positions(group)]
        orbits = {(6, letters[-1]), (14, letters[len(letters) // 2])}
        return crystal_of(Protostructure(group, tuple(orbits)), seed)

    return make


def distances(found: SymmetricCrystal) -> np.ndarray:
    """Sorted distances between nearest images, which no choice of axes or origin changes."""
    difference = found.fractional_positions[:, None] - found.fractional_positions
    shifts = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    images = (difference - np.rint(difference))[:, :, None] + shifts
    return np.sort(np.linalg.norm(images @ found.cell, axis=-1).min(axis=-1).ravel())


GROUPS = (1, 2, 5, 12, 15, 38, 47, 62, 70, 88, 115, 136, 146, 148, 152, 166, 186, 194, 198, 205, 216, 225, 227, 230)


@pytest.mark.parametrize("group", GROUPS)
def test_a_crystal_is_found_back(group: int, crystal: Make) -> None:
    made = crystal(group)
    found = analyse(made.cell, made.fractional_positions, made.numbers)
    assert found.protostructure.space_group == group
    assert sorted(found.protostructure.multiplicities) == sorted(made.protostructure.multiplicities)
    assert found.protostructure.composition == made.protostructure.composition
    assert np.abs(distances(found) - distances(made)).max() < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("group", range(1, 231))
def test_every_group_is_found_back(group: int, crystal: Make) -> None:
    test_a_crystal_is_found_back(group, crystal)


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


def test_noise_within_the_tolerance_is_removed(crystal: Make) -> None:
    made = crystal(136)
    noise = np.random.default_rng(1).normal(scale=2e-3, size=(made.n_atoms, 3))
    places = made.fractional_positions + noise @ np.linalg.inv(made.cell)
    assert analyse(made.cell, places, made.numbers, symprec=0.05).protostructure.space_group == 136
    assert analyse(made.cell, places, made.numbers, symprec=1e-4).protostructure.space_group == 1


def test_a_supercell_in_other_axes_is_the_same_crystal(crystal: Make) -> None:
    made = crystal(166)
    places = np.concatenate([made.fractional_positions + np.array([n, 0, 0]) for n in range(2)]) / [2, 1, 1]
    turn, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))
    cell = np.diag([2, 1, 1]) @ made.cell @ turn
    found = analyse(cell, places + 0.3, np.tile(made.numbers, 2))
    assert found.protostructure.space_group == 166
    assert found.n_atoms == made.n_atoms
    assert abs(np.linalg.det(found.cell)) == pytest.approx(abs(np.linalg.det(made.cell)))


@pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")
@pytest.mark.parametrize("group", [12, 15, 62, 88, 166, 205, 227])
def test_an_independent_finder_agrees(group: int, crystal: Make) -> None:
    """On the group and on the letters: spglib (Togo and Tanaka, BSD-3) gives one to each atom."""
    spglib = pytest.importorskip("spglib")
    made = crystal(group, seed=3)
    dataset = spglib.get_symmetry_dataset((made.cell, made.fractional_positions, made.numbers), symprec=1e-3)
    assert dataset.number == group
    atoms = np.unique(dataset.crystallographic_orbits)
    theirs = Protostructure(group, tuple((int(made.numbers[n]), dataset.wyckoffs[n]) for n in atoms))
    own = analyse(made.cell, made.fractional_positions, made.numbers).protostructure
    assert canonical(own) == canonical(theirs)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")
@pytest.mark.parametrize("group", range(1, 231))
def test_an_independent_finder_agrees_on_every_group(group: int, crystal: Make) -> None:
    test_an_independent_finder_agrees(group, crystal)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("group", GROUPS)
def test_pyxtal_agrees_on_the_letters(group: int, crystal: Make) -> None:
    pyxtal = pytest.importorskip("pyxtal").pyxtal
    structure = pytest.importorskip("pymatgen.core").Structure
    made = crystal(group, seed=5)
    theirs = pyxtal()
    theirs.from_seed(structure(made.cell, made.numbers, made.fractional_positions), tol=1e-3)
    orbits = tuple((atomic_number_of(site.specie), site.wp.letter) for site in theirs.atom_sites)
    own = analyse(made.cell, made.fractional_positions, made.numbers).protostructure
    assert canonical(own) == canonical(Protostructure(theirs.group.number, orbits))


def test_random_input_is_analysed_or_refused() -> None:
    rng = np.random.default_rng(0)
    outcomes = []
    for attempt in range(200):
        n_atoms = int(rng.integers(1, 9))
        cell = rng.normal(size=(3, 3)) * 10.0 ** rng.integers(-6, 7)
        places = rng.normal(size=(n_atoms, 3)) * 10.0 ** rng.integers(-3, 20)
        if attempt % 3 == 0:
            places = np.round(4 * rng.uniform(size=(n_atoms, 3))) / 4
        if attempt % 7 == 0:
            cell[2] = cell[1] + 1e-7 * cell[0]
        numbers = rng.integers(-1, 121, size=n_atoms) if attempt % 5 == 0 else rng.integers(1, 4, size=n_atoms)
        try:
            found = analyse(cell, places, numbers, symprec=10.0 ** rng.integers(-8, 3))
        except InputError:
            outcomes.append(False)
        else:
            outcomes.append(True)
            assert set(found.numbers) == set(numbers)
            assert np.isfinite(found.positions).all()
    assert 20 < sum(outcomes) < 180


def test_remarks_of_the_finder_are_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    analyse(np.diag([8.0, 4, 4]), [[0, 0, 0], [0.5, 0, 0]], [29, 29])
    assert not caplog.records


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cell": np.zeros((3, 3))}, "must have a volume"),
        ({"cell": [[4, 0, 0], [0, 4, 0], [4, 0, 1e-6]]}, "nearly in a plane"),
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
