"""Tables of crystals with CIF texts."""

from __future__ import annotations

import csv
import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from atomsym.core import ConfigError, DataError
from atomsym.datasets.crystals import KNOWN_CRYSTALS, iterate_crystals, parse_cif, read_crystals

PLAIN = """data_GaTe
_symmetry_space_group_name_H-M   'P 1'
_cell_length_a   4.0
_cell_length_b   4.0
_cell_length_c   9.5(2)
_cell_angle_alpha   90.0
_cell_angle_beta   90.0
_cell_angle_gamma   120.0
loop_
 _symmetry_equiv_pos_site_id
 _symmetry_equiv_pos_as_xyz
  1  'x, y, z'
loop_
 _atom_site_type_symbol
 _atom_site_label
 _atom_site_fract_x
 _atom_site_fract_y
 _atom_site_fract_z
 _atom_site_occupancy
  Ga3+  Ga0  0.25  0.5  0.125  1
  Te  Te1  0.75  0.5  0.625  1
"""
SYMMETRIC = """data_salt
_symmetry_space_group_name_H-M   'F m -3 m'
_symmetry_Int_Tables_number   225
_cell_length_a   5.64
_cell_length_b   5.64
_cell_length_c   5.64
_cell_angle_alpha   90.0
_cell_angle_beta   90.0
_cell_angle_gamma   90.0
loop_
 _atom_site_type_symbol
 _atom_site_label
 _atom_site_fract_x
 _atom_site_fract_y
 _atom_site_fract_z
  Na  Na0  0.0  0.0  0.0
  Cl  Cl1  0.5  0.5  0.5
"""


def table(path: Path, *rows: dict[str, str]) -> Path:
    with gzip.open(path, "wt", newline="") if path.suffix == ".gz" else path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ("material_id", "energy", "formula", "cif"))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_a_list_of_atoms_is_read_as_it_stands() -> None:
    cell, places, numbers = parse_cif(PLAIN)
    np.testing.assert_allclose(np.linalg.norm(cell, axis=1), [4, 4, 9.5])
    assert np.dot(cell[0], cell[1]) / 16 == pytest.approx(-0.5)
    assert places.tolist() == [[0.25, 0.5, 0.125], [0.75, 0.5, 0.625]]
    assert numbers.tolist() == [31, 52]


def test_symmetry_is_expanded() -> None:
    cell, _, numbers = parse_cif(SYMMETRIC)
    np.testing.assert_allclose(cell, 5.64 * np.eye(3), atol=1e-10)
    assert sorted(numbers.tolist()) == [11] * 4 + [17] * 4


def test_the_fast_reader_agrees_with_ase() -> None:
    from atomsym.datasets.crystals import _parse_with_ase

    for fast, slow in zip(parse_cif(PLAIN), _parse_with_ase(PLAIN), strict=True):
        np.testing.assert_allclose(fast, slow, atol=1e-10)


@pytest.mark.parametrize("name", ["some.csv", "some.csv.gz"])
def test_tables_are_read(tmp_path: Path, name: str) -> None:
    path = table(
        tmp_path / name,
        {"material_id": "m-1", "energy": "-1.5", "formula": "GaTe", "cif": PLAIN},
        {"material_id": "", "energy": "nan", "formula": "NaCl", "cif": SYMMETRIC},
    )
    first, second = read_crystals(path)
    assert (first.identifier, first.properties) == ("m-1", {"energy": -1.5})
    assert (second.identifier, second.properties) == ("2", {})
    assert len(second.numbers) == 8


@pytest.mark.parametrize(
    "text", ["", "nothing", PLAIN.replace("0.25", "x"), PLAIN.replace("Te  Te1", "Xx  Te1"), "data_\n"]
)
def test_damaged_texts_name_their_row(tmp_path: Path, text: str) -> None:
    rows = [{"material_id": "a", "cif": PLAIN}, {"material_id": "b", "cif": text}]
    with pytest.raises(DataError, match="row 2"):
        read_crystals(table(tmp_path / "some.csv", *rows))


@pytest.mark.parametrize(
    "text",
    [
        PLAIN.replace("0.25", "nan"),
        PLAIN.replace("0.25", "1e999"),
        PLAIN.replace("_length_b   4.0", "_length_b   0.0"),
        PLAIN.replace("_alpha   90.0", "_alpha   10.0"),
        PLAIN.replace("_gamma   120.0", "_gamma   0"),
    ],
)
def test_numbers_that_are_no_crystal_are_refused(text: str) -> None:
    with pytest.raises(DataError):
        parse_cif(text)


def test_randomly_damaged_texts_are_read_or_refused() -> None:
    rng = np.random.default_rng(0)
    refused = 0
    for attempt in range(200):
        characters = list((PLAIN, SYMMETRIC)[attempt % 2])
        for place in rng.integers(len(characters), size=rng.integers(1, 3)):
            characters[place] = str(rng.choice(list("0159.-+eE_'\n #;?x\x00")))
        start = int(rng.integers(len(characters))) if attempt % 4 == 0 else len(characters)
        try:
            cell, places, numbers = parse_cif("".join(characters[:start]))
        except DataError:
            refused += 1
        else:
            assert len(places) == len(numbers) > 0
            assert np.isfinite(places).all()
            assert abs(np.linalg.det(cell)) > 0
    assert 20 < refused < 180


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ATOMSYM_DATA", raising=False)
    with pytest.raises(ConfigError, match="ATOMSYM_DATA"):
        read_crystals("perov_5_val")
    with pytest.raises(DataError, match="is not there"):
        read_crystals("perov_5_val", folder=tmp_path)
    with pytest.raises(DataError, match="known sets are"):
        read_crystals(tmp_path / "none.csv")
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="no column of CIF texts"):
        read_crystals(tmp_path / "bad.csv")
    (tmp_path / "bad.csv.gz").write_bytes(b"no gzip")
    with pytest.raises(DataError, match="cannot be read"):
        read_crystals(tmp_path / "bad.csv.gz")


@pytest.mark.parametrize("name", KNOWN_CRYSTALS)
def test_known_sets_are_read(name: str) -> None:
    folder = Path(os.environ.get("ATOMSYM_DATA", Path(__file__).parents[3] / "shared" / "data"))
    if not (folder / "crystals").is_dir():
        pytest.skip("the data sets are not here")
    records = iterate_crystals(name, folder=folder)
    first = next(records)
    assert first.properties
    assert len(first.numbers) == len(first.fractional_positions)
