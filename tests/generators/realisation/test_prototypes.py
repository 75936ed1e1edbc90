"""Look-up of known crystals: same template, most similar elements first, scaled volume, equivalent protostructure."""

from __future__ import annotations

import numpy as np
import pytest

from atomsym.generators.realisation import (
    PrototypeLibrary,
    closest_contact,
    default_trials,
    expected_volume,
    realisations,
)
from atomsym.symmetry.wyckoff import Protostructure, SymmetricCrystal, analyse, canonical, template

SALT = SymmetricCrystal(Protostructure(225, ((11, "a"), (17, "b"))), 5.64 * np.eye(3), np.zeros((2, 3)))
RUTILE = SymmetricCrystal(
    Protostructure(136, ((22, "a"), (8, "f"))), np.diag([4.59, 4.59, 2.96]), np.array([[0, 0, 0], [0.305, 0, 0]])
)
SPINEL = SymmetricCrystal(
    Protostructure(227, ((12, "a"), (13, "d"), (8, "e"))),
    8.08 * np.eye(3),
    np.array([[0.0] * 3, [0.0] * 3, [0.262] * 3]),
)
LIBRARY = PrototypeLibrary([("salt", SALT), ("rutile", RUTILE), ("spinel", SPINEL)])


def test_elements_are_exchanged_and_the_volume_scaled() -> None:
    (found,) = LIBRARY.matches(Protostructure(136, ((50, "a"), (8, "f"))))
    assert (found.source, found.tries, found.distance_floor_met) == ("rutile", 0, True)
    crystal = found.crystal
    assert crystal.protostructure == Protostructure(136, ((50, "a"), (8, "f")))
    assert crystal.cell[2, 2] / crystal.cell[0, 0] == pytest.approx(2.96 / 4.59)
    ratio = expected_volume({50: 2, 8: 4}) / expected_volume({22: 2, 8: 4})
    assert np.linalg.det(crystal.cell) == pytest.approx(ratio * np.linalg.det(RUTILE.cell))
    assert found.contact == pytest.approx(closest_contact(crystal))
    np.testing.assert_array_equal(crystal.parameters, RUTILE.parameters)


def test_other_origins_are_recognised() -> None:
    """Spinel with the origin on the octahedra has other letters; the crystal found is the same one."""
    shifted = Protostructure(227, ((30, "b"), (24, "c"), (16, "e")))
    assert template(shifted) == template(SPINEL.protostructure)
    (found,) = LIBRARY.matches(shifted)
    assert found.source == "spinel"
    assert canonical(found.crystal.protostructure) == canonical(shifted)
    crystal = found.crystal
    again = analyse(crystal.cell, crystal.fractional_positions, crystal.numbers)
    assert canonical(again.protostructure) == canonical(shifted)


def test_coordinates_follow_their_orbits_when_the_elements_change_their_order() -> None:
    """Two elements on the same free position, of which the heavier is exchanged by a lighter one."""
    structure = Protostructure(194, ((8, "f"), (48, "f")))
    cell = np.array([[4, 0, 0], [-2, 12**0.5, 0], [0, 0, 14.0]])
    known = SymmetricCrystal(structure, cell, np.array([[0, 0, 0.05], [0, 0, 0.16]]))
    (found,) = PrototypeLibrary([("known", known)]).matches(Protostructure(194, ((3, "f"), (55, "f"))), floor=0.1)
    assert found.crystal.protostructure.orbits == ((3, "f"), (55, "f"))
    assert found.crystal.parameters[:, 2].tolist() == [0.05, 0.16]
    (swapped,) = PrototypeLibrary([("known", known)]).matches(Protostructure(194, ((37, "f"), (53, "f"))), floor=0.1)
    assert swapped.crystal.protostructure.orbits == ((37, "f"), (53, "f"))  # I is smaller than Rb: it takes O's place
    assert swapped.crystal.parameters[:, 2].tolist() == [0.16, 0.05]


def test_the_most_similar_elements_come_first() -> None:
    cells = {
        "big": (Protostructure(225, ((55, "a"), (53, "b"))), 7.7),
        "near": (Protostructure(225, ((3, "a"), (9, "b"))), 4.0),
    }
    library = PrototypeLibrary(
        (name, SymmetricCrystal(structure, a * np.eye(3), np.zeros((2, 3)))) for name, (structure, a) in cells.items()
    )
    assert (len(library), library.n_templates) == (2, 1)
    wanted = Protostructure(225, ((12, "a"), (8, "b")))
    assert [each.source for each in library.matches(wanted, limit=5)] == ["near", "big"]
    assert [each.source for each in library.matches(wanted)] == ["near"]


def test_other_templates_have_no_match() -> None:
    assert LIBRARY.matches(Protostructure(225, ((11, "a"), (17, "c")))) == []
    assert LIBRARY.matches(Protostructure(225, ((11, "a"), (11, "b")))) == []


def test_known_geometries_come_before_random_ones() -> None:
    rutile = Protostructure(136, ((50, "a"), (8, "f")))
    assert default_trials(rutile) == 2
    found = realisations(rutile, generator=np.random.default_rng(0), prototypes=LIBRARY)
    assert [each.source for each in found] == ["rutile", "random"]
    assert all(each.distance_floor_met for each in found)
    alone = realisations(rutile, generator=np.random.default_rng(0))
    assert [each.source for each in alone] == ["random", "random"]
    assert alone[0].crystal.cell.tobytes() != alone[1].crystal.cell.tobytes()
    salt = Protostructure(225, ((12, "a"), (8, "b")))
    assert [each.source for each in realisations(salt, generator=np.random.default_rng(0), prototypes=LIBRARY)] == [
        "salt"
    ]
    many = Protostructure(62, ((20, "c"), (22, "c"), (8, "d")))
    assert len(realisations(many, generator=np.random.default_rng(0), prototypes=LIBRARY)) == 3
