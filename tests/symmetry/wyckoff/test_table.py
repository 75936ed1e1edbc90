"""The table of Wyckoff positions: complete, consistent with the groups' operators, and the same as others have."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from atomsym.core import InputError
from atomsym.symmetry.wyckoff import WyckoffPosition, wyckoff_position, wyckoff_positions
from atomsym.symmetry.wyckoff.group_features import group_features
from atomsym.symmetry.wyckoff.table import FILE

ALL = [position for group in range(1, 231) for position in wyckoff_positions(group)]
PARAMETERS = np.array([0.1372, 0.2719, 0.4091])


def test_all_positions_are_there() -> None:
    assert len(ALL) == 1731
    assert Counter(position.degrees_of_freedom for position in ALL) == {0: 616, 1: 718, 2: 167, 3: 230}
    assert max(position.multiplicity for position in ALL) == 192
    assert max(len(wyckoff_positions(group)) for group in range(1, 231)) == 27
    assert len({position.site_symmetry for position in ALL}) == 78
    assert FILE.stat().st_size < 200_000


@pytest.mark.parametrize("group", range(1, 231))
def test_orbits_are_closed_under_the_operators_of_the_group(group: int) -> None:
    """The general position lists the operators; its orbit through any atom of any position is that position's orbit."""
    general = wyckoff_positions(group)[-1]
    for position in wyckoff_positions(group):
        atoms = position.coordinates(PARAMETERS)
        images = general.coordinates(atoms[0])
        keys = {tuple(np.rint(image * 1e6).astype(int) % 1_000_000) for image in images}
        assert keys == {tuple(np.rint(atom * 1e6).astype(int) % 1_000_000) for atom in atoms}
        assert len(keys) == position.multiplicity


def test_multiplicity_times_site_symmetry_is_the_order_of_the_group() -> None:
    for position in ALL:
        assert wyckoff_positions(position.space_group)[-1].multiplicity % position.multiplicity == 0


def test_degrees_of_freedom_count_what_moves_the_atoms() -> None:
    for position in ALL:
        changes = [np.abs(position.matrices[:, :, axis]).sum() > 0 for axis in range(3)]
        assert sum(changes) == position.degrees_of_freedom
        assert position.is_point == (position.degrees_of_freedom == 0)


def test_known_positions() -> None:
    """Rock salt, fluorite, rutile and spinel, as every table of structures has them."""
    assert wyckoff_position(225, "a").coordinates(PARAMETERS)[0].tolist() == [0, 0, 0]
    assert wyckoff_position(225, "b").coordinates(PARAMETERS)[0].tolist() == [0.5, 0.5, 0.5]
    assert wyckoff_position(225, "c").site_symmetry == "-43m"
    oxygen = wyckoff_position(136, "f").coordinates(np.array([0.305, 0.7, 0.9]))
    np.testing.assert_allclose(oxygen[0], [0.305, 0.305, 0])
    assert wyckoff_position(227, "e").multiplicity == 32
    assert wyckoff_position(227, "a").coordinates(PARAMETERS)[0].tolist() == [0.125, 0.125, 0.125]  # origin choice 2
    assert wyckoff_position(47, "A").multiplicity == 8


def test_related_groups_share_features() -> None:
    features = group_features()
    assert features.shape[0] == 231
    assert not features[0].any()
    assert len({tuple(row) for row in features[1:].tolist()}) > 180
    holds = (features[225] >= features[216]).all()
    assert holds  # F-43m is a subgroup of Fm-3m with the same cell


@pytest.mark.parametrize("group", [0, 231, -1, True, "225", 225.5, None])
def test_other_things_are_no_space_groups(group: object) -> None:
    with pytest.raises(InputError, match="no space group"):
        wyckoff_positions(group)  # type: ignore[arg-type]


def test_letters_that_are_not_there_are_named() -> None:
    with pytest.raises(InputError, match="no Wyckoff position 'z'; its letters are a to l"):
        wyckoff_position(225, "z")


@pytest.mark.slow
def test_the_program_makes_the_shipped_bytes(tmp_path: Path) -> None:
    """With the tested versions of moyopy and numpy, see constraints.txt."""
    from atomsym.workflows.wyckoff_table import main

    assert main([str(tmp_path / "positions.npz")]) == 0
    assert (tmp_path / "positions.npz").read_bytes() == FILE.read_bytes()


@pytest.mark.slow
def test_letters_name_the_same_points_as_in_pyxtal() -> None:
    symmetry = pytest.importorskip("pyxtal.symmetry")
    for group in range(1, 231):
        theirs = {w.letter: w for w in symmetry.Group(group).Wyckoff_positions}
        assert len(theirs) == len(wyckoff_positions(group))
        for own in wyckoff_positions(group):
            other = theirs[own.letter]
            assert (own.multiplicity, own.degrees_of_freedom) == (other.multiplicity, other.get_dof())
            for operator in other:
                assert lies_on(own, np.asarray(operator.operate(PARAMETERS)))


def lies_on(position: WyckoffPosition, point: np.ndarray) -> bool:
    """Whether some free parameters put an atom of the position there, up to lattice translations."""
    shifts = np.stack(np.meshgrid(*[np.arange(-3, 4)] * 3, indexing="ij"), -1).reshape(-1, 3)
    for matrix, translation in zip(position.matrices, position.translations, strict=True):
        wanted = point - translation + shifts
        onto = matrix @ np.linalg.pinv(matrix)
        if (np.abs(wanted - wanted @ onto.T).max(axis=1) < 1e-8).any():
            return True
    return False
