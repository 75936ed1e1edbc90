"""The picture of a transition state: energy levels with barriers, the band if there was one, and the search."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from atomsym.workflows.plot_style import BLUE, GREY, INK, ORANGE, RED, plot_style, save_picture
from atomsym.workflows.run_files import read_log
from atomsym.workflows.transition_states.path import read_band
from atomsym.workflows.transition_states.result import KJ_PER_MOL, TransitionStateResult
from atomsym.workflows.transition_states.settings import TransitionStateSettings

HALF_WIDTH = 0.28  # of a level
ROOM = 0.25  # of the axis that a label needs between two levels


def write_report(settings: TransitionStateSettings, result: TransitionStateResult) -> Path:
    """Draw ``report.png`` into the folder of a run and return its path."""
    with plot_style():
        return save_picture(_draw(settings, result), result.folder / "report.png")


def _draw(settings: TransitionStateSettings, result: TransitionStateResult) -> Figure:
    panels = []
    if result.barrier is not None:
        panels.append(_draw_levels)
    if (result.folder / "path.json").is_file():
        panels.append(_draw_band)
    if (result.folder / "log.csv").is_file():
        panels.append(_draw_search)
    figure = Figure(figsize=(4.8 * max(len(panels), 1), 4.1), layout="constrained")
    for axes, draw in zip(np.atleast_1d(figure.subplots(1, max(len(panels), 1))), panels, strict=False):
        draw(axes, settings, result)
    state = f"stopped while {result.stopped}" if result.stopped else "verified" if result.verified else "not verified"
    model = settings.kwargs.get("method", settings.model.rpartition(":")[2].removesuffix(".safetensors"))
    figure.suptitle(f"{settings.title} ({result.formula}), model “{Path(model).name}”: transition state {state}")
    return figure


def _draw_levels(axes: Axes, settings: TransitionStateSettings, result: TransitionStateResult) -> None:
    heights = np.array([0.0, result.barrier, result.reaction_energy], dtype=float)
    for x, height in enumerate(heights):
        axes.plot([x - HALF_WIDTH, x + HALF_WIDTH], [height] * 2, color=RED if x == 1 else BLUE, linewidth=3)
    for left in (0, 1):
        ends = [left + HALF_WIDTH, left + 1 - HALF_WIDTH]
        axes.plot(ends, heights[left : left + 2], color=GREY, linewidth=1, linestyle="--")
    span = float(np.ptp(heights))
    for x, barrier in ((0, result.barrier), (2, result.barrier_backward)):
        _mark_barrier(axes, x, heights[x], heights[1], barrier or 0.0, span)
    lowest = result.saddle.wavenumbers[0] if result.saddle is not None else 0.0
    axes.text(1, heights[1] + 0.03 * span, f"{abs(lowest):.0f}i 1/cm", ha="center", va="bottom", color=RED, fontsize=9)
    axes.set_xticks([0, 1, 2], ["reactant", "transition state", "product"])
    axes.tick_params(axis="x", length=0)
    axes.set(ylabel="energy above the reactant (eV)", title="Energy", xlim=(-0.5, 2.5))
    below = 0.22 if heights[1] - heights.min() < ROOM * span else 0.08
    axes.set_ylim(heights.min() - below * span, heights.max() + 0.16 * span)


def _mark_barrier(axes: Axes, x: int, low: float, high: float, barrier: float, span: float) -> None:
    axes.annotate("", (x, high), (x, low), arrowprops={"arrowstyle": "<->", "color": INK, "linewidth": 0.9})
    start, end = (x - HALF_WIDTH, 1 - HALF_WIDTH) if x == 0 else (1 + HALF_WIDTH, x + HALF_WIDTH)
    axes.plot([start, end], [high] * 2, color=GREY, linewidth=0.7, linestyle=":")
    text = f"{barrier:.3f} eV\n{barrier * KJ_PER_MOL:.1f} kJ/mol"
    if high - low < ROOM * span:  # the label would hide the level: below it
        axes.text(x, low - 0.03 * span, text, ha="center", va="top", fontsize=9)
        return
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    axes.text(x, low + 0.55 * (high - low), text, ha="center", va="center", fontsize=9, bbox=box)


def _draw_band(axes: Axes, settings: TransitionStateSettings, result: TransitionStateResult) -> None:
    try:
        band = read_band(result.folder)
    except RuntimeError:  # interpolated, but not calculated yet: no energies
        axes.set(title="Band (no energies yet)")
        return
    above = band.energies - band.energies[0]
    axes.plot(band.length, above, "o-", color=BLUE, markersize=4, label="images")
    axes.plot(
        band.length[band.highest], above[band.highest], "o", color=ORANGE, markersize=8, label="start of the search"
    )
    if result.saddle is not None and result.saddle.converged:
        height = result.saddle.energy - band.energies[0]
        axes.axhline(height, color=RED, linestyle="--", linewidth=1, label="transition state")
    axes.set(xlabel="distance along the band (Å)", ylabel="energy above the reactant (eV)", title="Band")
    axes.legend(loc="best")


def _draw_search(axes: Axes, settings: TransitionStateSettings, result: TransitionStateResult) -> None:
    log = read_log(result.folder)
    axes.semilogy(log["step"], np.maximum(log["max_force_eV_A"], 1e-4 * settings.fmax), "o-", color=BLUE, markersize=4)
    axes.axhline(settings.fmax, color=RED, linestyle="--", linewidth=1, label=f"asked: {settings.fmax:g} eV/Å")
    axes.set(xlabel="step", ylabel="largest force (eV/Å)", title="Search for the saddle point")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
