"""The same structure is recognised whatever its place, order or orientation; different frames are not confused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from atomsym.core import LabelledStructure
from atomsym.datasets import find_duplicates, overlap, read_dataset

Maker = Callable[..., list[LabelledStructure]]


def rotated(structure: LabelledStructure) -> LabelledStructure:
    rotation = np.linalg.qr(np.random.default_rng(1).standard_normal((3, 3)))[0]
    return replace(structure, positions=structure.positions @ rotation)


def permuted(structure: LabelledStructure) -> LabelledStructure:
    order = [3, 0, 2, 1]
    return replace(structure, positions=structure.positions[order], numbers=structure.numbers[order])


def moved(structure: LabelledStructure) -> LabelledStructure:
    return replace(structure, positions=structure.positions + np.array([5.0, -3.0, 1.0]))


def shaken(structure: LabelledStructure) -> LabelledStructure:
    noise = np.random.default_rng(2).uniform(-1, 1, structure.positions.shape)
    return replace(structure, positions=structure.positions + 2e-4 * noise)


@pytest.mark.parametrize("change", [rotated, permuted, moved, shaken])
def test_a_molecule_is_recognised(molecules: Maker, change: Callable[[LabelledStructure], LabelledStructure]) -> None:
    made = molecules(40, step=0.02)
    assert overlap(made, [change(made[17])]) == [(17, 0)]
    assert find_duplicates([*made, change(made[3])]) == [(3, 40)]


@pytest.mark.parametrize(
    "change", [moved, shaken, lambda s: replace(s, positions=s.positions - s.cell[0] * [[1], [0], [3], [0]])]
)
def test_a_crystal_is_recognised(crystals: Maker, change: Callable[[LabelledStructure], LabelledStructure]) -> None:
    made = crystals(40)
    assert overlap(made, [change(made[17])]) == [(17, 0)]


def test_frames_that_differ_by_more_than_the_tolerance_are_different(molecules: Maker, crystals: Maker) -> None:
    for made in (molecules(40, step=0.02), crystals(40)):
        assert find_duplicates(made) == []
        positions = made[0].positions.copy()
        positions[2, 1] += 0.005
        other = replace(made[0], positions=positions)
        assert overlap(made, [other]) == []
        assert overlap(made, [other], tolerance=0.01) == [(0, 0)]


def test_other_elements_cells_or_directions_are_other_structures(crystals: Maker) -> None:
    made = crystals(1)[0]
    others = [
        replace(made, numbers=np.array([78, 78, 78, 78])),
        replace(made, cell=made.cell * 1.01),
        replace(made, pbc=np.array([True, True, False])),
    ]
    assert overlap([made], others) == []


def test_many_copies_are_each_paired_with_the_first(molecules: Maker) -> None:
    made = molecules(3)
    copies = [made[1]] * 2000
    pairs = find_duplicates([*made, *copies, shaken(made[1])])
    assert pairs == [(1, index) for index in range(3, 2004)]


def test_empty_sets_share_nothing(molecules: Maker) -> None:
    assert find_duplicates([]) == []
    assert overlap([], molecules(2)) == []


def test_single_atoms_are_duplicates_wherever_they_are(molecules: Maker) -> None:
    atom = molecules(1)[0]
    single = replace(atom, numbers=atom.numbers[:1], positions=atom.positions[:1], forces=None)
    assert find_duplicates([single, moved(single)]) == [(0, 1)]


def test_the_frames_that_two_published_files_share_are_found(published: Path) -> None:
    train = read_dataset(published / "3bpa/train_300K.xyz.gz")
    mixed = read_dataset(published / "3bpa/train_mixedT.xyz.gz")
    pairs = overlap(train, mixed)
    assert len(pairs) == 31
    assert all(j <= 166 for _, j in pairs)
    assert overlap(train, read_dataset(published / "3bpa/derived_test_300K.xyz.gz")) == []
