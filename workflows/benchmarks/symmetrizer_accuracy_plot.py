"""The pictures of trained symmetrizers: accuracy against speed, and learning against time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator

from atomsym.workflows.benchmarks.symmetrizer_accuracy import AccuracyComparison, AccuracyRow
from atomsym.workflows.benchmarks.symmetrizer_accuracy_cases import AccuracySet, accuracy_set
from atomsym.workflows.plot_style import BLUE, GREEN, GREY, ORANGE, RED, plot_style, save_picture

_KINDS = ((RED, "not invariant"), (ORANGE, "invariant, jumps"), (BLUE, "invariant, smooth"), (GREEN, "equivariant"))
_MARKERS, _LINES = "osD^v", ("-", "--", ":", "-.", "-")
_NAMES = {"mace": "MACE", "nequip": "NequIP"}


def write_picture(result: AccuracyComparison, path: Path) -> Path:
    """Draw the picture of a comparison with at least one row and return its path."""
    chosen = accuracy_set(result.settings.set_name)
    with plot_style():
        if chosen.intensive:
            figure = Figure(figsize=(10.0, 5.0), layout="constrained")
            _draw_properties(figure, result, chosen)
        elif len(chosen.known_sets) > 1:
            figure = Figure(figsize=(6.6, 4.0), layout="constrained")
            _draw_parts(figure.subplots(), result, chosen)
        else:
            figure = Figure(figsize=(10.0, 5.0), layout="constrained")
            looks = _looks(result.rows)
            left, right = figure.subplots(1, 2)
            _draw_speed(left, result, chosen, looks)
            _draw_learning(right, result, chosen, looks)
            _legend(figure, result.rows, looks)
            figure.suptitle(f"Trained alike: {chosen.title}")
        return save_picture(figure, path)


def _kind(row: AccuracyRow) -> int:
    found = row.outcome
    if found.architecture != "faenet":
        return 3
    if not found.exact:
        return 0
    return 2 if found.continuous else 1


def _looks(rows: tuple[AccuracyRow, ...]) -> list[dict[str, Any]]:
    """Color by what a method keeps; marker and line tell those of a color apart."""
    seen = [0] * len(_KINDS)
    looks = []
    for row in rows:
        kind = _kind(row)
        looks.append({"color": _KINDS[kind][0], "marker": _MARKERS[seen[kind]], "linestyle": _LINES[seen[kind]]})
        seen[kind] = min(seen[kind] + 1, len(_LINES) - 1)
    return looks


def _error(row: AccuracyRow, chosen: AccuracySet, *, turned: bool) -> float:
    found = row.outcome
    if chosen.forces:
        value = found.turned_forces_mae if turned else found.forces_mae
        return value or 0.0
    return found.turned_energy_mae if turned else found.energy_mae


def _draw_speed(axes: Axes, result: AccuracyComparison, chosen: AccuracySet, looks: list[dict[str, Any]]) -> None:
    """Filled: test structures as they are; open: turned at random; a line between them is what turning costs."""
    for row, look in zip(result.rows, looks, strict=True):
        before, after = (_error(row, chosen, turned=turned) for turned in (False, True))
        color, marker = look["color"], look["marker"]
        axes.plot([row.milliseconds] * 2, [before, after], color=color, linewidth=1.0, zorder=1)
        axes.plot(row.milliseconds, after, marker, color=color, markerfacecolor="white", markersize=8, zorder=2)
        axes.plot(row.milliseconds, before, marker, color=color, markersize=5, zorder=3)
    axes.margins(0.12, 0.12)
    timed = "" if chosen.intensive else f", {'energy and forces' if chosen.forces else 'energy'}"
    if chosen.intensive:
        error = f"MAE ({chosen.unit})"
    else:
        error = "force MAE (meV/Å)" if chosen.forces else f"energy MAE ({chosen.unit})"
    axes.set(xscale="log", yscale="log", xlabel=f"time of one structure{timed} (ms)", ylabel=error)
    axes.set_title("Accuracy on the test set against speed")
    _plain_axes(axes)


def _draw_learning(axes: Axes, result: AccuracyComparison, chosen: AccuracySet, looks: list[dict[str, Any]]) -> None:
    for row, look in zip(result.rows, looks, strict=True):
        minutes, errors = zip(*((seconds / 60, error) for seconds, error in row.outcome.curve), strict=True)
        axes.plot(minutes, errors, look["linestyle"], color=look["color"], linewidth=1.2)
        axes.plot(minutes[-1], errors[-1], look["marker"], color=look["color"], markersize=5)
    what = "force MAE (meV/Å)" if chosen.forces else "energy MAE (meV/atom)"
    axes.set(xscale="log", yscale="log", xlabel="time of the training (core minutes)", ylabel=f"validation {what}")
    axes.set_title(f"The same {result.rows[0].outcome.epochs} epochs")
    _plain_axes(axes)


def _legend(figure: Figure, rows: tuple[AccuracyRow, ...], looks: list[dict[str, Any]], *others: Line2D) -> None:
    handles = [
        Line2D([], [], label=f"{_NAMES.get(row.outcome.method, row.outcome.method)}: {_KINDS[_kind(row)][1]}",
               linewidth=1.2, markersize=5, **look)
        for row, look in zip(rows, looks, strict=True)
    ]  # fmt: skip
    open_marker: dict[str, Any] = {
        "marker": "o",
        "linestyle": "",
        "color": GREY,
        "markerfacecolor": "white",
        "markersize": 8,
    }
    handles.append(Line2D([], [], label="open: structures turned at random", **open_marker))
    figure.legend(handles=[*handles, *others], loc="outside lower center", ncols=3, fontsize=8.5, handlelength=3)


def _draw_properties(figure: Figure, result: AccuracyComparison, chosen: AccuracySet) -> None:
    """Accuracy against speed of each property; dashed: the fitted values of the elements, which models begin with."""
    parts = list(dict.fromkeys(row.outcome.part for row in result.rows))
    for axes, part in zip(figure.subplots(1, len(parts), squeeze=False)[0], parts, strict=True):
        rows = tuple(row for row in result.rows if row.outcome.part == part)
        of_part = replace(result, rows=rows)
        axes.axhline(result.composition[part], color=GREY, linestyle="--", linewidth=1.0)
        _draw_speed(axes, of_part, chosen, _looks(rows))
        axes.set_title(f"{part.replace('-', ' ')} (MAE of the mean: {result.baseline[part]:.2f})")
        if part == parts[0]:
            elements = Line2D([], [], color=GREY, linestyle="--", linewidth=1.0, label="a value of each element")
            _legend(figure, rows, _looks(rows), elements)
    figure.suptitle(f"Trained alike, {result.rows[0].outcome.epochs} epochs: {chosen.title}")


def _draw_parts(axes: Axes, result: AccuracyComparison, chosen: AccuracySet) -> None:
    """A group of bars for each part, the baseline first."""
    parts = list(dict.fromkeys(row.outcome.part for row in result.rows))
    methods = list(dict.fromkeys(row.outcome.method for row in result.rows))
    width = 0.8 / (len(methods) + 1)
    places = [index - 0.4 + width / 2 for index in range(len(parts))]
    axes.bar(places, [result.baseline[part] for part in parts], width, color=GREY, label="mean of each adsorbate")
    for number, method in enumerate(methods):
        rows = {row.outcome.part: row for row in result.rows if row.outcome.method == method}
        shown = [part for part in parts if part in rows]
        at = [parts.index(part) - 0.4 + width * (number + 1.5) for part in shown]
        heights = [_error(rows[part], chosen, turned=True) for part in shown]
        color = _KINDS[_kind(next(iter(rows.values())))][0]
        alpha = 1 - 0.6 * number / max(len(methods) - 1, 1)
        axes.bar(at, heights, width, color=color, alpha=alpha, label=method)
        for x, height in zip(at, heights, strict=True) if len(methods) < 3 else ():
            axes.text(x, height, f"{height:.0f}", ha="center", va="bottom", fontsize=8)
    axes.set_xticks(range(len(parts)), parts)
    axes.set(xlabel="metal that was left out of the training", ylabel=f"energy MAE (meV per {chosen.per})")
    axes.set_title("Adsorption energies on a metal that FAENet has not seen")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2, fontsize=9)


def _plain_axes(axes: Axes) -> None:
    """Numbers as people write them: 1, 2, 5 of each decade."""
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
        axis.set_minor_locator(LogLocator(subs=(2, 5)))
        axis.set_minor_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
    axes.tick_params(which="both", length=3, pad=4)
    axes.grid(which="both", linewidth=0.6)
