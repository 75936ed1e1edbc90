"""Validity: crystals whose distances and charges are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from atomsym.core import InputError
from atomsym.core.elements import COVALENT_RADII, atomic_number_of, symbol_of
from atomsym.metrics import ATOMIC_RADII, is_charge_balanced, reduced_formula, shortest_distances, validity
from atomsym.metrics.oxidation_states import ELECTRONEGATIVITIES, METALS, OXIDATION_STATES, POLYANIONS


@dataclass(frozen=True)
class Cell:
    cell: np.ndarray
    fractional_positions: np.ndarray
    numbers: np.ndarray


def crystal(a: float, *atoms: tuple[int, tuple[float, float, float]]) -> Cell:
    return Cell(a * np.eye(3), np.array([place for _, place in atoms]), np.array([z for z, _ in atoms]))


def formula(text: str) -> dict[int, int]:
    pairs = (part.split(":") for part in text.split())
    return {atomic_number_of(symbol): int(count) for symbol, count in pairs}


def test_shortest_distances_by_hand_with_images() -> None:
    salt = crystal(3.0, (11, (0, 0, 0)), (17, (0.5, 0.5, 0.5)))
    across = crystal(6.0, (6, (0.02, 0, 0)), (6, (0.96, 1.0, -3.0)))  # 0.36 Å through two faces
    alone = crystal(2.0, (1, (0.3, 0.3, 0.3)))
    far = crystal(9.0, (1, (0, 0, 0)))
    found = shortest_distances([salt, across, alone, far])
    np.testing.assert_allclose(found.shortest, [3 * 0.75**0.5, 0.36, 2.0, np.inf], atol=1e-12)
    radii = COVALENT_RADII[11] + COVALENT_RADII[17]
    np.testing.assert_allclose(
        found.relative[0], min(3 * 0.75**0.5 / radii, 3.0 / (2 * COVALENT_RADII[11])), rtol=1e-12
    )


def test_distances_do_not_depend_on_how_crystals_are_batched() -> None:
    generator = np.random.default_rng(0)
    crystals = [
        Cell(
            np.eye(3) * 4 + generator.normal(size=(3, 3)) * 0.4, generator.random((n, 3)), generator.integers(1, 90, n)
        )
        for n in (1, 7, 3, 12, 2)
    ]
    together = shortest_distances(crystals)
    alone = [shortest_distances([c]) for c in crystals]
    np.testing.assert_array_equal(together.shortest, [one.shortest[0] for one in alone])
    np.testing.assert_array_equal(together.relative, [one.relative[0] for one in alone])


def test_skewed_cells_are_reduced_first() -> None:
    """A lattice in long vectors, one almost along another: its distances are those of the cube that it is."""
    skewed = np.array([[1, 0, 0], [4000, 1, 0], [-2500, 7000, 1]]) * 3.0
    cube = crystal(3.0, (11, (0, 0, 0)), (17, (0.5, 0.5, 0.5)))
    places = cube.fractional_positions @ cube.cell @ np.linalg.inv(skewed)
    found = shortest_distances([Cell(skewed, places, cube.numbers), cube])
    assert found.shortest[0] == pytest.approx(found.shortest[1], abs=1e-6)


def test_rules_of_distance() -> None:
    close = crystal(4.0, (6, (0, 0, 0)), (6, (0.12, 0, 0)))  # 0.48 Å
    tight = crystal(6.0, (55, (0, 0, 0)), (55, (0.4, 0, 0)))  # 2.4 Å; the floor is 3.2 Å
    good = crystal(4.2, (12, (0, 0, 0)), (8, (0.5, 0, 0)))
    found = validity([close, tight, good])
    assert found.distances.tolist() == [False, True, True]
    assert found.floor.tolist() == [False, False, True]


def test_the_rule_of_the_benchmark() -> None:
    """Half of 0.7 Å and Slater's radii: 1.4 Å for MgO, 2.95 Å for caesium; argon has no radius."""
    above = crystal(2.81, (12, (0, 0, 0)), (8, (0.5, 0, 0)))
    below = crystal(2.79, (12, (0, 0, 0)), (8, (0.5, 0, 0)))
    images = crystal(2.9, (55, (0, 0, 0)))
    alone = crystal(3.0, (55, (0, 0, 0)))
    noble = crystal(3.4, (18, (0, 0, 0)))
    needle = Cell(np.diag([0.2, 9.0, 9.0]), np.zeros((1, 3)), np.array([1]))
    found = validity([above, below, images, alone, noble, needle])
    assert found.benchmark.tolist() == [True, False, False, True, False, False]
    assert shortest_distances([above]).clearance[0] == pytest.approx(2.81 / 2 / (0.7 + 1.5 + 0.6))


