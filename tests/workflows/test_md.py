"""Molecular dynamics runs: restart, blow-up, bad input, and the physics of a short argon run."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.constraints import FixAtoms
from typer.testing import CliRunner

from atomsym.calculators.ase import AtomsymCalculator
from atomsym.core import AtomsymError, ConfigError, InputError
from atomsym.testing import tolerances
from atomsym.workflows.cli import app
from atomsym.workflows.md import MdSettings, read_log, read_trajectory, resume_md, run_md
from atomsym.workflows.md.analysis import standard_error
from atomsym.workflows.md.guard import BlowUpGuard, SimulationBlewUpError
from atomsym.workflows.md.integrators import NoseHooverChain, Particles
from atomsym.workflows.md.settings import ENSEMBLES
from atomsym.workflows.pretrained import make_shipped_models


@pytest.fixture
def settings(tmp_path: Path) -> MdSettings:
    atoms = bulk("Ar", "fcc", a=5.6, cubic=True) * (2, 2, 2)
    ase.io.write(tmp_path / "argon.extxyz", atoms)
    return MdSettings(
        system=str(tmp_path / "argon.extxyz"),
        model="argon",
        ensemble="nve",
        temperature=120.0,
        timestep=4.0,
        equilibration_steps=20,
        steps=60,
        thermostat_time=100.0,
        log_every=5,
        trajectory_every=10,
        checkpoint_every=25,
        seed=3,
    )


class Interrupt:
    """A progress callback that stops the run as Ctrl-C would."""

    def __init__(self, at_step: int) -> None:
        self.at_step = at_step

    def __call__(self, step: int, status: str) -> None:
        if step >= self.at_step:
            raise KeyboardInterrupt


class StopAt:
    """A request to stop in good order after some step."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def __call__(self) -> bool:
        self.left -= 1
        return self.left <= 0


def assert_same_run(one: Path, other: Path) -> None:
    for name in ("log.csv", "trajectory.extxyz"):
        assert (one / name).read_bytes() == (other / name).read_bytes()
    with np.load(one / "restart.npz") as first, np.load(other / "restart.npz") as second:
        assert set(first.files) == set(second.files)
        for key in first.files:
            assert np.array_equal(first[key], second[key]), key


