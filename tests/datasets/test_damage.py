"""I-11 and R-4: damaged files end in an error with file and line; nothing is executed, nothing explodes."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import ase.db
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atomsym.core import AtomsymError, DataError, LabelledStructure
from atomsym.datasets import LabelUnits, check_dataset, read_dataset, write_extxyz, write_lmdb
from atomsym.datasets.lmdb_files import decode, encode

Maker = Callable[..., list[LabelledStructure]]

SECONDS, BYTES = 2.0, 100 * 2**20  # I-11, of processor time; of memory that Python and numpy take

WORDS = [
    b"nan", b"inf", b"-", b"1e999", b"1000000000", b"-1", b"0", b"\n", b"\n\n", b"=", b'"', b"'", b"{", b"[", b"\\",
    b"Properties=species:S:1:pos:R:1000000", b"Properties=:::", b"Lattice=", b"pbc=maybe", b"energy=", b"forces:R:3",
    b"stress=", b"virial=", b"_JSON", b"H 0 0 0\n", b"Zz", b"\x00", b"\xff\xfe", "Å".encode(), b"\t", b"9" * 400,
]  # fmt: skip

mutation = st.one_of(
    st.tuples(st.just("flip"), st.floats(0, 1), st.integers(1, 255)),
    st.tuples(st.just("cut"), st.floats(0, 1), st.integers(1, 2000)),
    st.tuples(st.just("repeat"), st.floats(0, 1), st.integers(1, 500)),
    st.tuples(st.just("insert"), st.floats(0, 1), st.sampled_from(WORDS) | st.binary(max_size=40)),
    st.tuples(st.just("replace"), st.floats(0, 1), st.sampled_from(WORDS) | st.binary(max_size=40)),
    st.tuples(st.just("end"), st.floats(0, 1), st.just(0)),
)
mutations = st.lists(mutation, min_size=1, max_size=4)


def damaged(content: bytes, steps: list[tuple[str, float, object]]) -> bytes:
    """Apply mutations at relative places."""
    data = bytearray(content)
    for kind, place, what in steps:
        at = int(place * max(len(data) - 1, 0))
        if kind == "flip" and data:
            data[at] ^= int(what)  # type: ignore[call-overload]
        elif kind == "cut":
            del data[at : at + int(what)]  # type: ignore[call-overload]
        elif kind == "repeat":
            data[at:at] = data[at : at + int(what)]  # type: ignore[call-overload]
        elif kind == "insert":
            data[at:at] = bytes(what)  # type: ignore[call-overload]
        elif kind == "replace":
            data[at : at + len(what)] = what  # type: ignore[arg-type, assignment]
        elif kind == "end":
            del data[at:]
    return bytes(data)


def read_or_refuse(path: Path) -> bool:
    """Read and check a file; True if it was refused, which must happen with the file's name, soon, in little memory."""
    start, message = time.process_time(), None
    tracemalloc.start()
    try:
        dataset = read_dataset(path, units=None if path.suffix == ".lmdb" else LabelUnits())
        check_dataset(dataset)
    except AtomsymError as error:
        message = str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < BYTES, f"{peak} bytes"
    assert time.process_time() - start < SECONDS
    assert message is None or path.name in message
    return message is not None


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A small sound file of each format."""
    folder = tmp_path_factory.mktemp("sound")
    generator = np.random.default_rng(0)
    made = [
        LabelledStructure(
            np.array([6, 1, 8]),
            generator.standard_normal((3, 3)) + np.arange(3)[:, None] * 3.0,
            np.eye(3) * 20.0,
            np.ones(3, dtype=bool),
            energy=float(generator.standard_normal()),
            forces=generator.standard_normal((3, 3)),
            stress=np.eye(3) * 0.01,
            group="g",
        )
        for _ in range(4)
    ]
    write_extxyz(made, folder / "a.xyz")
    write_extxyz(made, folder / "a.xyz.gz")
    np.savez(
        folder / "a.npz",
        nuclear_charges=made[0].numbers,
        coords=np.array([s.positions for s in made]),
        energies=np.array([s.energy for s in made]),
        forces=np.array([s.forces for s in made]),
    )
    with ase.db.connect(folder / "a.db") as database:
        for s in made:
            atoms = Atoms(s.numbers, s.positions, cell=s.cell, pbc=s.pbc)
            atoms.calc = SinglePointCalculator(atoms, energy=s.energy, forces=s.forces)
            database.write(atoms, kind="x")
    found = {name: (folder / name).read_bytes() for name in ("a.xyz", "a.xyz.gz", "a.npz", "a.db")}
    found["record"] = encode(made[0])
    try:
        write_lmdb(made, folder / "a.lmdb")
        found["a.lmdb"] = (folder / "a.lmdb").read_bytes()
    except ImportError:
        pass
    return found


def fuzz(name: str, originals: dict[str, bytes], folder: Path, cases: int) -> int:
    refused = 0

    @settings(max_examples=cases, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(steps=mutations)
    def run(steps: list[tuple[str, float, object]]) -> None:
        nonlocal refused
        path = folder / name
        path.unlink(missing_ok=True)
        path.write_bytes(damaged(originals[name], steps))
        refused += read_or_refuse(path)

    run()
    return refused


FORMATS = [("a.xyz", 200), ("a.xyz.gz", 60), ("a.npz", 200), ("a.db", 100), ("a.lmdb", 200)]


@pytest.mark.parametrize(("name", "cases"), FORMATS)
def test_i11_damaged_files_end_in_an_error_that_names_the_file(
    name: str, cases: int, originals: dict[str, bytes], tmp_path: Path
) -> None:
    if name not in originals:
        pytest.skip("needs lmdb")
    assert fuzz(name, originals, tmp_path, cases) > cases // 10


@pytest.mark.slow
@pytest.mark.parametrize(("name", "cases"), FORMATS)
def test_i11_many_damaged_files(name: str, cases: int, originals: dict[str, bytes], tmp_path: Path) -> None:
    if name not in originals:
        pytest.skip("needs lmdb")
    fuzz(name, originals, tmp_path, 25 * cases)


def test_i11_sound_files_of_the_fuzz_tests_are_sound(originals: dict[str, bytes], tmp_path: Path) -> None:
    for name in originals.keys() - {"record"}:
        (tmp_path / name).write_bytes(originals[name])
        assert not read_or_refuse(tmp_path / name), name


@settings(max_examples=200, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(steps=mutations)
def test_i11_damaged_lmdb_records_are_refused_or_hold_a_structure(
    steps: list[tuple[str, float, object]], originals: dict[str, bytes]
) -> None:
    try:
        structure, message = decode(damaged(originals["record"], steps), "x.lmdb, record 0"), ""
    except DataError as error:
        structure, message = None, str(error)
    if structure is None:
        assert "x.lmdb, record 0" in message
    else:
        assert structure.positions.shape == (structure.n_atoms, 3)


HEAD = 'Properties=species:S:1:pos:R:3:forces:R:3 energy=1 pbc="F F F"'
ATOM = "H 0 0 0 0 0 0"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            f"1000000000\n{HEAD}\n{ATOM}\n",
            "frame 0, line 1: the header says 1000000000 atoms, but the file ends after 1",
        ),
        (f"{'9' * 5000}\n{HEAD}\n{ATOM}\n", "frame 0, line 1: '999.*is not a number of atoms"),
        ("hello\n", "frame 0, line 1: 'hello' is not a number of atoms"),
        ("-1\n\n", "line 1: '-1' is not a number of atoms"),
        ("0\n\n", "line 2: there are no atoms"),
        ("1\n", "line 2: the file ends before the comment line"),
        (f"1\n{HEAD}\n{ATOM}\n1\n{HEAD}\nH 0 0 x 0 0 0\n", r"frame 1, line 6: 'x' in column 'pos' of atoms\[0\]"),
        (f"2\n{HEAD}\n{ATOM}\nH 0 0 1 0 0\n", r"frame 0, line 4: atoms\[1\] has 6 columns; Properties says 7"),
        (f"1\n{HEAD}\n{ATOM} 7\n", r"frame 0, line 3: atoms\[0\] has 8 columns; Properties says 7"),
        (f"1\n{HEAD}\nQq 0 0 0 0 0 0\n", r"line 3: atoms\[0\]: 'Qq' is not a chemical element"),
        (f"1\n{HEAD}\n119 0 0 0 0 0 0\n", r"line 3: atoms\[0\] has atomic number 119"),
        (f"1\n{HEAD}\nH 0 nan 0 0 0 0\n", r"line 2: position of atoms\[0\] has y = nan"),
        (f"1\n{HEAD}\nH 0 0 1e300 0 0 0\n", r"position of atoms\[0\] has z = 1e\+300"),
        ("1\nProperties=species:S:1\nH\n", "line 2: Properties has no column of species, or none of positions"),
        ("1\nProperties=species:S:1:pos:R:2\nH 0 0\n", "line 2: positions need three columns"),
        ("1\nProperties=species:S:1:pos:X:3\nH 0 0 0\n", "'pos:X:3' in Properties is not"),
        ("1\nProperties=species:S:1:pos:R:3:q:R:1000000000\nH 0 0 0\n", "'q:R:1000000000' in Properties is not"),
        ('1\nLattice="1 0 0"\nH 0 0 0\n', "line 2: Lattice has 3 numbers; nine are needed"),
        ('1\nLattice="1 0 0 0 1 0 0 0 z"\nH 0 0 0\n', "line 2: Lattice is '1 0 0 0 1 0 0 0 z'; a number is needed"),
        ("1\npbc=T\nH 0 0 0\n", r"line 2: pbc\[0\] is True but cell\[0\] is a zero vector"),
        ("1\npbc=maybe\nH 0 0 0\n", "line 2: pbc is 'maybe'"),
        ("1\n\nH 0 0 0\n\n1\n\nH 0 0 0\n", "frame 1, line 5: text after an empty line"),
    ],
)
def test_i11_a_fault_in_extxyz_is_found_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.xyz"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_dataset(path)
    assert str(path) in str(caught.value)


def test_i11_text_that_is_not_utf8_and_endless_lines_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.xyz"
    path.write_bytes(b"1\n\xff\xff\nH 0 0 0\n")
    with pytest.raises(DataError, match="line 2: not text"):
        read_dataset(path)
    bomb = tmp_path / "bomb.xyz.gz"
    bomb.write_bytes(gzip.compress(b"1\n" + b"x" * (64 * 2**20), compresslevel=1))
    with pytest.raises(DataError, match="line 2: the line is longer than"):
        read_dataset(bomb)


def with_member(path: Path, header: bytes, content: bytes = b"") -> Path:
    """An npz file whose array R has a hand-made header."""
    with zipfile.ZipFile(path, "w") as archive:
        numbers = io.BytesIO()
        np.save(numbers, np.array([1, 1]))
        archive.writestr("z.npy", numbers.getvalue())
        archive.writestr("R.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + content)
    return path


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000, 2, 3), }\n",
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 2, 3), }\n",
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999999999, 2, 3), }\n",
        b"{'descr': '|O', 'fortran_order': False, 'shape': (1, 2, 3), }\n",
        b"{'descr': '<U3', 'fortran_order': False, 'shape': (0, 2, 3), }\n",
        b"[" * 9000 + b"\n",
        b"{}\n",
        b"",
    ],
)
def test_i11_npz_arrays_that_claim_too_much_are_refused(tmp_path: Path, header: bytes) -> None:
    assert read_or_refuse(with_member(tmp_path / "x.npz", header))


def test_i11_an_npz_that_unpacks_to_far_more_than_its_size_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("R.npy", bytes(2**28))
    with pytest.raises(DataError, match="would unpack to 268435456 bytes"):
        read_dataset(tmp_path / "x.npz", units=LabelUnits())


# R-4 -----------------------------------------------------------------------------------------------------------------


class Payload:
    """Unpickling it creates a file."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.sentinel,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "suffix",
    [".xyz", ".extxyz", ".xyz.gz", ".npz", ".npy", ".db", ".lmdb", ".aselmdb", ".traj", ".json", ".pkl", ".pt", ""],
)
def test_r4_a_pickle_under_any_name_is_refused_and_not_executed(tmp_path: Path, suffix: str, protocol: int) -> None:
    sentinel = tmp_path / "executed"
    path = tmp_path / f"evil{suffix}"
    path.write_bytes(pickle.dumps(Payload(sentinel), protocol=protocol))
    assert read_or_refuse(path)
    assert not sentinel.exists()


