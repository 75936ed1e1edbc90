"""The set of organic molecules: sound geometries, no leakage between its parts, the same whoever makes it."""

from __future__ import annotations

import csv
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tblite")
pytest.importorskip("rdkit")

from ase import Atoms, units
from ase.build import molecule
from ase.vibrations.data import VibrationsData

from atomsym.core import ConfigError, InputError
from atomsym.datasets import Dataset, check_dataset, isolated_energies, read_dataset, reference_energies
from atomsym.workflows.label.engine import LabelError
from atomsym.workflows.label.xtb import XtbEngine
from atomsym.workflows.organic_xtb import OrganicSettings, run_organic
from atomsym.workflows.organic_xtb import geometry as moves
from atomsym.workflows.organic_xtb.compact import DIGITS, write_compact
from atomsym.workflows.organic_xtb.minima import find_minima
from atomsym.workflows.organic_xtb.molecule import MoleculeSampler, isolated_atoms
from atomsym.workflows.organic_xtb.rdkit_molecules import skeleton_of
from atomsym.workflows.organic_xtb.run import make_shards
from atomsym.workflows.organic_xtb.selection import COMPANIONS, PARTS, Choice, part_of
from atomsym.workflows.organic_xtb.settings import KIND_SHARES

ETHANOL = molecule("CH3CH2OH")


def bonds_of(atoms: Atoms) -> tuple[tuple[int, int], ...]:
    ratio = moves.distances(atoms.positions) / moves.radius_sums(atoms.numbers)
    return tuple((i, j) for i in range(len(atoms)) for j in range(i + 1, len(atoms)) if ratio[i, j] < 1.3)


def test_a_stretched_bond_has_the_length_and_only_its_side_moves() -> None:
    bonds, positions = bonds_of(ETHANOL), ETHANOL.positions
    bond = next(bond for bond in bonds if (ETHANOL.numbers[list(bond)] == 6).all())
    side = moves.side_of(len(ETHANOL), bonds, bond)
    assert side is not None
    assert 1 < side.sum() < 8
    longer = moves.stretched(positions, bond, side, 1.7)
    length = [np.linalg.norm(x[bond[0]] - x[bond[1]]) for x in (positions, longer)]
    assert length[1] == pytest.approx(1.7 * length[0])
    inside = np.ix_(side, side)
    assert moves.distances(longer)[inside] == pytest.approx(moves.distances(positions)[inside])
    assert np.array_equal(longer[~side], positions[~side])
    ring = molecule("C6H6")
    assert moves.side_of(12, bonds_of(ring), (0, 1)) is None


def test_bending_keeps_lengths_and_turns_by_the_angle() -> None:
    bonds, positions = bonds_of(ETHANOL), ETHANOL.positions
    bond = next(bond for bond in bonds if set(ETHANOL.numbers[list(bond)]) == {6, 8})
    side = moves.side_of(len(ETHANOL), bonds, bond)
    assert side is not None
    turned = moves.bent(positions, bond, side, 0.5, np.random.default_rng(0))
    before, after = (x[bond[1]] - x[bond[0]] for x in (positions, turned))
    assert np.linalg.norm(after) == pytest.approx(np.linalg.norm(before))
    assert np.arccos(before @ after / (before @ before)) == pytest.approx(0.5)


def test_a_hydrogen_moves_to_the_length_of_a_bond() -> None:
    x = np.array([[0.0, 0.0, 0.0], [3.0, 0.0, 0.0]])
    assert np.array_equal(moves.transferred(x, 1, 0, 1.0, 0.0), x)
    assert moves.transferred(x, 1, 0, 1.0, 1.0)[1] == pytest.approx([1, 0, 0])
    assert moves.transferred(x, 1, 0, 1.0, 0.25)[1] == pytest.approx([2.5, 0, 0])


def test_dimers_touch_at_the_asked_distance() -> None:
    water = molecule("H2O")
    generator = np.random.default_rng(0)
    for contact in (1.6, 2.5, 4.0):
        numbers = (ETHANOL.numbers, water.numbers)
        pair = moves.beside(numbers, (ETHANOL.positions, water.positions), contact, generator)
        ratio = moves.distances(pair) / moves.radius_sums(np.concatenate(numbers))
        assert ratio[:9, 9:].min() == pytest.approx(contact)
        assert moves.distances(pair[9:]) == pytest.approx(moves.distances(water.positions))


