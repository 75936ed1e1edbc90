"""``atomsym benchmark realisation``: tables of protostructures and of crystals, and honest shares."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from atomsym.core import ConfigError, DataError
from atomsym.symmetry.wyckoff import Protostructure
from atomsym.workflows.benchmarks.realisation import measure_realisation, read_protostructures
from atomsym.workflows.cli import app

RUTILE = Protostructure(136, ((22, "a"), (8, "f")))
DEGENERATE = Protostructure(225, ((29, "a"), (29, "b")))
TABLE = """group,sites,species
136,"[[""2a""], [""4f""]]","[""Ti"", ""O""]"
225,"[[""4a"", ""4b""]]","[""Cu""]"
"""
CIF_TABLE = """material_id,cif
one,"data_x
_cell_length_a 4.0
_cell_length_b 4.0
_cell_length_c 4.0
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
loop_
_atom_site_type_symbol
_atom_site_label
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Cs Cs1 0 0 0
Cl Cl1 0.5 0.5 0.5
"
"""


def test_protostructures_are_read_from_tables_of_both_kinds(tmp_path: Path) -> None:
    (tmp_path / "genes.csv").write_text(TABLE)
    with gzip.open(tmp_path / "genes.csv.gz", "wt") as stream:
        stream.write(TABLE)
    for name in ("genes.csv", "genes.csv.gz"):
        assert read_protostructures(str(tmp_path / name)) == [RUTILE, DEGENERATE]
    assert read_protostructures(str(tmp_path / "genes.csv"), 1) == [RUTILE]
    (tmp_path / "crystals.csv").write_text(CIF_TABLE)
    (found,) = read_protostructures(str(tmp_path / "crystals.csv"))
    assert found.space_group == 221


def test_degenerate_ones_are_counted_apart() -> None:
    done: list[int] = []
    report = measure_realisation([RUTILE] * 5 + [DEGENERATE], progress=done.append)
    assert done == [1, 2, 3, 4, 5, 6]
    assert (report.n, report.n_degenerate, report.floor_met) == (6, 1, 1.0)
    assert report.kept == {"0.001": 1.0, "0.01": 1.0, "0.1": 1.0}
    assert report.lost == ()
    assert 0 < report.median <= report.p99 <= report.longest
    assert report.tries >= 1


def test_the_command_gives_json(tmp_path: Path) -> None:
    (tmp_path / "genes.csv").write_text(TABLE)
    result = CliRunner().invoke(app, ["benchmark", "realisation", str(tmp_path / "genes.csv"), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["n_degenerate"] == 1


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "genes.csv").write_text(TABLE.replace("2a", "2z"))
    with pytest.raises(DataError, match="row 1: not a protostructure"):
        read_protostructures(str(tmp_path / "genes.csv"))
    with pytest.raises((ConfigError, DataError)):
        read_protostructures(str(tmp_path / "nothing.csv"))
    with pytest.raises(ConfigError, match="no protostructure"):
        measure_realisation([])
