"""Pictures of the benchmark of tensor products: times by degree, as they are and for what they can express."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from atomsym.workflows.benchmarks.tensor_products_cases import ProductBenchmark
from atomsym.workflows.benchmarks.tensor_products_fits import (
    backends_of,
    curve,
    dimensions,
    per_dimension,
    products_of,
)
from atomsym.workflows.benchmarks.tensor_products_kinds import KINDS
from atomsym.workflows.benchmarks.tensor_products_peers import CUEQUIVARIANCE, E3NN
from atomsym.workflows.plot_style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, RED, plot_style, save_picture

_COLORS = {
    "clebsch-gordan": INK,
    "clebsch-gordan-all": GREY,
    "so2": BLUE,
    "so2-m2": "#5aa0d8",
    "gaunt": GREEN,
    "gaunt-vector": "#7fc4a8",
    "matrix": PURPLE,
    "matrix-odd": "#c3a6d6",
    "cp": ORANGE,
    "cp-all": "#8f6b3a",
    "cp-quadratic": "#e8b878",
    "cp-linear": RED,
}
_STYLES = {"reference": "--", E3NN: ":", CUEQUIVARIANCE: "-."}
_MARKS = {"reference": "o", E3NN: "^", CUEQUIVARIANCE: "v"}
_PLACES = {"edges": "convolutions over edges", "nodes": "products at nodes"}


def write_pictures(result: ProductBenchmark, folder: Path) -> list[Path]:
    """``time.png``: times of product and gradients by degree; ``normalised.png``: the same over the dimension of what
    is reached. Returns the paths.
    """
    unit = f"{result.settings.channels[0]} channels, {result.settings.sizes[0]}"
    with plot_style():
        plain = _figure(result, weighed=False)
        plain.suptitle(f"Product with gradients: {unit} edges or nodes, {result.settings.dtype}")
        weighed = _figure(result, weighed=True)
        weighed.suptitle(f"Product with gradients over the dimension of what it reaches: {unit} edges or nodes")
        return [save_picture(plain, folder / "time.png"), save_picture(weighed, folder / "normalised.png")]


def _figure(result: ProductBenchmark, *, weighed: bool) -> Figure:
    places = result.settings.places
    alone = len(places) == 1
    figure = Figure(figsize=(8.0, 6.4) if alone else (5.4 * len(places) + 0.4, 5.6), layout="constrained")
    panels = figure.subplots(1, len(places), squeeze=False)[0]
    for axes, place in zip(panels, places, strict=True):
        for name in products_of(result, place):
            for backend in backends_of(result, place, name):
                values: Mapping[int, float] = curve(result, place, name, backend, "gradients_ms")
                if weighed:
                    values = per_dimension(dict(values), dimensions(result, place, name))
                _line(axes, values, name, backend)
        axes.set_title(_PLACES[place])
        if any(len(line.get_xdata()) for line in axes.lines):
            _finish(axes, result, weighed)
        else:  # a run that was stopped; nothing is no data for logarithms
            axes.text(0.5, 0.5, "not measured yet", ha="center", color=GREY, transform=axes.transAxes)
            axes.set_axis_off()
    if result.rows:
        figure.legend(handles=_legend(result), loc="outside lower center", ncols=3 if alone else 4)
    return figure


def _line(axes: Axes, values: Mapping[int, float], name: str, backend: str) -> None:
    degrees = sorted(values)
    axes.plot(
        degrees,
        [values[degree] for degree in degrees],
        _STYLES.get(backend, "-"),
        color=_COLORS[name],
        marker=_MARKS.get(backend, "s"),
        markersize=4,
        linewidth=1.1 if backend in _STYLES else 2.0,
        markerfacecolor="white" if backend in _STYLES else _COLORS[name],
    )


def _finish(axes: Axes, result: ProductBenchmark, weighed: bool) -> None:
    degrees = sorted(result.settings.degrees)
    axes.set(xscale="log", yscale="log", xlabel="largest degree L")
    axes.set_ylabel("time per dimension (ms)" if weighed else "time (ms)")
    axes.set_xticks(degrees, [str(degree) for degree in degrees])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.tick_params(axis="x", which="minor", length=0)
    axes.grid(which="major", linewidth=0.6)


def _legend(result: ProductBenchmark) -> list[Line2D]:
    there = {row.key.product for row in result.rows}
    shown = [name for name in KINDS if name in there]
    backends = dict.fromkeys(row.key.backend for row in result.rows)
    products = [Line2D([], [], color=_COLORS[name], linewidth=2.5, label=KINDS[name].label) for name in shown]
    kinds = [
        Line2D(
            *([], []),
            color=GREY,
            linestyle=_STYLES.get(backend, "-"),
            marker=_MARKS.get(backend, "s"),
            markersize=4,
            label="plain torch (reference)" if backend == "reference" else f"backend {backend}",
        )
        for backend in backends
    ]
    return [*products, *kinds]
