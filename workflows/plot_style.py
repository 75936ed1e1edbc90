"""How all plots look: one palette, one set of matplotlib settings, and pictures that are written in one piece."""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib
from cycler import cycler
from matplotlib.figure import Figure

from atomsym.artifacts import write_atomically

BLUE, ORANGE, GREEN, PURPLE, RED = "#1f5a94", "#d9822b", "#2a8c6e", "#8a5aa8", "#c23b3b"
PALE_BLUE = "#b5cde4"
INK, GREY, GRID = "#2b3440", "#8a94a3", "#e6eaef"
SERIES = (BLUE, GREEN, PURPLE, ORANGE, "#5aa0d8", "#8f6b3a", "#d06a9c", GREY)
"""For curves of equal rank, in this order; red marks bounds and measurements, grey what is beside the point."""

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": "#b9c1cc",
    "axes.labelcolor": INK,
    "axes.titlesize": 10.5,
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": "#5b6675",
    "ytick.color": "#5b6675",
    "axes.prop_cycle": cycler(color=SERIES),
    "grid.color": GRID,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.titlesize": 12,
}


def plot_style(changes: Mapping[str, Any] | None = None) -> AbstractContextManager[None]:
    """The settings of matplotlib while a figure is made and saved; those of the caller come back after.

    Args:
        changes: further settings, by matplotlib's names.
    """
    return matplotlib.rc_context({**_STYLE, **(changes or {})})


def save_picture(figure: Figure, path: Path) -> Path:
    """Write a figure in the format that the file's ending names, and return the path."""
    picture = io.BytesIO()
    figure.savefig(picture, dpi=150, format=path.suffix.lstrip(".") or "png")
    write_atomically(path, picture.getvalue())
    return path