def test_r4_pickled_arrays_in_npz_are_refused(tmp_path: Path) -> None:
    sentinel = tmp_path / "executed"
    objects = np.array([Payload(sentinel)], dtype=object)
    np.savez(tmp_path / "evil.npz", z=np.array([1]), R=np.zeros((1, 1, 3)), E=objects, allow_pickle=True)
    with pytest.raises(DataError, match=r"'E\.npy' holds pickled objects, which are never loaded"):
        read_dataset(tmp_path / "evil.npz", units=LabelUnits())
    assert not sentinel.exists()


def test_r4_a_pickle_as_an_lmdb_value_is_refused(tmp_path: Path, molecules: Maker) -> None:
    lmdb = pytest.importorskip("lmdb")
    from atomsym.datasets import lmdb_files

    sentinel, path = tmp_path / "executed", tmp_path / "evil.lmdb"
    with lmdb.open(str(path), subdir=False) as environment, environment.begin(write=True) as transaction:
        transaction.put((0).to_bytes(8, "big"), pickle.dumps(Payload(sentinel)))
        header = {"format": "atomsym-dataset", "version": 1, "length": 1, "labels": {}}
        transaction.put(b"format", json.dumps(header).encode())
    with pytest.raises(DataError, match=r"not an atomsym LMDB.*often pickles"):
        read_dataset(path)
    lmdb_files._seal(path)  # now it looks as if we had written it
    with pytest.raises(DataError, match="record 0: this is a pickle"):
        read_dataset(path)[0]
    assert not sentinel.exists()


