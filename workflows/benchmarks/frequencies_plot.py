"""The picture of a comparison of frequencies: every mode against the reference, and the zero-point energies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from atomsym.workflows.benchmarks.frequencies import KJ_PER_MOL, FrequencyResult, rows_of
from atomsym.workflows.plot_style import BLUE, GREY, RED, plot_style, save_picture


def write_picture(result: FrequencyResult, path: Path) -> Path:
    """Draw the picture and return its path."""
    with plot_style():
        return save_picture(_draw(result), path)


def _draw(result: FrequencyResult) -> Figure:
    figure = Figure(figsize=(9.6, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    model, reference = (
        short_name(result.settings.model, result.settings.kwargs),
        short_name(result.settings.reference, result.settings.reference_kwargs),
    )
    _draw_parity(left, result, model, reference)
    _draw_differences(right, result)
    errors = result.errors()
    figure.suptitle(
        f"Harmonic frequencies of {errors['n_molecules']} molecules: model “{model}” and {reference}, each at its own "
        "minimum"
    )
    return figure


def short_name(spec: str, kwargs: dict[str, object]) -> str:
    """What a model is called in titles: its method, if that is an argument, else the end of its specification."""
    return str(kwargs.get("method", Path(spec.rpartition(":")[2]).stem))


def _draw_parity(axes: Axes, result: FrequencyResult, model: str, reference: str) -> None:
    rows = rows_of(result)
    errors = result.errors()
    x, y = (np.array([row[name] for row in rows]) for name in ("reference_1_cm", "model_1_cm"))
    ends = [min(0.0, *x, *y), 1.05 * max(1.0, *x, *y)]
    axes.plot(ends, ends, color=GREY, linewidth=1, zorder=1)
    axes.scatter(x, y, s=16, color=BLUE, alpha=0.7, linewidths=0, zorder=2)
    if (y < 0).any():
        axes.scatter(x[y < 0], y[y < 0], s=22, color=RED, zorder=3, label="imaginary in the model")
        axes.legend(loc="lower right")
    axes.set(xlabel=f"{reference} (1/cm)", ylabel=f"{model} (1/cm)", xlim=ends, ylim=ends, aspect="equal")
    if errors["mae_1_cm"] is not None:
        text = (
            f"{errors['n_modes']} modes\nMAE {errors['mae_1_cm']:.1f} 1/cm\nlargest {errors['largest_1_cm']:.0f} 1/cm"
        )
        axes.text(0.05, 0.95, text, transform=axes.transAxes, va="top")


def _draw_differences(axes: Axes, result: FrequencyResult) -> None:
    compared = result.compared
    places = np.arange(len(compared))[::-1]
    values = [KJ_PER_MOL * (found.zero_point_difference or 0.0) for found in compared]
    axes.barh(places, values, color=BLUE, height=0.65)
    axes.axvline(0.0, color=GREY, linewidth=1)
    axes.set_yticks(places, [found.name for found in compared])
    axes.tick_params(axis="y", length=0)
    axes.set(xlabel="zero-point energy, model − reference (kJ/mol)")
    error = result.errors()["zero_point_mae_kJ_mol"]
    if error is not None:
        axes.set_title(f"MAE {error:.2f} kJ/mol")
