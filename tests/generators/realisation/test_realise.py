"""Realisation: crystals without overlaps, with the symmetry asked for, in bounded time, the same for the same seed."""

from __future__ import annotations

import time
from itertools import product

import moyopy
import numpy as np
import pytest

from atomsym.core import ConfigError, InputError
from atomsym.core.elements import COVALENT_RADII
from atomsym.generators.realisation import (
    DISTANCE_FLOOR,
    Realised,
    closest_contact,
    expected_volume,
    is_degenerate,
    realise,
)
from atomsym.generators.realisation.lattices import random_lattices
from atomsym.generators.realisation.realise import _REDRAWN, GROWTH
from atomsym.symmetry.wyckoff import Protostructure, SymmetricCrystal, wyckoff_positions
from atomsym.symmetry.wyckoff.freedom import lattice_strains, symmetrised_cell

PEROVSKITE = Protostructure(62, ((20, "c"), (22, "b"), (8, "c"), (8, "d")))
CROWDED = Protostructure(194, ((8, "k"), (8, "k"), (22, "k"), (56, "k"), (8, "h"), (22, "h"), (8, "f")))


def in_group(group: int) -> Protostructure:
    """Titanium on the first position, oxygen on a middle and on the general one."""
    positions = wyckoff_positions(group)
    orbits = [(22, positions[0]), (8, positions[len(positions) // 2]), (8, positions[-1])]
    kept = [n for n, (_, position) in enumerate(orbits) if not (n and position.is_point and position is positions[0])]
    return Protostructure(group, tuple((orbits[n][0], orbits[n][1].letter) for n in kept))


def brute_force_contact(crystal: SymmetricCrystal) -> float:
    """All pairs of atoms and 5 × 5 × 5 images."""
    radii = np.array(COVALENT_RADII)[crystal.numbers]
    shifts = np.array(list(product(range(-3, 4), repeat=3))) @ crystal.cell
    apart = crystal.positions[:, None, None] - crystal.positions[None, :, None] + shifts
    lengths = np.linalg.norm(apart, axis=3)
    lengths[lengths < 1e-9] = np.inf
    return float((lengths / (radii[:, None] + radii)[..., None]).min())


@pytest.mark.parametrize("group", range(1, 231))
def test_every_group_is_realised_and_found_again(group: int) -> None:
    """I-13: by an independent analysis within 1e-3 Å."""
    wanted = in_group(group)
    made = realise(wanted, generator=np.random.default_rng(group))
    assert made.distance_floor_met
    assert made.contact >= DISTANCE_FLOOR
    crystal = made.crystal
    assert crystal.protostructure == wanted
    np.testing.assert_allclose(symmetrised_cell(group, crystal.cell), crystal.cell, atol=1e-9)
    assert found_group(crystal, 1e-3) == group
    assert found_group(crystal, 0.1) == group


def found_group(crystal: SymmetricCrystal, symprec: float) -> int:
    cell = moyopy.Cell(crystal.cell.tolist(), crystal.fractional_positions.tolist(), crystal.numbers.tolist())
    return moyopy.MoyoDataset(cell, symprec=symprec).number


@pytest.mark.parametrize(
    "wanted",
    [
        Protostructure(65, ((16, "j"),)),
        Protostructure(139, ((39, "c"), (14, "e"))),
        Protostructure(148, ((50, "a"), (8, "f"))),
        Protostructure(186, ((69, "a"), (30, "b"), (30, "b"))),
    ],
    ids=str,
)
def test_a_crystal_is_not_more_symmetric_by_accident(wanted: Protostructure) -> None:
    """With little freedom coordinates are soon special within the tolerance; without the look at it some are lost."""

    def lost(symprec: float | None) -> int:
        generator = np.random.default_rng(0)
        made = [realise(wanted, generator=generator, symprec=symprec) for _ in range(60)]
        assert all(each.distance_floor_met for each in made)
        assert {each.symmetry_kept for each in made} == {None if symprec is None else True}
        return sum(found_group(each.crystal, 0.1) != wanted.space_group for each in made)

    assert lost(None) > 0
    assert lost(0.1) == 0


def test_what_only_more_symmetric_crystals_have_ends_and_says_so() -> None:
    """Copper on a and b of P-1 is a smaller cell whatever the lattice; the draws are bounded, the atoms keep apart."""
    made = realise(Protostructure(2, ((29, "a"), (29, "b"))), generator=np.random.default_rng(0))
    assert made.symmetry_kept is True, "a smaller cell of the same group"
    smaller = realise(Protostructure(119, ((30, "a"), (16, "b"))), generator=np.random.default_rng(0))
    assert smaller.symmetry_kept is False
    assert smaller.distance_floor_met
    assert 2 <= smaller.tries <= 1 + _REDRAWN
    assert realise(smaller.crystal.protostructure, generator=np.random.default_rng(0), trials=1).tries == 1


def test_crystals_without_or_with_much_freedom_are_not_analysed() -> None:
    salt, much = Protostructure(225, ((11, "a"), (17, "b"))), Protostructure(1, tuple((8, "a") for _ in range(3)))
    for each in (salt, much):
        assert realise(each, generator=np.random.default_rng(0)).symmetry_kept is None


@pytest.mark.parametrize("group", [1, 12, 62, 122, 148, 186, 198])
def test_the_contact_is_that_of_all_pairs_and_images(group: int) -> None:
    """Also in a flat, skewed cell, where the nearest image along each vector is not the nearest one."""
    generator = np.random.default_rng(group)
    crystal = realise(in_group(group), generator=generator).crystal
    assert closest_contact(crystal) == pytest.approx(brute_force_contact(crystal), rel=1e-9)
    strain = sum(generator.normal() * each for each in lattice_strains(group, crystal.cell))
    values, axes = np.linalg.eigh(0.8 * strain)
    skewed = SymmetricCrystal(
        crystal.protostructure, crystal.cell @ (axes * np.exp(values)) @ axes.T, crystal.parameters
    )
    assert closest_contact(skewed) == pytest.approx(brute_force_contact(skewed), rel=1e-9)


def test_images_of_the_same_atom_count() -> None:
    """Mutant: without the lattice vectors a cell with one atom would have no closest contact."""
    flat = SymmetricCrystal(Protostructure(123, ((55, "a"),)), np.diag([20.0, 20.0, 1.5]), np.zeros((1, 3)))
    assert closest_contact(flat) == pytest.approx(1.5 / (2 * COVALENT_RADII[55]))
    made = [realise(flat.protostructure, generator=np.random.default_rng(seed)) for seed in range(20)]
    assert all(each.distance_floor_met for each in made)


def test_the_same_seed_gives_the_same_crystal_and_another_one_another() -> None:
    def make(seed: int) -> Realised:
        return realise(PEROVSKITE, generator=np.random.default_rng(seed))

    first, again, other = make(4), make(4), make(5)
    assert first.crystal.cell.tobytes() == again.crystal.cell.tobytes()
    assert first.crystal.parameters.tobytes() == again.crystal.parameters.tobytes()
    assert np.abs(first.crystal.parameters - other.crystal.parameters).max() > 0.01


def test_the_volume_begins_with_what_is_expected_and_grows_by_the_try() -> None:
    made = realise(CROWDED, generator=np.random.default_rng(1))
    volume = abs(np.linalg.det(made.crystal.cell))
    assert volume == pytest.approx(expected_volume(CROWDED.composition) * GROWTH ** (made.tries - 1))
    wide = realise(CROWDED, generator=np.random.default_rng(1), volume=5000.0)
    assert wide.tries == 1
    assert abs(np.linalg.det(wide.crystal.cell)) == pytest.approx(5000.0)


def test_what_cannot_be_done_ends_and_says_so() -> None:
    """The tries are bounded, and the best crystal comes back with its contact."""
    start = time.process_time()
    made = realise(CROWDED, generator=np.random.default_rng(0), trials=5, volume=20.0)
    assert time.process_time() - start < 2
    assert not made.distance_floor_met
    assert made.tries == 5
    assert made.contact == pytest.approx(closest_contact(made.crystal), rel=1e-9)
    assert 0 < made.contact < DISTANCE_FLOOR


def test_crowded_cells_take_bounded_time() -> None:
    """Twenty general orbits of the largest group: 3,840 atoms."""
    monster = Protostructure(225, tuple((8, "l") for _ in range(20)))
    start = time.process_time()
    made = realise(monster, generator=np.random.default_rng(0), trials=2)
    assert time.process_time() - start < 20
    assert made.crystal.n_atoms == 3840


@pytest.mark.parametrize("group", [1, 2, 5, 15, 62, 122, 166, 186, 216])
def test_lattices_are_of_the_system_and_not_flat(group: int) -> None:
    cells = random_lattices(group, 200, np.random.default_rng(group))
    np.testing.assert_allclose(np.linalg.det(cells), 1, rtol=1e-9)
    for cell in cells:
        np.testing.assert_allclose(symmetrised_cell(group, cell), cell, atol=1e-9)
    lengths = np.linalg.norm(cells, axis=2)
    assert (lengths.max(axis=1) / lengths.min(axis=1)).max() < 20
    assert len(np.unique(cells.round(6), axis=0)) == (1 if group == 216 else 200)


def test_degenerate_protostructures_are_found() -> None:
    """Fm-3m with one element on a, b and c is a smaller cubic cell; F-43m with a and b alone is rock salt."""
    generator = np.random.default_rng(0)
    for group, orbits in (
        (225, ((29, "a"), (29, "b"), (29, "c"))),
        (216, ((30, "a"), (16, "b"))),
        (119, ((30, "a"), (16, "b"))),
        (186, ((30, "b"),)),
        (2, ((30, "a"), (30, "b"))),
    ):
        assert is_degenerate(Protostructure(group, orbits), generator=generator), (group, orbits)
    for group, orbits in (
        (216, ((30, "a"), (16, "c"))),
        (225, ((11, "a"), (17, "b"))),
        (186, ((30, "b"), (16, "b"))),
        (2, ((30, "a"), (16, "b"))),
    ):
        assert not is_degenerate(Protostructure(group, orbits), generator=generator), (group, orbits)
    assert not is_degenerate(PEROVSKITE, generator=generator)


def test_bad_arguments_are_refused() -> None:
    generator = np.random.default_rng(0)
    for wrong in ({"trials": 0}, {"floor": 0.0}, {"floor": float("nan")}, {"volume": -1.0}, {"symprec": 0.0}):
        with pytest.raises(ConfigError, match="must be positive"):
            realise(PEROVSKITE, generator=generator, **wrong)  # type: ignore[arg-type]
    for composition in ({}, {0: 1}, {119: 1}):
        with pytest.raises(InputError, match="elements 1 to 118"):
            expected_volume(composition)