def test_rotations_are_rotations_and_uniform() -> None:
    generator = np.random.default_rng(1)
    found = np.array([moves.random_rotation(generator) for _ in range(2000)])
    assert np.einsum("nij,nkj->nik", found, found) == pytest.approx(np.broadcast_to(np.eye(3), found.shape), abs=1e-12)
    assert np.linalg.det(found) == pytest.approx(1.0)
    assert np.abs(found.mean(axis=0)).max() < 0.06  # 1/sqrt(3 · 2000) = 0.013
    assert (found**2).mean(axis=0) == pytest.approx(np.full((3, 3), 1 / 3), abs=0.03)


def test_modes_are_those_of_ase_and_draws_have_the_width_of_the_quantum_oscillator() -> None:
    engine = XtbEngine()
    minimum = find_minima(engine, skeleton_of("O"), 1, 0)[0][0]
    hessian = minimum.labels.hessian
    assert hessian is not None
    atoms = Atoms("OH2", minimum.positions)
    expected = VibrationsData.from_2d(atoms, hessian).get_frequencies().real[-3:]
    numbers, shapes = minimum.modes
    assert numbers == pytest.approx(expected, rel=1e-3)
    assert 1000 < numbers[0] < 2000 < 3000 < numbers[1] < numbers[2] < 4500
    generator = np.random.default_rng(0)
    draws = np.array([moves.displaced(minimum.positions, minimum.modes, 1500.0, generator) for _ in range(4000)])
    away = (draws - minimum.positions).reshape(len(draws), -1)
    masses = np.repeat(atoms.get_masses(), 3)
    energy = 0.5 * np.einsum("na,ab,nb->n", away, hessian, away).mean()
    quanta = numbers * units.invcm
    exact = float((0.25 * quanta / np.tanh(quanta / (2 * units.kB * 1500.0))).sum())  # half of the energy
    assert energy == pytest.approx(exact, rel=0.04)
    classical = 1.5 * units.kB * 1500.0
    assert abs(classical / exact - 1) > 0.15  # what a forgotten zero-point motion would give
    assert np.abs((masses[None] * away).reshape(-1, 3, 3).sum(axis=1)).max() < 1e-9  # the centre of mass rests
    assert shapes.shape == (3, 3, 3)


@pytest.mark.parametrize(("smiles", "count"), [("[H][H]", 1), ("C#N", 4), ("C", 9)])
def test_linear_molecules_have_one_mode_more(smiles: str, count: int) -> None:
    minima, refused = find_minima(XtbEngine(), skeleton_of(smiles), 2, 0)
    assert refused == []
    assert len(minima) == 1
    assert minima[0].modes[1].shape[0] == count
    assert np.abs(minima[0].labels.forces).max() < 0.01


def test_a_molecule_that_falls_apart_has_no_minimum() -> None:
    with pytest.raises(LabelError):
        MoleculeSampler(OrganicSettings(), XtbEngine()).frames("C1C2CC12C=O.O")


def test_isolated_atoms_are_references_for_training() -> None:
    atoms = isolated_atoms(XtbEngine(), [1, 6, 8])
    energies = isolated_energies(atoms)
    assert sorted(energies) == [1, 6, 8]
    water = XtbEngine().label(replace(atoms[0], numbers=np.array([8, 1, 1]), positions=molecule("H2O").positions))
    binding = water.energy - energies[8] - 2 * energies[1]
    assert -15 < binding < -8  # experiment: -10.06 eV; the method binds too much, its atoms lack spin polarisation


def test_shards_are_of_one_part_and_hold_every_molecule_once() -> None:
    chosen = [Choice(f"M{n}", 1, PARTS[n % 3]) for n in range(25)]
    shards = make_shards(chosen, 4)
    assert sorted(item.smiles for shard in shards for item in shard.molecules) == sorted(c.smiles for c in chosen)
    assert all(shard.name.startswith(item.part) for shard in shards for item in shard.molecules)
    assert shards[0].molecules[0].smiles == "M0"