def test_r4_an_lmdb_folder_of_another_program_is_refused(tmp_path: Path) -> None:
    lmdb = pytest.importorskip("lmdb")
    lmdb.open(str(tmp_path / "other.lmdb")).close()
    with pytest.raises(DataError, match="is a folder"):
        read_dataset(tmp_path / "other.lmdb")


def test_every_flipped_bit_of_an_lmdb_is_noticed(originals: dict[str, bytes], tmp_path: Path) -> None:
    if "a.lmdb" not in originals:
        pytest.skip("needs lmdb")
    content, path = originals["a.lmdb"], tmp_path / "a.lmdb"
    for bit in np.random.default_rng(0).integers(0, 8 * len(content), 100):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(flipped)
        assert read_or_refuse(path)


def test_a_failed_write_leaves_the_old_lmdb(tmp_path: Path, molecules: Maker) -> None:
    pytest.importorskip("lmdb")
    write_lmdb(molecules(2), tmp_path / "set.lmdb")

    def broken() -> object:
        yield molecules(1)[0]
        raise OSError("no space left")

    with pytest.raises(DataError, match=r"cannot write .*no space left"):
        write_lmdb(broken(), tmp_path / "set.lmdb")  # type: ignore[arg-type]
    assert len(read_dataset(tmp_path / "set.lmdb")) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["set.lmdb"]
