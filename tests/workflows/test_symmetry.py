"""``atomsym symmetry``: what is found, what is written, what is refused; and crystals that come back."""

from __future__ import annotations

import csv
import json
import os
from itertools import islice
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from typer.testing import CliRunner

from atomsym.core import ConfigError, DataError, InputError
from atomsym.datasets.crystals import CrystalRecord, iterate_crystals
from atomsym.workflows.cli import app
from atomsym.workflows.symmetry import find_symmetry
from atomsym.workflows.symmetry_round_trip import main, matchers, outcome_of, resumed_round_trip, round_trip


def rutile(noise: float = 0.0) -> Atoms:
    places = [[0, 0, 0], [0.5, 0.5, 0.5], [0.305, 0.305, 0], [-0.305, -0.305, 0], [0.805, 0.195, 0.5],
              [0.195, 0.805, 0.5]]  # fmt: skip
    atoms = Atoms("Ti2O4", cell=[4.594, 4.594, 2.959], scaled_positions=places, pbc=True)
    atoms.positions += np.random.default_rng(0).normal(scale=noise, size=(6, 3)) if noise else 0.2
    return atoms


def test_a_crystal_is_described(tmp_path: Path) -> None:
    file = tmp_path / "rutile.xyz"
    rutile().write(file, format="extxyz")
    found = find_symmetry(str(file))
    assert (found.protostructure.space_group, found.symbol, found.crystal_system) == (136, "P 4_2/m n m", "tetragonal")
    assert str(found.canonical) == "136: Ti a, O f"
    assert found.template == (136, ("a", "f"))
    assert (found.lattice_freedom, found.n_atoms, found.formula) == (2, 6, "TiO2")
    oxygen = next(orbit for orbit in found.orbits() if orbit["element"] == "O")
    assert (oxygen["multiplicity"], list(oxygen["free"])) == (4, ["x"])
    assert min(oxygen["free"]["x"] % 0.5, -oxygen["free"]["x"] % 0.5) == pytest.approx(0.195, abs=1e-6)


def test_the_table_and_the_symmetrised_file(tmp_path: Path) -> None:
    file, out = tmp_path / "noisy.xyz", tmp_path / "symmetric.cif"
    rutile(noise=1e-3).write(file, format="extxyz")
    assert find_symmetry(str(file), symprec=1e-5).protostructure.space_group == 1
    result = CliRunner().invoke(app, ["symmetry", str(file), "--symprec", "0.02", "--out", str(out)])
    assert result.exit_code == 0, result.output
    for text in ("136", "P 4_2/m n m", "Ti a, O f", "4f", "Symmetrised"):
        assert text in result.output
    written = find_symmetry(str(out), symprec=1e-4)
    assert written.protostructure.space_group == 136
    assert len(ase.io.read(out)) == 6


def test_several_files_give_a_json_list_and_a_folder(tmp_path: Path) -> None:
    rutile().write(tmp_path / "a.xyz", format="extxyz")
    bulk("NaCl", "rocksalt", a=5.64).write(tmp_path / "b.xyz", format="extxyz")
    arguments = ["symmetry", str(tmp_path / "a.xyz"), str(tmp_path / "b.xyz"), "--json", "--out", str(tmp_path / "o")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    first, second = json.loads(result.stdout)
    assert (first["space_group"], second["space_group"], second["n_conventional"]) == (136, 225, 8)
    assert [orbit["free"] for orbit in second["orbits"]] == [{}, {}]
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == ["a.cif", "b.cif"]
    assert first["written"] == str(tmp_path / "o" / "a.cif")


def test_wrong_use_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    molecule, crystal, out = tmp_path / "m.xyz", tmp_path / "c.xyz", tmp_path / "out"
    Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.74]]).write(molecule, format="extxyz")
    rutile().write(crystal, format="extxyz")
    run = CliRunner().invoke
    for arguments, error, message in (
        ([molecule], InputError, "not periodic"),
        ([crystal, molecule, "--out", out], InputError, "not periodic"),
        ([tmp_path / "none.cif"], InputError, "neither a file"),
        ([crystal, "--out", tmp_path / "x.unknown"], ConfigError, "knows no format"),
        ([crystal, "--out", tmp_path / "no" / "x.cif"], InputError, "does not exist"),
        ([crystal, crystal, "--out", out], ConfigError, "same file"),
        ([crystal, "--symprec", "0"], InputError, "symprec must be positive"),
    ):
        result = run(app, ["symmetry", *map(str, arguments)])
        assert isinstance(result.exception, error), result.output
        assert message in str(result.exception)
    assert not out.exists()


