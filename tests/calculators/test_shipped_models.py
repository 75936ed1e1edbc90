"""The models that are shipped: what the committed program makes, sound, described, and found by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase.build import bulk
from ase.eos import EquationOfState

from atomsym.artifacts import read_card
from atomsym.calculators.ase import AtomsymCalculator
from atomsym.core import InputError
from atomsym.workflows.models import model_rows
from atomsym.workflows.pretrained import FOLDER, main, make_shipped_models, shipped_models


def test_making_the_shipped_models_again_gives_the_same_bytes(tmp_path: Path) -> None:
    stated = {read_card(path).created_with for path in FOLDER.glob("*.safetensors")}
    assert len(stated) == 1
    make_shipped_models(tmp_path, created_with=stated.pop())
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_bytes() for path in FOLDER.glob("*.safetensors")}
    assert set(made) == {f"{card.name}.safetensors" for _, card in shipped_models()}


def test_the_command_makes_them(tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 0
    assert {path.stem for path in tmp_path.iterdir()} == {"argon", "copper-morse"}


def test_the_table_shows_every_model() -> None:
    rows = {row.name: row for row in model_rows()}
    assert set(rows) >= {"argon", "copper-morse"}
    copper = rows["copper-morse"]
    assert (copper.architecture, copper.elements, copper.cutoff, copper.licence) == ("morse", ("Cu",), 10.0, "MIT")
    assert copper.size == Path(copper.path).stat().st_size
    assert copper.error == ""
    assert all(row.citation and row.level_of_theory and len(row.content_hash) == 64 for row in rows.values())


def test_the_table_can_be_narrowed_to_elements() -> None:
    assert [row.name for row in model_rows(elements=["Ar"])] == ["argon"]
    assert model_rows(elements=["Ar", "Cu"]) == []
    with pytest.raises(InputError, match="not a chemical element"):
        model_rows(elements=["Argon"])


def test_a_damaged_file_is_a_row_that_says_so(tmp_path: Path) -> None:
    make_shipped_models(tmp_path)
    path = tmp_path / "argon.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    rows = model_rows([tmp_path, FOLDER])
    assert [row.name for row in rows] == ["argon", "copper-morse"]  # the first of a name counts
    assert "does not fit its hash" in rows[0].error
    assert rows[0].elements == ()


@pytest.mark.parametrize(
    ("name", "symbol", "constants", "cohesive", "modulus"),
    [
        ("argon", "Ar", (5.15, 5.4), (0.07, 0.09), (1.5, 4.0)),
        ("copper-morse", "Cu", (3.5, 3.7), (3.3, 3.7), (120, 160)),
    ],
)
def test_they_are_the_materials_they_are_named_after(
    name: str, symbol: str, constants: tuple[float, float], cohesive: tuple[float, float], modulus: tuple[float, float]
) -> None:
    """Lattice constant in Å, cohesive energy in eV and bulk modulus in GPa are near the measured ones."""
    calculator, middle = AtomsymCalculator(name), sum(constants) / 2
    lengths = [middle * (1 + 0.01 * step) for step in range(-4, 5)]
    crystals = [bulk(symbol, a=a) for a in lengths]
    energies = [calculator.get_potential_energy(crystal) for crystal in crystals]
    volume, energy, stiffness = EquationOfState([c.get_volume() for c in crystals], energies).fit()
    assert constants[0] < (4 * volume) ** (1 / 3) < constants[1]
    assert cohesive[0] < -energy < cohesive[1]
    assert modulus[0] < stiffness * 160.21766 < modulus[1]
