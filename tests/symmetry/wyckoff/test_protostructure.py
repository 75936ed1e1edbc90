"""Protostructures and the crystals made of them."""

from __future__ import annotations

import numpy as np
import pytest

from atomsym.core import InputError
from atomsym.symmetry.wyckoff import Protostructure, SymmetricCrystal
from atomsym.symmetry.wyckoff.crystal_system import crystal_system


def test_the_order_of_orbits_does_not_matter() -> None:
    first, second = Protostructure(136, ((8, "f"), (22, "a"))), Protostructure(136, ((22, "a"), (8, "f")))
    assert first == second
    assert hash(first) == hash(second)
    assert first.orbits == ((22, "a"), (8, "f"))
    assert Protostructure.from_indices(136, [8, 22], [5, 0]) == first
    assert (first.n_atoms, first.degrees_of_freedom, first.multiplicities) == (6, 1, (2, 4))


def test_letters_are_sorted_as_in_the_tables() -> None:
    assert Protostructure(47, ((1, "A"), (1, "z"))).letters == ("z", "A")


@pytest.mark.parametrize(
    ("group", "orbits", "message"),
    [
        (231, ((1, "a"),), "no space group 231"),
        (225, ((1, "m"),), "no Wyckoff position 'm'"),
        (225, ((1, "ab"),), "no Wyckoff position 'ab'"),
        (225, ((0, "a"),), "no element 0"),
        (225, (), "at least one occupied position"),
        (225, ((1, "a"), (2, "a")), "one orbit can occupy it; found 2"),
    ],
)
def test_impossible_ones_are_refused(group: int, orbits: tuple[tuple[int, str], ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Protostructure(group, orbits)


def test_a_crystal_places_its_orbits() -> None:
    rutile = SymmetricCrystal(
        Protostructure(136, ((22, "a"), (8, "f"))), np.diag([4.59, 4.59, 2.96]), [[0, 0, 0], [0.305, 0, 0]]
    )
    assert rutile.numbers.tolist() == [22, 22, 8, 8, 8, 8]
    found = {tuple(row) for row in rutile.fractional_positions.round(6).tolist()}
    assert found == {
        (0, 0, 0), (0.5, 0.5, 0.5), (0.305, 0.305, 0), (0.695, 0.695, 0), (0.195, 0.805, 0.5), (0.805, 0.195, 0.5),
    }  # fmt: skip
    assert np.allclose(rutile.positions, rutile.fractional_positions * [4.59, 4.59, 2.96])


@pytest.mark.parametrize(
    ("cell", "rows"), [(np.zeros((3, 3)), 1), (np.eye(2), 1), (np.eye(3), 2), (np.eye(3) * np.nan, 1)]
)
def test_crystals_without_volume_or_of_wrong_shape_are_refused(cell: np.ndarray, rows: int) -> None:
    with pytest.raises(InputError):
        SymmetricCrystal(Protostructure(1, ((1, "a"),)), cell, np.zeros((rows, 3)))


def test_crystal_systems() -> None:
    assert [crystal_system(group) for group in (1, 2, 3, 15, 16, 74, 75, 142, 143, 167, 168, 194, 195, 230)] == [
        "triclinic", "triclinic", "monoclinic", "monoclinic", "orthorhombic", "orthorhombic", "tetragonal",
        "tetragonal", "trigonal", "trigonal", "hexagonal", "hexagonal", "cubic", "cubic",
    ]  # fmt: skip
