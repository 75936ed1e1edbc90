"""The gallery: one page that needs no network, and that a browser opens."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from atomsym.core import InputError
from atomsym.workflows.generate.gallery import Column, Gallery, bonds, filled_cell, gallery_page, write_gallery
from atomsym.workflows.generate.plots import distribution_plots

pytest.importorskip("chemiscope")

COLUMNS = (
    Column("formula", "formula"),
    Column("energy", "energy", "eV/atom", 2, True, "of a <calculator>"),
    Column("volume", "volume", "Å³", 1, True),
)


def gallery(n: int = 3) -> Gallery:
    crystals = [bulk("Cu", a=3.6 + 0.1 * k, cubic=True) for k in range(n)]
    values = [{"formula": f"Cu<{k}>", "energy": None if k == 1 else -1.0 - k, "volume": 47.0 + k} for k in range(n)]
    plots = distribution_plots([225] * n, [4] * n, [[29]] * n, [0.1] * n)
    return Gallery(
        "Copper & co", COLUMNS, crystals, values, [("crystals", "3")], axes=("volume", "energy"), plots=plots
    )


def test_the_page_holds_everything_and_asks_for_nothing() -> None:
    page = gallery_page(gallery())
    own = page.replace(page[page.index("<script>") : page.index("const dataset")], "")
    assert not re.search(r'(?:src|href)="?(?:https?:)?//', own)
    assert "Copper &amp; co" in own
    assert "Cu&lt;0&gt;" in own
    assert 'data-value="NaN"' in own
    assert own.count("<svg") == 4
    assert page.count("</script>") == 2


def test_what_is_no_gallery_is_refused(tmp_path: Path) -> None:
    empty = Gallery("none", COLUMNS, [], [])
    with pytest.raises(InputError, match="needs crystals"):
        write_gallery(empty, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_atoms_on_faces_are_drawn_with_their_images() -> None:
    shown, which = filled_cell(bulk("Cu", a=3.6, cubic=True))
    assert len(shown) == 14
    assert np.bincount(which).tolist() == [8, 2, 2, 2]
    assert shown.cell.volume == pytest.approx(3.6**3)
    inside, _ = filled_cell(Atoms("He", cell=4 * np.eye(3), positions=[[2, 2, 2]], pbc=True))
    assert len(inside) == 1


def test_bonds_join_an_atom_to_its_first_shell() -> None:
    """Anatase: each cation that is inside the cell has its six anions or those of them that are shown, no cation."""
    anatase = Atoms(
        "Ti4O8", cell=[3.785, 3.785, 9.514], pbc=True,
        scaled_positions=[
            (0, 0, 0), (0.5, 0.5, 0.5), (0, 0.5, 0.25), (0.5, 0, 0.75), (0, 0, 0.208), (0.5, 0.5, 0.708),
            (0, 0.5, 0.458), (0.5, 0, 0.958), (0, 0, 0.792), (0.5, 0.5, 0.292), (0, 0.5, 0.042), (0.5, 0, 0.542),
        ],
    )  # fmt: skip
    shown, which = filled_cell(anatase)
    found = bonds(anatase, shown, which)
    assert all({shown.numbers[i], shown.numbers[j]} == {8, 22} for i, j in found)
    center = int(np.flatnonzero(which == 1)[0])
    assert sum(center in pair for pair in found) == 6
    copper = bulk("Cu", a=3.6, cubic=True)
    shown, which = filled_cell(copper)
    assert len(bonds(copper, shown, which)) == 36  # of the tetrahedra of a cell's fourteen atoms
    alone = Atoms("He", cell=9 * np.eye(3), positions=[[0, 0, 0]], pbc=True)
    assert bonds(alone, *filled_cell(alone)) == []


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs the browser chromium")
def test_a_browser_opens_it(tmp_path: Path) -> None:
    """The views are ready, nothing was complained about, and a click on the second heading sorts the table."""
    page = tmp_path / "page.html"
    write_gallery(gallery(), page)
    click = '<script>document.querySelectorAll("th")[1].click(); document.querySelectorAll("th")[1].click();</script>'
    page.write_text(page.read_text().replace("</body>", click + "</body>"))
    command = [
        "chromium", "--headless", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--enable-unsafe-swiftshader",
        f"--user-data-dir={tmp_path / 'user'}", "--virtual-time-budget=30000", "--dump-dom", page.as_uri(),
    ]  # fmt: skip
    dom = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True).stdout
    assert 'data-ready="yes"' in dom
    assert re.search(r'id="legend"[^>]*><span><i style="background: rgb[^>]*></i>Cu</span></div>', dom)
    assert not re.search(r'id="problem"[^>]*display: block', dom)
    body = dom[dom.index("<tbody>") : dom.index("</tbody>")]
    assert re.findall(r"Cu&lt;(\d)&gt;", body) == ["0", "2", "1"]  # downwards, what is not known last
