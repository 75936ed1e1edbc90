"""pysisyphus gets energies, forces and Hessians in its units, which are derivatives of each other in them."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT

from atomsym.calculators.ase import AtomsymCalculator
from atomsym.core import CalculationError, InputError
from atomsym.core.units import BOHR, HARTREE
from atomsym.testing import tolerances
from atomsym.workflows.optimizers.pysisyphus_hessian import PysisyphusCalculator

SYMBOLS = ("cu", "Cu", "CU", "cu")


@pytest.fixture
def coordinates() -> np.ndarray:
    corner = np.array([[0, 0, 0], [2.5, 0.1, 0], [0.2, 2.6, 0], [0.9, 0.8, 2.3]])
    return corner.ravel() / BOHR


def test_everything_is_a_derivative_in_hartree_and_bohr(coordinates: np.ndarray) -> None:
    calculator = PysisyphusCalculator(AtomsymCalculator("copper-morse"))
    found = calculator.get_hessian(SYMBOLS, coordinates)
    h = 1e-4
    for k in (0, 5, 11):
        step = np.zeros(12)
        step[k] = h
        ends = [calculator.get_forces(SYMBOLS, coordinates + sign * step) for sign in (1, -1)]
        slope = (ends[0]["energy"] - ends[1]["energy"]) / (2 * h)
        curvature = -(ends[0]["forces"] - ends[1]["forces"]) / (2 * h)
        assert -slope == pytest.approx(found["forces"][k], abs=1e-7 * np.abs(found["forces"]).max())
        assert np.abs(curvature - found["hessian"][k]).max() < 1e-6 * np.abs(found["hessian"]).max()
        assert abs(-slope * BOHR - found["forces"][k]) > 0.1 * abs(found["forces"][k])  # a wrong unit is seen
    assert np.abs(found["hessian"] - found["hessian"].T).max() <= tolerances.HESSIAN_SYMMETRY.float64


def test_energies_are_those_of_the_calculator(coordinates: np.ndarray) -> None:
    atoms = Atoms("Cu4", coordinates.reshape(-1, 3) * BOHR, calculator=AtomsymCalculator("copper-morse"))
    found = PysisyphusCalculator(AtomsymCalculator("copper-morse")).get_energy(SYMBOLS, coordinates)
    assert found["energy"] * HARTREE == pytest.approx(atoms.get_potential_energy(), abs=1e-10)


def test_wrong_input_is_named(coordinates: np.ndarray) -> None:
    with pytest.raises(InputError, match="3 atoms need 9 coordinates; found 12"):
        PysisyphusCalculator(EMT()).get_energy(SYMBOLS[:3], coordinates)
    with pytest.raises(InputError, match="charge"):
        PysisyphusCalculator(AtomsymCalculator("copper-morse"), charge=1).get_forces(SYMBOLS, coordinates)
    with pytest.raises(CalculationError):
        PysisyphusCalculator(EMT()).get_forces(("Xe",) * 4, coordinates)


def test_pysisyphus_optimizes_with_it(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    geometries = pytest.importorskip("pysisyphus.Geometry")
    optimizers = pytest.importorskip("pysisyphus.optimizers.RFOptimizer")
    monkeypatch.chdir(str(tmp_path))
    water = molecule("H2O")
    geometry = geometries.Geometry(list(water.symbols), water.positions.ravel() / BOHR, coord_type="redund")
    geometry.set_calculator(PysisyphusCalculator(EMT()))
    optimizer = optimizers.RFOptimizer(geometry, hessian_init="calc", thresh="gau", max_cycles=50)
    optimizer.run()
    assert optimizer.is_converged
