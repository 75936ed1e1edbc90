"""Plots of the checks as SVG text: what was measured, and the bound beside it."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from atomsym.testing.outcome import CheckResult, Verdict
from atomsym.workflows.plot_style import BLUE, GREY, INK, ORANGE, PALE_BLUE, RED, plot_style

LOWEST = 1e-17  # errors below are drawn here, as zero has no logarithm
ROWS_OF_LEGEND = 12
LINES = ("-", "--", ":", "-.")  # one after the other as colors come back


def plot_svg(result: CheckResult) -> str | None:
    """The plot of a check as an SVG element, or None if it has none."""
    draw = PLOTS.get(result.id)
    if draw is None or not result.data:
        return None
    with plot_style({"svg.hashsalt": result.id}):
        figure = Figure(figsize=(7.6, 2.7), layout="constrained")
        draw(figure, result)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def verdict_color(verdict: Verdict) -> str:
    return {Verdict.PASS: BLUE, Verdict.WARN: ORANGE}.get(verdict, RED)


def _mark_zero(axes: Axes) -> None:
    """Say that exact zeros sit at the bottom of a logarithmic axis."""
    axes.set_ylim(LOWEST / 4, None)
    if any((np.asarray(line.get_ydata()) <= LOWEST).any() for line in axes.lines):
        axes.annotate(
            "exactly 0", (0.005, LOWEST), xycoords=("axes fraction", "data"), va="center", fontsize=8, color=GREY
        )


def _bound_line(axes: Axes, bound: float, label: str = "bound") -> None:
    axes.axhline(bound, color=RED, linewidth=1.1, linestyle=(0, (5, 3)), label=label, zorder=1)


def _rotations(figure: Figure, result: CheckResult) -> None:
    axes = figure.subplots()
    markers = {"random": "o", "cube": "s", "reflection": "^"}
    colors = {"cluster": BLUE, "crystal": ORANGE, "skewed crystal": GREY}
    for name, groups in result.data["force_errors"].items():
        start = 0
        for kind, values in groups.items():
            x = np.arange(start, start + len(values)) + 1
            axes.semilogy(
                x, np.maximum(values, LOWEST), markers[kind], color=colors.get(name, BLUE), markersize=4, alpha=0.85,
                label=f"{name}, {kind}",
            )  # fmt: skip
            start += len(values)
    _bound_line(axes, result.data["bound"])
    axes.set(xlabel="rotation number", ylabel="largest force error (eV/Å)")
    _mark_zero(axes)
    axes.margins(x=0.09)
    axes.grid(axis="y")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def _translations(figure: Figure, result: CheckResult) -> None:
    axes = figure.subplots()
    for color, (name, values) in zip((BLUE, ORANGE, GREY), result.data["errors"].items(), strict=False):
        x = np.arange(len(values)) + 1
        axes.semilogy(x, np.maximum(values, LOWEST), "o-", color=color, markersize=5, linewidth=0.8, label=name)
    _bound_line(axes, result.measurements[0].bound)
    axes.set(xlabel="random shift", ylabel="energy change (eV/atom)", xticks=x)
    _mark_zero(axes)
    axes.margins(x=0.2)
    axes.grid(axis="y")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def _error_against_step(figure: Figure, result: CheckResult, what: str, unit: str) -> None:
    axes = figure.subplots()
    steps = np.array(result.data["steps"])
    errors = np.maximum(result.data["errors"], LOWEST)
    axes.loglog(steps, errors, "o-", color=verdict_color(result.verdict), markersize=5, label="measured")
    _bound_line(axes, result.data["bound"])
    guide = errors[0] * (steps / steps[0]) ** 4
    shown = guide > 0.3 * errors.min()
    if shown.sum() > 1:
        axes.loglog(steps[shown], guide[shown], ":", color=GREY, linewidth=1, label="∝ h⁴ (truncation)")
    axes.set(xlabel="step h (Å)", ylabel=f"{what}{unit}")
    axes.grid()
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def _forces(figure: Figure, result: CheckResult) -> None:
    _error_against_step(figure, result, "force error / (1 + |F|)", "")


def _jacobian(figure: Figure, result: CheckResult) -> None:
    _error_against_step(figure, result, "|J − Jᵀ| / |J + Jᵀ|", "")


def _stress(figure: Figure, result: CheckResult) -> None:
    axes = figure.subplots()
    labels = ("xx", "yy", "zz", "yz", "xz", "xy")
    groups = zip(result.data["names"], result.data["given"], result.data["numerical"], strict=True)
    for color, offset, (name, given, numerical) in zip((BLUE, ORANGE), (-0.18, 0.18), groups, strict=False):
        x = np.arange(6) + offset
        axes.bar(x, given, 0.32, color=color, alpha=0.8, label=f"{name}, given")
        axes.plot(x, numerical, "_", color=INK, markersize=13, markeredgewidth=1.6, label=f"{name}, from energies")
    axes.axhline(0, color=INK, linewidth=0.7)
    axes.set(xticks=np.arange(6), xticklabels=labels, ylabel="stress (eV/Å³)")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def _frequencies(figure: Figure, result: CheckResult) -> None:
    if "frequencies" not in result.data:
        return
    axes = figure.subplots()
    values = np.sort(np.abs(result.data["frequencies"]))
    axes.semilogy(np.arange(len(values)) + 1, np.maximum(values, 1e-8), "o", color=BLUE, markersize=4)
    _bound_line(axes, 0.1, "bound for zero modes")
    axes.set(xlabel="mode", ylabel="|frequency| (1/cm)")
    axes.grid(axis="y")
    axes.legend(loc="lower right")


def _cutoff(figure: Figure, result: CheckResult) -> None:
    """Energy, force and its two derivatives on both sides, never differentiated across the cutoff."""
    offsets = np.array(result.data["offsets"])
    force = np.array(result.data["force"])
    sides = [offsets < -1e-9, offsets > 1e-9]
    curves = {
        "energy (eV)": [np.array(result.data["energy"])[side] for side in sides],
        "force (eV/Å)": [force[side] for side in sides],
        "Hessian (eV/Å²)": [np.gradient(-force[side], offsets[side]) for side in sides],
    }
    curves["3rd derivative (eV/Å³)"] = [
        np.gradient(values, offsets[side]) for values, side in zip(curves["Hessian (eV/Å²)"], sides, strict=True)
    ]
    for axes, (label, parts) in zip(figure.subplots(1, 4), curves.items(), strict=True):
        trim = {"energy": 0, "force": 0, "Hessian": 1, "3rd": 2}[label.split()[0]]
        for values, side, color in zip(parts, sides, (BLUE, GREY), strict=True):
            keep = slice(trim, -trim or None)
            axes.plot(offsets[side][keep], values[keep], color=color, linewidth=1.8)
        axes.axvline(0, color=RED, linewidth=0.9, linestyle=(0, (4, 3)))
        axes.set_title(label)
        axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
        axes.locator_params(axis="both", nbins=4)
        axes.grid()
    figure.supxlabel(f"pair distance − {result.data['cutoff']:.5g} Å", fontsize=10, color=INK)


def _bending(figure: Figure, result: CheckResult) -> None:
    axes = figure.subplots()
    energies = 1e3 * np.array(result.data["energies"])
    axes.plot(result.data["angles"], energies, ".-", color=verdict_color(result.verdict), linewidth=1, markersize=5)
    axes.axvline(0, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.set(xlabel="bend of a linear molecule (rad)", ylabel="energy (meV)")
    axes.grid()


def _dynamics(figure: Figure, result: CheckResult) -> None:
    axes = figure.subplots()
    times = np.array(result.data["times"])
    axes.plot(times, result.data["total"], color=PALE_BLUE, linewidth=0.8, label="total energy")
    shadow = np.array(result.data["shadow"])
    axes.plot(times, shadow, color=verdict_color(result.verdict), linewidth=1.3, label="without the dt² term")
    fitted = times > times[-1] * 0.2
    line = shadow[fitted].mean() + result.data["slope"] * (times - times[fitted].mean())
    axes.plot(times, line, color=INK, linewidth=1, linestyle=(0, (5, 3)), label="fitted drift")
    axes.set(xlabel="time (ps)", ylabel="energy change (meV/atom)")
    axes.margins(x=0)
    axes.grid()
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def _dimers(figure: Figure, result: CheckResult) -> None:
    axes = figure.subplots()
    distances = np.array(result.data["distances"])
    deepest = 0.0
    colors = len(rcParams["axes.prop_cycle"])
    for i, (name, curve) in enumerate(result.data["curves"].items()):
        energies = np.array([np.nan if e is None else e for e in curve["energies"]], dtype=np.float64)
        relative = energies - energies[-1]
        usual = relative[distances > 0.6 * curve["bond"]]
        deepest = min(deepest, float(np.nanmin(usual)))
        axes.plot(distances, relative, LINES[i // colors % len(LINES)], linewidth=1.5, label=name)
    top = max(3 * abs(deepest), 1e-3)
    lowest = min(float(np.nanmin(line.get_ydata())) for line in axes.lines)
    axes.set_ylim(max(1.4 * deepest, 1.4 * lowest) if lowest >= deepest else max(1.3 * lowest, -2 * top), top)
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set(xlabel="distance (Å)", ylabel="energy (eV)", xlim=(0.3, 6.0))
    axes.grid()
    columns = 1 + (len(axes.lines) - 1) // ROWS_OF_LEGEND
    axes.legend(
        loc="center left", bbox_to_anchor=(1.0, 0.5), ncols=columns, fontsize="x-small" if columns > 1 else None
    )


PLOTS: dict[str, Callable[[Figure, CheckResult], None]] = {
    "F-1": _translations,
    "F-2": _rotations,
    "F-7": _forces,
    "F-8": _stress,
    "F-9": _jacobian,
    "F-10": _frequencies,
    "F-11": _cutoff,
    "F-13": _bending,
    "F-16": _dynamics,
    "F-18": _dimers,
}
