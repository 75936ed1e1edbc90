"""What a run has shown: a picture, the radial distribution functions as a table, and the main numbers as JSON."""

from __future__ import annotations

import csv
import io
import json
import logging
import math
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import numpy as np
from ase import Atoms
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from atomsym.artifacts import write_atomically
from atomsym.core import MissingDependencyError
from atomsym.workflows.md.analysis import (
    SHORTEST,
    Curve,
    diffusion_coefficient,
    maxima,
    mean_squared_displacements,
    standard_error,
)
from atomsym.workflows.md.radial_distribution import radial_distributions
from atomsym.workflows.md.references import Extrema, LiquidReference, by_pair, reference_for
from atomsym.workflows.md.settings import MdSettings
from atomsym.workflows.md.simulation import MdResult
from atomsym.workflows.plot_style import BLUE, GREY, INK, RED, SERIES, plot_style, save_picture
from atomsym.workflows.run_files import read_log, read_trajectory

logger = logging.getLogger(__name__)

FEWEST_FRAMES = 10  # for a mean squared displacement
NAMES = {
    "nve": "NVE", "nvt-langevin": "NVT (Langevin)", "nvt-nose-hoover": "NVT (Nosé–Hoover)",
    "npt-isotropic": "NPT (isotropic)", "npt-full-cell": "NPT (full cell)",
}  # fmt: skip


@dataclass(frozen=True)
class Analysis:
    """What the report draws.

    Attributes:
        log: columns of the log.
        structure: g(r) by pair of elements; empty if not periodic or without MDTraj.
        missing: why there is no structure.
        displacement: mean squared displacement by element.
        diffusion: 1e-5 cm²/s by element, unless the trajectory is too short.
        reference: measurements of the same liquid, if known.
        overlays: curves given by the user, by pair.
    """

    log: dict[str, np.ndarray]
    structure: dict[str, Curve]
    missing: str
    displacement: dict[str, Curve]
    diffusion: dict[str, float]
    reference: LiquidReference | None
    overlays: dict[str, Curve] = field(default_factory=dict)


def analyse(settings: MdSettings, result: MdResult, references: list[tuple[str, Curve]] | None = None) -> Analysis:
    """Everything that log and trajectory of a run tell.

    Args:
        settings: of the run.
        result: of the run.
        references: curves as ``references.read_reference`` returns them.

    Raises:
        InputError: if a reference names a pair that the system does not have.
    """
    frames = read_trajectory(result.folder)
    structure, missing = _structure(frames)
    displacement: dict[str, Curve] = {}
    if len(frames) >= FEWEST_FRAMES:
        displacement = mean_squared_displacements(frames, settings.trajectory_every * settings.timestep)
    return Analysis(
        log=read_log(result.folder),
        structure=structure,
        missing=missing,
        displacement=displacement,
        diffusion={
            symbol: diffusion_coefficient(curve) for symbol, curve in displacement.items() if curve.x[-1] >= SHORTEST
        },
        reference=reference_for(list(frames[0].symbols), settings.temperature, result.mean_density) if frames else None,
        overlays=by_pair(references or [], list(structure)) if not missing else {},
    )


def write_report(
    settings: MdSettings, result: MdResult, references: list[tuple[str, Curve]] | None = None
) -> tuple[Path, Analysis]:
    """Write ``report.png``, ``rdf.csv`` and ``analysis.json`` into the run's folder.

    Returns:
        The picture's path, and what it shows.

    Raises:
        InputError: if a reference names a pair that the system does not have.
    """
    analysis = analyse(settings, result, references)
    write_atomically(
        result.folder / "analysis.json", (json.dumps(_numbers(analysis, settings), indent=2) + "\n").encode()
    )
    if analysis.structure:
        write_atomically(result.folder / "rdf.csv", _rdf_table(analysis.structure).encode())
    with plot_style():
        return save_picture(_draw(analysis, settings, result), result.folder / "report.png"), analysis


def _structure(frames: list[Atoms]) -> tuple[dict[str, Curve], str]:
    if not frames:
        return {}, "no frames yet"
    if not frames[0].pbc.all():
        return {}, "not periodic"
    try:
        return radial_distributions(frames), ""
    except MissingDependencyError as error:
        logger.warning("%s", error)
        return {}, "MDTraj is missing:\npip install 'atomsym[md]'"


