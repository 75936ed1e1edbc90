"""Formats: what is written is read back to the last digit, and foreign files are read as their own programs do."""

from __future__ import annotations

import gzip
import pickle
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from atomsym.core import ConfigError, DataError, LabelledStructure, MissingDependencyError
from atomsym.datasets import LabelKeys, LabelUnits, read_dataset, write_extxyz, write_lmdb
from atomsym.datasets.extxyz import parse_comment

from .conftest import same

Maker = Callable[..., list[LabelledStructure]]


def as_ase(structure: LabelledStructure) -> Atoms:
    atoms = Atoms(structure.numbers, structure.positions, cell=structure.cell, pbc=structure.pbc)
    results = {"energy": structure.energy, "forces": structure.forces}
    if structure.stress is not None:
        results["stress"] = structure.stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    atoms.calc = SinglePointCalculator(atoms, **{key: value for key, value in results.items() if value is not None})
    return atoms


def all_close(a: LabelledStructure, b: LabelledStructure) -> None:
    for name in ("numbers", "positions", "cell", "pbc", "energy", "forces", "stress"):
        x, y = getattr(a, name), getattr(b, name)
        assert (x is None) == (y is None), name
        if x is not None:
            np.testing.assert_allclose(x, y, rtol=0, atol=2e-8, err_msg=name)


@pytest.mark.parametrize("name", ["set.xyz", "set.extxyz", "set.extxyz.gz"])
def test_extxyz_round_trip_keeps_every_digit(tmp_path: Path, crystals: Maker, molecules: Maker, name: str) -> None:
    whole = replace(molecules(1)[0], hessian=np.arange(144.0).reshape(12, 12) / 7, target=1 / 3)
    made = [*crystals(3), *molecules(2), whole]
    write_extxyz(made, tmp_path / name)
    read = read_dataset(tmp_path / name, keys=LabelKeys(target="target"))
    assert len(read) == 6
    assert all(same(a, b, provenance=False) for a, b in zip(made, read, strict=True))
    assert [structure.source for structure in read] == [f"{name}:{index}" for index in range(6)]


def test_text_in_extxyz_survives_quotes_and_backslashes(tmp_path: Path, molecules: Maker) -> None:
    made = [replace(molecules(1)[0], group=r'a "quoted" \ group = {x} [y]')]
    write_extxyz(made, tmp_path / "set.xyz")
    assert read_dataset(tmp_path / "set.xyz")[0].group == made[0].group


def test_extxyz_of_ase_is_read_as_ase_reads_it(tmp_path: Path, crystals: Maker, molecules: Maker) -> None:
    made = [*crystals(2), *molecules(2)]
    ase.io.write(tmp_path / "ase.xyz", [as_ase(s) for s in made], format="extxyz")
    for ours, theirs in zip(read_dataset(tmp_path / "ase.xyz"), ase.io.read(tmp_path / "ase.xyz", ":"), strict=True):
        np.testing.assert_array_equal(ours.positions, theirs.positions)
        np.testing.assert_array_equal(ours.cell, theirs.cell[:])
        np.testing.assert_array_equal(ours.pbc, theirs.pbc)
        np.testing.assert_array_equal(ours.numbers, theirs.numbers)
        np.testing.assert_array_equal(ours.forces, theirs.get_forces())
        assert ours.energy == theirs.get_potential_energy()


def test_ase_reads_what_we_write(tmp_path: Path, crystals: Maker) -> None:
    made = crystals(3)
    write_extxyz(made, tmp_path / "set.xyz")
    for ours, theirs in zip(made, ase.io.read(tmp_path / "set.xyz", ":"), strict=True):
        assert theirs.get_potential_energy() == ours.energy
        np.testing.assert_array_equal(theirs.cell[:], ours.cell)
        np.testing.assert_allclose(theirs.get_stress(voigt=False), ours.stress, rtol=0, atol=1e-15)
        np.testing.assert_array_equal(theirs.get_forces(), ours.forces)


def test_plain_xyz_without_properties_is_read(tmp_path: Path) -> None:
    path = tmp_path / "plain.xyz"
    path.write_text("2\nit's a \"molecule\nH 0 0 0\nO 0 0 1 extra\n\n\n")
    read = read_dataset(path)
    assert read[0].numbers.tolist() == [1, 8]
    assert not read[0].pbc.any()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('a=1 b="x y" c', {"a": "1", "b": "x y", "c": True}),
        ("a = 1  b={1 2}", {"a": "1", "b": "1 2"}),
        ("m=[[1, 2], [3, 4]] n=2", {"m": "[1, 2], [3, 4]", "n": "2"}),
        (r'k="say \"hi\""', {"k": 'say "hi"'}),
        ("'two words'=3 x='y z'", {"two words": "3", "x": "y z"}),
        ("", {}),
        ("= 3", {"3": True}),
    ],
)
def test_comment_lines(line: str, expected: dict[str, object]) -> None:
    assert parse_comment(line) == expected


