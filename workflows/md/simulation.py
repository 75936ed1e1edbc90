"""The run itself: equilibration, production, and what is recorded of them.

Everything a run leaves is in one folder: ``settings.json``, ``log.csv``, ``trajectory.extxyz`` (production frames),
``restart.npz``, ``summary.json`` and the report. The folder can be moved: a run goes on from it alone.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.optimize import FIRE

from atomsym.artifacts import write_atomically
from atomsym.core import AtomsymError, InputError, PropertyNotAvailableError
from atomsym.workflows.calculator import (
    absolute,
    content_hash_of,
    make_calculator,
    require_continuous,
    require_known_charge,
)
from atomsym.workflows.md.analysis import energy_drift
from atomsym.workflows.md.guard import BlowUpGuard, SimulationBlewUpError
from atomsym.workflows.md.integrators import Integrator, Particles, make_integrator
from atomsym.workflows.md.settings import MdSettings
from atomsym.workflows.md.systems import load_system
from atomsym.workflows.paths import make_folder
from atomsym.workflows.run_files import RestartState, RunFiles, read_log
from atomsym.workflows.run_folders import require_no_run
from atomsym.workflows.stopping import Stop

logger = logging.getLogger(__name__)

LOG_COLUMNS = (
    "step", "time_fs", "phase", "temperature_K", "potential_eV", "kinetic_eV", "total_eV", "conserved_eV",
    "pressure_GPa", "volume_A3", "density_g_cm3",
)  # fmt: skip
LARGE_FORCE = 5.0  # eV/Å: thermal motion rarely exceeds it, overlapping molecules do
RELAXED_FORCE = 2.5  # eV/Å
RELAXING_STEPS, RELAXING_LENGTH = 200, 0.05  # steps, Å per step at most
Progress = Callable[[int, str], None]


@dataclass(frozen=True)
class MdResult:
    """What a run reports; of production, or of equilibration where production has not begun.

    Attributes:
        folder: where everything is.
        finished: whether all steps were made; if not, the run can be resumed.
        steps_done: of ``settings.total_steps``.
        n_atoms: number of atoms.
        mean_temperature, std_temperature: K.
        energy_slope: of the conserved energy, meV/atom/ns.
        energy_rms: about that slope, meV/atom.
        mean_pressure, std_pressure: GPa; None without stress.
        mean_density: g/cm³; None if not periodic in three directions.
        ns_per_day: speed of this process.
        steps_per_second: the same.
    """

    folder: Path
    finished: bool
    steps_done: int
    n_atoms: int
    mean_temperature: float
    std_temperature: float
    energy_slope: float
    energy_rms: float
    mean_pressure: float | None
    std_pressure: float | None
    mean_density: float | None
    ns_per_day: float
    steps_per_second: float


def run_md(
    settings: MdSettings, folder: Path, progress: Progress | None = None, should_stop: Stop | None = None
) -> MdResult:
    """Start a run in a new or empty folder.

    Args:
        settings: what to do.
        folder: created; must not hold another run.
        progress: called with the number of finished steps and a status line.
        should_stop: asked after every step; when it says yes the run writes its restart file and returns.

    Raises:
        InputError: if the folder holds a run already, or the structure or model cannot be used.
        SimulationBlewUpError: if the run leaves the region where the model means anything; the last frames are saved.
    """
    require_no_run(folder)
    settings = dataclasses.replace(settings, system=absolute(settings.system), model=absolute(settings.model))
    simulation = _Simulation(settings, folder)
    simulation.prepare(load_system(settings))  # bad input ends here, before anything is written
    make_folder(folder)
    write_atomically(folder / "settings.json", settings.to_json().encode())
    simulation.start()
    return simulation.run(progress, should_stop)


def resume_md(folder: Path, progress: Progress | None = None, should_stop: Stop | None = None) -> MdResult:
    """Continue an interrupted run from its last restart file, or from the start if it has none yet.

    On a CPU the result is the same to the last bit as that of a run without interruption.

    Raises:
        InputError: if the folder does not hold a run.
        ArtifactError: if the model file has another content than the run began with.
    """
    settings = MdSettings.from_file(folder / "settings.json")
    simulation = _Simulation(settings, folder)
    if (folder / "restart.npz").exists():
        simulation.restore()
    else:
        logger.warning("%s has no restart file yet; the run starts from its first step", folder)
        simulation.prepare(load_system(settings))
        simulation.start()
    return simulation.run(progress, should_stop)


class _Simulation:
    """One run between its beginning or a restart and the moment at which this process leaves it."""

    particles: Particles
    integrator: Integrator

    def __init__(self, settings: MdSettings, folder: Path) -> None:
        self.settings, self.folder, self.files = settings, folder, RunFiles(folder, LOG_COLUMNS)
        self.generator = np.random.default_rng(settings.seed)
        self.guard = BlowUpGuard(settings.temperature)
        self.step = 0
        self.has_stress = False

    # beginning -------------------------------------------------------------------------------------------------------

    def prepare(self, atoms: Atoms) -> None:
        """Everything that can fail because of the user's input; nothing is written."""
        self._adopt(atoms, content_hash=None)
        self.integrator = self._make_integrator()
        make_integrator(self.settings.ensemble, self.settings, self.particles, self.generator)  # can production begin?

    def start(self) -> None:
        """Momenta, a first relaxation where the start needs it, files."""
        particles, settings = self.particles, self.settings
        if settings.equilibration_steps and float(np.abs(particles.forces).max()) > LARGE_FORCE:
            self._relax()
        particles.remove_drift()
        if not particles.momenta.any() and settings.temperature > 0:
            particles.draw_momenta(settings.temperature, self.generator)
        particles.evaluate(stress=self.has_stress)
        self.files.start()
        self._record()
        self._checkpoint()

    def restore(self) -> None:
        """Take over the state of the restart file."""
        state = self.files.load()
        self._adopt(state.atoms, content_hash=state.model_hash or None)
        self.step = state.step
        self.integrator = self._make_integrator()
        try:
            self.generator.bit_generator.state = state.generator
            self.integrator.restore(state.integrator)
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(f"{self.files.restart}: not a usable restart file ({error})") from error

    def _adopt(self, atoms: Atoms, content_hash: str | None) -> None:
        settings = self.settings
        atoms.calc = make_calculator(
            settings.model, settings.device, settings.dtype, content_hash, kwargs=settings.kwargs
        )
        require_known_charge(atoms)
        if not settings.allow_discontinuous:
            require_continuous(atoms.calc, settings.model)
        self.particles = Particles(atoms)
        if self.particles.has_volume:
            try:
                self.particles.evaluate(stress=True)
                self.has_stress = True
            except PropertyNotAvailableError:
                if settings.ensemble.startswith("npt"):
                    raise
        if not self.has_stress:
            self.particles.evaluate()

    def _relax(self) -> None:
        """A few steps downhill: molecules that were packed too closely would fly apart."""
        logger.info("the start has forces above %g eV/Å; it is relaxed a little first", LARGE_FORCE)
        momenta = self.particles.momenta.copy()
        with FIRE(self.particles.atoms, logfile=None, maxstep=RELAXING_LENGTH) as optimizer:
            optimizer.run(fmax=RELAXED_FORCE, steps=RELAXING_STEPS)
        self.particles.momenta[:] = momenta

    # state -----------------------------------------------------------------------------------------------------------

    @property
    def phase(self) -> str:
        return "equilibration" if self.step < self.settings.equilibration_steps else self.settings.ensemble

    def _make_integrator(self) -> Integrator:
        ensemble = "nvt-langevin" if self.phase == "equilibration" else self.settings.ensemble
        return make_integrator(ensemble, self.settings, self.particles, self.generator)

    def _checkpoint(self) -> None:
        self.files.save(
            RestartState(
                step=self.step,
                atoms=self.particles.atoms,
                generator=dict(self.generator.bit_generator.state),
                integrator=self.integrator.state(),
                model_hash=content_hash_of(self.particles.atoms.calc),
            )
        )

    # running ---------------------------------------------------------------------------------------------------------

    def run(self, progress: Progress | None, should_stop: Stop | None) -> MdResult:
        """Go on from the present step to the last one, or until told to stop."""
        settings, clock = self.settings, _Clock(self.step)
        try:
            while self.step < settings.total_steps:
                self._advance()
                if progress is not None and self.step % settings.log_every == 0:
                    progress(self.step, self._status(clock))
                if should_stop is not None and should_stop():
                    break
        except SimulationBlewUpError as error:
            path = self.folder / "last_frames.extxyz"
            ase.io.write(path, list(self.guard.last_frames), format="extxyz")
            raise SimulationBlewUpError(f"{error}. The last frames are in {path}") from error
        self._checkpoint()
        return self._result(clock.steps_per_second(self.step))

    def _advance(self) -> None:
        """One step and everything that belongs to it."""
        settings = self.settings
        next_step = self.step + 1
        needed = next_step % settings.log_every == 0 or next_step == settings.equilibration_steps
        try:
            self.integrator.step(stress=needed and self.has_stress)
        except AtomsymError as error:  # the start was fine, so it is the dynamics that left the model's domain
            raise SimulationBlewUpError(f"step {next_step}: {error}") from error
        self.step = next_step
        self.guard.check(self.particles, self.integrator.conserved_energy(), self.step)
        if self.step == settings.equilibration_steps:
            self.integrator = self._make_integrator()
            self.guard.reset_energy()
        self._record()
        if self.step % settings.checkpoint_every == 0:
            self._checkpoint()

    def _status(self, clock: _Clock) -> str:
        speed = _ns_per_day(clock.steps_per_second(self.step), self.settings)
        return f"{self.phase}  {self.particles.temperature:6.1f} K  {speed:.3g} ns/day"

    def _record(self) -> None:
        settings, particles, step = self.settings, self.particles, self.step
        if step % settings.log_every == 0:
            potential, kinetic = particles.energy, particles.kinetic_energy
            thermal = (step, step * settings.timestep, self.phase, particles.temperature, potential, kinetic)
            self.files.add_row((*thermal, potential + kinetic, self.integrator.conserved_energy(), *self._volumetric()))
        production_step = step - settings.equilibration_steps
        if production_step >= 0 and production_step % settings.trajectory_every == 0:
            self.files.add_frame(self._frame())

    def _volumetric(self) -> tuple[float | None, float | None, float | None]:
        """Pressure in GPa, volume in Å³, density in g/cm³, as far as they exist."""
        particles = self.particles
        if not particles.has_volume:
            return None, None, None
        pressure = None
        if particles.stress is not None:
            pressure = float(np.trace(particles.pressure_tensor())) / 3 / units.GPa
        return pressure, particles.volume, float(particles.masses.sum()) / units.mol / particles.volume * 1e24

    def _frame(self) -> Atoms:
        particles = self.particles
        frame = particles.atoms.copy()
        frame.info = {"step": self.step, "time_fs": self.step * self.settings.timestep}
        frame.calc = SinglePointCalculator(frame, energy=particles.energy, forces=particles.forces)
        return frame

    # result ----------------------------------------------------------------------------------------------------------

    def _result(self, steps_per_second: float) -> MdResult:
        settings, log, n_atoms = self.settings, read_log(self.folder), len(self.particles.positions)
        rows = log["step"] >= settings.equilibration_steps
        if not rows.any():
            rows[:] = True
        slope, rms = energy_drift(log["time_fs"][rows], log["conserved_eV"][rows] / n_atoms)
        result = MdResult(
            folder=self.folder,
            finished=self.step >= settings.total_steps,
            steps_done=self.step,
            n_atoms=n_atoms,
            mean_temperature=float(log["temperature_K"][rows].mean()),
            std_temperature=float(log["temperature_K"][rows].std()),
            energy_slope=slope,
            energy_rms=rms,
            mean_pressure=_finite(log["pressure_GPa"][rows].mean()),
            std_pressure=_finite(log["pressure_GPa"][rows].std()),
            mean_density=_finite(log["density_g_cm3"][rows].mean()),
            ns_per_day=_ns_per_day(steps_per_second, settings),
            steps_per_second=steps_per_second,
        )
        summary = {**asdict(result), "folder": str(self.folder)}
        write_atomically(self.folder / "summary.json", (json.dumps(summary, indent=2) + "\n").encode())
        return result


class _Clock:
    """Speed of this process since it began to step."""

    def __init__(self, first_step: int) -> None:
        self.first_step, self.started = first_step, time.perf_counter()

    def steps_per_second(self, step: int) -> float:
        return (step - self.first_step) / max(time.perf_counter() - self.started, 1e-9)


def _ns_per_day(steps_per_second: float, settings: MdSettings) -> float:
    return steps_per_second * settings.timestep * 86400 * 1e-6


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
