"""Molecular dynamics runs: restart, blow-up, bad input, and the physics of a short argon run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import bulk

from atomsym.core import AtomsymError, ConfigError, InputError
from atomsym.workflows.md import MdSettings, resume_md, run_md
from atomsym.workflows.md.analysis import diffusion_coefficient, mean_squared_displacement, radial_distribution
from atomsym.workflows.md.guard import SimulationBlewUpError
from atomsym.workflows.md.report import write_report
from atomsym.workflows.md.run_files import read_log, read_trajectory


@pytest.fixture
def settings(tmp_path: Path) -> MdSettings:
    atoms = bulk("Ar", "fcc", a=5.6, cubic=True) * (3, 3, 3)
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


@pytest.mark.parametrize("ensemble", ["nve", "nvt"])
@pytest.mark.parametrize("interrupted_at", [10, 40, 55, 75])
def test_r08_an_interrupted_run_ends_bit_equal_to_an_uninterrupted_one(
    settings: MdSettings, tmp_path: Path, ensemble: str, interrupted_at: int
) -> None:
    settings = dataclasses.replace(settings, ensemble=ensemble)
    run_md(settings, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run_md(settings, tmp_path / "pieces", Interrupt(interrupted_at))
    resume_md(tmp_path / "pieces")
    for name in ("log.csv", "trajectory.extxyz"):
        assert (tmp_path / "pieces" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    with np.load(tmp_path / "whole/restart.npz") as whole, np.load(tmp_path / "pieces/restart.npz") as pieces:
        assert np.array_equal(whole["positions"], pieces["positions"])
        assert np.array_equal(whole["momenta"], pieces["momenta"])


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


def test_r07_a_blow_up_stops_the_run_and_keeps_the_last_frames(settings: MdSettings, tmp_path: Path) -> None:
    wild = dataclasses.replace(settings, timestep=400.0, equilibration_steps=0)
    with pytest.raises(SimulationBlewUpError, match=r"step \d+: .*last_frames"):
        run_md(wild, tmp_path / "run")
    assert len(ase.io.read(tmp_path / "run/last_frames.extxyz", index=":")) >= 1


def test_nve_conserves_the_energy(settings: MdSettings, tmp_path: Path) -> None:
    result = run_md(dataclasses.replace(settings, timestep=2.0, steps=200), tmp_path / "run")
    assert result.energy_rms < 0.01  # meV/atom; a truncated potential gives more than ten times that


def test_a_second_run_does_not_overwrite_the_first(settings: MdSettings, tmp_path: Path) -> None:
    run_md(settings, tmp_path / "run")
    with pytest.raises(InputError, match="resume it with"):
        run_md(settings, tmp_path / "run")


def test_the_report_is_a_picture(settings: MdSettings, tmp_path: Path) -> None:
    picture = write_report(settings, run_md(settings, tmp_path / "run"))
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"timestep": -1.0}, "timestep must be positive and finite"),
        ({"steps": 0}, "steps must be positive"),
        ({"temperature": float("nan")}, "temperature must be finite and not negative"),
        ({"ensemble": "nph"}, "ensemble must be one of nve, nvt-langevin"),
        ({"repeat": (0, 1, 1)}, "repeat must be three positive integers"),
        ({"dtype": "float16"}, "dtype must be float32 or float64"),
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


def test_radial_distribution_of_a_crystal_counts_its_shells() -> None:
    a = 5.6
    curve = radial_distribution([bulk("Ar", "fcc", a=a, cubic=True) * (2, 2, 2)], 7.0, bin_width=0.1)
    density = 4 / a**3
    shell = 4 / 3 * np.pi * ((curve.x + 0.05) ** 3 - (curve.x - 0.05) ** 3)
    neighbors = np.cumsum(curve.y * density * shell)
    assert neighbors[np.searchsorted(curve.x, 4.5)] == pytest.approx(12)  # a/√2 = 3.96 Å
    assert neighbors[np.searchsorted(curve.x, 6.0)] == pytest.approx(18)  # a = 5.6 Å


def test_diffusion_coefficient_of_a_random_walk() -> None:
    generator = np.random.default_rng(0)
    walk = generator.normal(scale=0.1, size=(400, 300, 3)).cumsum(axis=0)
    frames = []
    for positions in walk:
        frame = bulk("Ar", "fcc", a=20.0, cubic=True) * (5, 5, 3)
        frame.positions = positions
        frames.append(frame)
    # ⟨Δx²⟩ = 3 · 0.01 Å² a frame of 10 fs = 3 Å²/ps, so D = 0.5 Å²/ps = 5 · 1e-5 cm²/s
    assert diffusion_coefficient(mean_squared_displacement(frames, 10.0)) == pytest.approx(5.0, rel=0.1)
