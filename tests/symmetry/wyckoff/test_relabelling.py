"""Other choices of origin and axes: which letters they exchange, and that the canonical form does not notice."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from atomsym.symmetry.wyckoff import Protostructure, analyse, canonical, template, wyckoff_positions
from atomsym.symmetry.wyckoff.relabelling import FILE, relabelled, relabellings

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
    assert FILE.stat().st_size < 100_000


@pytest.mark.parametrize("group", [2, 12, 47, 62, 71, 123, 141, 166, 189, 216, 225, 227])
def test_the_canonical_form_is_that_of_all_its_relabellings(group: int) -> None:
    rng = np.random.default_rng(group)
    letters = [position.letter for position in wyckoff_positions(group)]
    for _ in range(5):
        chosen = rng.choice(len(letters), size=min(3, len(letters)), replace=False)
        structure = Protostructure(group, tuple((int(z), letters[n]) for z, n in zip((8, 22, 8), chosen, strict=False)))
        first = canonical(structure)
        for other in relabelled(structure):
            assert canonical(other) == first
            assert template(other) == template(structure)
        assert first in relabelled(structure)


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


@pytest.mark.slow
def test_the_builder_gives_the_shipped_bytes(tmp_path: Path) -> None:
    from atomsym.symmetry.wyckoff.relabelling import pack_relabellings
    from atomsym.workflows.wyckoff_relabellings import group_relabellings

    assert pack_relabellings([group_relabellings(group) for group in ALL_GROUPS]) == FILE.read_bytes()