def test_comment_lines_full_of_open_brackets_take_linear_time() -> None:
    assert parse_comment("x=[ y='{ " * 50_000)["x"] == "["


@pytest.mark.parametrize(
    ("index", "expected"),
    [(":", 6), ("::2", 3), ("2", 1), (-1, 1), ("-2:", 2), (slice(1, 3), 2), ("4:100", 2), ("10:", 0)],
)
def test_an_index_picks_structures_as_ase_does(
    tmp_path: Path, molecules: Maker, index: str | int | slice, expected: int
) -> None:
    made = molecules(6)
    write_extxyz(made, tmp_path / "set.xyz")
    picked = read_dataset(tmp_path / "set.xyz", index=index)
    sliced = index if isinstance(index, slice) else None
    text = str(index)
    if sliced is None and ":" in text:
        sliced = slice(*(int(word) if word else None for word in text.split(":")))
    wanted = made[sliced] if sliced is not None else [made[int(text)]]
    assert len(picked) == expected
    assert [s.energy for s in picked] == [s.energy for s in wanted]


@pytest.mark.parametrize("index", ["a", "1:2:3:4", "::0", ""])
def test_an_impossible_index_is_refused(tmp_path: Path, molecules: Maker, index: str) -> None:
    write_extxyz(molecules(1), tmp_path / "set.xyz")
    with pytest.raises(ConfigError, match="index"):
        read_dataset(tmp_path / "set.xyz", index=index)


def test_reading_stops_where_the_slice_does(tmp_path: Path, molecules: Maker) -> None:
    write_extxyz(molecules(3), tmp_path / "set.xyz")
    with open(tmp_path / "set.xyz", "a") as file:
        file.write("damage\n")
    assert len(read_dataset(tmp_path / "set.xyz", index=":3")) == 3


# npz -----------------------------------------------------------------------------------------------------------------


def test_rmd17_files_are_known_to_be_in_kcal(tmp_path: Path, molecules: Maker) -> None:
    made = molecules(5)
    np.savez(
        tmp_path / "m.npz",
        nuclear_charges=made[0].numbers.astype(np.uint8),
        coords=np.array([s.positions for s in made]),
        energies=np.array([s.energy for s in made]),
        forces=np.array([s.forces for s in made]),
    )
    read = read_dataset(tmp_path / "m.npz")
    kcal = LabelUnits(energy="kcal/mol").factors["energy"]
    assert read[3].energy == pytest.approx(made[3].energy * kcal, rel=1e-12)  # type: ignore[operator]
    np.testing.assert_allclose(read[3].forces, made[3].forces * kcal, rtol=1e-12)  # type: ignore[operator]
    given = read_dataset(tmp_path / "m.npz", units=LabelUnits())
    assert all(same(a, b, provenance=False) for a, b in zip(made, given, strict=True))


def test_npz_with_padding_and_other_names_needs_units(tmp_path: Path) -> None:
    arrays = {
        "z": np.array([[1, 1, 8], [1, 8, 0]]),
        "R": np.arange(18.0).reshape(2, 3, 3),
        "E": np.array([[1.0], [2.0]]),
        "F": -np.arange(18.0).reshape(2, 3, 3),
    }
    np.savez_compressed(tmp_path / "p.npz", **arrays)
    with pytest.raises(DataError, match="do not say their units"):
        read_dataset(tmp_path / "p.npz")
    read = read_dataset(tmp_path / "p.npz", units=LabelUnits())
    assert [s.n_atoms for s in read] == [3, 2]
    assert read[1].energy == 2.0
    np.testing.assert_array_equal(read[1].forces, arrays["F"][1, :2])
    np.savez(tmp_path / "s.npz", e_unit="kcal/mol", r_unit="Ang", **{**arrays, "z": np.array([1, 1, 8])})
    assert read_dataset(tmp_path / "s.npz")[0].energy == pytest.approx(0.0433641, rel=1e-5)


