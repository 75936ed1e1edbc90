"""The pictures of trained symmetrizers: accuracy against speed, and learning against time."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from atomsym.workflows.benchmarks.symmetrizer_accuracy import AccuracyComparison, AccuracyRow
from atomsym.workflows.benchmarks.symmetrizer_accuracy_cases import AccuracySet, accuracy_set
from atomsym.workflows.plot_style import BLUE, GREEN, GREY, ORANGE, RED, plot_style, save_picture

_KINDS = (
    (RED, "not invariant"),
    (ORANGE, "invariant, not continuous"),
    (BLUE, "invariant and continuous"),
    (GREEN, "equivariant network"),
)
_SHADES = ("-", "--", ":", "-.")


def write_picture(result: AccuracyComparison, path: Path) -> Path:
    """Draw the picture of a comparison with at least one row and return its path."""
    chosen = accuracy_set(result.settings.set_name)
    with plot_style():
        if len(chosen.known_sets) > 1:
            figure = Figure(figsize=(6.4, 3.9), layout="constrained")
            _draw_parts(figure.subplots(), result, chosen)
        else:
            figure = Figure(figsize=(10.2, 4.4), layout="constrained")
            left, right = figure.subplots(1, 2)
            _draw_speed(left, result, chosen)
            _draw_learning(right, result, chosen)
        figure.suptitle(f"Trained alike: {chosen.title}")
        return save_picture(figure, path)


def _kind(row: AccuracyRow) -> int:
    found = row.outcome
    if found.architecture != "faenet":
        return 3
    if not found.exact:
        return 0
    return 2 if found.continuous else 1


def _error(row: AccuracyRow, chosen: AccuracySet, *, turned: bool) -> float:
    found = row.outcome
    if chosen.forces:
        value = found.turned_forces_mae if turned else found.forces_mae
        return value or 0.0
    return found.turned_energy_mae if turned else found.energy_mae


def _draw_speed(axes: Axes, result: AccuracyComparison, chosen: AccuracySet) -> None:
    """Filled: test structures as they are; open: turned at random; a line between them is what turning costs."""
    for row in result.rows:
        color, _ = _KINDS[_kind(row)]
        before, after = (_error(row, chosen, turned=turned) for turned in (False, True))
        axes.plot([row.milliseconds] * 2, [before, after], color=color, linewidth=1.0, zorder=1)
        axes.plot(row.milliseconds, after, "o", color=color, markerfacecolor="white", markersize=7, zorder=2)
        axes.plot(row.milliseconds, before, "o", color=color, markersize=5, zorder=3)
    axes.set(xscale="log", yscale="log")
    _place_names(axes, result, chosen)
    for color, label in _KINDS:
        if any(_KINDS[_kind(row)][0] == color for row in result.rows):
            axes.plot([], [], "o", color=color, markersize=5, label=label)
    axes.plot([], [], "o", color=GREY, markerfacecolor="white", markersize=7, label="test structures turned at random")
    what = "forces" if chosen.forces else "energy"
    unit = "meV/Å" if chosen.forces else f"meV per {chosen.per}"
    axes.set(
        xlabel=f"time of one structure, {'energy and forces' if chosen.forces else 'energy'} (ms)",
        ylabel=f"{what}, mean absolute error ({unit})",
    )
    axes.set_title("Accuracy against speed")
    _plain_axes(axes)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2, fontsize=8)


def _place_names(axes: Axes, result: AccuracyComparison, chosen: AccuracySet) -> None:
    """Names below the lower of the two points, moved down where an earlier one would be covered."""
    taken: list[tuple[float, float]] = []
    axes.margins(0.16, 0.14)
    axes.autoscale_view()
    for row in sorted(result.rows, key=lambda each: each.milliseconds):
        low = min(_error(row, chosen, turned=turned) for turned in (False, True))
        x, y = axes.transData.transform((row.milliseconds, low))
        y -= 9
        while any(abs(x - other[0]) < 52 and abs(y - other[1]) < 9 for other in taken):
            y -= 3
        taken.append((x, y))
        place = axes.transData.inverted().transform((x, y))
        axes.text(place[0], place[1], row.outcome.method, ha="center", va="top", fontsize=8)


def _draw_learning(axes: Axes, result: AccuracyComparison, chosen: AccuracySet) -> None:
    seen: dict[int, int] = {}
    for row in result.rows:
        kind = _kind(row)
        style = _SHADES[seen.setdefault(kind, 0) % len(_SHADES)]
        seen[kind] += 1
        minutes, errors = zip(*((seconds / 60, error) for seconds, error in row.outcome.curve), strict=True)
        axes.plot(minutes, errors, style, color=_KINDS[kind][0], linewidth=1.3, label=row.outcome.method)
    axes.set(xscale="log", yscale="log", xlabel="time of the training (core minutes)")
    axes.set_ylabel(f"validation {'forces (meV/Å)' if chosen.forces else 'energy (meV/atom)'}, mean absolute error")
    axes.set_title(f"The same {result.rows[0].outcome.epochs} epochs")
    _plain_axes(axes)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=4, fontsize=8)


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
        axes.bar(at, heights, width, color=color, alpha=1 - 0.25 * number, label=f"FAENet, {method}")
        for x, height in zip(at, heights, strict=True):
            axes.text(x, height, f"{height:.0f}", ha="center", va="bottom", fontsize=8)
    axes.set_xticks(range(len(parts)), parts)
    axes.set(xlabel="metal that was left out", ylabel=f"mean absolute error (meV per {chosen.per})")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)


def _plain_axes(axes: Axes) -> None:
    """Numbers as people write them."""
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
        axis.set_minor_locator(LogLocator(subs=(2, 5)))
        axis.set_minor_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
        low, high = axis.get_view_interval()
        if high / low > 300:
            axis.set_minor_formatter(NullFormatter())
    axes.grid(which="major", linewidth=0.6)
