"""The picture of the symmetrizers: energies along a path on which principal axes change places, and the price."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from atomsym.workflows.benchmarks.symmetrizers import DRAWN, SymmetrizerBenchmark
from atomsym.workflows.plot_style import BLUE, GREEN, GREY, ORANGE, RED, plot_style, save_picture

COLORS = (RED, ORANGE, BLUE, GREEN)


def write_picture(result: SymmetrizerBenchmark, path: Path) -> Path:
    """Draw the picture and return its path."""
    with plot_style():
        figure = Figure(figsize=(9.6, 4.0), layout="constrained")
        left, right = figure.subplots(1, 2)
        _draw_path(left, result)
        _draw_price(right, result)
        return save_picture(figure, path)


def _draw_path(axes: Axes, result: SymmetrizerBenchmark) -> None:
    middle = len(result.path) // 2
    for name, color in zip(DRAWN, COLORS, strict=True):
        energies = [1e3 * value for value in result.energies[name]]
        # The crossing itself belongs to neither side; a gap shows the jump as what it is.
        for number, part in enumerate((slice(0, middle), slice(middle + 1, None))):
            axes.plot(result.path[part], energies[part], color=color, label=name if number == 0 else None)
    axes.axvline(0.0, color=GREY, linewidth=0.8, zorder=0)
    axes.set(xlabel="path (two principal values are equal at 0)", ylabel="energy (meV)")
    axes.locator_params(axis="x", nbins=5)
    axes.set_title("Ethanol, stretched through a crossing of its principal axes")
    axes.legend(loc="best")


def _draw_price(axes: Axes, result: SymmetrizerBenchmark) -> None:
    for row in result.rows:
        axes.plot(row.frames, row.milliseconds, "o", color=BLUE if row.continuous else RED, markersize=5)
    bare = result.rows[0].milliseconds
    most = max(row.frames for row in result.rows)
    axes.plot([1, most], [bare, bare * most], color=GREY, linewidth=1, zorder=0, label="proportional to the frames")
    for color, label in ((BLUE, "continuous"), (RED, "not continuous")):
        axes.plot([], [], "o", color=color, markersize=5, label=label)
    axes.set(xscale="log", yscale="log", xlabel="frames of a molecule", ylabel="energy and forces (ms)")
    axes.set_title("Price of the frames")
    axes.legend(loc="upper left")
