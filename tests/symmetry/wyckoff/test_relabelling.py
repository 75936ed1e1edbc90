"""Other choices of origin and axes: which letters they exchange, and that the canonical form does not notice."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from itertools import islice, permutations
from pathlib import Path

import moyopy
import numpy as np
import pytest

from atomsym.datasets.crystals import iterate_crystals
from atomsym.symmetry.wyckoff import Protostructure, SymmetricCrystal, analyse, canonical, template, wyckoff_positions
from atomsym.symmetry.wyckoff.relabelling import FILE, relabelled, relabellings
from atomsym.symmetry.wyckoff.table import LETTERS

Special = Callable[[int], SymmetricCrystal]
ALL_GROUPS = range(1, 231)


@pytest.mark.parametrize("group", ALL_GROUPS)
def test_relabellings_are_a_group_of_permutations_of_like_positions(group: int) -> None:
    rows = relabellings(group).astype(int)
    positions = wyckoff_positions(group)
    assert rows[0].tolist() == list(range(len(positions)))
    assert (np.sort(rows, axis=1) == np.arange(len(positions))).all()
    known = {tuple(row) for row in rows.tolist()}
    assert len(known) == len(rows)
    for row in rows[:: max(1, len(rows) // 20)]:
        assert all(tuple(other[row]) in known for other in rows)
        for place, new in enumerate(row):
            assert positions[place].multiplicity == positions[new].multiplicity
            assert positions[place].degrees_of_freedom == positions[new].degrees_of_freedom


def test_known_exchanges() -> None:
    """Of the origin in rock salt, diamond and wurtzite's groups, and of the axes in Pmmm."""
    assert len(relabellings(225)) == 2
    assert relabellings(227)[:, :2].tolist() == [[0, 1], [1, 0]]
    assert relabellings(186).tolist() == [[0, 1, 2, 3]]
    corners = {tuple(row[:8]) for row in relabellings(47).tolist()}
    assert len(corners) == 48
    assert len(relabellings(2)) == 1344  # affine maps of the eight inversion centres
    assert len(relabellings(12)) == 16  # four shifts of the origin, times other choices of the a and c axes
    assert FILE.stat().st_size < 100_000


@pytest.mark.parametrize("group", [2, 12, 47, 62, 71, 123, 141, 166, 189, 216, 225, 227])
def test_the_canonical_form_is_that_of_all_its_relabellings(group: int) -> None:
    rng = np.random.default_rng(group)
    letters = [position.letter for position in wyckoff_positions(group)]
    for _ in range(5):
        chosen = rng.choice(len(letters), size=min(3, len(letters)), replace=False)
        structure = Protostructure(group, tuple((int(z), letters[n]) for z, n in zip((8, 22, 8), chosen, strict=False)))
        first = canonical(structure)
        others = relabelled(structure)
        for other in others[:: max(1, len(others) // 30)]:
            assert canonical(other) == first
            assert template(other) == template(structure)
        assert first in others


def test_other_elements_have_the_same_template_and_another_canonical_form() -> None:
    salt, other = Protostructure(225, ((11, "a"), (17, "b"))), Protostructure(225, ((47, "b"), (35, "a")))
    assert template(salt) == template(other) == (225, ("a", "b"))
    assert canonical(salt) != canonical(other)
    assert template(Protostructure(225, ((11, "a"), (17, "c")))) != template(salt)
    assert template(Protostructure(225, ((11, "a"), (11, "b")))) != template(salt)


@pytest.mark.parametrize("shift", [(0, 0, 0), (0.5, 0.5, 0.5), (0.25, 0.1, 0.7)])
def test_a_crystal_in_other_axes_and_from_another_origin_has_the_same_canonical_form(
    shift: tuple[float, float, float],
) -> None:
    """Four atoms of Pmmm on corners, faces and edges, in all six orders of the axes."""
    places = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0, 0], [0.5, 0.5, 0]])
    numbers, lengths = [22, 56, 8, 9], np.array([3.9, 4.2, 4.6])
    found = set()
    for order in permutations(range(3)):
        cell, moved = np.diag(lengths[list(order)]), (places + shift)[:, list(order)]
        found.add(canonical(analyse(cell, moved, numbers).protostructure))
    assert len(found) == 1


