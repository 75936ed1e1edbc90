"""The learning curves of a run as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from atomsym.models import architecture
from atomsym.training import TrainingConfig, read_log
from atomsym.training.logs import target_unit
from atomsym.workflows.plot_style import BLUE, GREY, ORANGE, plot_style, save_picture

_PANELS = (
    ("loss", "loss", "train_loss", "validation_loss"),
    ("energy", "energy MAE (meV/atom)", "train_energy_mae_meV/atom", "validation_energy_mae_meV/atom"),
    ("forces", "force MAE (meV/Å)", "train_forces_mae_meV/A", "validation_forces_mae_meV/A"),
    ("stress", "stress MAE (meV/Å³)", "", "validation_stress_mae_meV/A^3"),
)


def write_learning_curves(folder: Path, config: TrainingConfig) -> Path | None:
    """Draw ``learning.png`` into the folder of a run; None if there is no complete epoch yet.

    Raises:
        InputError: if the log cannot be read.
    """
    rows = read_log(folder / "log.csv")
    if not rows:
        return None
    with plot_style():
        return save_picture(_draw(rows, config), folder / "learning.png")


def _draw(rows: list[dict[str, float]], config: TrainingConfig) -> Figure:
    panels = [*_PANELS, *_target_panel(rows, config)]
    shown = [panel for panel in panels if any(panel[3] in row for row in rows)]
    figure = Figure(figsize=(4.0 * len(shown) + 0.3, 3.8), layout="constrained")
    for axes, (_, label, train, validation) in zip(
        figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True
    ):
        _curve(axes, rows, train, "training", ORANGE)
        _curve(axes, rows, validation, "validation (averaged weights)", BLUE)
        _mark_best(axes, rows, validation)
        for stage in config.all_stages()[1:]:
            if stage.start < rows[-1]["epoch"]:
                axes.axvline(stage.start + 0.5, color=GREY, linewidth=0.9, linestyle="--")
        axes.set(xlabel="epoch", ylabel=label, yscale="log")
        for axis in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
            axis(FuncFormatter(_plain))
        axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        axes.grid(which="both", linewidth=0.6)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(handles))
    figure.suptitle(f"{config.output.name}: {config.model['architecture']}")
    return figure


def _target_panel(rows: list[dict[str, float]], config: TrainingConfig) -> list[tuple[str, str, str, str]]:
    unit = target_unit(rows[0])
    if not unit:
        return []
    quantity, stated = architecture(config.model["architecture"]).quantity_from_settings(config.model)
    return [("target", f"{quantity}\nMAE ({stated})", f"train_target_mae_{unit}", f"validation_target_mae_{unit}")]


def _curve(axes: Axes, rows: list[dict[str, float]], key: str, label: str, color: str) -> None:
    points = [(row["epoch"], row[key]) for row in rows if row.get(key, 0.0) > 0]
    if points:
        epochs, values = np.array(points).T
        style = "-" if len(points) > 1 else "o"
        axes.plot(epochs, values, style, color=color, linewidth=1.2, label=label)


def _plain(value: float, position: int) -> str:
    """Labels of a logarithmic axis as people write numbers."""
    return f"{value:g}"


def _mark_best(axes: Axes, rows: list[dict[str, float]], key: str) -> None:
    best = [row for row in rows if row.get("best") and row.get(key, 0.0) > 0]
    if best:
        label = f"best model (epoch {best[-1]['epoch']:g}): {best[-1][key]:.3g}"
        axes.plot(best[-1]["epoch"], best[-1][key], "o", color=BLUE, markersize=6, markerfacecolor="white", zorder=3)
        axes.annotate(
            label, (best[-1]["epoch"], best[-1][key]), xytext=(0.97, 0.55), textcoords="axes fraction", ha="right",
            fontsize=8.5, color=BLUE, arrowprops={"arrowstyle": "-", "color": BLUE, "linewidth": 0.6},
        )  # fmt: skip
