"""The picture of a relaxation: energy, largest force, and stress where the cell was free."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from atomsym.workflows.plot_style import BLUE, RED, plot_style, save_picture
from atomsym.workflows.relax.relaxation import RelaxResult
from atomsym.workflows.relax.settings import RelaxSettings
from atomsym.workflows.run_files import read_log

SMALLEST = 1e-4  # of the bound: what is below is drawn there


def write_report(settings: RelaxSettings, result: RelaxResult) -> Path:
    """Draw ``report.png`` into the folder of a relaxation and return its path."""
    with plot_style():
        return save_picture(_draw(settings, result), result.folder / "report.png")


def _draw(settings: RelaxSettings, result: RelaxResult) -> Figure:
    log = read_log(result.folder)
    panels = 3 if settings.cell else 2
    figure = Figure(figsize=(4.7 * panels, 3.8), layout="constrained")
    axes = figure.subplots(1, panels)
    name = "enthalpy_eV" if settings.pressure else "energy_eV"
    _draw_energy(axes[0], log["step"], log[name] / result.n_atoms * 1e3, name.split("_")[0])
    _draw_residual(axes[1], log["step"], log["max_force_eV_A"], settings.fmax, "Largest force", "eV/Å")
    if settings.cell:
        _draw_residual(axes[2], log["step"], log["max_stress_GPa"], settings.smax, "Stress beyond the pressure", "GPa")
    state = "converged" if result.converged else "not converged"
    model = Path(settings.model).stem
    figure.suptitle(f"{Path(settings.system).stem}: {result.n_atoms} atoms, model “{model}”, {state}")
    return figure


def _draw_energy(axes: Axes, steps: np.ndarray, energy: np.ndarray, name: str) -> None:
    above = energy - energy.min()
    axes.plot(steps, above, "o-", color=BLUE, markersize=3)
    axes.set(xlabel="step", ylabel="above the lowest (meV/atom)", title=name.capitalize())
    if len(above) > 1 and above.max() > 0:
        axes.set_yscale("symlog", linthresh=max(float(above.max()) * 1e-4, 1e-9))
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _draw_residual(axes: Axes, steps: np.ndarray, values: np.ndarray, bound: float, title: str, unit: str) -> None:
    axes.semilogy(steps, np.maximum(values, SMALLEST * bound), "o-", color=BLUE, markersize=3)
    axes.axhline(bound, color=RED, linestyle="--", linewidth=1, label=f"asked: {bound:g} {unit}")
    axes.set(xlabel="step", ylabel=unit, title=title)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if values.max() < SMALLEST * bound:
        axes.text(
            0.5, 0.1, f"always below {SMALLEST * bound:g} {unit}", transform=axes.transAxes, ha="center", fontsize=9
        )
    axes.legend()