def ragged() -> dict[str, np.ndarray]:
    """Water and hydrogen in flat arrays."""
    return {
        "n_atoms": np.array([3, 2]),
        "atomic_numbers": np.array([8, 1, 1, 1, 1], dtype=np.uint8),
        "positions": np.arange(15.0).reshape(5, 3),
        "energies": np.array([-1.0, -2.0]),
        "forces": -np.arange(15.0).reshape(5, 3),
        "hessians": np.concatenate([np.arange(81.0), 100 + np.arange(36.0)]),
        "reaction": np.array([7, 8]),
    }


def test_npz_with_structures_of_different_sizes_in_one_list(tmp_path: Path) -> None:
    np.savez(tmp_path / "r.npz", **ragged())
    read = read_dataset(tmp_path / "r.npz", units=LabelUnits())
    assert [structure.numbers.tolist() for structure in read] == [[8, 1, 1], [1, 1]]
    assert [structure.energy for structure in read] == [-1.0, -2.0]
    assert read[1].positions.tolist() == [[9, 10, 11], [12, 13, 14]]
    assert read[1].forces is not None
    assert read[1].forces.tolist() == [[-9, -10, -11], [-12, -13, -14]]
    assert read[0].hessian is not None
    assert read[1].hessian is not None
    assert read[0].hessian.ravel().tolist() == list(range(81))
    assert read[1].hessian[0].tolist() == [100, 101, 102, 103, 104, 105]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_atoms": np.array([3, 3])}, "has 5 rows, but 'n_atoms' adds up to 6"),
        ({"n_atoms": np.array([5, 0])}, "must be positive integers"),
        ({"n_atoms": np.array([2.5, 2.5])}, "must be positive integers"),
        ({"atomic_numbers": np.array([8, 1, 1, 1])}, "'atomic_numbers' has 4 rows"),
    ],
)
def test_npz_with_lengths_that_do_not_fit_is_refused(
    tmp_path: Path, change: dict[str, np.ndarray], message: str
) -> None:
    np.savez(tmp_path / "r.npz", **{**ragged(), **change})
    with pytest.raises(DataError, match=message):
        read_dataset(tmp_path / "r.npz", units=LabelUnits())


def test_npz_with_cells_is_periodic(tmp_path: Path, crystals: Maker) -> None:
    made = [s for s in crystals(20) if (s.numbers == crystals(1)[0].numbers).all()]
    np.savez(
        tmp_path / "c.npz",
        numbers=made[0].numbers,
        positions=np.array([s.positions for s in made]),
        cell=np.array([s.cell for s in made]),
        energy=np.array([s.energy for s in made]),
        stress=np.array([s.stress for s in made]),
    )
    read = read_dataset(tmp_path / "c.npz", units=LabelUnits())
    np.testing.assert_array_equal(read[-1].cell, made[-1].cell)
    np.testing.assert_array_equal(read[-1].stress, made[-1].stress)
    assert read[0].pbc.all()


# ASE -----------------------------------------------------------------------------------------------------------------


def test_ase_database_is_read_with_its_labels(tmp_path: Path, crystals: Maker, molecules: Maker) -> None:
    made = [*crystals(2), *molecules(2)]
    with ase.db.connect(tmp_path / "set.db") as database:
        for index, structure in enumerate(made):
            database.write(as_ase(structure), kind=f"k{index % 2}", data={"dft": {"x": 1}})
    before = (tmp_path / "set.db").read_bytes()
    read = read_dataset(tmp_path / "set.db", group="kind")
    for a, b in zip(made, read, strict=True):
        all_close(a, b)
    assert [s.group for s in read] == ["k0", "k1", "k0", "k1"]
    assert (tmp_path / "set.db").read_bytes() == before


def test_ase_database_labels_may_stand_in_its_own_columns(tmp_path: Path, molecules: Maker) -> None:
    structure = molecules(1)[0]
    atoms = as_ase(structure)
    atoms.calc = None
    with ase.db.connect(tmp_path / "set.db") as database:
        database.write(atoms, my_energy=-3.25, data={"my_forces": structure.forces})
    read = read_dataset(tmp_path / "set.db", keys=LabelKeys(energy="my_energy", forces="my_forces"))
    assert read[0].energy == -3.25
    np.testing.assert_allclose(read[0].forces, structure.forces)


@pytest.mark.parametrize("name", ["set.traj", "set.json"])
def test_other_files_are_read_through_ase(tmp_path: Path, crystals: Maker, name: str) -> None:
    made = crystals(3)
    ase.io.write(tmp_path / name, [as_ase(s) for s in made])
    for a, b in zip(made, read_dataset(tmp_path / name), strict=True):
        all_close(a, b)


