"""Keys and units: the right labels are found, ambiguous ones are refused, missing ones are named (I-12)."""

from __future__ import annotations

from pathlib import Path

import ase.units
import numpy as np
import pytest

from atomsym.core import ConfigError, DataError
from atomsym.datasets import LabelKeys, LabelUnits, read_dataset, require_labels

CELL = 'Lattice="2 0 0 0 2 0 0 0 2" pbc=T'


def one(tmp_path: Path, comment: str, columns: str = "species:S:1:pos:R:3", row: str = "H 0 0 0") -> Path:
    path = tmp_path / "one.xyz"
    path.write_text(f"1\nProperties={columns} {comment}\n{row}\n")
    return path


@pytest.mark.parametrize(
    "key", ["energy", "REF_energy", "dft_energy", "Energy", "free_energy", "TotEnergy", "dft-energy"]
)
def test_energy_is_found_under_its_usual_names(tmp_path: Path, key: str) -> None:
    dataset = read_dataset(one(tmp_path, f"{key}=-1.5"))
    assert dataset[0].energy == -1.5
    assert dataset.report is not None
    assert dataset.report.keys["energy"] == key


def test_a_custom_key_is_used_and_others_are_left_alone(tmp_path: Path) -> None:
    path = one(tmp_path, "energy=1 my_label=-2.5")
    assert read_dataset(path, keys=LabelKeys(energy="my_label"))[0].energy == -2.5
    assert read_dataset(path, keys=LabelKeys(energy=None))[0].energy is None