SMALL = OrganicSettings(
    molecules=8, frames_per_molecule=14, hessians_per_molecule=2, max_heavy=3, stride=4, molecules_per_shard=3, seed=3
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set") / "whole"
    result = run_organic(SMALL, folder)
    assert (result.complete, result.molecules, result.failed) == (True, 8, 0)
    return folder


def parts_of(folder: Path) -> dict[str, Dataset]:
    return {part: read_dataset(folder / f"{part}.lmdb") for part in PARTS}


def test_the_set_is_the_same_when_interrupted_and_made_by_two_workers(made: Path, tmp_path: Path) -> None:
    asked = iter(range(100))
    first = run_organic(SMALL, tmp_path, should_stop=lambda: "time limit" if next(asked) >= 4 else "")
    assert (first.complete, first.reason) == (False, "time limit")
    assert 0 < first.molecules < 8
    shard = read_dataset(next((tmp_path / "shards").glob("*.lmdb")))
    assert len(shard) > 10  # can be read while the rest is not there
    with pytest.raises(InputError, match="--resume"):
        run_organic(SMALL, tmp_path)
    with pytest.raises(ConfigError, match="other settings"):
        run_organic(replace(SMALL, seed=4), tmp_path, resume=True)
    assert run_organic(SMALL, tmp_path, workers=2, resume=True).complete
    for name in ("train.lmdb", "validation.lmdb", "test.lmdb", "summary.json", "failures.csv", "molecules.csv"):
        assert (tmp_path / name).read_bytes() == (made / name).read_bytes(), name


def test_no_molecule_is_in_two_parts(made: Path) -> None:
    seen: dict[str, set[str]] = {}
    for part, structures in parts_of(made).items():
        for structure in structures:
            if structure.n_atoms == 1:
                continue
            for smiles in structure.source.split()[0].split("."):
                seen.setdefault(smiles, set()).add(part)
    molecules = {smiles: parts for smiles, parts in seen.items() if smiles not in COMPANIONS}
    assert all(parts == {part_of(smiles)} for smiles, parts in molecules.items())
    with open(made / "molecules.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["smiles"] for row in rows} <= set(seen)
    assert all(row["part"] == part_of(row["smiles"]) for row in rows)


def test_frames_obey_the_rules_and_have_their_labels(made: Path) -> None:
    kinds: Counter[str] = Counter()
    engine = XtbEngine()
    for part, structures in parts_of(made).items():
        if part == "train":
            assert sorted(isolated_energies(structures)) == [1, 6, 7, 8, 9]
            assert reference_energies(structures).method == "isolated"
        for structure in structures:
            kinds[structure.group] += 1
            assert structure.energy is not None
            assert structure.forces is not None
            assert np.linalg.norm(structure.forces, axis=1).max() <= SMALL.max_force
            if structure.n_atoms > 1:
                assert moves.closest_contact(structure.numbers, structure.positions) >= SMALL.min_distance
                assert np.abs(structure.forces.sum(axis=0)).max() < 1e-3
    frame = parts_of(made)["train"][-1]
    assert engine.label(frame).energy == frame.energy
    assert set(kinds) == {"minimum", "isolated atom", *KIND_SHARES}
    summary = json.loads((made / "summary.json").read_text())
    assert summary["kinds"] == {kind: n for kind, n in sorted(kinds.items()) if kind != "isolated atom"}
    assert sum(summary["hessians"].values()) == 2 * 8
    curved = [structure for structure in parts_of(made)["train"] if structure.hessian is not None]
    assert all(np.array_equal(one.hessian, one.hessian.T) for one in curved if one.hessian is not None)
    assert check_dataset(parts_of(made)["train"]).ok


def test_the_compact_copy_is_the_set_but_for_its_last_digits(made: Path) -> None:
    files = write_compact(made)
    assert [file.name for file in files] == [f"{part}.extxyz.gz" for part in PARTS]
    for file, part in zip(files, PARTS, strict=True):
        exact, short = parts_of(made)[part], read_dataset(file)
        assert len(exact) == len(short)
        for one, other in zip(exact, short, strict=True):
            assert one.group == other.group
            for name, digits in DIGITS.items():
                values = (getattr(one, name), getattr(other, name))
                assert (values[0] is None) == (values[1] is None)
                if values[0] is not None:
                    assert values[1] == pytest.approx(values[0], abs=0.51 * 10.0**-digits)