def test_an_sqlite_file_of_another_program_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "x.db") as connection:
        connection.execute("CREATE TABLE songs (name TEXT)")
    connection.close()
    with pytest.raises(DataError, match="not an ASE database; its tables are songs"):
        read_dataset(tmp_path / "x.db")


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing.xyz does not exist"):
        read_dataset(tmp_path / "nothing.xyz")
    with pytest.raises(DataError, match="is a folder"):
        read_dataset(tmp_path)


# LMDB ----------------------------------------------------------------------------------------------------------------


def test_lmdb_round_trip_keeps_everything(tmp_path: Path, crystals: Maker, molecules: Maker) -> None:
    pytest.importorskip("lmdb")
    made = [*crystals(3), *molecules(2), replace(molecules(1)[0], energy=None, forces=None, weight=0.5, target=0.1)]
    assert write_lmdb(iter(made), tmp_path / "set.lmdb") == 6
    read = read_dataset(tmp_path / "set.lmdb")
    assert len(read) == 6
    assert all(same(a, b) and a.weight == b.weight for a, b in zip(made, read, strict=True))
    assert read.report is not None
    assert read.report.labels == {"energy": 5, "forces": 5, "stress": 3, "hessian": 0, "target": 1}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set.lmdb"]


def test_lmdb_is_lazy_pickles_and_slices(tmp_path: Path, molecules: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lmdb")
    made = molecules(2500)  # more than one batch of the writer
    write_lmdb(made, tmp_path / "set.lmdb")
    decoded: list[str] = []
    from atomsym.datasets import lmdb_files

    true = lmdb_files.decode
    monkeypatch.setattr(lmdb_files, "decode", lambda value, where: decoded.append(where) or true(value, where))
    read = read_dataset(tmp_path / "set.lmdb", index="::-1")
    assert len(read) == 2500
    assert decoded == []
    assert same(read[0], made[-1])
    assert same(read[1:][0], made[-2])
    assert len(decoded) == 2
    copy = pickle.loads(pickle.dumps(read))  # noqa: S301 - our own bytes
    assert same(copy[5], made[-6])


def test_lmdb_may_be_replaced_while_it_is_open(tmp_path: Path, molecules: Maker) -> None:
    pytest.importorskip("lmdb")
    write_lmdb(molecules(3, seed=1), tmp_path / "set.lmdb")
    old = read_dataset(tmp_path / "set.lmdb")
    write_lmdb(molecules(2, seed=2), tmp_path / "set.lmdb")
    new = read_dataset(tmp_path / "set.lmdb")
    assert (len(old), len(new)) == (3, 2)
    assert same(old[2], molecules(3, seed=1)[2])
    assert same(new[1], molecules(2, seed=2)[1])


def test_lmdb_takes_no_keys_or_units(tmp_path: Path, molecules: Maker) -> None:
    pytest.importorskip("lmdb")
    write_lmdb(molecules(1), tmp_path / "set.lmdb")
    with pytest.raises(ConfigError, match="fixed names"):
        read_dataset(tmp_path / "set.lmdb", units=LabelUnits(energy="Ha"))


def test_without_the_package_lmdb_the_message_has_the_install_line(
    tmp_path: Path, molecules: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'atomsym\[lmdb\]'"):
        write_lmdb(molecules(1), tmp_path / "set.lmdb")


# Dataset -------------------------------------------------------------------------------------------------------------


def test_a_data_set_is_an_immutable_sequence(tmp_path: Path, molecules: Maker) -> None:
    write_extxyz(molecules(5), tmp_path / "set.xyz")
    dataset = read_dataset(tmp_path / "set.xyz")
    assert dataset[-1] is dataset[4]
    assert [s.source for s in dataset[1:4:2]] == ["set.xyz:1", "set.xyz:3"]
    assert [s.source for s in dataset.subset([3, 0]).subset([1])] == ["set.xyz:0"]
    assert dataset[2] in dataset
    for wrong in (5, -6):
        with pytest.raises(IndexError):
            dataset[wrong]
        with pytest.raises(IndexError):
            dataset.subset([wrong])
    with pytest.raises(TypeError):
        dataset[0] = dataset[1]  # type: ignore[index]


def test_gzip_is_recognised_by_content_not_by_name(tmp_path: Path, molecules: Maker) -> None:
    write_extxyz(molecules(2), tmp_path / "set.xyz")
    (tmp_path / "other.xyz").write_bytes(gzip.compress((tmp_path / "set.xyz").read_bytes()))
    assert len(read_dataset(tmp_path / "other.xyz")) == 2
