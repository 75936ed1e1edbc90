"""Pictures of errors of Hessians: wavenumbers of all modes, and how the lowest modes and zero-point energies agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from atomsym.workflows.evaluate.hessian_errors import HessianComparison
from atomsym.workflows.plot_style import GREY, INK, SERIES, plot_style, save_picture

_MARGIN = 400.0  # 1/cm above the highest mode and below the lowest that the axes show


def write_hessian_errors(found: dict[str, HessianComparison], path: Path, *, title: str) -> Path:
    """One parity plot of wavenumbers for each row, then cosines and zero-point energies of all; returns the path."""
    with plot_style():
        n = len(found)
        figure = Figure(figsize=(3.9 * max(n, 2), 7.4), layout="constrained")
        grid = figure.add_gridspec(2, 1, height_ratios=[1.2, 1])
        upper, lower = figure.add_subfigure(grid[0]), figure.add_subfigure(grid[1])
        for axes, (label, comparison) in zip(upper.subplots(1, n, squeeze=False)[0], found.items(), strict=True):
            _draw_modes(axes, label, comparison)
        cosines, energies = lower.subplots(1, 2)
        _draw_cosines(cosines, found)
        _draw_zero_point(energies, found)
        figure.suptitle(title)
        return save_picture(figure, path)


def _draw_modes(axes: Axes, label: str, comparison: HessianComparison) -> None:
    reference, predicted = (np.concatenate(values) for values in zip(*comparison.modes, strict=True))
    low, high = float(reference.min()) - _MARGIN, float(reference.max()) + _MARGIN
    axes.plot([low, high], [low, high], color=GREY, linewidth=0.9, zorder=1)
    axes.axhline(0, color=GREY, linewidth=0.6, zorder=1)
    axes.axvline(0, color=GREY, linewidth=0.6, zorder=1)
    axes.hexbin(
        reference, np.clip(predicted, low, high), gridsize=80, bins="log", mincnt=1, cmap="viridis",
        extent=(low, high, low, high), linewidths=0, zorder=2,
    )  # fmt: skip
    summary = comparison.summary()
    text = f"mean error {summary.wavenumbers:.1f} 1/cm\n{len(reference):,} modes of {summary.n_structures} structures"
    axes.text(0.04, 0.96, text, transform=axes.transAxes, va="top", fontsize=9, color=INK)
    axes.set(xlim=(low, high), ylim=(low, high), title=label)
    axes.set(xlabel="reference, 1/cm (imaginary: negative)", ylabel="found, 1/cm")
    axes.set_aspect("equal")


def _draw_cosines(axes: Axes, found: dict[str, HessianComparison]) -> None:
    for color, (label, comparison) in zip(SERIES, found.items(), strict=False):
        values = np.sort([errors.lowest_mode for errors in comparison.errors])
        axes.step(values, 100 * np.arange(1, len(values) + 1) / len(values), where="post", color=color, label=label)
    axes.set(xlim=(0, 1), ylim=(0, 100), xlabel="|cosine| of the lowest mode", ylabel="structures at or below it, %")
    axes.legend(loc="upper left")


def _draw_zero_point(axes: Axes, found: dict[str, HessianComparison]) -> None:
    errors = [1e3 * np.array([each.zero_point_energy for each in found[label].errors]) for label in found]
    limit = max(float(np.quantile(np.abs(np.concatenate(errors)), 0.98)), 1e-6)
    for color, values in zip(SERIES, errors, strict=False):
        axes.hist(np.clip(values, -limit, limit), bins=51, range=(-limit, limit), histtype="step", color=color, lw=1.4)
    axes.axvline(0, color=GREY, linewidth=0.9)
    axes.set(xlabel="error of the zero-point energy, meV", ylabel="structures")
