"""The shipped model ``adsorption``: the example of its documentation, and what it promises."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, fcc111

from atomsym.calculators.ase import AtomsymCalculator

DOCUMENT = Path(__file__).parents[3] / "docs/faenet.md"
# PBE, 1/4 of a layer of O on Pt(111), relaxed: eV from the clean slab and the free atom (Xu and Kitchin 2014), and Å.
SITES = {"fcc": (-4.264, 1.15), "hcp": (-3.847, 1.19), "bridge": (-3.560, 1.40), "ontop": (-2.695, 1.83)}


@pytest.fixture(scope="module")
def calculator() -> AtomsymCalculator:
    return AtomsymCalculator("adsorption")


def surface(site: str, symbol: str = "O", metal: str = "Pt", size: tuple[int, int, int] = (2, 2, 4)) -> Atoms:
    slab = fcc111(metal, size, a=3.98, vacuum=10.0, periodic=True)
    add_adsorbate(slab, symbol, height=SITES[site][1], position=site)
    return slab


def test_the_example_of_the_documentation_runs_and_says_what_is_written_there(capsys: Any) -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    (example,) = [block for block in re.findall(r"```python\n(.*?)```", document, re.DOTALL) if "adsorption" in block]
    names: dict[str, Any] = {}
    exec(compile(example, "docs/faenet.md", "exec"), names)
    written = re.findall(r"# (-\d\.\d\d) eV", example)
    assert capsys.readouterr().out.split()[0] == written[0]
    assert float(written[0]) == pytest.approx(SITES["fcc"][0], abs=0.25)


def test_the_order_of_the_sites_is_right(calculator: AtomsymCalculator) -> None:
    energies = {site: calculator.get_potential_energy(surface(site)) for site in SITES}
    assert sorted(energies, key=lambda site: energies[site]) == list(SITES)
    for site, (reference, _) in SITES.items():
        assert energies[site] == pytest.approx(reference, abs=0.35), site


def test_it_does_not_matter_how_the_slab_lies(calculator: AtomsymCalculator) -> None:
    slab = surface("bridge")
    slab.rattle(0.02, seed=1)
    energy, forces = calculator.get_potential_energy(slab), calculator.get_forces(slab)
    other = slab.copy()
    other.rotate(37.0, "z", rotate_cell=True)
    assert calculator.get_potential_energy(other) == pytest.approx(energy, abs=1e-9)
    angle = np.deg2rad(37.0)
    turn = np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    np.testing.assert_allclose(calculator.get_forces(other), forces @ turn, atol=1e-8)
    mirrored = slab.copy()
    mirrored.positions[:, 1] *= -1
    mirrored.set_cell(slab.cell.array * [1, -1, 1])
    assert calculator.get_potential_energy(mirrored) == pytest.approx(energy, abs=1e-9)
    assert calculator.potential.continuous


def test_energies_of_larger_cells_are_multiples(calculator: AtomsymCalculator) -> None:
    slab = surface("hcp")
    assert calculator.get_potential_energy(slab * (2, 1, 1)) == pytest.approx(
        2 * calculator.get_potential_energy(slab), abs=1e-8
    )
