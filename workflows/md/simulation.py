"""The run itself: equilibration, production, log, trajectory, restart file.

Everything a run leaves is in one folder: ``settings.json``, ``log.csv``, ``trajectory.extxyz`` (production frames),
``restart.npz``, ``summary.json`` and ``report.png``. A run that was interrupted goes on from its restart file; log and
trajectory are first cut back to the state that the file knows, so nothing is there twice.
"""

from __future__ import annotations

import copy
import csv
import io
import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from zipfile import BadZipFile

import ase.io
import numpy as np
from ase import Atoms, units
from ase.io.extxyz import write_extxyz
from ase.md.langevin import Langevin
from ase.md.md import MolecularDynamics
from ase.md.velocitydistribution import Stationary
from ase.md.verlet import VelocityVerlet

from atomsym.artifacts import write_atomically
from atomsym.calculators.ase import AtomsymCalculator
from atomsym.core import AtomsymError, InputError
from atomsym.workflows.md.analysis import energy_drift
from atomsym.workflows.md.guard import BlowUpGuard, SimulationBlewUpError
from atomsym.workflows.md.settings import MdSettings
from atomsym.workflows.md.systems import load_system
from atomsym.workflows.paths import make_folder

logger = logging.getLogger(__name__)

LOG_COLUMNS = ("step", "time_fs", "phase", "temperature_K", "potential_eV", "kinetic_eV", "total_eV")
SKIN = 1.0  # Å, of the neighbor list
Progress = Callable[[int, str], None]


@dataclass(frozen=True)
class MdResult:
    """What a finished run reports.

    Attributes:
        folder: where everything is.
        n_atoms: number of atoms.
        mean_temperature, std_temperature: of production, K.
        energy_slope: of the total energy in production, meV/atom/ns.
        energy_rms: about that slope, meV/atom.
        ns_per_day: speed of this process.
        steps_per_second: the same.
    """

    folder: Path
    n_atoms: int
    mean_temperature: float
    std_temperature: float
    energy_slope: float
    energy_rms: float
    ns_per_day: float
    steps_per_second: float


def run_md(settings: MdSettings, folder: Path, progress: Progress | None = None) -> MdResult:
    """Start a run in a new or empty folder.

    Args:
        settings: what to do.
        folder: created; must not hold another run.
        progress: called with the number of finished steps and a status line.

    Raises:
        InputError: if the folder holds a run already, or the structure or model cannot be used.
        SimulationBlewUpError: if the run leaves the region where the model means anything; the last frames are saved.
    """
    if (folder / "settings.json").exists():
        raise InputError(f"{folder} holds a run already; resume it with --resume {folder}, or choose another folder")
    simulation = _Simulation(settings, folder)  # bad input ends here, before anything is written
    make_folder(folder)
    write_atomically(folder / "settings.json", settings.to_json().encode())
    simulation.start_files()
    return simulation.run(progress)


def resume_md(folder: Path, progress: Progress | None = None) -> MdResult:
    """Continue an interrupted run from its last restart file, or from the start if it has none yet.

    Raises:
        InputError: if the folder does not hold a run.
    """
    settings = MdSettings.from_file(folder / "settings.json")
    simulation = _Simulation(settings, folder)
    if (folder / "restart.npz").exists():
        simulation.restore()
    else:
        logger.warning("%s has no restart file yet; the run starts from its first step", folder)
        simulation.start_files()
    return simulation.run(progress)


def read_trajectory(folder: Path) -> list[Atoms]:
    """The production frames of a run."""
    path = folder / "trajectory.extxyz"
    return list(ase.io.iread(path, index=":", format="extxyz")) if path.stat().st_size else []


def read_log(folder: Path) -> dict[str, np.ndarray]:
    """The log's columns by name."""
    with (folder / "log.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {
        name: np.array([row[name] if name == "phase" else float(row[name]) for row in rows]) for name in LOG_COLUMNS
    }


