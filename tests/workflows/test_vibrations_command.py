"""``atomsym vibrations``: files that other programs read, JSON that is JSON, and messages instead of tracebacks."""

from __future__ import annotations

import csv
import importlib.util
import json
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from typer.testing import CliRunner

from atomsym.core import AtomsymError, ConfigError, InputError
from atomsym.workflows.cli import app
from atomsym.workflows.relax import RelaxSettings, run_relax
from atomsym.workflows.stopping import EXIT_STOPPED, StoppedError
from atomsym.workflows.vibrations import VibrationsSettings, resume_vibrations, run_vibrations, vibrations_of
from atomsym.workflows.vibrations.files import mode_trajectory
from atomsym.workflows.vibrations.report import spectrum, write_report

EMT_NAME = "ase.calculators.emt:EMT"


def saved(atoms: Atoms, folder: Path, name: str = "start.traj") -> str:
    ase.io.write(folder / name, atoms)
    return str(folder / name)


def test_a_run_leaves_what_other_programs_read(tmp_path: Path) -> None:
    atoms = molecule("H2O")
    atoms.set_masses([15.999, 2.014, 1.008])
    settings = VibrationsSettings(saved(atoms, tmp_path), EMT_NAME, relax=True)
    result = run_vibrations(settings, tmp_path / "run")
    write_report(settings, result, tmp_path / "run")
    assert result.max_force <= 1e-3 + 1e-6
    assert result.warnings == ()
    assert result.atoms.get_masses() == pytest.approx([15.999, 2.014, 1.008])
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        "settings.json", "result.json", "modes.csv", "hessian.npz", "structure.extxyz", "modes.xyz", "modes", "relax",
        "spectrum.csv", "spectrum.png",
    }  # fmt: skip
    rows = list(csv.DictReader((tmp_path / "run" / "modes.csv").read_text().splitlines()))
    assert [float(row["wavenumber_1_cm"]) for row in rows] == pytest.approx(result.modes.wavenumbers.tolist())
    with np.load(tmp_path / "run" / "hessian.npz") as data:
        assert np.array_equal(data["hessian_eV_A2"], result.hessian.hessian)
    movies = sorted((tmp_path / "run" / "modes").iterdir())
    assert len(movies) == 3
    frames = ase.io.read(movies[0], ":")
    assert len(frames) == 24
    assert frames[0].positions == pytest.approx(result.atoms.positions, abs=1e-6)
    assert np.linalg.norm(frames[6].positions - frames[0].positions, axis=1).max() == pytest.approx(0.3, abs=1e-6)
    plain = movies[0].read_text().splitlines()
    assert all(len(line.split()) == 4 for line in plain[2:5])  # any program's XYZ
    arrows = (tmp_path / "run" / "modes.xyz").read_text().splitlines()
    assert len(arrows) == 3 * 5
    assert len(arrows[2].split()) == 7


def test_json_is_all_there_is_on_standard_output(tmp_path: Path) -> None:
    file = saved(molecule("N2"), tmp_path)
    answer = CliRunner().invoke(
        app, ["vibrations", file, "--model", EMT_NAME, "--relax", "--json", "-o", str(tmp_path / "run")]
    )
    assert answer.exit_code == 0
    found = json.loads(answer.stdout)
    assert found["shape"] == "linear"
    assert found["hessian"]["method"] == "finite-difference"
    assert len(found["wavenumbers_1_cm"]) == 1
    assert found["infrared_km_mol"] is None
    assert found["thermochemistry"]["symmetry_number"]["value"] == 2
    assert found == json.loads((tmp_path / "run" / "result.json").read_text())


