"""Distributions of generated crystals beside those of real ones, and how many pass each rule."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter

from atomsym.core.elements import symbol_of
from atomsym.metrics import frequencies
from atomsym.workflows.evaluate_crystals.distances_between_sets import arity_shares, element_shares
from atomsym.workflows.evaluate_crystals.evaluation import Evaluation
from atomsym.workflows.plot_style import BLUE, GREY, GRID, INK, PALE_BLUE, plot_style, save_picture

_SYSTEMS = (
    ("triclinic", 1, 2), ("monoclinic", 3, 15), ("orthorhombic", 16, 74), ("tetragonal", 75, 142),
    ("trigonal", 143, 167), ("hexagonal", 168, 194), ("cubic", 195, 230),
)  # fmt: skip
_LARGEST_SHOWN = 60
_COMMON_GROUPS = 8


def write_distributions(result: Evaluation, path: Path) -> Path:
    """Draw elements, space groups, sizes, numbers of elements and rules, and return the path of the picture.

    Args:
        result: of the evaluation.
        path: the picture, a format that matplotlib writes.
    """
    with plot_style({"axes.titlelocation": "left", "axes.titleweight": "bold"}):
        figure = Figure(figsize=(12.4, 10.2), layout=ConstrainedLayoutEngine(h_pad=0.09, w_pad=0.06))
        panels: dict[str, Axes] = figure.subplot_mosaic(
            [["elements"] * 3, ["groups"] * 3, ["sizes", "arities", "passed"]], width_ratios=[5, 2.6, 3.8]
        )
        _draw_elements(panels["elements"], result)
        _draw_groups(panels["groups"], result)
        _draw_sizes(panels["sizes"], result)
        _draw_arities(panels["arities"], result)
        _draw_passed(panels["passed"], result)
        figure.suptitle(f"{result.generated.name}: {len(result.generated):,} crystals", fontweight="bold")
        return save_picture(figure, path)


def _draw_elements(axes: Axes, result: Evaluation) -> None:
    generated, real = element_shares(result.generated), element_shares(result.reference)
    numbers = sorted({*generated, *real})
    places = np.arange(len(numbers))
    _draw_mirrored(axes, places, [generated.get(z, 0) for z in numbers], [real.get(z, 0) for z in numbers], 0.78)
    crowded = len(numbers) > 45
    names = [("\n" if crowded and place % 2 else "") + symbol_of(z) for place, z in enumerate(numbers)]
    axes.set_xticks(places, names, fontsize=7.5 if crowded else 9, linespacing=1.1)
    axes.tick_params(axis="x", length=0, pad=1)
    axes.set_xlim(-0.8, len(numbers) - 0.2)
    axes.set_ylabel("share of atoms")
    axes.set_title(f"Elements   JSD {result.distances.elements:.3f} bits (real {result.floor.elements:.3f})")
    _name_halves(axes, result)


def _draw_groups(axes: Axes, result: Evaluation) -> None:
    shares = [
        frequencies(s.groups[s.groups > 0].tolist() or [1]) for s in (result.generated, result.reference)
    ]  # fmt: skip
    groups = np.arange(1, 231)
    for index, (name, first, last) in enumerate(_SYSTEMS):
        if index % 2:
            axes.axvspan(first - 0.5, last + 0.5, color=GRID, alpha=0.55, linewidth=0, zorder=0)
        middle = (first + last) / 2
        narrow = last - first < 20
        axes.annotate(
            name, (middle, 0), xycoords=("data", "axes fraction"), xytext=(0, 4), textcoords="offset points",
            ha="center", va="bottom", fontsize=7.5 if narrow else 8.5, color=GREY, rotation=90 if narrow else 0,
        )  # fmt: skip
    above, below = ([share.get(g, 0.0) for g in groups.tolist()] for share in shares)
    _draw_mirrored(axes, groups, above, below, 1.0)
    for share, sign in zip(shares, (1, -1), strict=True):
        for group in _apart(sorted(share, key=share.__getitem__)[-_COMMON_GROUPS:]):
            axes.annotate(
                str(group), (group, sign * share[group]), xytext=(0, 2 * sign), textcoords="offset points", fontsize=7,
                ha="center", va="bottom" if sign > 0 else "top", color=INK,
            )  # fmt: skip
    axes.set_xlim(0, 231)
    axes.set_xticks([1, *range(20, 231, 20)])
    axes.set(xlabel="space group", ylabel="share of crystals")
    d, f = result.distances, result.floor
    axes.set_title(
        f"Space groups   χ² {d.space_groups_chi_squared:.3f} (real {f.space_groups_chi_squared:.3f}), "
        f"JSD {d.space_groups:.3f} bits (real {f.space_groups:.3f})"
    )
    low, high = axes.get_ylim()
    axes.set_ylim(1.28 * low, 1.12 * high)


def _apart(groups: list[int]) -> list[int]:
    """Those that can be named without writing over a more common one; the most common come last."""
    return [g for i, g in enumerate(groups) if all(abs(g - other) > 3 for other in groups[i + 1 :])]


def _draw_sizes(axes: Axes, result: Evaluation) -> None:
    largest = int(min(max(result.generated.sizes.max(), result.reference.sizes.max()), _LARGEST_SHOWN))
    places = np.arange(1, largest + 1)
    shares = [frequencies(np.minimum(s.sizes, largest).tolist()) for s in (result.generated, result.reference)]
    _draw_beside(axes, places, *(np.array([share.get(n, 0.0) for n in places.tolist()]) for share in shares))
    beyond = max(int(result.generated.sizes.max()), int(result.reference.sizes.max())) > largest
    axes.set(xlabel="atoms in the primitive cell" + (f" (last: {largest} and more)" if beyond else ""))
    axes.set(ylabel="share of crystals", xlim=(0.2, largest + 0.8))
    axes.set_title(f"Sizes   JSD {result.distances.sizes:.3f} bits (real {result.floor.sizes:.3f})")
    axes.legend(loc="upper right")


def _draw_arities(axes: Axes, result: Evaluation) -> None:
    shares = [arity_shares(s) for s in (result.generated, result.reference)]
    places = np.arange(1, max(max(share) for share in shares) + 1)
    _draw_beside(axes, places, *(np.array([share.get(n, 0.0) for n in places.tolist()]) for share in shares))
    axes.set_xticks(places)
    axes.set(xlabel="number of elements")
    axes.set_title("Compositions")


def _draw_passed(axes: Axes, result: Evaluation) -> None:
    s, v, j = result.settings, result.generated.validity, result.judgement
    rules = [
        ("atoms apart", v.distances), ("charges balance", v.charges), ("unique", j.unique), ("novel", j.novel),
        ("template novel", j.template_novel),
    ]  # fmt: skip
    real = [result.real.valid, result.real.charges, result.real.unique, result.real.novel, None]
    if result.rates.hull_known is not None:
        with np.errstate(invalid="ignore"):
            meta = j.hull_distances <= s.metastable
        rules.append((f"≤ {s.metastable:g} eV/atom", meta))
        rules.append(("S.U.N.", meta & v.distances & j.unique & j.novel))
        real += [result.real.metastable, result.real.metastable_sun]
    places = np.arange(len(rules))[::-1]
    shares = [float(flags.mean()) for _, flags in rules]
    axes.barh(places, shares, height=0.62, color=BLUE)
    for place, share, of_real in zip(places, shares, real, strict=True):
        axes.text(1.05, place, f"{100 * share:.1f} %", va="center", fontsize=8.5)
        if of_real is not None:
            axes.plot([of_real] * 2, [place - 0.4, place + 0.4], color=INK, linewidth=1.6, zorder=3)
    axes.set_yticks(places, [name for name, _ in rules])
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_formatter(FuncFormatter(_percent))
    axes.set(xlim=(0, 1.24), xticks=[0, 0.25, 0.5, 0.75, 1.0])
    axes.set_title("Passed (lines: real)")


def _draw_mirrored(axes: Axes, places: np.ndarray, above: list[float], below: list[float], width: float) -> None:
    """Generated crystals upwards, real ones downwards."""
    axes.bar(places, above, width, color=BLUE)
    axes.bar(places, [-value for value in below], width, color=PALE_BLUE)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.yaxis.set_major_formatter(FuncFormatter(_percent))
    axes.grid(axis="y")


def _draw_beside(axes: Axes, places: np.ndarray, generated: np.ndarray, real: np.ndarray) -> None:
    axes.bar(places - 0.2, generated, 0.4, color=BLUE, label="generated")
    axes.bar(places + 0.2, real, 0.4, color=PALE_BLUE, label="real")
    axes.yaxis.set_major_formatter(FuncFormatter(_percent))
    axes.grid(axis="y")


def _name_halves(axes: Axes, result: Evaluation) -> None:
    names: Mapping[str, tuple[float, str]] = {
        f"generated, {len(result.generated):,}": (0.96, "top"),
        f"real: {result.reference.name}, {len(result.reference):,}": (0.04, "bottom"),
    }
    for name, (height, side) in names.items():
        axes.text(0.995, height, name, transform=axes.transAxes, ha="right", va=side, fontsize=9, color=INK)


def _percent(value: float, _: int) -> str:
    return f"{abs(100 * value):g} %"
