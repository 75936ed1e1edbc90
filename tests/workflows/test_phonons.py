"""Phonons: both routes to force constants agree, acoustic modes vanish at Γ, and what is drawn has the right area."""

from __future__ import annotations

import dataclasses
import json
import math
import warnings
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from typer.testing import CliRunner

pytest.importorskip("phonopy")

import scipy.sparse
from phonopy import Phonopy

from atomsym.calculators.ase import AtomsymCalculator
from atomsym.calculators.phonopy import as_force_constants, from_phonopy, to_phonopy
from atomsym.core import AtomsymError, ConfigError, InputError
from atomsym.testing import tolerances
from atomsym.workflows.cli import app
from atomsym.workflows.hessian_source import hessian_of
from atomsym.workflows.phonons import PhononsSettings, force_constants, phonons_of, run_phonons
from atomsym.workflows.phonons.report import write_report
from atomsym.workflows.phonons.run import _sufficient_supercell

EMT_NAME = "ase.calculators.emt:EMT"
SMALL = PhononsSettings("", "", supercell=(2, 2, 2), points=11, mesh=25.0)


def crystal(model: str) -> Atoms:
    atoms = {
        "argon": lambda: bulk("Ar", "fcc", a=5.26, cubic=True),
        "copper-morse": lambda: bulk("Cu", "fcc", a=3.62, cubic=True),
        "cu": lambda: bulk("Cu", "fcc", a=3.63),
    }[model]()
    atoms.calc = AtomsymCalculator(model)
    return atoms


@pytest.mark.parametrize("model", ["argon", "copper-morse", "cu"])
def test_both_routes_agree_and_acoustic_modes_vanish(model: str) -> None:
    atoms = crystal(model)
    settings = dataclasses.replace(SMALL, displacement=1e-3, mesh=10.0)
    hessian, _ = phonons_of(atoms, settings)
    finite, _ = phonons_of(atoms, dataclasses.replace(settings, route="finite-displacement"))
    assert (hessian.force_constants.route, hessian.force_constants.evaluations) == ("hessian", 3)
    assert (finite.force_constants.route, finite.force_constants.evaluations) == ("finite-displacement", 1)
    assert len(hessian.primitive) == 1
    highest = max(float(piece.max()) for piece in hessian.bands.frequencies)
    for own, other in zip(hessian.bands.frequencies, finite.bands.frequencies, strict=True):
        # central differences of 1e-3 Å: 1e-6 Å² times the ratio of the fourth to the second derivative
        assert np.abs(np.abs(own) - np.abs(other)).max() < 1e-4 * highest
    for result in (hessian, finite):
        assert np.abs(result.gamma).max() < 1e-5  # THz
        assert result.force_constants.sum_rule_after < tolerances.ACOUSTIC_SUM.float64
    assert hessian.force_constants.sum_rule_before < tolerances.ACOUSTIC_SUM.float64


def test_an_fcc_crystal_of_springs_has_its_analytic_bands() -> None:
    """Springs k to nearest neighbors: at X ω² = 8k/m longitudinal, 4k/m transverse (Ashcroft and Mermin, ch. 22)."""
    atoms = bulk("Cu", "fcc", a=3.6)
    atoms.calc = EMT()
    _, phonon = phonons_of(atoms, SMALL)
    supercell = from_phonopy(phonon.supercell)
    stiffness, bond = 2.0, 3.6 / math.sqrt(2)
    n = len(supercell)
    hessian = np.zeros((n, 3, n, 3))
    for i in range(n):
        for offsets in np.ndindex(3, 3, 3):
            shift = (np.array(offsets) - 1) @ supercell.cell.array
            arm = supercell.positions + shift - supercell.positions[i]
            for j in np.flatnonzero(np.abs(np.linalg.norm(arm, axis=1) - bond) < 0.1):
                block = stiffness * np.outer(arm[j], arm[j]) / bond**2
                hessian[i, :, j] -= block
                hessian[i, :, i] += block
    rows = phonon.primitive.p2s_map
    phonon.force_constants = as_force_constants(hessian.reshape(3 * n, 3 * n), rows)
    phonon.run_qpoints([[0.5, 0.5, 0.0]])
    thz = math.sqrt(stiffness / 63.546) * 521.4709 / 33.35641
    assert phonon.qpoints.frequencies[0] == pytest.approx([2 * thz, 2 * thz, math.sqrt(8) * thz], rel=1e-5)


