"""Splits, reference energies and known sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from atomsym.core import ConfigError, DataError, LabelledStructure
from atomsym.datasets import (
    Dataset,
    isolated_energies,
    known_sets,
    load_isolated_energies,
    load_known,
    overlap,
    reference_energies,
    split,
)

Maker = Callable[..., list[LabelledStructure]]


def names(dataset: Dataset) -> list[str]:
    return [structure.source for structure in dataset]


@pytest.mark.parametrize("by", ["random", "group", "block"])
def test_parts_are_disjoint_deterministic_and_complete(crystals: Maker, by: str) -> None:
    groups = [replace(s, group=f"g{i % 7}") for i, s in enumerate(crystals(50))]
    dataset = Dataset(groups)
    first = split(dataset, {"train": 0.8, "validation": 0.1, "test": 0.1}, seed=3, by=by)  # type: ignore[arg-type]
    again = split(dataset, {"train": 0.8, "validation": 0.1, "test": 0.1}, seed=3, by=by)  # type: ignore[arg-type]
    assert {name: names(part) for name, part in first.items()} == {name: names(part) for name, part in again.items()}
    everything = [source for part in first.values() for source in names(part)]
    assert sorted(everything) == sorted(names(dataset))
    if by != "group":
        assert [len(part) for part in first.values()] == [40, 5, 5]


def test_another_seed_gives_another_draw(crystals: Maker) -> None:
    dataset = Dataset(crystals(50))
    draws = {tuple(names(split(dataset, {"train": 25}, seed=seed)["train"])) for seed in range(5)}
    assert len(draws) == 5


def test_blocks_are_consecutive(crystals: Maker) -> None:
    parts = split(Dataset(crystals(10)), {"train": 6, "test": 3}, by="block")
    assert names(parts["train"]) == [f"made:{i}" for i in range(6)]
    assert names(parts["test"]) == [f"made:{i}" for i in range(6, 9)]


def test_groups_stay_whole_and_every_part_gets_one(crystals: Maker) -> None:
    sizes = [20, 10, 10, 5, 3, 2]
    labels = [f"g{group}" for group, size in enumerate(sizes) for _ in range(size)]
    dataset = Dataset([replace(s, group=label) for s, label in zip(crystals(50), labels, strict=True)])
    parts = split(dataset, {"train": 0.7, "validation": 0.1, "test": 0.2}, seed=1, by="group")
    held = {name: {s.group for s in part} for name, part in parts.items()}
    assert all(held.values())
    assert sum(len(groups) for groups in held.values()) == 6
    assert sum(len(part) for part in parts.values()) == 50
    assert abs(len(parts["train"]) - 35) <= 5


@pytest.mark.parametrize(
    ("sizes", "error", "message"),
    [
        ({"train": 60}, DataError, "60 structures are asked for"),
        ({"train": -1}, ConfigError, ">= 0"),
        ({"train": 0.9, "test": 0.2}, ConfigError, "sum to at most 1"),
        ({"train": 0.5, "test": 5}, ConfigError, "all counts"),
        ({"train": 0.99, "test": 0.001}, DataError, "'test'.*would be empty"),
    ],
)
def test_impossible_sizes_are_refused(
    crystals: Maker, sizes: dict[str, float], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        split(Dataset(crystals(50)), sizes)


def test_too_few_groups_are_refused(crystals: Maker) -> None:
    with pytest.raises(DataError, match="the set has 2 groups"):
        split(Dataset(crystals(10)), {"a": 0.4, "b": 0.3, "c": 0.3}, by="group")
    with pytest.raises(ConfigError, match="'time' is unknown"):
        split(Dataset(crystals(10)), {"a": 0.5}, by="time")  # type: ignore[arg-type]


# Reference energies --------------------------------------------------------------------------------------------------


def atom(number: int, energy: float, **changes: object) -> LabelledStructure:
    single = LabelledStructure(
        np.array([number]),
        np.zeros((1, 3)),
        np.zeros((3, 3)),
        np.zeros(3, bool),
        energy=energy,
        source=f"atom {number}",
    )
    return replace(single, **changes)  # type: ignore[arg-type]


def test_fitted_energies_are_those_that_the_compositions_were_made_of(crystals: Maker) -> None:
    made = [replace(s, energy=float(np.where(s.numbers == 29, -3.7, -5.5).sum())) for s in crystals(30)]
    fitted = reference_energies(made)
    assert (fitted.method, fitted.unique) == ("least_squares", True)
    assert fitted.energies == pytest.approx({28: -5.5, 29: -3.7}, abs=1e-10)
    assert fitted.rms == pytest.approx(0, abs=1e-10)
    assert fitted.of(np.array([28, 29, 29])) == pytest.approx(-12.9)


def test_one_composition_gives_finite_energies_and_says_that_they_mean_nothing(molecules: Maker) -> None:
    made = molecules(20)
    fitted = reference_energies(made)
    assert not fitted.unique
    assert "not determined by the compositions" in str(fitted)
    mean = np.mean([s.energy for s in made])
    assert fitted.energies == pytest.approx(dict.fromkeys((1, 6, 8), mean / 4), abs=1e-9)
    assert sum(fitted.of(s.numbers) for s in made) == pytest.approx(20 * mean)


def test_isolated_atoms_are_preferred_if_all_elements_have_one(molecules: Maker) -> None:
    atoms = [atom(1, -13.6), atom(6, -1030.0), atom(8, -2040.0)]
    found = reference_energies([*molecules(5), *atoms])
    assert found.method == "isolated"
    assert found.energies == {1: -13.6, 6: -1030.0, 8: -2040.0}
    assert reference_energies(molecules(5), isolated=atoms).energies == found.energies
    assert reference_energies([*molecules(5), *atoms], method="least_squares").method == "least_squares"
    assert reference_energies([*molecules(5), *atoms[:2]]).method == "least_squares"
    given = reference_energies(molecules(5), isolated={1: -1.0, 6: -2.0, 8: -3.0})
    assert (given.method, given.energies[8]) == ("given", -3.0)


def test_a_crystal_with_one_atom_is_not_an_isolated_atom() -> None:
    cell = {"cell": np.eye(3) * 2.5, "pbc": np.ones(3, bool)}
    assert isolated_energies([atom(29, -3.7, **cell)]) == {}
    assert isolated_energies([atom(29, -0.2, **cell, group="IsolatedAtom")]) == {29: -0.2}


def test_faults_of_reference_energies_are_named(molecules: Maker) -> None:
    with pytest.raises(DataError, match="the isolated atoms lack O; there are H, C"):
        reference_energies(molecules(2), isolated=[atom(1, -13.6), atom(6, -1030.0)])
    with pytest.raises(DataError, match="the given energies lack C, O"):
        reference_energies(molecules(2), isolated={1: -13.6})
    with pytest.raises(DataError, match=r"an isolated H has -13.0 eV, another one has -13.6 eV"):
        isolated_energies([atom(1, -13.6), atom(1, -13.0)])
    with pytest.raises(DataError, match="no structure has an energy"):
        reference_energies([replace(s, energy=None) for s in molecules(2)])
    with pytest.raises(DataError, match="no reference energy for Fe"):
        reference_energies(molecules(2)).of(np.array([26]))
    with pytest.raises(ConfigError, match="'magic' is unknown"):
        reference_energies(molecules(2), method="magic")  # type: ignore[arg-type]


# Known sets ----------------------------------------------------------------------------------------------------------


def test_known_sets_say_whom_to_cite_and_under_which_licence() -> None:
    for name, known in known_sets().items():
        assert known.name == name
        for text in (known.title, known.citation, known.licence, known.origin, known.level_of_theory, known.protocol):
            assert text


def test_missing_folders_files_and_names_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ATOMSYM_DATA", raising=False)
    with pytest.raises(ConfigError, match="ATOMSYM_DATA"):
        load_known("3bpa")
    with pytest.raises(DataError, match=r"has no train_300K.xyz \(or .gz\).*BOTNet-datasets.*; licence: MIT"):
        load_known("3bpa", folder=tmp_path)
    with pytest.raises(ConfigError, match="'4bpa' is not a known data set; known are 3bpa"):
        load_known("4bpa", folder=tmp_path)
    with pytest.raises(DataError, match="without energies of isolated atoms"):
        load_isolated_energies("water", folder=tmp_path)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("3bpa", {"train": 450, "validation": 50, "test_300K": 136, "test_600K": 167, "test_1200K": 166}),
        ("rmd17-ethanol", {"train": 950, "validation": 50, "test": 1000}),
        ("mlearn-Cu", {"train": 236, "validation": 26, "test": 31}),
        ("water", {"train": 300, "validation": 20, "test": 80}),
    ],
)
def test_published_splits_have_their_sizes_and_share_nothing(published: Path, name: str, sizes: dict[str, int]) -> None:
    splits = load_known(name, folder=published)
    assert {part: len(dataset) for part, dataset in splits.items()} == sizes
    parts = list(splits.values())
    for index, part in enumerate(parts[1:], start=1):
        assert overlap(parts[0], part) == [], index


def test_isolated_atoms_of_3bpa_leave_binding_energies(published: Path) -> None:
    energies = load_isolated_energies("3bpa", folder=published)
    references = reference_energies(load_known("3bpa", folder=published)["train"], isolated=energies)
    train = load_known("3bpa", folder=published)["train"]
    binding = [(s.energy - references.of(s.numbers)) / s.n_atoms for s in train]  # type: ignore[operator]
    assert -8 < min(binding) < max(binding) < -3  # eV/atom, as covalent molecules have