def test_chatty_calculators_do_not_spoil_the_json(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    if importlib.util.find_spec("tblite") is None:
        pytest.skip("tblite is not installed")
    file = saved(molecule("H2"), tmp_path)
    arguments = ["vibrations", file, "--model", "tblite.ase:TBLite", "--json", "-o", str(tmp_path / "run")]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert "total energy" not in capfd.readouterr().out


def test_the_table_says_what_was_done(tmp_path: Path) -> None:
    file = saved(molecule("H2O"), tmp_path)
    answer = CliRunner(env={"COLUMNS": "140"}).invoke(
        app, ["vibrations", file, "--model", EMT_NAME, "-o", str(tmp_path / "run"), "--entropy", "quasi-harmonic"]
    )
    assert answer.exit_code == 0
    for words in ("3 rotations projected out", "not at rest", "C2v", "±0.005 Å", "free rotors", "symmetry number 2"):
        assert words in answer.stderr


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (["--temperature", "-1"], ConfigError, "temperature must be positive"),
        (["--step", "nan"], ConfigError, "step"),
        (["--entropy", "magic"], ConfigError, "harmonic"),
        (["--hessian", "guess"], ConfigError, "finite-difference"),
        (["--multiplicity", "2"], ConfigError, "electrons"),
        (["--symmetry-number", "0"], ConfigError, "symmetry_number"),
        (["--hessian", "analytic"], AtomsymError, "no analytic Hessian"),
        (["--kwargs", "{"], ConfigError, "JSON"),
    ],
)
def test_wrong_arguments_are_named(tmp_path: Path, arguments: list[str], error: type[Exception], words: str) -> None:
    file = saved(molecule("N2"), tmp_path)
    with pytest.raises(error, match=words):
        CliRunner().invoke(
            app, ["vibrations", file, "--model", EMT_NAME, "-o", str(tmp_path / "run"), *arguments],
            catch_exceptions=False,
        )  # fmt: skip
    assert not (tmp_path / "run" / "result.json").exists()


def test_wrong_input_is_named(tmp_path: Path) -> None:
    cases: list[tuple[Atoms, str, str]] = [
        (molecule("SiH4"), EMT_NAME, "EMT could not compute forces"),
        (molecule("H2O"), "copper-morse", "the model knows Cu"),
    ]
    for number, (atoms, model, words) in enumerate(cases):
        settings = VibrationsSettings(saved(atoms, tmp_path), model)
        with pytest.raises(AtomsymError, match=words):
            run_vibrations(settings, tmp_path / f"run{number}")
        assert not (tmp_path / f"run{number}").exists()
    with pytest.raises(ConfigError, match="--model"):
        CliRunner().invoke(app, ["vibrations", saved(molecule("N2"), tmp_path)], catch_exceptions=False)


def test_a_charge_that_the_model_does_not_know_is_refused(tmp_path: Path) -> None:
    dimer = Atoms("Cu2", [[0, 0, 0], [0, 0, 2.4]])
    dimer.info["charge"] = 1
    with pytest.raises(InputError, match="charge"):
        run_vibrations(VibrationsSettings(saved(dimer, tmp_path, "a.extxyz"), "copper-morse"), tmp_path / "run")
    dimer.info.clear()
    dimer.set_initial_charges([1.0, 0.0])
    with pytest.raises(InputError, match=r"\+1 e"):
        run_vibrations(VibrationsSettings(saved(dimer, tmp_path), "copper-morse"), tmp_path / "run")
    other = molecule("N2", calculator=EMT())
    other.info["charge"] = 1
    assert any("charge" in note for note in vibrations_of(other).warnings)


def test_doubts_are_warnings() -> None:
    pair = molecule("N2") + molecule("N2")
    pair.positions[2:] += [0, 0, 8.0]
    pair.calc = EMT()
    notes = " ".join(vibrations_of(pair).warnings)
    assert "not at rest" in notes
    assert "2 molecules" in notes
    flat = molecule("NH3")
    flat.positions[:, 2] = 0.0
    flat.calc = EMT()
    result = vibrations_of(flat)
    assert result.modes.n_imaginary == result.thermochemistry.ignored
    assert (result.modes.n_imaginary > 0) == any("imaginary" in note for note in result.warnings)


def test_a_folder_of_results_is_kept(tmp_path: Path) -> None:
    settings = VibrationsSettings(saved(molecule("N2"), tmp_path), EMT_NAME)
    run_vibrations(settings, tmp_path / "run")
    with pytest.raises(InputError, match="holds results of atomsym vibrations"):
        run_vibrations(settings, tmp_path / "run")
    with pytest.raises(InputError, match="atomsym vibrations"):
        run_relax(RelaxSettings(settings.system, EMT_NAME), tmp_path / "run")


def test_only_as_many_trajectories_as_asked(tmp_path: Path) -> None:
    run_vibrations(VibrationsSettings(saved(molecule("CH4"), tmp_path), EMT_NAME, trajectories=2), tmp_path / "run")
    assert len(list((tmp_path / "run" / "modes").iterdir())) == 2


def test_held_atoms_stay_in_trajectories() -> None:
    atoms = molecule("H2O", calculator=EMT())
    atoms.set_constraint(FixAtoms([0]))
    result = vibrations_of(atoms)
    frames = mode_trajectory(result, 0)
    assert all(np.array_equal(frame.positions[0], atoms.positions[0]) for frame in frames)