def _numbers(analysis: Analysis, settings: MdSettings) -> dict[str, object]:
    """The main numbers beside those of measurements."""
    production = analysis.log["step"] >= settings.equilibration_steps
    means = {}
    for name in ("temperature_K", "pressure_GPa", "density_g_cm3", "volume_A3"):
        values = analysis.log[name][production]
        if len(values) and np.isfinite(values).all():
            error = standard_error(values)
            means[name] = {"mean": float(values.mean()), "standard_error": error if math.isfinite(error) else None}
    reference = analysis.reference
    return {
        "means": means,
        "rdf_maxima": {pair: maxima(curve)[:3] for pair, curve in analysis.structure.items()},
        "rdf_reference": {
            pair: {"extrema": [[r, g if math.isfinite(g) else None] for r, g in known.points], "source": known.source}
            for pair, known in (reference.extrema.items() if reference else ())
        },
        "diffusion_1e-5_cm2_s": analysis.diffusion,
        "diffusion_reference": {**reference.diffusion, "source": reference.diffusion_source} if reference else {},
    }


def _rdf_table(structure: dict[str, Curve]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["r_A", *(f"g_{pair}" for pair in structure)])
    first = next(iter(structure.values()))
    for i, r in enumerate(first.x):
        writer.writerow([f"{r:.4f}", *(f"{curve.y[i]:.5f}" for curve in structure.values())])
    return text.getvalue()


# Drawing -------------------------------------------------------------------------------------------------------------


def _draw(analysis: Analysis, settings: MdSettings, result: MdResult) -> Figure:
    groups = _groups(list(analysis.structure))
    with_density = settings.ensemble.startswith("npt")
    n_panels = max(len(groups), 1) + 3 + with_density
    columns = 2 if n_panels <= 4 else 3
    rows = math.ceil(n_panels / columns)
    figure = Figure(figsize=(5.0 * columns, 3.7 * rows), layout="constrained")
    panels = list(figure.subplots(rows, columns).flat)
    for unused in panels[n_panels:]:
        unused.axis("off")
    free = iter(panels)
    for group in groups:
        _draw_structure(next(free), analysis, group)
    if not groups:
        _say(next(free), analysis.missing, "Radial distribution", "r (Å)", "g(r)")
    _draw_temperature(next(free), analysis.log, settings)
    _draw_energy(next(free), analysis.log, settings, result)
    if with_density:
        _draw_density(next(free), analysis.log, settings)
    _draw_diffusion(next(free), analysis)
    formula = Path(settings.system).stem
    run = f"{settings.timestep:g} fs × {settings.steps:,} steps"
    if result.ns_per_day > 0:  # a finished run that is drawn anew has no speed
        run = f"{run}, {result.ns_per_day:.3g} ns/day"
    title = f"{formula}: {result.n_atoms} atoms, {NAMES[settings.ensemble]}, model “{Path(settings.model).stem}”, {run}"
    figure.suptitle(title)
    return figure


def _groups(pairs: list[str]) -> list[list[str]]:
    """A panel for each of up to three pairs; more share one."""
    return [[pair] for pair in pairs] if len(pairs) <= 3 else [pairs]


def _say(axes: Axes, text: str, title: str, xlabel: str, ylabel: str) -> None:
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GREY)


def _draw_structure(axes: Axes, analysis: Analysis, pairs: list[str]) -> None:
    tallest, end = 1.0, 0.0
    for pair in pairs:
        curve = analysis.structure[pair]
        label = "this run" if len(pairs) == 1 else _pretty(pair)
        color = BLUE if len(pairs) == 1 else None
        axes.plot(curve.x, curve.y, color=color, linewidth=1.6, label=label, zorder=3)
        tallest, end = max(tallest, _visible_height(pair, curve)), max(end, float(curve.x[-1]))
        overlay = analysis.overlays.get(pair)
        if overlay is not None:
            axes.plot(overlay.x, overlay.y, color=INK, linewidth=1, linestyle="--", label="reference file")
        known = analysis.reference.extrema.get(pair) if analysis.reference else None
        if known is not None:
            tallest = max(tallest, _draw_extrema(axes, known))
    axes.axhline(1.0, color=GREY, linewidth=0.8, linestyle=":")
    name = _pretty(pairs[0]) if len(pairs) == 1 else "Radial distribution"
    axes.set(title=name, xlabel="r (Å)", ylabel="g(r)", xlim=(0, end), ylim=(0, 1.3 * tallest))
    axes.legend(loc="upper right", frameon=True, edgecolor="none", framealpha=0.85)


def _draw_extrema(axes: Axes, known: Extrema) -> float:
    """Mark published extrema; returns the largest height."""
    heights = [g for _, g in known.points if math.isfinite(g)]
    if heights:
        points = np.array(known.points)
        axes.plot(
            points[:, 0],
            points[:, 1],
            "o",
            color=RED,
            markersize=6,
            mfc="none",
            mew=1.6,
            label=known.source,
            zorder=4,
        )
        return max(heights)
    for number, (position, _) in enumerate(known.points):
        label = f"maxima of {known.source}" if number == 0 else None
        axes.axvline(position, color=RED, linewidth=1, linestyle="--", label=label)
    return 0.0