@pytest.fixture(scope="module")
def aluminium() -> Any:
    atoms = bulk("Al", "fcc", a=3.995, cubic=True)
    atoms.calc = EMT()
    return phonons_of(atoms, SMALL)[0]


def test_the_density_of_states_holds_every_mode(aluminium: Any) -> None:
    density = aluminium.density
    assert np.trapezoid(density.total, density.frequencies) == pytest.approx(3, rel=0.02)


def test_thermal_properties_have_their_limits(aluminium: Any) -> None:
    """C_V → 3 R and, at 0 K, F → ½ Σ hν (about 9/8 R Θ of a Debye crystal), S → 0."""
    thermal = aluminium.thermal
    assert thermal.heat_capacity[-1] == pytest.approx(3 * 8.31446, rel=0.02)
    assert thermal.entropy[0] == 0
    mean = np.trapezoid(aluminium.density.total * aluminium.density.frequencies, aluminium.density.frequencies) / 3
    assert aluminium.zero_point_energy == pytest.approx(1.5 * mean * 0.399031, rel=0.02)  # h · THz = 0.399 kJ/mol
    slope = np.gradient(thermal.free_energy, thermal.temperatures)
    assert -1e3 * slope[30] == pytest.approx(thermal.entropy[30], rel=1e-3)


def test_elements_share_the_density_of_states() -> None:
    atoms = bulk("NiAl", "cesiumchloride", a=2.95)
    atoms.calc = EMT()
    result, _ = phonons_of(atoms, SMALL)
    density = result.density
    assert set(density.by_element) == {"Ni", "Al"}
    assert sum(density.by_element.values()) == pytest.approx(density.total, abs=0.05 * density.total.max())
    assert any("Born" in note for note in result.warnings)


def test_the_given_cell_does_not_matter() -> None:
    atoms = crystal("copper-morse")
    cubic, _ = phonons_of(atoms, SMALL)
    repeated = atoms.repeat((2, 2, 2))
    repeated.calc = atoms.calc
    same, _ = phonons_of(repeated, dataclasses.replace(SMALL, supercell=(1, 1, 1)))
    for own, other in zip(cubic.bands.frequencies, same.bands.frequencies, strict=True):
        assert own == pytest.approx(other, abs=1e-5)


def test_imaginary_modes_are_told() -> None:
    """Copper in a simple cubic lattice falls."""
    atoms = Atoms("Cu", cell=[2.4, 2.4, 2.4], pbc=True, calculator=AtomsymCalculator("copper-morse"))
    result, _ = phonons_of(atoms, dataclasses.replace(SMALL, supercell=(3, 3, 3)))
    assert result.lowest < -0.5
    assert result.imaginary_share > 0
    assert any("imaginary modes: down to" in note for note in result.warnings)
    assert any("under stress" in note for note in result.warnings)