def test_the_spectrum_holds_every_mode() -> None:
    """The area of the density of states is the number of real modes, but for the tails of Lorentz curves."""
    atoms = molecule("CH4", calculator=EMT())
    result = vibrations_of(atoms)
    grid, curve = spectrum(result, 10.0)
    n_real = len(result.modes) - result.modes.n_imaginary
    assert np.trapezoid(curve, grid) == pytest.approx(n_real, rel=0.03)


@pytest.mark.parametrize("atoms", [Atoms("Cu"), molecule("C2H6")], ids=["an atom", "imaginary modes"])
def test_every_picture_can_be_drawn(tmp_path: Path, atoms: Atoms) -> None:
    settings = VibrationsSettings(saved(atoms, tmp_path), EMT_NAME)
    result: Any = run_vibrations(settings, tmp_path / "run")
    assert write_report(settings, result, tmp_path / "run").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("relax", [False, True])
def test_a_stopped_calculation_goes_on_to_the_same_result(tmp_path: Path, relax: bool) -> None:
    settings = VibrationsSettings(saved(molecule("H2O"), tmp_path), EMT_NAME, relax=relax)
    whole = run_vibrations(settings, tmp_path / "whole")
    seen: list[tuple[str, int]] = []
    with pytest.raises(StoppedError, match="displacements"):
        run_vibrations(
            settings, tmp_path / "run", lambda what, done, of: seen.append((what, done)),
            lambda: seen[-1:] == [("displacements", 4)],
        )  # fmt: skip
    seen.clear()
    result = resume_vibrations(tmp_path / "run", lambda what, done, of: seen.append((what, done)))
    assert [done for what, done in seen if what == "displacements"] == [5, 6, 7, 8, 9]
    assert np.array_equal(result.hessian.hessian, whole.hessian.hessian)
    assert np.array_equal(result.modes.wavenumbers, whole.modes.wavenumbers)
    names = [{path.name for path in (tmp_path / name).iterdir()} for name in ("whole", "run")]
    assert names[0] == names[1]
    with pytest.raises(InputError, match="holds results of atomsym vibrations"):
        resume_vibrations(tmp_path / "run")


def test_a_relaxation_that_was_stopped_goes_on(tmp_path: Path) -> None:
    atoms = molecule("H2O")
    atoms.rattle(0.05, seed=0)
    settings = VibrationsSettings(saved(atoms, tmp_path), EMT_NAME, relax=True)
    with pytest.raises(StoppedError, match="relaxation"):
        run_vibrations(settings, tmp_path / "run", should_stop=lambda: True)
    result = resume_vibrations(tmp_path / "run")
    assert result.max_force <= settings.relax_fmax + 1e-6


def test_arguments_of_the_calculator_hold_in_the_relaxation_too(tmp_path: Path) -> None:
    name = "ase.calculators.lj:LennardJones"
    settings = VibrationsSettings(
        saved(Atoms("Ar2", [[0, 0, 0], [3.9, 0, 0]]), tmp_path), name, {"sigma": 3.4, "rc": 30.0}, relax=True
    )
    result = run_vibrations(settings, tmp_path / "run")
    assert result.atoms.get_distance(0, 1) == pytest.approx(2 ** (1 / 6) * 3.4, abs=1e-3)
    assert result.max_force <= settings.relax_fmax + 1e-6


def test_the_command_that_goes_on_is_told(tmp_path: Path) -> None:
    file, folder = saved(molecule("H2O"), tmp_path), str(tmp_path / "run")
    arguments = ["vibrations", file, "--model", EMT_NAME, "-o", folder, "--max-minutes", "1e-9"]
    answer = CliRunner(env={"COLUMNS": "300"}).invoke(app, arguments)
    assert answer.exit_code == EXIT_STOPPED
    assert f"atomsym vibrations --resume {folder}" in answer.stderr
    with pytest.raises(InputError, match="resume it with"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    with pytest.raises(ConfigError, match="step"):
        CliRunner().invoke(app, ["vibrations", "--resume", folder, "--step", "0.01"], catch_exceptions=False)
    again = CliRunner().invoke(app, ["vibrations", "--resume", folder, "--json"])
    assert again.exit_code == 0
    assert len(json.loads(again.stdout)["wavenumbers_1_cm"]) == 3
