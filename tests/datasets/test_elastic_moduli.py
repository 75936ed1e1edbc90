"""Elastic moduli: labels, what is left out, and a division in which no formula is in two parts."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atomsym.core import DataError
from atomsym.datasets import load_known
from atomsym.datasets.elastic_moduli import divided_by_formula, read_elastic_moduli
from atomsym.metrics.neutrality import reduced_formula

FILE = "matcalc_benchmarks/mp-binary-pbe-elasticity-2025.1.json.gz"
ELEMENTS = ("Li", "Na", "K", "Mg", "Ca", "Al", "Ga", "Si", "Ge", "O", "S", "Se", "Cl", "Br")


def entry(symbols: tuple[str, ...], bulk: Any, shear: Any, **others: Any) -> dict[str, Any]:
    sites = [
        {"species": [{"element": symbol, "occu": 1.0}], "abc": [k / len(symbols), 0.5 * (k % 2), 0.25]}
        for k, symbol in enumerate(symbols)
    ]
    matrix = [[4.0, 0.0, 0.0], [0.5, 4.2, 0.0], [0.0, 0.1, 3.9]]
    structure = {"lattice": {"matrix": matrix}, "sites": sites}
    return {"mp_id": "mp-1", "structure": structure, "bulk_modulus_vrh": bulk, "shear_modulus_vrh": shear, **others}


def written(folder: Path, entries: Any) -> Path:
    path = folder / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(json.dumps(entries).encode()))
    return path


def pairs() -> list[dict[str, Any]]:
    """Two polymorphs, one twice as large, of each of many formulas; one element is in a single formula."""
    entries = []
    for first in ELEMENTS[:9]:
        for second in ELEMENTS[9:]:
            entries += [entry((first, second), 100.0, 60.0), entry((first, second) * 2, 90.0, 50.0)]
    return [*entries, entry(("Xe", "F"), 10.0, 5.0)]


def test_labels_are_logarithms_of_gpa(tmp_path: Path) -> None:
    path = written(tmp_path, [entry(("Mg", "O", "O"), 100.0, 10.0**1.75)])
    (bulk,) = read_elastic_moduli(path, "bulk_modulus_vrh")
    (shear,) = read_elastic_moduli(path, "shear_modulus_vrh")
    assert bulk.target == pytest.approx(2.0)
    assert shear.target == pytest.approx(1.75)
    assert bulk.energy is None
    assert bulk.numbers.tolist() == [12, 8, 8]
    assert bulk.pbc.all()
    np.testing.assert_allclose(bulk.positions[1], np.array([1 / 3, 0.5, 0.25]) @ bulk.cell)
    assert bulk.source.endswith("json.gz:mp-1")


def test_moduli_that_make_no_sense_and_large_cells_are_left_out(tmp_path: Path) -> None:
    kept = entry(("Mg", "O"), 100.0, 60.0)
    others = [
        entry(("Mg", "O"), -5.0, 60.0), entry(("Mg", "O"), 100.0, 0.4), entry(("Mg", "O"), 60.0, 100.0),
        entry(("Mg", "O"), 400.0, 3.0), entry(("Mg",) * 13, 100.0, 60.0),
    ]  # fmt: skip
    assert len(read_elastic_moduli(written(tmp_path, [kept, *others]), "bulk_modulus_vrh")) == 1


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([entry(("Mg", "O"), None, 60.0)], "mp-1: 'bulk_modulus_vrh' has to be a number in GPa; found None"),
        ([entry(("Mg", "O"), 100.0, float("nan"))], "mp-1: 'shear_modulus_vrh'"),
        ([{"mp_id": "mp-7", "structure": {}}], "mp-7: 'bulk_modulus_vrh'"),
        ([entry(("Mg", "Qq"), 100.0, 60.0)], "mp-1: not a crystal"),
        ([entry((), 100.0, 60.0)], "mp-1: a crystal without atoms"),
        ([entry(("Mg",), 1.0, 1.0, structure={"lattice": {}})], "mp-1: not a crystal"),
        ([3], ":0: 'bulk_modulus_vrh'"),
        ({"a": 1}, "a list of crystals"),
        ([], "a list of crystals"),
    ],
)
def test_damaged_files_are_told(tmp_path: Path, entries: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_known("mp-binary-bulk-modulus", folder=written(tmp_path, entries).parents[1])


def test_a_file_that_is_no_json_is_told(tmp_path: Path) -> None:
    written(tmp_path, []).write_bytes(b"no archive")
    with pytest.raises(DataError, match="cannot be read"):
        load_known("mp-binary-shear-modulus", folder=tmp_path)


def test_no_formula_is_in_two_parts_and_training_has_every_element(tmp_path: Path) -> None:
    path = written(tmp_path, pairs())
    crystals = read_elastic_moduli(path, "bulk_modulus_vrh")
    parts = divided_by_formula(crystals)
    formulas = {n: {reduced_formula(Counter(s.numbers.tolist())) for s in part} for n, part in parts.items()}
    assert sum(len(part) for part in parts.values()) == len(crystals) == 91
    assert all(parts.values())
    assert not formulas["train"] & formulas["test"]
    assert not formulas["train"] & formulas["validation"]
    assert not formulas["validation"] & formulas["test"]
    known = {z for formula in formulas["train"] for z, _ in formula}
    assert known >= {z for formula in formulas["test"] | formulas["validation"] for z, _ in formula} | {54}
    backwards = divided_by_formula(read_elastic_moduli(written(tmp_path, pairs()[::-1]), "bulk_modulus_vrh"))
    assert {n: sorted(s.target or 0 for s in p) for n, p in backwards.items()} == {
        n: sorted(s.target or 0 for s in p) for n, p in parts.items()
    }
    seeds = [load_known("mp-binary-shear-modulus", folder=tmp_path, seed=seed) for seed in (0, 5)]
    assert [s.source for s in seeds[0]["test"]] == [s.source for s in seeds[1]["test"]]