def test_planted_bugs_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of the wrong sign or order do not pass the comparison of both routes."""
    for wrong in (lambda rows: -as_force_constants(rows), lambda rows: as_force_constants(rows)[:, ::-1].copy()):
        monkeypatch.setattr(force_constants, "as_force_constants", wrong)
        with pytest.raises(AssertionError):
            test_both_routes_agree_and_acoustic_modes_vanish("argon")


def test_a_supercell_is_large_enough_by_itself() -> None:
    atoms = bulk("Ar", "fcc", a=5.26)
    argon = AtomsymCalculator("argon")  # cutoff 8.5 Å; faces of the primitive cell are 3.04 Å apart
    assert _sufficient_supercell(atoms, argon) == (6, 6, 6)
    assert _sufficient_supercell(bulk("Ar", "fcc", a=5.26, cubic=True), EMT()) == (3, 3, 3)  # 12 Å
    atoms.calc = argon
    result, _ = phonons_of(atoms, dataclasses.replace(SMALL, mesh=5.0))
    assert any("twice the model's cutoff" in note for note in result.warnings)


# Converters ----------------------------------------------------------------------------------------------------------


def test_hessians_become_force_constants_dense_sparse_and_by_rows() -> None:
    atoms = crystal("argon")
    whole = hessian_of(atoms).hessian
    full = as_force_constants(whole)
    assert full.shape == (4, 4, 3, 3)
    assert full[1, 2] == pytest.approx(whole[3:6, 6:9])
    assert np.array_equal(as_force_constants(scipy.sparse.csr_array(whole), [0, 2]), full[[0, 2]])
    assert np.array_equal(as_force_constants(scipy.sparse.coo_array(whole), [1]), full[[1]])
    assert np.array_equal(as_force_constants(whole[:6]), full[:2])
    with pytest.raises(InputError, match="3 rows"):
        as_force_constants(whole[:4])
    with pytest.raises(InputError, match="asked for"):
        as_force_constants(whole, [4])


def test_structures_go_to_phonopy_and_back() -> None:
    atoms = bulk("NaCl", "rocksalt", a=5.6)
    atoms.set_masses([22.0, 36.0])
    back = from_phonopy(to_phonopy(atoms))
    assert back.positions == pytest.approx(atoms.positions)
    assert back.get_masses() == pytest.approx([22.0, 36.0])
    assert str(back.symbols) == "NaCl"
    with pytest.raises(InputError, match="three directions"):
        to_phonopy(molecule("N2"))


# The program ---------------------------------------------------------------------------------------------------------


def test_a_run_leaves_what_phonopy_reads(tmp_path: Path) -> None:
    import phonopy

    ase.io.write(tmp_path / "al.cif", bulk("Al", "fcc", a=4.05, cubic=True))
    settings = dataclasses.replace(SMALL, system=str(tmp_path / "al.cif"), model=EMT_NAME, relax=True)
    result = run_phonons(settings, tmp_path / "run")
    pictures = write_report(settings, result, tmp_path / "run")
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)
    assert result.max_stress is not None
    assert result.max_stress < 0.02
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # phonopy warns of its own defaults
        again: Phonopy = phonopy.load(tmp_path / "run" / "phonopy_params.yaml", log_level=0, is_nac=False)
    assert again.force_constants == pytest.approx(result.force_constants.values, abs=1e-8)
    header = (tmp_path / "run" / "bands.csv").read_text().splitlines()[0]
    assert header == "piece,distance_1_A,band_1_THz,band_2_THz,band_3_THz"
    with pytest.raises(InputError, match="holds results of atomsym phonons"):
        run_phonons(settings, tmp_path / "run")


def test_json_is_all_there_is_on_standard_output(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "cu.cif", bulk("Cu", a=3.62))
    arguments = ["phonons", str(tmp_path / "cu.cif"), "--model", "copper-morse", "--supercell", "3", "3", "3"]
    answer = CliRunner().invoke(app, [*arguments, "--mesh", "10", "--json", "-o", str(tmp_path / "run")])
    assert answer.exit_code == 0
    found = json.loads(answer.stdout)
    assert found["force_constants"]["route"] == "hessian"
    assert found["supercell"] == [3, 3, 3]
    assert found == json.loads((tmp_path / "run" / "result.json").read_text())


def test_wrong_use_is_named(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "cu.cif", bulk("Cu", a=3.62))
    held = bulk("Cu", cubic=True)
    held.set_constraint(FixAtoms([0]))
    ase.io.write(tmp_path / "held.traj", held)
    ase.io.write(tmp_path / "n2.xyz", molecule("N2"))
    cases: list[tuple[list[str], type[AtomsymError], str]] = [
        (["cu.cif"], ConfigError, "--model"),
        (["cu.cif", "--model", EMT_NAME, "--supercell", "0", "1", "1"], ConfigError, "supercell"),
        (["cu.cif", "--model", EMT_NAME, "--route", "magic"], ConfigError, "finite-displacement"),
        (
            ["cu.cif", "--model", EMT_NAME, "--supercell", "1", "1", "1", "--route", "hessian"],
            AtomsymError,
            "no analytic Hessian",
        ),
        (["cu.cif", "--model", EMT_NAME, "--mesh", "-1"], ConfigError, "mesh"),
        (["cu.cif", "--model", "argon"], InputError, "the model knows Ar"),
        (["n2.xyz", "--model", EMT_NAME], InputError, "three directions"),
        (["held.traj", "--model", EMT_NAME], InputError, "holds some fixed"),
    ]
    for number, (arguments, error, words) in enumerate(cases):
        file = str(tmp_path / arguments[0])
        with pytest.raises(error, match=words):
            CliRunner().invoke(
                app, ["phonons", file, *arguments[1:], "-o", str(tmp_path / f"run{number}")], catch_exceptions=False
            )
