"""The picture of a calculation of phonons: band structure beside density of states, and thermal properties."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from atomsym.workflows.phonons.result import IMAGINARY, INVERSE_CM, PhononsResult
from atomsym.workflows.phonons.settings import PhononsSettings
from atomsym.workflows.plot_style import BLUE, GREY, INK, PALE_BLUE, RED, SERIES, plot_style, save_picture


def write_report(settings: PhononsSettings, result: PhononsResult, folder: Path) -> list[Path]:
    """Draw ``phonons.png`` and ``thermal.png`` and return their paths."""
    with plot_style():
        return [
            save_picture(_draw(settings, result), folder / "phonons.png"),
            save_picture(_draw_thermal(settings, result), folder / "thermal.png"),
        ]


def _draw(settings: PhononsSettings, result: PhononsResult) -> Figure:
    figure = Figure(figsize=(8.6, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3.2, 1))
    _draw_bands(left, result)
    _draw_density(right, result)
    highest = max(float(piece.max()) for piece in result.bands.frequencies)
    lowest = 1.15 * result.lowest if result.lowest < IMAGINARY else 0.0
    left.set_ylim(lowest, 1.06 * highest)
    if lowest < 0:
        for axes in (left, right):
            axes.axhspan(lowest, 0, color=RED, alpha=0.06, linewidth=0)
        left.text(0.01, 0.01, "imaginary", transform=left.transAxes, color=RED, fontsize=9, va="bottom")
    figure.suptitle(_title(settings, result))
    return figure


def _title(settings: PhononsSettings, result: PhononsResult) -> str:
    formula = str(result.primitive.symbols.formula.reduce()[0]).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))
    model = Path(settings.model).stem if settings.model.endswith(".safetensors") else settings.model
    size = " × ".join(map(str, result.supercell))
    return f"Phonons of {formula}, model “{model}”, supercell {size} ({result.n_supercell} atoms)"


def _draw_bands(axes: Axes, result: PhononsResult) -> None:
    bands = result.bands
    ticks: list[float] = []
    labels: list[str] = []
    offset = 0.0
    for number, (distances, frequencies) in enumerate(zip(bands.distances, bands.frequencies, strict=True)):
        x = distances - distances[0] + offset
        axes.plot(x, frequencies, color=BLUE, linewidth=1.2)
        start, end = (_pretty(name) for name in bands.ends[number])
        if labels and labels[-1] != start:
            labels[-1] = f"{labels[-1]}|{start}"
        elif not labels:
            ticks, labels = [offset], [start]
        offset = float(x[-1])
        ticks.append(offset)
        labels.append(end)
    for tick in ticks:
        axes.axvline(tick, color=GREY, linewidth=0.6)
    axes.axhline(0.0, color=INK, linewidth=0.8)
    axes.set(xlim=(ticks[0], ticks[-1]), ylabel="frequency (THz)", title="Dispersion")
    axes.set_xticks(ticks, labels)
    axes.tick_params(axis="x", length=0)


def _pretty(name: str) -> str:
    if name == "G":
        return "Γ"
    return f"{name[0]}{name[1:].translate(str.maketrans('0123456789', '₀₁₂₃₄₅₆₇₈₉'))}"


def _draw_density(axes: Axes, result: PhononsResult) -> None:
    density = result.density
    axes.fill_betweenx(density.frequencies, density.total, color=PALE_BLUE, alpha=0.6, linewidth=0)
    axes.plot(density.total, density.frequencies, color=BLUE, linewidth=1.2, label="total")
    for number, (name, part) in enumerate(density.by_element.items()):
        axes.plot(part, density.frequencies, color=SERIES[1 + number % (len(SERIES) - 1)], linewidth=1.1, label=name)
    axes.axhline(0.0, color=INK, linewidth=0.8)
    axes.set(xlabel="modes per THz", title="Density of states")
    axes.set_xlim(left=0)
    if density.by_element:
        axes.legend(loc="best")
    other = axes.secondary_yaxis("right", functions=(_to_wavenumber, _to_frequency))
    other.set_ylabel("wavenumber (cm⁻¹)")


def _to_wavenumber(frequency: Any) -> Any:
    return frequency * INVERSE_CM


def _to_frequency(wavenumber: Any) -> Any:
    return wavenumber / INVERSE_CM


def _draw_thermal(settings: PhononsSettings, result: PhononsResult) -> Figure:
    thermal, n_atoms = result.thermal, len(result.primitive)
    figure = Figure(figsize=(8.6, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(thermal.temperatures, thermal.heat_capacity, color=BLUE, label="heat capacity $C_V$")
    left.plot(thermal.temperatures, thermal.entropy, color=SERIES[1], label="entropy $S$")
    left.axhline(3 * n_atoms * 8.31446, color=GREY, linestyle="--", linewidth=1, label=f"Dulong–Petit, {3 * n_atoms} R")
    left.set(xlabel="temperature (K)", ylabel="J mol⁻¹ K⁻¹ of primitive cells")
    right.plot(thermal.temperatures, thermal.free_energy, color=BLUE, label="free energy $F$")
    right.axhline(result.zero_point_energy, color=GREY, linestyle=":", linewidth=1, label="zero-point energy")
    right.set(xlabel="temperature (K)", ylabel="kJ mol⁻¹ of primitive cells")
    for axes in (left, right):
        axes.set_xlim(0, float(np.max(thermal.temperatures)))
        axes.legend()
    figure.suptitle(f"Harmonic, at constant volume: {_title(settings, result)}", fontsize=10.5)
    return figure