def test_crystals_come_back_and_those_that_cannot_are_named() -> None:
    atoms = rutile()
    good = CrystalRecord("good", np.array(atoms.cell), atoms.get_scaled_positions(), atoms.numbers)
    overlapping = CrystalRecord("overlapping", 4 * np.eye(3), np.zeros((2, 3)), np.array([6, 6]))
    found = round_trip([good, overlapping])
    assert (found.n_crystals, found.same_group, found.rate) == (2, 1, 0.5)
    assert found.failed[0][0] == "overlapping"
    assert found.largest_rms < 1e-6


def test_a_distorted_supercell_comes_back() -> None:
    """SrHgO₂ (mp-28688 of the Materials Project), a threefold cell of R-3m but for 0.03 Å.

    pymatgen reduces one of two equal crystals to a third of its atoms and not the other one.
    """
    cell = np.array([[3.89984, 0, 0], [-1.94992, 3.37736, 0], [0, 0, 19.24411]])
    places = np.array([
        [0.32888, 0, 0.16667], [0, 0.32888, 0.83333], [0.67112, 0.67112, 0.5], [0.66408, 0.66408, 0],
        [0, 0.33592, 0.33333], [0.33592, 0, 0.66667], [0.66589, 0.66158, 0.89601], [0.33842, 0.00432, 0.56268],
        [0.99568, 0.33411, 0.22935], [0.00432, 0.33842, 0.43732], [0.66158, 0.66589, 0.10399],
        [0.33411, 0.99568, 0.77065],
    ])  # fmt: skip
    record = CrystalRecord("mp-28688", cell, places, np.repeat([38, 80, 8], [3, 3, 6]))
    usual, plain = matchers()
    assert outcome_of(record, [usual], 0.01).failure
    assert outcome_of(record, [plain], 0.01).rms == pytest.approx(0, abs=1e-4)
    found = round_trip([record])
    assert (found.rate, found.same_group, found.outcomes[0].group) == (1, 1, 154)


def test_round_trips_of_tables_go_on_where_they_were(tmp_path: Path) -> None:
    cif = tmp_path / "rutile.cif"
    rutile().write(cif)
    table = tmp_path / "two.csv"
    with table.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerows([["material_id", "cif"], ["a", cif.read_text()], ["b", cif.read_text()]])
    main([str(table), "--every", "2", "-o", str(tmp_path / "out")])
    first = resumed_round_trip(str(table), tmp_path)
    journal = tmp_path / "two-1-0.01.journal"
    size = journal.stat().st_size
    assert resumed_round_trip(str(table), tmp_path) == first
    assert journal.stat().st_size == size
    assert [each.identifier for each in first.outcomes] == ["a", "b"]
    assert "| 1 | 1 (100.00 %) |" in (tmp_path / "out" / "round_trip.md").read_text()
    assert (tmp_path / "out" / "round_trip_failures.csv").read_text().count("\n") == 1
    table.write_text(table.read_text().replace("\na,", "\nc,"))
    with pytest.raises(DataError, match="another table"):
        resumed_round_trip(str(table), tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["mp_20_biternary_val", "mpts_52_val"])
def test_real_crystals_come_back(name: str) -> None:
    folder = Path(os.environ.get("ATOMSYM_DATA", Path(__file__).parents[3] / "shared" / "data"))
    if not (folder / "crystals").is_dir():
        pytest.skip("the data sets are not here")
    found = round_trip(islice(iterate_crystals(name, folder=folder), 0, 5000, 10))
    assert found.n_crystals == 500
    assert found.rate >= 0.998, found.failed
    assert found.median_rms < 1e-6
