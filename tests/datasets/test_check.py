"""I-12: the report counts every fault that is planted, and stays silent on sound data."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from atomsym.core import LabelledStructure
from atomsym.datasets import Finding, check_dataset, read_dataset
from atomsym.datasets.consistency import energy_force_slope

Maker = Callable[..., list[LabelledStructure]]
KCAL = 23.06


def finding(structures: list[LabelledStructure], kind: str) -> Finding:
    found = [f for f in check_dataset(structures).findings if f.kind == kind]
    assert found, f"no finding '{kind}' among {[f.kind for f in check_dataset(structures).findings]}"
    return found[0]


def test_sound_data_give_no_finding(molecules: Maker) -> None:
    report = check_dataset(molecules(50))
    assert report.findings == ()
    assert report.ok
    assert (report.n_structures, report.n_atoms, report.smallest, report.largest) == (50, 200, 4, 4)
    assert report.elements == {"H": 100, "C": 50, "O": 50}
    assert report.pbc == {"FFF": 50}
    assert report.labels == {"energy": 50, "forces": 50, "stress": 0, "hessian": 0, "target": 0}
    assert report.missing("stress") == 50


def test_composition_energies_are_taken_off(crystals: Maker) -> None:
    report = check_dataset(crystals(60))
    assert report.energy is not None
    assert report.energy.unique
    assert report.energy.composition_energies["Cu"] == pytest.approx(-3.7, abs=0.01)
    assert report.energy.composition_energies["Ni"] == pytest.approx(-5.5, abs=0.01)
    assert report.energy.std == pytest.approx(0.01 / 4, rel=0.3)


def test_report_is_plain_json(crystals: Maker) -> None:
    content = json.loads(check_dataset([*crystals(5), *crystals(1)]).to_json())
    assert content["n_structures"] == 6
    assert content["groups"] == {"even": 4, "odd": 2}
    assert content["ok"] is True
    assert content["findings"][0]["kind"] == "duplicates"


def test_i12_nan_labels_are_errors_with_counts(molecules: Maker) -> None:
    made = molecules(30)
    made[3] = replace(made[3], energy=float("nan"))
    made[5] = replace(made[5], energy=float("inf"))
    half = made[7].forces.copy()  # type: ignore[union-attr]
    half[2, 1] = np.nan
    made[7] = replace(made[7], forces=half)
    report = check_dataset(made)
    assert not report.ok
    assert finding(made, "not finite energy").count == 2
    assert finding(made, "not finite energy").examples == ("made:3", "made:5")
    assert finding(made, "not finite forces").examples == ("made:7",)
    assert report.findings[0].severity == "error"


def test_i12_missing_labels_are_counted(molecules: Maker) -> None:
    made = molecules(10)
    made[:4] = [replace(s, forces=None) for s in made[:4]]
    assert finding(made, "mixed forces").count == 4
    assert finding([replace(s, energy=None) for s in made], "no energy").count == 10
    unknown = np.full((4, 3), np.nan)
    made[9] = replace(made[9], forces=unknown)
    assert finding(made, "atoms without forces").count == 1
    assert check_dataset(made).ok


@pytest.mark.parametrize("n_wrong", [1, 7])
def test_i12_energy_outliers_are_found_even_if_they_are_many_and_far(crystals: Maker, n_wrong: int) -> None:
    made = crystals(60)
    for index in range(n_wrong):
        made[index] = replace(made[index], energy=made[index].energy + 50.0 * (index + 1))
    outliers = finding(made, "energy outliers")
    assert outliers.count == n_wrong
    assert outliers.examples[0] == "made:0"
    assert check_dataset(crystals(60)).findings == ()


def test_force_outliers_are_found(molecules: Maker) -> None:
    made = molecules(40)
    spiked = made[11].forces.copy()  # type: ignore[union-attr]
    spiked[0] += [200.0, 0, 0]
    spiked[1] -= [200.0, 0, 0]
    made[11] = replace(made[11], forces=spiked)
    assert finding(made, "force outliers").examples == ("made:11",)
    assert check_dataset(made).force_max == pytest.approx(200, rel=0.2)


def test_forces_that_do_not_sum_to_zero_are_found(molecules: Maker) -> None:
    made = molecules(20)
    made[2] = replace(made[2], forces=made[2].forces + 0.02)
    assert finding(made, "net force").count == 1


@pytest.mark.parametrize(("energy", "forces"), [(KCAL, 1.0), (1.0, KCAL), (27.2, 1.0), (1.0, -1.0)])
def test_i12_units_of_energies_that_do_not_fit_the_forces_are_suspected(
    molecules: Maker, energy: float, forces: float
) -> None:
    made = [replace(s, energy=s.energy * energy, forces=s.forces * forces) for s in molecules(30)]
    suspected = finding(made, "energies and forces do not fit")
    assert suspected.severity == "warning"
    assert ("wrong sign" in suspected.message) == (forces < 0)


def test_the_slope_of_consistent_data_is_one_whatever_the_orientation(molecules: Maker) -> None:
    turned = []
    generator = np.random.default_rng(3)
    for structure in molecules(30):
        rotation = np.linalg.qr(generator.standard_normal((3, 3)))[0]
        rotation *= np.sign(np.linalg.det(rotation))
        turned.append(
            replace(structure, positions=structure.positions @ rotation + 3.0, forces=structure.forces @ rotation)
        )
    for data in (molecules(30), turned):
        slope = energy_force_slope(data)
        assert slope is not None
        assert slope.slope == pytest.approx(1.0, abs=0.15)
        assert slope.correlation > 0.9
        assert not slope.suspicious


def test_the_slope_follows_periodic_images(molecules: Maker) -> None:
    cell = 10.0 * np.eye(3)
    made = [replace(s, cell=cell, pbc=np.ones(3, bool), positions=s.positions % 10.0) for s in molecules(20)]
    slope = energy_force_slope(made)
    assert slope is not None
    assert slope.slope == pytest.approx(1.0, abs=0.15)


def test_no_slope_without_similar_structures(molecules: Maker) -> None:
    assert energy_force_slope(molecules(1)) is None
    assert energy_force_slope([replace(s, forces=None) for s in molecules(5)]) is None
    assert energy_force_slope([]) is None


def test_i12_mixed_periodicity_is_reported(molecules: Maker) -> None:
    made = molecules(6)
    made[0] = replace(made[0], cell=9.0 * np.eye(3), pbc=np.array([True, True, False]))
    assert "FFF: 5, TTF: 1" in finding(made, "mixed periodicity").message


def test_i12_duplicates_are_reported_with_their_labels(molecules: Maker) -> None:
    made = molecules(10)
    made.append(replace(made[4], energy=made[4].energy + 1.0, source="copy"))
    duplicates = finding(made, "duplicates")
    assert duplicates.count == 1
    assert duplicates.examples == ("made:4 = copy",)
    assert "1 of them with other labels" in duplicates.message


def test_overlapping_atoms_and_broken_cells_are_errors(molecules: Maker) -> None:
    made = molecules(5)
    positions = made[1].positions.copy()
    positions[2] = positions[3] + 0.01
    made[1] = replace(made[1], positions=positions)
    made[2] = replace(made[2], pbc=np.ones(3, dtype=bool))
    unusable = finding(made, "unusable structures")
    assert (unusable.count, unusable.severity) == (2, "error")
    assert "are 0.0173 Å apart" in unusable.message


def test_a_spread_of_many_electronvolts_is_suspected(crystals: Maker) -> None:
    generator = np.random.default_rng(0)
    made = [replace(s, energy=100 * generator.standard_normal()) for s in crystals(30)]
    assert finding(made, "energy spread").severity == "warning"


def test_one_structure_and_empty_sets_do_not_fail(molecules: Maker) -> None:
    assert check_dataset(molecules(1)).energy is not None
    empty = check_dataset([])
    assert (empty.n_structures, empty.ok) == (0, False)


def test_published_sets_look_sound(published: Path) -> None:
    report = check_dataset(read_dataset(published / "3bpa/train_300K.xyz.gz"))
    assert report.findings == ()
    slope = check_dataset(read_dataset(published / "rmd17/rmd17_ethanol_train_01.npz")).energy_force_slope
    assert slope is not None
    assert slope.slope == pytest.approx(1.0, abs=0.3)