def other_setting(crystal: SymmetricCrystal, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same crystal, turned or reflected, in other lattice vectors and from another origin."""
    change = np.eye(3)
    for _ in range(4):  # shears generate all unimodular matrices
        row, column = rng.choice(3, size=2, replace=False)
        shear = np.eye(3)
        shear[row, column] = rng.choice([-1, 1])
        change = shear @ change
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    places = crystal.fractional_positions @ np.linalg.inv(change) + rng.uniform(size=3)
    order = rng.permutation(crystal.n_atoms)
    return change @ crystal.cell @ turn, places[order], crystal.numbers[order]


@pytest.fixture
def special(crystal_of: Callable[[Protostructure, int], SymmetricCrystal]) -> Special:
    """A crystal with up to four different positions and two general orbits, each of its own element."""

    def make(group: int) -> SymmetricCrystal:
        positions = wyckoff_positions(group)
        chosen = np.random.default_rng(group).choice(len(positions), size=min(4, len(positions)), replace=False)
        letters = [*(positions[n].letter for n in chosen), positions[-1].letter, positions[-1].letter]
        return crystal_of(Protostructure(group, tuple(zip((6, 14, 22, 31, 39, 48), letters, strict=False))), group)

    return make


def check_other_settings(made: SymmetricCrystal) -> None:
    group = made.protostructure.space_group
    rng = np.random.default_rng(group)
    expected = canonical(made.protostructure)
    mirror = ENANTIOMORPHIC.get(group)
    for _ in range(3):
        found = analyse(*other_setting(made, rng), symprec=1e-4).protostructure
        assert found.space_group in {group, mirror}
        if found.space_group == group:
            assert canonical(found) == expected


ENANTIOMORPHIC = {
    left: right
    for pair in ((76, 78), (91, 95), (92, 96), (144, 145), (151, 153), (152, 154), (169, 170), (171, 172), (178, 179),
                 (180, 181), (212, 213))
    for left, right in (pair, pair[::-1])
}  # fmt: skip


@pytest.mark.parametrize("group", [1, 2, 5, 10, 12, 13, 15, 25, 47, 62, 70, 88, 123, 141, 148, 152, 166, 198, 216, 227])
def test_any_other_setting_has_the_same_canonical_form(group: int, special: Special) -> None:
    check_other_settings(special(group))


@pytest.mark.slow
@pytest.mark.parametrize("group", ALL_GROUPS)
def test_any_other_setting_has_the_same_canonical_form_in_every_group(group: int, special: Special) -> None:
    check_other_settings(special(group))


def check_finder(made: SymmetricCrystal) -> None:
    group = made.protostructure.space_group
    cell = moyopy.Cell(made.cell.tolist(), made.fractional_positions.tolist(), made.numbers.tolist())
    found = moyopy.MoyoDataset(cell, symprec=1e-4, setting=moyopy.Setting.standard())
    sequences = [[w.letter for w in own] for _, own in found.normalizer_wyckoff_positions().coset_representatives]
    expected = canonical(made.protostructure)
    for letters in sequences:
        counts = Counter(zip(found.std_cell.numbers, letters, strict=True))
        assert sum(counts.values()) == made.n_atoms
        assert canonical(Protostructure(group, tuple(counts))) == expected  # no orbit has its element and letter twice


@pytest.mark.parametrize("group", [5, 12, 47, 62, 88, 123, 148, 166, 216, 227])
def test_the_normalizer_of_an_independent_finder_is_contained(group: int, special: Special) -> None:
    check_finder(special(group))


@pytest.mark.slow
@pytest.mark.parametrize("group", ALL_GROUPS)
def test_the_normalizer_of_an_independent_finder_is_contained_in_every_group(group: int, special: Special) -> None:
    check_finder(special(group))


@pytest.mark.slow
def test_the_relabellings_of_pyxtal_are_contained() -> None:
    """Its 1,882, of Euclidean normalizers at general metrics, come from the Bilbao server."""
    symmetry = pytest.importorskip("pyxtal.symmetry")
    count = 0
    for group in ALL_GROUPS:
        known = {tuple(row) for row in relabellings(group).tolist()}
        for letters in symmetry.Group(group).get_alternatives()["Transformed WP"]:
            count += 1
            assert tuple(LETTERS.index(letter) for letter in letters.split()) in known
    assert count == 1882


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mp_20_biternary_val", "mpts_52_val"])
def test_real_crystals_in_other_settings_have_the_same_canonical_form(name: str) -> None:
    folder = Path(os.environ.get("ATOMSYM_DATA", Path(__file__).parents[4] / "shared" / "data"))
    if not (folder / "crystals").is_dir():
        pytest.skip("the data sets are not here")
    rng, same, count = np.random.default_rng(0), 0, 0
    for record in islice(iterate_crystals(name, folder=folder), 0, 4000, 40):
        crystal = analyse(record.cell, record.fractional_positions, record.numbers)
        found = analyse(*other_setting(crystal, rng)).protostructure
        count += 1
        same += canonical(found) == canonical(crystal.protostructure) or (
            ENANTIOMORPHIC.get(found.space_group) == crystal.protostructure.space_group
        )
    assert same == count == 100


@pytest.mark.slow
def test_the_builder_gives_the_shipped_bytes(tmp_path: Path) -> None:
    from atomsym.symmetry.wyckoff.relabelling import pack_relabellings
    from atomsym.workflows.wyckoff_relabellings import group_relabellings

    assert pack_relabellings([group_relabellings(group) for group in ALL_GROUPS]) == FILE.read_bytes()