def test_i12_a_requested_key_that_is_nowhere_names_what_was_found(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'E_dft' asked for energy; found keys.*other \(1\)"):
        read_dataset(one(tmp_path, "other=1"), keys=LabelKeys(energy="E_dft"))


def test_two_keys_with_the_same_labels_are_accepted(tmp_path: Path) -> None:
    assert read_dataset(one(tmp_path, "energy=-1.5 free_energy=-1.5"))[0].energy == -1.5


def test_two_keys_with_different_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'energy' and 'free_energy', which do not agree.*they differ"):
        read_dataset(one(tmp_path, "energy=-1.5 free_energy=-1.6"))


def test_labels_under_one_key_here_and_another_there_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "two.xyz"
    path.write_text("1\nenergy=1\nH 0 0 0\n1\nREF_energy=1\nH 0 0 0\n")
    with pytest.raises(DataError, match="frame 1, line 5 has only the latter"):
        read_dataset(path)


def test_i12_no_labels_at_all_is_an_error_before_training(tmp_path: Path) -> None:
    dataset = read_dataset(one(tmp_path, "my_strange_energy=1"))
    with pytest.raises(
        DataError, match=r"none of 1 structures has energy labels.*my_strange_energy.*LabelKeys\(energy="
    ):
        require_labels(dataset, ("energy", "forces"))


def test_i12_nan_labels_are_refused_and_counted(tmp_path: Path) -> None:
    dataset = read_dataset(one(tmp_path, "energy=nan"))
    with pytest.raises(DataError, match=r"energy of 1 structures are not finite numbers: one.xyz:0"):
        require_labels(dataset, ("energy",))


def test_atoms_without_forces_are_allowed_but_half_a_force_is_not(tmp_path: Path) -> None:
    path = tmp_path / "two.xyz"
    text = "2\nProperties=species:S:1:pos:R:3:forces:R:3 energy=1\nH 0 0 0 {}\nH 0 0 1 1 2 3\n"
    path.write_text(text.format("nan nan nan"))
    assert require_labels(read_dataset(path), ("forces",)) == {"forces": 1}
    path.write_text(text.format("nan 0 0"))
    with pytest.raises(DataError, match="forces of 1 structures"):
        require_labels(read_dataset(path), ("forces",))


def test_labels_of_other_words_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'dipole' is not a label"):
        require_labels(read_dataset(one(tmp_path, "energy=1")), ("dipole",))


def test_a_column_per_atom_is_no_energy(tmp_path: Path) -> None:
    path = one(tmp_path, "", "species:S:1:pos:R:3:site_energy:R:2", "H 0 0 0 1 2")
    with pytest.raises(DataError, match="energy 'site_energy' has 2 values"):
        read_dataset(path, keys=LabelKeys(energy="site_energy"))


@pytest.mark.parametrize(
    ("comment", "message"),
    [
        ("energy=abc", "line 2: energy 'energy' is 'abc'; a number is needed"),
        ('energy="1 2"', "has 2 values; one is needed"),
        ('energy=1 stress="1 2 3"', "stress 'stress' has 3 values"),
        ('energy=1 stress="1 5 0 0 1 0 0 0 1"', "is not symmetric"),
        ('energy=1 virial="1 0 0 0 1 0 0 0 1"', "is a virial, but there is no cell"),
        ('energy=1 hessian="1 2 3"', "has 3 values; 3 × 3 are needed"),
    ],
)
def test_a_label_of_the_wrong_form_is_an_error_with_its_line(tmp_path: Path, comment: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_dataset(one(tmp_path, comment))


def test_stress_is_the_same_from_six_components_nine_or_the_virial(tmp_path: Path) -> None:
    nine = read_dataset(one(tmp_path, f'{CELL} stress="1 6 5 6 2 4 5 4 3"'))[0].stress
    six = read_dataset(one(tmp_path, f'{CELL} stress="1 2 3 4 5 6"'))[0].stress
    lists = read_dataset(one(tmp_path, f'{CELL} stress="_JSON [[1, 6, 5], [6, 2, 4], [5, 4, 3]]"'))[0].stress
    virial = read_dataset(one(tmp_path, f'{CELL} virial="-8 -48 -40 -48 -16 -32 -40 -32 -24"'))[0].stress
    expected = np.array([[1.0, 6, 5], [6, 2, 4], [5, 4, 3]])
    for found in (nine, six, lists, virial):
        np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_stress_and_virial_of_opposite_sign_are_refused(tmp_path: Path) -> None:
    path = one(tmp_path, f'{CELL} stress="1 0 0 0 1 0 0 0 1" virial="8 0 0 0 8 0 0 0 8"')
    with pytest.raises(DataError, match="do not agree; xx is 1 and -1"):
        read_dataset(path)
    stress = read_dataset(path, units=LabelUnits(virial_positive="tension"))[0].stress
    np.testing.assert_array_equal(stress, np.eye(3))


def test_vasp_stress_in_kbar_turns_sign_and_order(tmp_path: Path) -> None:
    units = LabelUnits(stress="kbar", stress_positive="compression", voigt="xx yy zz xy yz xz")
    stress = read_dataset(one(tmp_path, f'{CELL} stress="10 20 30 1 2 3"'), units=units)[0].stress
    kbar = -0.1 * ase.units.GPa
    np.testing.assert_allclose(stress, kbar * np.array([[10, 1, 3], [1, 20, 2], [3, 2, 30]]), rtol=1e-6)


def test_units_are_converted_once_each(tmp_path: Path) -> None:
    path = one(tmp_path, 'Lattice="1 0 0 0 1 0 0 0 1" energy=2', "species:S:1:pos:R:3:forces:R:3", "H 1 0 0 3 0 0")
    read = read_dataset(path, units=LabelUnits(energy="Hartree", length="Bohr"))[0]
    assert read.energy == pytest.approx(2 * ase.units.Hartree, rel=1e-7)
    assert read.positions[0, 0] == pytest.approx(ase.units.Bohr, rel=1e-7)
    assert read.cell[1, 1] == pytest.approx(ase.units.Bohr, rel=1e-7)
    assert read.forces is not None
    assert read.forces[0, 0] == pytest.approx(3 * ase.units.Hartree / ase.units.Bohr, rel=1e-7)
    mixed = read_dataset(path, units=LabelUnits(energy="kcal/mol", forces="eV/Å"))[0]
    assert mixed.energy == pytest.approx(2 * ase.units.kcal / ase.units.mol, rel=1e-7)
    assert mixed.forces is not None
    assert mixed.forces[0, 0] == 3


@pytest.mark.parametrize(
    "settings",
    [
        {"energy": "eVV"}, {"energy": "Å"}, {"length": "eV"}, {"forces": "eV"}, {"stress": "eV/Å^2"},
        {"stress_positive": "up"}, {"voigt": "xx yy zz"}, {"energy": ""}, {"energy": "eV/"},
    ],
)  # fmt: skip
def test_impossible_units_are_refused(settings: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        LabelUnits(**settings)


@pytest.mark.parametrize("unit", ["eV/Å^3", "eV/Å**3", "eV/Å³", "ev / angstrom^3", "eV/Å/Å/Å"])
def test_a_unit_may_be_written_in_several_ways(unit: str) -> None:
    assert LabelUnits(stress=unit).factors["stress"] == 1.0


def test_groups_come_from_a_key_or_a_function(tmp_path: Path) -> None:
    path = one(tmp_path, "energy=1 config_type=bulk source=data_3/7")
    assert read_dataset(path)[0].group == "bulk"
    assert read_dataset(path, group="source")[0].group == "data_3/7"
    assert read_dataset(path, group=lambda info: info["source"].split("/")[0])[0].group == "data_3"
    assert read_dataset(path, group=None)[0].group == ""
    with pytest.raises(ConfigError, match="'temperature' asked for groups"):
        read_dataset(path, group="temperature")


def test_weights_are_read_when_named_and_must_not_be_negative(tmp_path: Path) -> None:
    path = one(tmp_path, "energy=1 w=2.5")
    assert read_dataset(path)[0].weight == 1.0
    assert read_dataset(path, keys=LabelKeys(weight="w"))[0].weight == 2.5
    with pytest.raises(DataError, match="weights are numbers >= 0"):
        read_dataset(one(tmp_path, "energy=1 w=-1"), keys=LabelKeys(weight="w"))