def _visible_height(pair: str, curve: Curve) -> float:
    """Bonds inside molecules give peaks that would flatten all others: they may leave the panel."""
    within = curve.y[curve.x < 1.3] if "H" in pair.split("-") else np.zeros(0)
    if len(within) and within.max() > 4:
        return float(curve.y[curve.x >= 1.3].max(initial=0.0))
    return float(curve.y.max())


def _draw_temperature(axes: Axes, log: dict[str, np.ndarray], settings: MdSettings) -> None:
    time = log["time_fs"] * 1e-3
    style = "-" if len(time) > 1 else "o"
    axes.plot(time, log["temperature_K"], style, color=BLUE, linewidth=0.8)
    label = "start" if settings.ensemble == "nve" and not settings.equilibration_steps else "target"
    axes.axhline(settings.temperature, color=GREY, linewidth=1, linestyle="--", label=label)
    _shade_equilibration(axes, settings)
    production = log["step"] >= settings.equilibration_steps
    if production.any():
        mean = log["temperature_K"][production].mean()
        axes.text(0.03, 0.97, f"mean {mean:.1f} K", transform=axes.transAxes, va="top", fontsize=9)
    axes.set(xlabel="time (ps)", ylabel="temperature (K)", title="Temperature")
    axes.margins(x=0, y=0.2)
    axes.legend(loc="lower right")


def _shade_equilibration(axes: Axes, settings: MdSettings) -> None:
    if settings.equilibration_steps:
        start = settings.equilibration_steps * settings.timestep * 1e-3
        axes.axvspan(0, start, color=GREY, alpha=0.15, linewidth=0, label="equilibration")


def _draw_energy(axes: Axes, log: dict[str, np.ndarray], settings: MdSettings, result: MdResult) -> None:
    production = log["step"] >= settings.equilibration_steps
    time = log["time_fs"][production] * 1e-3
    energy = log["conserved_eV"][production] / result.n_atoms * 1e3
    if len(energy):
        style = "-" if len(energy) > 1 else "o"
        axes.plot(time, energy - energy.mean(), style, color=BLUE, linewidth=0.8)
    name = "Total energy" if settings.ensemble == "nve" else "Conserved energy"
    axes.set(xlabel="time (ps)", ylabel="deviation from the mean (meV/atom)", title=name)
    axes.margins(x=0, y=0.25)
    text = f"rms {result.energy_rms:.2g} meV/atom"
    if settings.production_ps >= SHORTEST:
        text = f"drift {result.energy_slope:+.3g} meV/atom/ns, {text}"
    axes.text(0.03, 0.97, text, transform=axes.transAxes, va="top", fontsize=9)


def _draw_density(axes: Axes, log: dict[str, np.ndarray], settings: MdSettings) -> None:
    axes.plot(log["time_fs"] * 1e-3, log["density_g_cm3"], color=BLUE, linewidth=0.9)
    _shade_equilibration(axes, settings)
    production = log["step"] >= settings.equilibration_steps
    if production.any():
        density, pressure = log["density_g_cm3"][production].mean(), log["pressure_GPa"][production].mean()
        text = f"mean {density:.4g} g/cm³ at {pressure:.3g} GPa (target {settings.pressure:g} GPa)"
        axes.text(0.03, 0.97, text, transform=axes.transAxes, va="top", fontsize=9)
    axes.set(xlabel="time (ps)", ylabel="density (g/cm³)", title="Density")
    axes.margins(x=0, y=0.25)


def _draw_diffusion(axes: Axes, analysis: Analysis) -> None:
    if not analysis.displacement:
        _say(axes, "too few frames", "Diffusion", "lag time (ps)", "mean squared displacement (Å²)")
        return
    axes.set(xlabel="lag time (ps)", ylabel="mean squared displacement (Å²)", title="Diffusion")
    for color, (symbol, curve) in zip(cycle(SERIES), analysis.displacement.items(), strict=False):
        value = analysis.diffusion.get(symbol)
        label = f"{symbol}: too short for D" if value is None else f"{symbol}: D = {value:.2f} · 10⁻⁵ cm²/s"
        axes.plot(curve.x, curve.y, color=color, label=label)
        known = analysis.reference.diffusion.get(symbol) if analysis.reference else None
        if value is not None and known is not None and analysis.reference is not None:
            offset = curve.y[len(curve.y) // 2] - 0.6 * known * curve.x[len(curve.x) // 2]
            label = f"slope of D = {known:.2f}, {analysis.reference.diffusion_source}"
            line = max(offset, 0.0) + 0.6 * known * curve.x
            axes.plot(curve.x, line, "--", color=RED, linewidth=1.2, label=label)
    axes.legend(loc="upper left")
    axes.set_xlim(left=0)
    axes.set_ylim(0, axes.get_ylim()[1] * 1.2)


def _pretty(pair: str) -> str:
    return "g(r) of " + pair.replace("-", "–")
