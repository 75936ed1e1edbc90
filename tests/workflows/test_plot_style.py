"""Plots share one style, leave the caller's alone, and are written in one piece."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import pytest
from matplotlib.figure import Figure

from atomsym.workflows.plot_style import BLUE, plot_style, save_picture


def test_the_settings_of_the_caller_come_back() -> None:
    before = dict(matplotlib.rcParams)
    with plot_style({"svg.hashsalt": "F-2"}):
        assert matplotlib.rcParams["svg.hashsalt"] == "F-2"
        (line,) = Figure().subplots().plot([0, 1])
        assert line.get_color() == BLUE
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize(("name", "start"), [("a.png", b"\x89PNG"), ("a.pdf", b"%PDF"), ("a.svg", b"<?xml")])
def test_the_ending_names_the_format(tmp_path: Path, name: str, start: bytes) -> None:
    assert save_picture(Figure(), tmp_path / name).read_bytes().startswith(start)
    assert [path.name for path in tmp_path.iterdir()] == [name]
