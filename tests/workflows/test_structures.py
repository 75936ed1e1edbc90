"""Structures by name, and the model that suits them."""

from __future__ import annotations

from pathlib import Path

import ase.io
import pytest
from ase import Atoms

from atomsym.core import ConfigError, InputError
from atomsym.workflows.structures import BUILTIN_STRUCTURES, is_molecule, load_structure, suitable_model


def test_molecules_have_names() -> None:
    assert load_structure("CH3CH2OH").get_chemical_formula() == "C2H6O"
    assert not load_structure("H2O").pbc.any()
    assert is_molecule("H2O")
    assert not is_molecule("O")  # an atom
    assert not is_molecule("argon")


def test_a_molecule_is_a_new_one_each_time() -> None:
    first = load_structure("H2O")
    first.positions += 1
    assert abs(load_structure("H2O").positions - first.positions).min() > 0.5


def test_the_model_that_suits() -> None:
    assert suitable_model("CH3CH2OH", None) == "organic"
    assert suitable_model("CH3CH2OH", "water") == "water"
    assert all(suitable_model(name, None) == builtin.model for name, builtin in BUILTIN_STRUCTURES.items())
    for name in ("SO2", "some.xyz"):
        with pytest.raises(ConfigError, match=f"--model is needed for {name}"):
            suitable_model(name, None)


def test_a_file_of_that_name_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ase.io.write("H2O", Atoms("He"), format="extxyz")
    assert load_structure("H2O").get_chemical_formula() == "He"


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match=r"'H3O' is neither a file nor a built-in system .*CH3CH2OH"):
        load_structure("H3O")
