"""The picture of a run: temperature, total energy, structure and diffusion, with experiment where it is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from atomsym.workflows.md.analysis import diffusion_coefficient, mean_squared_displacement, radial_distribution
from atomsym.workflows.md.settings import MdSettings
from atomsym.workflows.md.run_files import read_log, read_trajectory
from atomsym.workflows.md.simulation import MdResult

RAHMAN_PEAKS = (3.7, 7.0, 10.4)  # Å, first three maxima of g(r)
RAHMAN_DIFFUSION = 2.43  # 1e-5 cm²/s
RAHMAN = "Rahman (1964)"
MAX_FRAMES_FOR_STRUCTURE = 100
COLORS = {"curve": "#1f5a94", "reference": "#c0392b", "quiet": "#8a8f98"}


def write_report(settings: MdSettings, result: MdResult) -> Path:
    """Draw ``report.png`` into the run's folder and return its path."""
    log, frames = read_log(result.folder), read_trajectory(result.folder)
    figure = Figure(figsize=(10.5, 7.2), layout="constrained")
    temperature, energy, structure, diffusion = figure.subplots(2, 2).flat
    _draw_temperature(temperature, log, settings)
    _draw_energy(energy, log, settings, result)
    _draw_structure(structure, frames, settings)
    _draw_diffusion(diffusion, frames, settings)
    formula = frames[0].get_chemical_formula() if frames else settings.system
    run = f"{settings.timestep:g} fs × {settings.steps:,} steps, {result.ns_per_day:.1f} ns/day"
    figure.suptitle(f"{formula}, {settings.ensemble.upper()}, model “{settings.model}”, {run}", fontsize=12)
    path = result.folder / "report.png"
    figure.savefig(path, dpi=150)
    return path


def _draw_temperature(axes: Axes, log: dict[str, np.ndarray], settings: MdSettings) -> None:
    time = log["time_fs"] * 1e-3
    style = "-" if len(time) > 1 else "o"
    axes.plot(time, log["temperature_K"], style, color=COLORS["curve"], linewidth=0.8)
    axes.axhline(settings.temperature, color=COLORS["quiet"], linewidth=1, linestyle="--", label="target")
    if settings.equilibration_steps:
        start = settings.equilibration_steps * settings.timestep * 1e-3
        axes.axvspan(0, start, color=COLORS["quiet"], alpha=0.15, linewidth=0, label="equilibration")
    axes.set(xlabel="time (ps)", ylabel="temperature (K)", title="Temperature")
    axes.margins(x=0)
    axes.legend(frameon=False, fontsize=9)


def _draw_energy(axes: Axes, log: dict[str, np.ndarray], settings: MdSettings, result: MdResult) -> None:
    production = log["step"] >= settings.equilibration_steps
    time = log["time_fs"][production] * 1e-3
    total = log["total_eV"][production] / result.n_atoms * 1e3
    if len(total):
        style = "-" if len(total) > 1 else "o"
        axes.plot(time, total - total.mean(), style, color=COLORS["curve"], linewidth=0.8)
    axes.set(xlabel="time (ps)", ylabel="deviation from the mean (meV/atom)", title="Total energy")
    axes.margins(x=0, y=0.25)
    if settings.ensemble == "nve":
        drift = f"drift {result.energy_slope:+.4f} meV/atom/ns, rms {result.energy_rms:.4f} meV/atom"
        axes.text(0.03, 0.97, drift, transform=axes.transAxes, va="top", fontsize=9)


def _draw_structure(axes: Axes, frames: list[Atoms], settings: MdSettings) -> None:
    axes.set(xlabel="r (Å)", ylabel="g(r)", title="Radial distribution")
    if not frames or not frames[0].pbc.all():
        axes.text(0.5, 0.5, "not periodic", transform=axes.transAxes, ha="center", color=COLORS["quiet"])
        return
    every = max(len(frames) // MAX_FRAMES_FOR_STRUCTURE, 1)
    max_distance = max(0.5 * float(frames[0].cell.lengths().min()), 6.0)
    curve = radial_distribution(frames[::every], max_distance)
    axes.plot(curve.x, curve.y, color=COLORS["curve"])
    axes.axhline(1.0, color=COLORS["quiet"], linewidth=0.8, linestyle=":")
    if settings.system == "argon":
        for number, peak in enumerate(RAHMAN_PEAKS):
            label = f"maxima of {RAHMAN}" if number == 0 else None
            axes.axvline(peak, color=COLORS["reference"], linewidth=1, linestyle="--", label=label)
        axes.legend(frameon=False, fontsize=9, loc="upper right")
    axes.set_xlim(0, max_distance)
    axes.set_ylim(0, 1.2 * float(curve.y.max()))  # room for the legend


def _draw_diffusion(axes: Axes, frames: list[Atoms], settings: MdSettings) -> None:
    axes.set(xlabel="lag time (ps)", ylabel="mean squared displacement (Å²)", title="Diffusion")
    if len(frames) < 10:
        axes.text(0.5, 0.5, "too few frames", transform=axes.transAxes, ha="center", color=COLORS["quiet"])
        return
    curve = mean_squared_displacement(frames, settings.trajectory_every * settings.timestep)
    axes.plot(curve.x, curve.y, color=COLORS["curve"], label=f"D = {diffusion_coefficient(curve):.2f} · 10⁻⁵ cm²/s")
    if settings.system == "argon":
        slope = 6 * RAHMAN_DIFFUSION / 10
        axes.plot(
            curve.x,
            slope * curve.x,
            color=COLORS["reference"],
            linestyle="--",
            linewidth=1,
            label=f"slope of D = {RAHMAN_DIFFUSION:.2f} · 10⁻⁵ cm²/s, {RAHMAN}",
        )
    axes.legend(frameon=False, fontsize=9)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