class _Simulation:
    def __init__(self, settings: MdSettings, folder: Path) -> None:
        self.settings, self.folder = settings, folder
        self.atoms = load_system(settings)
        self.atoms.calc = AtomsymCalculator(settings.model, device=settings.device, dtype=settings.dtype, skin=SKIN)
        self.generator = np.random.default_rng(settings.seed)
        self.guard = BlowUpGuard(settings.temperature)
        self.step = 0
        if not self.atoms.get_momenta().any() and settings.temperature > 0:
            self._draw_momenta()
        self.atoms.get_potential_energy()  # an unknown element or an overlap is an error before any file exists

    def _draw_momenta(self) -> None:
        """Maxwell–Boltzmann momenta without a total momentum."""
        width = np.sqrt(self.atoms.get_masses() * units.kB * self.settings.temperature)
        self.atoms.set_momenta(width[:, None] * self.generator.standard_normal((len(self.atoms), 3)))
        Stationary(self.atoms)

    # files -----------------------------------------------------------------------------------------------------------

    @property
    def log_path(self) -> Path:
        return self.folder / "log.csv"

    @property
    def trajectory_path(self) -> Path:
        return self.folder / "trajectory.extxyz"

    def start_files(self) -> None:
        self.trajectory_path.write_bytes(b"")
        self.log_path.write_text(",".join(LOG_COLUMNS) + "\n")
        self._record()

    def checkpoint(self) -> None:
        """Write the whole state in one atomic step, and forget what a restarted process would not know either."""
        buffer = io.BytesIO()
        np.savez(
            buffer,
            step=self.step,
            positions=self.atoms.positions,
            momenta=self.atoms.get_momenta(),
            cell=np.asarray(self.atoms.cell),
            generator=json.dumps(self.generator.bit_generator.state),
            log_bytes=self.log_path.stat().st_size,
            trajectory_bytes=self.trajectory_path.stat().st_size,
        )
        write_atomically(self.folder / "restart.npz", buffer.getvalue())
        self._forget_neighbors()

    def _forget_neighbors(self) -> None:
        """Go on as a restarted process would: the age of a neighbor list decides the order of its sums.

        A deep copy of a calculator shares the weights and has a neighbor list of its own.
        """
        self.atoms.calc = copy.deepcopy(self.atoms.calc)
        self.atoms.calc.reset()

    def restore(self) -> None:
        """Take over the state of the restart file and cut log and trajectory back to it."""
        try:
            content = io.BytesIO((self.folder / "restart.npz").read_bytes())
            with np.load(content, allow_pickle=False) as state:
                self.atoms.positions[:] = state["positions"]
                self.atoms.set_momenta(state["momenta"], apply_constraint=False)
                self.atoms.set_cell(state["cell"])
                self.generator.bit_generator.state = json.loads(str(state["generator"]))
                self.step = int(state["step"])
                sizes = (int(state["log_bytes"]), int(state["trajectory_bytes"]))
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise InputError(f"{self.folder / 'restart.npz'}: not a usable restart file") from error
        for path, size in zip((self.log_path, self.trajectory_path), sizes, strict=True):
            if not path.is_file() or path.stat().st_size < size:
                raise InputError(
                    f"{path} is missing or shorter than the restart file says; the run cannot be continued"
                )
            os.truncate(path, size)
        self._forget_neighbors()

    # running ---------------------------------------------------------------------------------------------------------

    @property
    def phase(self) -> str:
        return "equilibration" if self.step < self.settings.equilibration_steps else self.settings.ensemble

    def run(self, progress: Progress | None) -> MdResult:
        """Go on from the present step to the last one, through the phases that are left."""
        settings, started, first_step = self.settings, time.perf_counter(), self.step
        try:
            while self.step < settings.total_steps:
                end = settings.equilibration_steps if self.phase == "equilibration" else settings.total_steps
                self._run_phase(end, progress)
                if self.step == settings.equilibration_steps < settings.total_steps:
                    Stationary(self.atoms)
                    self.guard.reset_energy()
                    self._record()
        except SimulationBlewUpError as error:
            path = self.folder / "last_frames.extxyz"
            ase.io.write(path, list(self.guard.last_frames), format="extxyz")
            raise SimulationBlewUpError(f"{error}. The last frames are in {path}") from error
        self.checkpoint()
        return self._result((self.step - first_step) / max(time.perf_counter() - started, 1e-9))

    def _run_phase(self, end: int, progress: Progress | None) -> None:
        settings, integrator = self.settings, self._integrator()
        while self.step < end:
            self._advance(integrator)
            self.guard.check(self.atoms, self.step)
            if self.step == settings.equilibration_steps and self.step < settings.total_steps:
                return  # production records its own first frame
            self._record()
            if self.step % settings.checkpoint_every == 0:
                self.checkpoint()
            if progress is not None and self.step % settings.log_every == 0:
                progress(self.step, f"{self.phase}  {self.atoms.get_temperature():6.1f} K")

    def _advance(self, integrator: MolecularDynamics) -> None:
        try:
            integrator.step()
        except AtomsymError as error:  # the start was fine, so it is the dynamics that left the model's domain
            raise SimulationBlewUpError(f"step {self.step + 1}: {error}") from error
        self.step += 1

    def _integrator(self) -> MolecularDynamics:
        settings, timestep = self.settings, self.settings.timestep * units.fs
        if self.phase == "nve":
            return VelocityVerlet(self.atoms, timestep)
        return Langevin(
            self.atoms,
            timestep,
            temperature_K=settings.temperature,
            friction=settings.friction / units.fs,
            fixcm=False,
            rng=self.generator,
        )

    def _record(self) -> None:
        settings, step = self.settings, self.step
        if step % settings.log_every == 0:
            potential, kinetic = self.atoms.get_potential_energy(), self.atoms.get_kinetic_energy()
            row = (step, step * settings.timestep, self.phase, self.atoms.get_temperature(), potential, kinetic)
            with self.log_path.open("a", newline="") as stream:
                csv.writer(stream).writerow((*row, potential + kinetic))
        production_step = step - settings.equilibration_steps
        if production_step >= 0 and production_step % settings.trajectory_every == 0:
            frame = self.atoms.copy()
            frame.info = {
                "step": step,
                "time_fs": step * settings.timestep,
                "energy": self.atoms.get_potential_energy(),
            }
            with self.trajectory_path.open("a") as stream:
                write_extxyz(stream, [frame], columns=["symbols", "positions", "momenta"])

    def _result(self, steps_per_second: float) -> MdResult:
        settings, log = self.settings, read_log(self.folder)
        production = log["step"] >= settings.equilibration_steps
        temperature = log["temperature_K"][production]
        slope, rms = energy_drift(log["time_fs"][production], log["total_eV"][production] / len(self.atoms))
        result = MdResult(
            folder=self.folder,
            n_atoms=len(self.atoms),
            mean_temperature=float(temperature.mean()),
            std_temperature=float(temperature.std()),
            energy_slope=slope,
            energy_rms=rms,
            ns_per_day=steps_per_second * settings.timestep * 86400 * 1e-6,
            steps_per_second=steps_per_second,
        )
        summary = {**asdict(result), "folder": str(self.folder)}
        write_atomically(self.folder / "summary.json", (json.dumps(summary, indent=2) + "\n").encode())
        return result