@pytest.mark.parametrize("ensemble", ENSEMBLES)
@pytest.mark.parametrize("interrupted_at", [10, 55])
def test_r08_an_interrupted_run_ends_bit_equal_to_an_uninterrupted_one(
    settings: MdSettings, tmp_path: Path, ensemble: str, interrupted_at: int
) -> None:
    settings = dataclasses.replace(settings, ensemble=ensemble)
    run_md(settings, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run_md(settings, tmp_path / "pieces", Interrupt(interrupted_at))
    assert resume_md(tmp_path / "pieces").finished
    assert_same_run(tmp_path / "whole", tmp_path / "pieces")


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_r08_a_run_stopped_in_good_order_goes_on_in_a_copied_folder(
    settings: MdSettings, tmp_path: Path, ensemble: str
) -> None:
    settings = dataclasses.replace(settings, ensemble=ensemble, dtype="float32")
    run_md(settings, tmp_path / "whole")
    result = run_md(settings, tmp_path / "pieces", should_stop=StopAt(33))  # between two restart files
    assert (result.finished, result.steps_done) == (False, 33)
    shutil.copytree(tmp_path / "pieces", tmp_path / "moved")
    shutil.rmtree(tmp_path / "pieces")
    Path(settings.system).unlink()  # the folder alone is enough
    assert not resume_md(tmp_path / "moved", should_stop=StopAt(3)).finished
    assert resume_md(tmp_path / "moved").finished
    assert_same_run(tmp_path / "whole", tmp_path / "moved")


def test_r08_a_restart_without_the_thermostat_would_differ(
    settings: MdSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = dataclasses.replace(settings, ensemble="nvt-nose-hoover", equilibration_steps=0)
    run_md(settings, tmp_path / "whole")
    run_md(settings, tmp_path / "pieces", should_stop=StopAt(33))
    monkeypatch.setattr(NoseHooverChain, "restore", lambda self, state: None)
    resume_md(tmp_path / "pieces")
    with pytest.raises(AssertionError):
        assert_same_run(tmp_path / "whole", tmp_path / "pieces")


def test_a_run_goes_on_from_another_working_folder(
    settings: MdSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_md(dataclasses.replace(settings, system="argon.extxyz"), Path("run"), should_stop=StopAt(3))
    (tmp_path / "run/restart.npz").unlink()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert resume_md(tmp_path / "run").finished


def test_a_replaced_model_file_is_refused_on_resuming(settings: MdSettings, tmp_path: Path) -> None:
    make_shipped_models(tmp_path)
    model = tmp_path / "argon.safetensors"
    run_md(dataclasses.replace(settings, model=str(model)), tmp_path / "run", should_stop=StopAt(3))
    shutil.copy(tmp_path / "copper-morse.safetensors", model)
    with pytest.raises(AtomsymError, match="content hash"):
        resume_md(tmp_path / "run")


def test_held_atoms_and_charges_survive_a_restart(settings: MdSettings, tmp_path: Path) -> None:
    atoms = ase.io.read(settings.system)
    atoms.set_constraint(FixAtoms([1, 4]))
    atoms.info["label"] = "mine"
    ase.io.write(tmp_path / "held.traj", atoms)
    settings = dataclasses.replace(settings, system=str(tmp_path / "held.traj"), equilibration_steps=0)
    run_md(settings, tmp_path / "run", should_stop=StopAt(12))
    resume_md(tmp_path / "run")
    last = read_trajectory(tmp_path / "run")[-1]
    still = np.flatnonzero(np.abs(last.positions - atoms.positions).max(axis=1) < 1e-7)
    assert still.tolist() == [1, 4]


def test_a_charge_that_the_model_does_not_know_is_refused(settings: MdSettings, tmp_path: Path) -> None:
    atoms = ase.io.read(settings.system)
    atoms.info["charge"] = 1
    ase.io.write(tmp_path / "ion.extxyz", atoms)
    with pytest.raises(InputError, match="charge = 1, which the model does not know"):
        run_md(dataclasses.replace(settings, system=str(tmp_path / "ion.extxyz")), tmp_path / "run")


def test_r08_resuming_a_finished_run_adds_nothing(settings: MdSettings, tmp_path: Path) -> None:
    run_md(settings, tmp_path / "run")
    before = (tmp_path / "run/trajectory.extxyz").read_bytes()
    resume_md(tmp_path / "run")
    assert (tmp_path / "run/trajectory.extxyz").read_bytes() == before


def test_frames_and_log_rows_are_where_the_settings_say(settings: MdSettings, tmp_path: Path) -> None:
    run_md(settings, tmp_path / "run")
    assert [frame.info["step"] for frame in read_trajectory(tmp_path / "run")] == list(range(20, 81, 10))
    log = read_log(tmp_path / "run")
    assert sorted(set(log["step"])) == list(range(0, 81, 5))
    assert set(log["phase"]) == {"equilibration", "nve"}
    assert np.isfinite(log["pressure_GPa"]).all()
    assert log["density_g_cm3"][0] == pytest.approx(4 * 39.948 / 6.02214076e23 / 5.6e-8**3, rel=1e-6)
    assert np.array_equal(log["conserved_eV"][log["phase"] == "nve"], log["total_eV"][log["phase"] == "nve"])
    frame = read_trajectory(tmp_path / "run")[2]
    row = log["step"] == frame.info["step"]
    assert frame.get_potential_energy() == pytest.approx(float(log["potential_eV"][row][0]), abs=1e-6)
    assert frame.get_kinetic_energy() == pytest.approx(float(log["kinetic_eV"][row][0]), abs=1e-6)
    assert frame.get_forces().shape == (32, 3)


def test_r07_a_blow_up_stops_the_run_and_keeps_the_last_frames(settings: MdSettings, tmp_path: Path) -> None:
    wild = dataclasses.replace(settings, timestep=400.0, equilibration_steps=0)
    with pytest.raises(SimulationBlewUpError, match=r"step \d+: .*last_frames"):
        run_md(wild, tmp_path / "run")
    assert len(ase.io.read(tmp_path / "run/last_frames.extxyz", index=":")) >= 1


def test_r07_a_jump_of_the_conserved_energy_stops_the_run(settings: MdSettings) -> None:
    atoms = ase.io.read(settings.system)
    atoms.calc = AtomsymCalculator("argon")
    particles = Particles(atoms)
    particles.evaluate()
    guard = BlowUpGuard(120.0)
    guard.check(particles, 0.0, 10)
    guard.check(particles, 30.0, 20)
    with pytest.raises(SimulationBlewUpError, match=r"conserved energy moved by \+1\.03 eV/atom"):
        guard.check(particles, 33.0, 30)
    with pytest.raises(SimulationBlewUpError, match="not a finite number"):
        guard.check(particles, float("nan"), 31)


def test_heating_a_crystal_is_no_blow_up(settings: MdSettings, tmp_path: Path) -> None:
    """The total energy rises as the lattice takes up its share, the conserved one stays."""
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    ase.io.write(tmp_path / "cu.extxyz", atoms)
    hot = MdSettings(
        str(tmp_path / "cu.extxyz"), "copper-morse", temperature=6000.0, timestep=0.5, thermostat_time=5.0, steps=300
    )
    result = run_md(hot, tmp_path / "run")
    log = read_log(tmp_path / "run")
    assert result.finished
    assert np.ptp(log["total_eV"]) / 32 > 0.5


def test_an_overlapping_start_is_relaxed_before_equilibration(settings: MdSettings, tmp_path: Path) -> None:
    atoms = ase.io.read(settings.system)
    atoms.positions[1] = atoms.positions[0] + [1.9, 0.4, 0.1]
    ase.io.write(tmp_path / "close.extxyz", atoms)
    close = dataclasses.replace(settings, system=str(tmp_path / "close.extxyz"), thermostat_time=50.0)
    assert run_md(close, tmp_path / "run").finished
    with pytest.raises(SimulationBlewUpError):
        run_md(dataclasses.replace(close, equilibration_steps=0), tmp_path / "without")


def test_npt_comes_to_the_pressure_that_was_asked_for(settings: MdSettings, tmp_path: Path) -> None:
    npt = dataclasses.replace(
        settings, ensemble="npt", pressure=0.3, temperature=60.0, timestep=5.0, equilibration_steps=0, steps=800,
        barostat_time=200.0,
    )  # fmt: skip
    run_md(npt, tmp_path / "run")
    log = read_log(tmp_path / "run")
    pressure = log["pressure_GPa"][log["step"] > 300]
    assert abs(pressure.mean() - 0.3) < tolerances.STATISTICAL_SIGMAS * standard_error(pressure)
    assert log["volume_A3"][-1] < 0.97 * log["volume_A3"][0]


def test_a_molecule_without_a_cell_runs_and_has_no_pressure(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "cluster.xyz", bulk("Cu", cubic=True).repeat((2, 1, 1)), format="extxyz")
    cluster = ase.io.read(tmp_path / "cluster.xyz", format="extxyz")
    cluster.pbc = False
    ase.io.write(tmp_path / "cluster.xyz", cluster, format="extxyz")
    settings = MdSettings(str(tmp_path / "cluster.xyz"), "copper-morse", steps=20, temperature=400.0)
    result = run_md(settings, tmp_path / "run")
    assert result.mean_pressure is None
    assert np.isnan(read_log(tmp_path / "run")["volume_A3"]).all()
    with pytest.raises(InputError, match="periodic in three directions"):
        run_md(dataclasses.replace(settings, ensemble="npt"), tmp_path / "npt")
    assert not (tmp_path / "npt").exists()


def test_another_ase_calculator_can_be_run(tmp_path: Path) -> None:
    ase.io.write(tmp_path / "cu.extxyz", bulk("Cu", cubic=True) * (2, 2, 2))
    settings = MdSettings(str(tmp_path / "cu.extxyz"), "ase.calculators.emt:EMT", ensemble="npt", steps=20)
    assert run_md(settings, tmp_path / "run").finished


def test_a_calculator_takes_arguments_and_keeps_them_for_a_resumption(tmp_path: Path) -> None:
    """A well twice as deep doubles the energy of the first frame; the restart is that of the run without a stop."""
    ase.io.write(tmp_path / "ar.extxyz", bulk("Ar", cubic=True) * (2, 2, 2))
    energies = []
    for epsilon in (0.01, 0.02):
        text = json.dumps({"sigma": 3.4, "epsilon": epsilon, "rc": 5.0})
        run = ["md", str(tmp_path / "ar.extxyz"), "--model", "ase.calculators.lj:LennardJones", "--kwargs", text]
        folder = tmp_path / str(epsilon)
        result = CliRunner().invoke(app, [*run, "--steps", "4", "--trajectory-every", "2", "-o", str(folder), "--json"])
        assert result.exit_code == 0, result.output
        energies.append(ase.io.read(folder / "trajectory.extxyz", 0).get_potential_energy())
    assert energies[1] == pytest.approx(2 * energies[0])
    settings = MdSettings.from_file(folder / "settings.json")
    assert settings.kwargs == {"sigma": 3.4, "epsilon": 0.02, "rc": 5.0}
    assert not run_md(settings, tmp_path / "parts", should_stop=StopAt(3)).finished
    assert resume_md(tmp_path / "parts").finished
    assert_same_run(folder, tmp_path / "parts")


def test_nve_conserves_the_energy(settings: MdSettings, tmp_path: Path) -> None:
    result = run_md(dataclasses.replace(settings, timestep=2.0, steps=200), tmp_path / "run")
    assert result.energy_rms < 0.01  # meV/atom; a truncated potential gives more than ten times that


def test_a_second_run_does_not_overwrite_the_first(settings: MdSettings, tmp_path: Path) -> None:
    run_md(settings, tmp_path / "run")
    with pytest.raises(InputError, match="resume it with"):
        run_md(settings, tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"timestep": -1.0}, "timestep must be positive and finite"),
        ({"steps": 0}, "steps must be positive"),
        ({"temperature": float("nan")}, "temperature must be finite and not negative"),
        ({"ensemble": "nph"}, "ensemble must be one of nve, nvt-langevin"),
        ({"repeat": (0, 1, 1)}, "repeat must be three positive integers"),
        ({"dtype": "float16"}, "dtype must be float32 or float64"),
        ({"pressure": float("inf")}, "pressure must be finite"),
        ({"ensemble": "npt", "barostat_time": 10.0}, r"barostat_time must be at least 5 time steps \(20 fs\)"),
        ({"thermostat_time": 1.0}, "thermostat_time must be at least 5 time steps"),
        ({"ensemble": "nvt-nose-hoover", "temperature": 0.0}, "needs a temperature above 0 K"),
    ],
)
def test_settings_out_of_range_are_refused(settings: MdSettings, change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(settings, **change)


@pytest.mark.parametrize("system", ["no-such-file.cif", "argonn"])
def test_an_unknown_system_is_refused_before_anything_is_written(
    settings: MdSettings, tmp_path: Path, system: str
) -> None:
    with pytest.raises(AtomsymError, match="neither a file nor a built-in system"):
        run_md(dataclasses.replace(settings, system=system), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_damaged_restart_file_is_named(settings: MdSettings, tmp_path: Path) -> None:
    run_md(settings, tmp_path / "run")
    (tmp_path / "run/restart.npz").write_bytes(b"PK\x03\x04 not a restart")
    with pytest.raises(InputError, match=r"restart\.npz: not a usable restart file"):
        resume_md(tmp_path / "run")


@pytest.mark.parametrize("name", ["log.csv", "trajectory.extxyz"])
def test_a_lost_file_of_a_run_is_named(settings: MdSettings, tmp_path: Path, name: str) -> None:
    run_md(settings, tmp_path / "run")
    (tmp_path / "run" / name).unlink()
    with pytest.raises(InputError, match=f"{name} is missing or shorter"):
        resume_md(tmp_path / "run")


def test_a_run_without_restart_file_says_that_it_starts_again(
    settings: MdSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_md(settings, tmp_path / "run")
    (tmp_path / "run/restart.npz").unlink()
    resume_md(tmp_path / "run")
    assert "starts from its first step" in caplog.text
