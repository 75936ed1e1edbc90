"""The picture of a calculation of vibrations: the infrared spectrum, or the density of states without a dipole."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from atomsym.artifacts import write_atomically
from atomsym.workflows.plot_style import BLUE, GREY, PURPLE, RED, plot_style, save_picture
from atomsym.workflows.vibrations.infrared import ABSORPTION, lorentzians
from atomsym.workflows.vibrations.result import VibrationsResult
from atomsym.workflows.vibrations.settings import VibrationsSettings

FloatArray = NDArray[np.float64]

NAMED = 12  # lines that carry their wavenumber
FAINTEST = 0.02  # of the strongest line: fainter ones are not named
APART = 0.02  # of the axis: labels nearer than this would overlap


def write_report(settings: VibrationsSettings, result: VibrationsResult, folder: Path) -> Path:
    """Write ``spectrum.csv`` and draw ``spectrum.png``; returns the path of the picture."""
    grid, curve = spectrum(result, settings.width)
    write_atomically(folder / "spectrum.csv", _table(grid, curve, result).encode())
    with plot_style():
        return save_picture(_draw(settings, result, grid, curve), folder / "spectrum.png")


def spectrum(result: VibrationsResult, width: float) -> tuple[FloatArray, FloatArray]:
    """Wavenumbers, 1/cm, and the broadened spectrum of the real modes there.

    Returns:
        The second is the decadic molar absorption coefficient in L/(mol cm), or, without intensities, the number of
        modes per 1/cm.
    """
    real = result.modes.wavenumbers > 0
    centres = result.modes.wavenumbers[real]
    top = 1.1 * max(float(centres.max(initial=0.0)), 10 * width)
    grid = np.arange(0.0, top, width / 10)
    if result.intensities is None:
        return grid, lorentzians(grid, centres, np.ones(len(centres)), width)
    return grid, ABSORPTION * lorentzians(grid, centres, result.intensities[real], width)


def _table(grid: FloatArray, curve: FloatArray, result: VibrationsResult) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    name = "modes_per_1_cm" if result.intensities is None else "molar_absorption_L_mol_cm"
    writer.writerow(["wavenumber_1_cm", name])
    writer.writerows((f"{x:.2f}", f"{y:.6g}") for x, y in zip(grid, curve, strict=True))
    return text.getvalue()


def _draw(settings: VibrationsSettings, result: VibrationsResult, grid: FloatArray, curve: FloatArray) -> Figure:
    figure = Figure(figsize=(8.0, 4.2), layout="constrained")
    axes = figure.subplots()
    wavenumbers, heights = result.modes.wavenumbers, _heights(result, settings.width)
    lowest = min(0.0, 1.15 * float(wavenumbers.min(initial=0.0)))
    top = 1.3 * max(_top(curve), _top(heights))
    axes.fill_between(grid, curve, color=BLUE, alpha=0.15, linewidth=0)
    axes.plot(grid, curve, color=BLUE, linewidth=1.4)
    axes.set(xlabel="wavenumber (cm⁻¹)", xlim=(float(grid[-1]), lowest), ylim=(0, top))
    _draw_sticks(axes, wavenumbers, heights)
    crowded = result.intensities is None and len(wavenumbers) > NAMED  # then all lines are equal, and none is special
    for k in [] if crowded else _named(wavenumbers, heights, float(grid[-1]) - lowest):
        near = curve[np.abs(grid - wavenumbers[k]) < settings.width]
        above = max(float(near.max(initial=0.0)), heights[k])
        axes.annotate(
            f"{abs(wavenumbers[k]):.0f}{'i' if wavenumbers[k] < 0 else ''}", (wavenumbers[k], above), xytext=(0, 4),
            textcoords="offset points", rotation=90, ha="center", va="bottom", fontsize=8, color=RED,
        )  # fmt: skip
    if result.intensities is None:
        axes.set_ylabel("modes per cm⁻¹")
    else:
        axes.set_ylabel("molar absorption (L mol⁻¹ cm⁻¹)", color=BLUE)
        sticks = axes.twinx()  # one scale for both: a line that stands alone ends where its stick ends
        sticks.spines["right"].set_visible(True)
        sticks.set_ylim(0, top / _peak(settings.width))
        sticks.set_ylabel("intensity (km mol⁻¹)", color=RED)
    axes.set_title(_title(settings, result))
    if not len(wavenumbers):
        axes.text(0.5, 0.5, "an atom does not vibrate", transform=axes.transAxes, ha="center", color=GREY)
    return figure


def _peak(width: float) -> float:
    """Height of a line of 1 km/mol, L/(mol cm)."""
    return ABSORPTION * 2 / (math.pi * width)


def _heights(result: VibrationsResult, width: float) -> FloatArray:
    """Where sticks end, in the unit of the curve."""
    if result.intensities is None:
        _, curve = spectrum(result, width)
        return np.full(len(result.modes), max(2 / (math.pi * width), 0.05 * float(curve.max(initial=0.0))))
    return np.asarray(result.intensities * _peak(width))


def _title(settings: VibrationsSettings, result: VibrationsResult) -> str:
    kind = "Infrared spectrum"
    if result.intensities is None:
        kind = "Vibrational density of states (without dipole moments there are no intensities)"
    model = Path(settings.model).stem if settings.model.endswith(".safetensors") else settings.model
    formula = result.atoms.get_chemical_formula().translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))
    return f"{kind}\n{formula}, model “{model}”, Lorentz width {settings.width:g} cm⁻¹"


def _top(values: FloatArray) -> float:
    highest = float(values.max(initial=0.0))
    return highest if highest > 0 else 1.0


def _draw_sticks(axes: Axes, wavenumbers: FloatArray, heights: FloatArray) -> None:
    real = wavenumbers > 0
    axes.vlines(wavenumbers[real], 0, heights[real], color=RED, linewidth=1.1)
    if not real.all():
        low = np.maximum(heights[~real], 0.05 * _top(heights))  # to be seen even if dark
        axes.vlines(wavenumbers[~real], 0, low, color=PURPLE, linewidth=2, label="imaginary")
        axes.axvline(0, color=GREY, linewidth=0.8, linestyle=":")
        axes.legend(loc="upper right")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0f}" if value >= 0 else f"{-value:.0f}i")


def _named(wavenumbers: FloatArray, heights: FloatArray, span: float) -> list[int]:
    """The strongest lines that can carry a label without overlap."""
    chosen: list[int] = []
    for k in np.argsort(-heights, kind="stable"):
        if len(chosen) == NAMED or heights[k] < FAINTEST * _top(heights):
            break
        if all(abs(wavenumbers[k] - wavenumbers[other]) > APART * span for other in chosen):
            chosen.append(int(k))
    return chosen