def test_atomic_radii_are_those_that_pymatgen_has() -> None:
    pymatgen = pytest.importorskip("pymatgen.core.periodic_table")
    known = {element.Z: float(element.atomic_radius) for element in pymatgen.Element if element.atomic_radius}
    ours = {z: radius for z, radius in enumerate(ATOMIC_RADII) if np.isfinite(radius)}
    assert ours == {z: radius for z, radius in known.items() if z != 18}  # no source for argon


@pytest.mark.parametrize(
    "broken",
    [
        Cell(np.zeros((3, 3)), np.zeros((1, 3)), np.array([1])),
        Cell(np.full((3, 3), np.nan), np.zeros((1, 3)), np.array([1])),
        Cell(0.1 * np.eye(3), np.zeros((1, 3)), np.array([1])),
        Cell(np.diag([1e4, 1e4, 1e-6]), np.zeros((1, 3)), np.array([1])),
        Cell(np.array([[5, 0, 0], [0, 5, 0], [5, 5, 1e-9]]), np.zeros((1, 3)), np.array([1])),
        Cell(4 * np.eye(3), np.full((1, 3), np.inf), np.array([1])),
        Cell(4 * np.eye(3), np.zeros((0, 3)), np.zeros(0, dtype=int)),
    ],
)  # fmt: skip
def test_broken_crystals_are_invalid_and_do_no_harm(broken: Cell) -> None:
    good = crystal(4.2, (12, (0, 0, 0)), (8, (0.5, 0, 0)))
    found = validity([broken, good])
    assert found.distances.tolist() == found.floor.tolist() == [False, True]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Na:1 Cl:1", True), ("Ti:1 O:2", True), ("Ti:1 O:5", False), ("Ca:1 Ti:1 O:3", True), ("Fe:2 O:3", True),
        ("Fe:3 O:4", False), ("Cu:3 Au:1", True), ("Si:2", True), ("Mg:1 O:2", True), ("Na:2 O:1", True),
        ("Na:3 O:1", False), ("Fe:1 S:2", True), ("K:1 F:2", False), ("Ne:1 Na:1", False), ("Al:1 N:1", True),
        ("Ru:2 V:1 Si:1", True), ("Mg:1 B:2", True), ("Na:1 Si:1", True),
    ],
)  # fmt: skip
def test_charges_of_well_known_compounds(text: str, expected: bool) -> None:
    assert is_charge_balanced(formula(text)) is expected


def test_cations_are_not_more_electronegative_than_anions() -> None:
    """OF₂ has positive oxygen; a balance of charges alone would let O⁻² stand with a positive F, if it had one.

    Cl₁Br₁ balances in two ways, of which only Br⁺Cl⁻ has the right order; Br₇Cl would need Cl⁺⁷ and Br⁻.
    """
    assert is_charge_balanced(formula("Br:1 Cl:1"))
    assert not is_charge_balanced(formula("Br:7 Cl:1"))
    assert is_charge_balanced(formula("Br:1 Cl:7"))


def test_alloys_pass_only_if_asked() -> None:
    assert is_charge_balanced(formula("Cu:3 Al:2"))
    assert not is_charge_balanced(formula("Cu:3 Al:2"), alloys=False)


def test_multiples_of_a_formula_are_one() -> None:
    assert reduced_formula(formula("Ti:4 O:8")) == ((8, 2), (22, 1))
    for bad in ({}, {1: 0}):
        with pytest.raises(InputError):
            reduced_formula(bad)


def test_huge_cells_take_no_time() -> None:
    """The search is over sums, not over the 10²⁴ combinations of states of 40 cations."""
    cations = sorted(METALS & set(OXIDATION_STATES))[:40]
    assert is_charge_balanced({**dict.fromkeys(cations, 1), 8: 60})
    assert not is_charge_balanced({**dict.fromkeys(cations, 1), 8: 600})


def test_tables_agree_with_the_reference_works_that_pymatgen_has() -> None:
    from pymatgen.core import Element

    extra = {  # known in crystals, though not in that list
        (symbol_of(z), state)
        for z, states in OXIDATION_STATES.items()
        for state in set(states) - set(POLYANIONS.get(z, ()))
        if state not in Element.from_Z(z).oxidation_states and state not in Element.from_Z(z).icsd_oxidation_states
    }
    assert extra == {("Xe", state) for state in (2, 4, 6, 8)}
    for z, states in POLYANIONS.items():
        needed = 18 - Element.from_Z(z).group
        assert states == (tuple(range(-needed, 0)) if z != 5 else (-1,)), symbol_of(z)
    for z, value in ELECTRONEGATIVITIES.items():
        assert value == pytest.approx(Element.from_Z(z).X, abs=0.11), symbol_of(z)
    assert set(OXIDATION_STATES) == set(ELECTRONEGATIVITIES)
    assert all(z in METALS for z in (3, 13, 26, 50, 51, 57, 92))
    assert not METALS & {1, 8, 14, 17, 52}
