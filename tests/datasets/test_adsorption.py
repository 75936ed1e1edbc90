"""The set of atoms on fcc(111) surfaces: its energies, and its splits by metal."""

from __future__ import annotations

from pathlib import Path

import pytest

from atomsym.core import DataError
from atomsym.core.elements import atomic_number_of
from atomsym.datasets import known_sets, load_known

METALS = ("Pt", "Cu", "Ag")
SLAB = "{metal} 0 0 0\n{metal} 2.6 0 0\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten structures of each of three metals, with one or two adsorbed atoms of -1, -2, -3 eV each by metal."""
    (tmp_path / "adsorption").mkdir()
    frames = []
    for number, metal in enumerate(METALS, start=1):
        for index in range(10):
            adsorbed = "".join(f"F {2.6 * k} 0 {1.5 + 0.01 * index}\n" for k in range(1 + index % 2))
            header = f'Lattice="6 0 0 0 6 0 0 0 20" metal={metal} adsorbate=F adsorption_energy={-number} pbc="T T T"\n'
            frames.append(f"{2 + 1 + index % 2}\n{header}{SLAB.format(metal=metal)}{adsorbed}")
    (tmp_path / "adsorption/fcc111_atomic_adsorption.xyz").write_text("".join(frames))
    return tmp_path


def test_energies_are_those_of_all_adsorbed_atoms_together(folder: Path) -> None:
    parts = load_known("fcc111-adsorption", folder=folder)
    assert {name: len(part) for name, part in parts.items()} == {"train": 21, "validation": 3, "test": 6}
    for part in parts.values():
        for structure in part:
            metal = METALS.index(structure.group) + 1
            assert structure.energy == -metal * int((structure.numbers == 9).sum())
            assert structure.forces is None


@pytest.mark.parametrize("metal", METALS)
def test_a_metal_is_left_out_wholly(folder: Path, metal: str) -> None:
    parts = load_known(f"fcc111-adsorption-without-{metal}", folder=folder, seed=1)
    assert {name: len(part) for name, part in parts.items()} == {"train": 18, "validation": 2, "test": 10}
    number = atomic_number_of(metal)
    for name, part in parts.items():
        assert all((number in structure.numbers) == (name == "test") for structure in part)


def test_every_metal_of_the_set_can_be_left_out() -> None:
    names = {name for name in known_sets() if name.startswith("fcc111-adsorption-without-")}
    assert {name.rpartition("-")[2] for name in names} == {"Ag", "Au", "Cu", "Ir", "Pd", "Pt", "Rh"}


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no fcc111_atomic_adsorption\.xyz"):
        load_known("fcc111-adsorption", folder=tmp_path)
