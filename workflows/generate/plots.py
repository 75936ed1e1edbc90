"""What generated crystals are like, as pictures of the gallery and of talks."""

from __future__ import annotations

import io
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from atomsym.core.elements import symbol_of
from atomsym.symmetry.wyckoff.crystal_system import CRYSTAL_SYSTEMS, crystal_system
from atomsym.workflows.plot_style import BLUE, GREEN, GREY, ORANGE, PALE_BLUE, PURPLE, plot_style

_MOST_ELEMENTS = 24
_ON_HULL = 1e-6  # eV/atom
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_figures = count()


def distribution_plots(
    space_groups: Sequence[int],
    n_atoms: Sequence[int],
    elements: Sequence[Sequence[int]],
    energies: Sequence[float],
    *,
    show_elements: bool = True,
) -> list[str]:
    """SVG elements: crystal systems, atoms of the primitive cell, elements, and energies of formation if there are any.

    Args:
        space_groups, n_atoms: of each crystal.
        elements: atomic numbers of each crystal.
        energies: eV/atom; those that are not finite are left out.
        show_elements: whether how often each element occurs is of interest.
    """
    systems = Counter(map(crystal_system, space_groups))
    plots = [_bars("crystal system", CRYSTAL_SYSTEMS, [systems[name] for name in CRYSTAL_SYSTEMS], BLUE)]
    plots.append(_histogram("atoms in the primitive cell", [float(n) for n in n_atoms], GREEN, whole=True))
    found = Counter(symbol_of(z) for own in elements for z in set(own)).most_common(_MOST_ELEMENTS)
    title = "element" if len(found) < _MOST_ELEMENTS else f"element ({_MOST_ELEMENTS} most frequent)"
    if show_elements:
        plots.append(_bars(title, [symbol for symbol, _ in found], [n for _, n in found], PURPLE))
    finite = [energy for energy in energies if math.isfinite(energy)]
    if finite:
        plots.append(_histogram("formation energy (eV/atom)", finite, ORANGE))
    return plots


@dataclass(frozen=True)
class Phase:
    """A point of a convex-hull diagram.

    Attributes:
        formula: its label.
        fraction: of the element on the axis, 0 to 1.
        energy: of formation, eV/atom.
        above_hull: eV/atom.
    """

    formula: str
    fraction: float
    energy: float
    above_hull: float


def hull_plot(phases: Sequence[Phase], element: str) -> str:
    """The convex hull of a binary system as an SVG element; elements have zero energy.

    Args:
        phases: the crystals.
        element: whose fraction is on the axis.
    """
    on_hull = [each for each in phases if each.above_hull < _ON_HULL]
    ends = [(x, min([0.0, *(each.energy for each in phases if each.fraction == x)])) for x in (0.0, 1.0)]
    line = sorted({(each.fraction, each.energy) for each in on_hull} | set(ends))
    with plot_style():
        figure = Figure(figsize=(4.6, 2.9), layout="constrained")
        axes = figure.add_subplot()
        axes.plot(*zip(*line, strict=True), color=GREY, linewidth=1.2, zorder=1)
        axes.scatter([each.fraction for each in phases], [each.energy for each in phases], color=PALE_BLUE, s=22)
        axes.scatter([each.fraction for each in on_hull], [each.energy for each in on_hull], color=BLUE, s=34, zorder=3)
        lowest = min(energy for _, energy in line)
        bottom = next(x for x, energy in line if energy == lowest)
        for each in {each.formula: each for each in on_hull}.values():
            side = (each.fraction > bottom) - (each.fraction < bottom)  # outside of the hull
            axes.annotate(
                each.formula.translate(_SUBSCRIPTS), (each.fraction, each.energy), (6 * side, -13 if not side else -6),
                textcoords="offset points", ha=("right", "center", "left")[side + 1],
            )  # fmt: skip
        axes.margins(y=0.16)
        axes.set_xlim(-0.03, 1.03)
        return _svg(figure, f"atomic fraction of {element}", "formation energy (eV/atom)")


def _bars(label: str, names: Sequence[str], counts: Sequence[int], color: str) -> str:
    with plot_style():
        figure = Figure(figsize=(4.6, 2.9), layout="constrained")
        axes = figure.add_subplot()
        axes.bar(range(len(names)), counts, color=color, width=0.72)
        crowded = sum(map(len, names)) > 40
        axes.set_xticks(range(len(names)), names, rotation=35 if crowded else 0, ha="right" if crowded else "center")
        return _svg(figure, label)


def _histogram(label: str, values: Sequence[float], color: str, *, whole: bool = False) -> str:
    with plot_style():
        figure = Figure(figsize=(4.6, 2.9), layout="constrained")
        axes = figure.add_subplot()
        low, high = min(values), max(values)
        width = max(1, math.ceil((high - low + 1) / 30))
        edges = [low - 0.5 + width * step for step in range(math.ceil((high - low + 1) / width) + 1)] if whole else 24
        axes.hist(values, bins=edges, color=color, rwidth=0.9)
        axes.xaxis.set_major_locator(MaxNLocator(integer=whole, nbins=8))
        return _svg(figure, label)


def _svg(figure: Figure, label: str, height: str = "crystals") -> str:
    """The figure as an element whose identifiers are no other's on the page."""
    axes = figure.axes[0]
    axes.set_xlabel(label)
    axes.set_ylabel(height)
    axes.yaxis.set_major_locator(MaxNLocator(integer=height == "crystals", nbins=6))
    axes.grid(axis="y")
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    own = f"plot{next(_figures)}-"
    return re.sub(r'(\bid="|href="#|url\(#)', lambda found: found[0] + own, text)
