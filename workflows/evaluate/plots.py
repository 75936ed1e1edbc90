"""Parity plots: predicted against reference values, and how the errors are distributed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from numpy.typing import NDArray

from atomsym.training import ErrorSums, Quantity
from atomsym.workflows.evaluate.run import Parity
from atomsym.workflows.plot_style import BLUE, GREY, INK, plot_style, save_picture

DENSE = 3000  # points beyond which their density is drawn
_COMPONENTS = {"forces": "force components", "stress": "stress components"}

Floats = NDArray[np.float64]


def write_parity(parity: dict[str, Parity], errors: ErrorSums, path: Path, *, title: str) -> Path:
    """Draw one column for each quantity that was compared and return the path of the picture.

    Args:
        parity: values by quantity.
        errors: of the same evaluation; the numbers in the plots.
        path: the picture, a format that matplotlib writes.
        title: above all.
    """
    shown = {name: values for name, values in ((n, p.values()) for n, p in parity.items()) if len(values[0])}
    with plot_style():
        figure = Figure(figsize=(4.1 * max(len(shown), 1) + 0.3, 6.2), layout="constrained")
        axes = figure.subplots(2, max(len(shown), 1), squeeze=False, height_ratios=[2.6, 1])
        for column, (name, (reference, predicted)) in enumerate(shown.items()):
            _draw_parity(axes[0, column], reference, predicted, name, errors)
            _draw_errors(axes[1, column], predicted - reference, errors.quantities[name])
        if not shown:
            axes[0, 0].text(0.5, 0.5, "no labels", transform=axes[0, 0].transAxes, ha="center", color=GREY)
        figure.suptitle(title)
        return save_picture(figure, path)


def _draw_parity(axes: Axes, reference: Floats, predicted: Floats, name: str, errors: ErrorSums) -> None:
    quantity = errors.quantities[name]
    label = _COMPONENTS.get(name, quantity.label)
    both = np.concatenate([reference, predicted])
    if abs(float(both.mean())) > 10 * float(np.ptp(both)):  # total energies: digits that all share say nothing
        middle = float(reference.mean())
        reference, predicted, both = reference - middle, predicted - middle, both - middle
        label = f"{label} − mean"
    margin = 0.04 * max(float(np.ptp(both)), 1e-12)
    low, high = float(both.min()) - margin, float(both.max()) + margin
    axes.plot([low, high], [low, high], color=GREY, linewidth=0.9, zorder=1)
    if len(reference) > DENSE:
        axes.hexbin(
            reference, predicted, gridsize=90, bins="log", mincnt=1, cmap="viridis", extent=(low, high, low, high),
            linewidths=0, zorder=2,
        )  # fmt: skip
    else:
        axes.plot(reference, predicted, "o", color=BLUE, markersize=3.5, alpha=0.55, markeredgewidth=0, zorder=2)
    found = errors.errors("all", name)
    mae, rmse = (f"{quantity.scale * value:.3g} {quantity.error_unit}" for value in (found.mae, found.rmse))
    text = f"MAE {mae}\nRMSE {rmse}\n{found.count:,} values"
    axes.text(0.04, 0.96, text, transform=axes.transAxes, va="top", fontsize=9, color=INK)
    axes.set(xlabel=f"reference ({quantity.unit})", ylabel=f"predicted ({quantity.unit})")
    axes.set_title(label[0].upper() + label[1:])
    axes.set(xlim=(low, high), ylim=(low, high))
    axes.set_aspect("equal")


def _draw_errors(axes: Axes, errors: Floats, quantity: Quantity) -> None:
    values = quantity.scale * errors
    limit = max(float(np.quantile(np.abs(values), 0.995)), 1e-9)
    axes.hist(np.clip(values, -limit, limit), bins=61, range=(-limit, limit), color=BLUE, log=True)
    axes.axvline(0, color=GREY, linewidth=0.9)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel=f"predicted − reference ({quantity.error_unit})", ylabel="count")
