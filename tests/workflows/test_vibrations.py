"""Normal modes: analytic where there is a formula, equal to ASE's where there is none, and the same in any frame."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.morse import MorsePotential
from ase.constraints import FixAtoms
from ase.optimize import BFGS
from ase.vibrations import Vibrations
from scipy.spatial.transform import Rotation

from atomsym.calculators.ase import AtomsymCalculator
from atomsym.core import InputError
from atomsym.testing import tolerances
from atomsym.workflows.hessian_source import HessianResult, hessian_of
from atomsym.workflows.vibrations import modes as modes_module
from atomsym.workflows.vibrations import normal_modes, vibrations_of
from atomsym.workflows.vibrations.infrared import along_modes, dipole_slopes, infrared_intensities
from atomsym.workflows.vibrations.modes import WAVENUMBER, NormalModes

needs_tblite = pytest.mark.skipif(importlib.util.find_spec("tblite") is None, reason="tblite is not installed")


class Springs(Calculator):
    """Harmonic springs between all pairs, E = ½ Σ k (d − d0)², and fixed charges if given."""

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces"]

    def __init__(self, atoms: Atoms, stiffness: float | np.ndarray = 20.0, charges: np.ndarray | None = None) -> None:
        super().__init__()
        self.lengths = atoms.get_all_distances()
        self.stiffness = np.broadcast_to(stiffness, self.lengths.shape)
        self.charges = charges
        if charges is not None:
            self.implemented_properties = [*self.implemented_properties, "dipole"]  # type: ignore[misc]

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        arm = atoms.positions[:, None] - atoms.positions[None]
        distance = np.linalg.norm(arm, axis=2) + np.eye(len(atoms))
        stretch = (distance - self.lengths) * (1 - np.eye(len(atoms)))
        energy = 0.25 * float((self.stiffness * stretch**2).sum())
        forces = -((self.stiffness * stretch / distance)[..., None] * arm).sum(axis=1)
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}
        if self.charges is not None:
            self.results["dipole"] = self.charges @ atoms.positions


def modes_of(atoms: Atoms, **chosen: Any) -> NormalModes:
    return normal_modes(atoms, hessian_of(atoms, **chosen))


def water_of_springs() -> Atoms:
    atoms = molecule("H2O")
    stiffness = np.full((3, 3), 50.0)
    stiffness[1, 2] = stiffness[2, 1] = 5.0
    atoms.calc = Springs(atoms, stiffness)
    return atoms


def at_rest(atoms: Atoms, calculator: Any, fmax: float = 1e-6) -> Atoms:
    atoms.calc = calculator
    BFGS(atoms, logfile=None).run(fmax=fmax, steps=300)
    return atoms


def test_the_constant_is_that_of_the_field() -> None:
    assert pytest.approx(521.4709, abs=1e-4) == WAVENUMBER


@pytest.mark.parametrize(
    ("calculator", "distance", "stiffness"),
    [
        (MorsePotential(epsilon=2.0, r0=1.1, rho0=3.0), 1.1, 2 * 2.0 * (3.0 / 1.1) ** 2),  # 2 ε a²
        (LennardJones(epsilon=0.5, sigma=1.0, rc=50.0), 2 ** (1 / 6), 72 * 0.5 / 2 ** (1 / 3)),  # 72 ε / 2^(1/3) σ²
    ],
    ids=["morse", "lennard-jones"],
)
def test_a_dimer_vibrates_as_its_potential_says(calculator: Any, distance: float, stiffness: float) -> None:
    atoms = Atoms("CO", [[0, 0, 0], [0, 0.6 * distance, 0.8 * distance]], calculator=calculator)
    found = modes_of(atoms, step=1e-3)
    first, second = atoms.get_masses()
    expected = WAVENUMBER * math.sqrt(stiffness * (1 / first + 1 / second))
    assert found.shape == "linear"
    # central differences: relative error h² f⁗ / 6 f″, near 1e-5 for these potentials and h = 1e-3 Å
    assert found.wavenumbers == pytest.approx([expected], rel=5e-5)


@pytest.mark.parametrize(
    ("name", "shape", "n_modes"),
    [
        ("CO2", "linear", 4),
        ("HCN", "linear", 4),
        ("N2", "linear", 1),
        ("H2O", "nonlinear", 3),
        ("C2H6", "nonlinear", 18),
    ],
)
def test_the_number_of_modes_is_that_of_the_shape(name: str, shape: str, n_modes: int) -> None:
    atoms = molecule(name)
    atoms.rotate(37, (1, 2, 3))
    atoms.calc = Springs(atoms)
    found = modes_of(atoms, step=1e-4)  # the error of zero modes grows with the step
    assert (found.shape, len(found)) == (shape, n_modes)
    assert found.n_translations + found.n_rotations == 3 * len(atoms) - n_modes
    # springs along the line leave bending free: those zeros are of the model, not of the frame
    assert np.abs(found.residual_wavenumbers).max() < 1.0


def test_an_atom_has_no_modes() -> None:
    found = vibrations_of(Atoms("Cu", calculator=EMT()))
    assert (found.modes.shape, len(found.modes), found.modes.n_translations) == ("atom", 0, 3)
    assert found.thermochemistry.zero_point_energy == 0.0


@pytest.mark.parametrize("name", ["H2O", "N2", "C2H2", "CH4"])
def test_ase_finds_the_same_where_nothing_moves_freely(name: str, tmp_path: Any) -> None:
    atoms = at_rest(molecule(name), EMT(), 1e-5)
    theirs = Vibrations(atoms, name=str(tmp_path / "vib"), delta=0.005)
    theirs.run()
    expected = np.sort_complex(theirs.get_frequencies() ** 2).real
    found = modes_of(atoms, step=0.005)
    squares = np.sort(np.sign(found.wavenumbers) * found.wavenumbers**2)
    free = np.zeros(found.n_translations + found.n_rotations)
    own = np.sort(np.concatenate([squares, free]))
    # they keep translations and rotations, whose squares are zero but for differences of forces: some 30² 1/cm²
    assert np.sqrt(np.abs(own)) == pytest.approx(np.sqrt(np.abs(expected)), abs=60.0)
    large = np.abs(expected) > 300.0**2
    assert np.sqrt(np.abs(own[large])) == pytest.approx(np.sqrt(np.abs(expected[large])), abs=2.0)


@needs_tblite
def test_water_of_gfn2_xtb_is_that_of_ase(tmp_path: Any, capfd: pytest.CaptureFixture[str]) -> None:
    from tblite.ase import TBLite

    atoms = at_rest(molecule("H2O"), TBLite(method="GFN2-xTB", verbosity=0), 1e-4)
    theirs = Vibrations(atoms, name=str(tmp_path / "vib"), delta=0.005)
    theirs.run()
    result = vibrations_of(atoms)
    assert result.modes.wavenumbers == pytest.approx(theirs.get_frequencies()[6:].real, abs=0.5)
    # 1539, 3643, 3652 1/cm: GFN2-xTB as of tblite 0.8; experiment 1595, 3657, 3756
    assert result.modes.wavenumbers == pytest.approx([1539, 3643, 3652], abs=3)
    assert result.intensities is not None
    assert result.intensities[0] > result.intensities[2] > result.intensities[1] > 0
    assert result.to_ase().get_frequencies()[6:].real == pytest.approx(result.modes.wavenumbers, abs=0.5)


def charged_water(held: bool = False) -> Atoms:
    atoms = water_of_springs()
    atoms.calc = Springs(atoms, atoms.calc.stiffness, np.array([-0.6, 0.3, 0.3]))
    if held:
        atoms.set_constraint(FixAtoms([1, 2]))
    return atoms


@pytest.mark.parametrize("held", [False, True])
def test_intensities_cost_nothing_beside_differences_of_forces(held: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    real = Springs.calculate
    monkeypatch.setattr(Springs, "calculate", lambda self, *a, **k: (counted.append(1), real(self, *a, **k))[1])
    atoms = charged_water(held)
    result = vibrations_of(atoms)
    assert len(counted) == 6 * len(result.hessian.indices) + 1
    slopes = dipole_slopes(atoms, result.modes, result.hessian.indices, 1e-3)
    assert result.hessian.dipole_derivatives is not None
    # fixed charges: the dipole is linear, and both kinds of differences are exact
    both = along_modes(result.modes, result.hessian.dipole_derivatives)
    assert np.abs(both - slopes).max() < 1e-9
    assert result.intensities == pytest.approx(infrared_intensities(result.modes, slopes), rel=1e-7)
    swapped = along_modes(result.modes, result.hessian.dipole_derivatives[:, [1, 0, 2]] @ np.diag([2.0, 1, 1]))
    assert np.abs(swapped - slopes).max() > 1e-3


def test_a_hessian_of_its_own_takes_dipoles_along_modes() -> None:
    class WithHessian(Springs):
        def get_hessian(self, atoms: Atoms) -> np.ndarray:
            return hessian_of(atoms, source="finite-difference").hessian

    atoms = charged_water()
    differences = vibrations_of(atoms)
    atoms.calc = WithHessian(atoms, atoms.calc.stiffness, atoms.calc.charges)
    analytic = vibrations_of(atoms)
    assert (analytic.hessian.method, analytic.hessian.dipole_derivatives) == ("analytic", None)
    assert analytic.intensities == pytest.approx(differences.intensities, rel=1e-6)


def test_intensities_are_those_of_point_charges() -> None:
    """A diatomic of charges ±q has dμ/dQ = q / √μ, hence q² · 974.88 / μ km/mol (42.2561 per D²/Å²/amu)."""
    atoms = Atoms("HCl", [[0, 0, 0], [0.3, 0, 1.25]])
    atoms.calc = Springs(atoms, charges=np.array([0.2, -0.2]))
    result = vibrations_of(atoms)
    first, second = atoms.get_masses()
    reduced = first * second / (first + second)
    assert result.intensities == pytest.approx([0.04 * 4.80320**2 * 42.2561 / reduced], rel=1e-4)


def rotated(atoms: Atoms) -> None:
    atoms.positions[:] = Rotation.random(random_state=3).apply(atoms.positions) @ np.diag([1, 1, -1])


def moved(atoms: Atoms) -> None:
    atoms.positions += [100.0, -30.0, 7.0]


@pytest.mark.parametrize("change", [rotated, moved], ids=["rotation and reflection", "translation"])
def test_wavenumbers_do_not_depend_on_the_frame(change: Callable[[Atoms], None]) -> None:
    atoms = water_of_springs()
    before = modes_of(atoms, step=1e-3)
    change(atoms)
    after = modes_of(atoms, step=1e-3)
    assert after.wavenumbers == pytest.approx(before.wavenumbers, rel=1e-6)
    assert after.reduced_masses == pytest.approx(before.reduced_masses, rel=1e-4)


def test_wavenumbers_do_not_depend_on_the_order() -> None:
    atoms = molecule("CH3OH")
    atoms.calc = Springs(atoms)
    before = modes_of(atoms)
    order = np.random.default_rng(0).permutation(len(atoms))
    shuffled = atoms[order]
    shuffled.calc = Springs(shuffled)
    after = modes_of(shuffled)
    assert after.wavenumbers == pytest.approx(before.wavenumbers, rel=1e-8)
    assert np.linalg.norm(after.displacements, axis=2) == pytest.approx(
        np.linalg.norm(before.displacements, axis=2)[:, order], abs=1e-3
    )


def test_isotopes_follow_teller_and_redlich() -> None:
    """All masses times four halve all wavenumbers; for some, the product of ratios is that of masses and moments."""
    light = water_of_springs()
    before = modes_of(light, step=1e-3)
    heavy = light.copy()
    heavy.calc = light.calc
    heavy.set_masses(4 * light.get_masses())
    assert modes_of(heavy, step=1e-3).wavenumbers == pytest.approx(0.5 * before.wavenumbers, rel=1e-9)
    heavy.set_masses([15.999, 2.014, 2.014])
    after = modes_of(heavy, step=1e-3)
    ratio = np.prod(after.wavenumbers / before.wavenumbers)
    masses = np.prod(light.get_masses() / heavy.get_masses()) ** 1.5
    whole = (heavy.get_masses().sum() / light.get_masses().sum()) ** 1.5
    moments = np.sqrt(np.prod(heavy.get_moments_of_inertia() / light.get_moments_of_inertia()))
    assert ratio == pytest.approx(masses * whole * moments, rel=1e-6)


def test_motions_that_cost_nothing_are_gone_exactly() -> None:
    """With a noisy Hessian, too: modes have no momentum and no angular momentum."""
    atoms = water_of_springs()
    clean = hessian_of(atoms)
    noise = np.random.default_rng(1).normal(size=(9, 9))
    noisy = HessianResult(clean.hessian + noise + noise.T, clean.indices, "analytic", 0.0, None, 0)
    found = normal_modes(atoms, noisy)
    assert len(found) == 3
    masses = atoms.get_masses()[None, :, None]
    arm = atoms.positions - atoms.get_center_of_mass()
    bound = tolerances.ALGEBRA.float64 * 50
    assert np.abs((masses * found.displacements).sum(axis=1)).max() < bound
    assert np.abs((masses * np.cross(arm[None], found.displacements)).sum(axis=1)).max() < bound


def test_zero_modes_of_a_model_of_this_package_are_zero() -> None:
    """F-10: at a minimum, before projection."""
    atoms = at_rest(bulk("Cu", cubic=True).repeat((2, 1, 1)), AtomsymCalculator("copper-morse"), 1e-7)
    atoms.set_cell(None)
    atoms.pbc = False
    found = modes_of(at_rest(atoms, AtomsymCalculator("copper-morse"), 1e-7))
    assert np.abs(found.residual_wavenumbers).max() < tolerances.ZERO_MODES.float64
    assert len(found) == 3 * len(atoms) - 6


@pytest.mark.parametrize("mutant", ["unprojected", "unweighted"])
def test_planted_bugs_are_found(monkeypatch: pytest.MonkeyPatch, mutant: str) -> None:
    if mutant == "unprojected":
        monkeypatch.setattr(
            modes_module, "free_motions", lambda atoms, moving: ("held", np.zeros((3 * len(moving), 0)))
        )
    else:
        monkeypatch.setattr(modes_module, "mass_weighted", lambda hessian, masses: hessian)
    with pytest.raises(AssertionError):
        test_isotopes_follow_teller_and_redlich()
    if mutant == "unprojected":
        with pytest.raises(AssertionError):
            test_motions_that_cost_nothing_are_gone_exactly()


def test_crystals_keep_three_translations() -> None:
    atoms = bulk("Cu", cubic=True)
    atoms.calc = AtomsymCalculator("copper-morse")
    found = vibrations_of(atoms)
    assert (found.modes.shape, found.modes.n_translations, found.modes.n_rotations) == ("periodic", 3, 0)
    assert np.abs(found.modes.residual_wavenumbers).max() < tolerances.ZERO_MODES.float64
    assert found.thermochemistry.pressure is None


def test_a_chain_may_turn_about_its_axis() -> None:
    atoms = Atoms("C4", [[0, 0.7, 0], [1.2, -0.7, 0], [2.4, 0.7, 0], [3.6, -0.7, 0]], cell=[4.8, 0, 0], pbc=[1, 0, 0])
    atoms.calc = EMT()
    found = modes_of(atoms)
    assert (found.n_translations, found.n_rotations, len(found)) == (3, 1, 8)


def test_with_held_atoms_nothing_is_projected_out() -> None:
    slab = fcc111("Cu", (1, 1, 3), vacuum=6.0)
    slab.calc = EMT()
    slab.set_constraint(FixAtoms([0, 1]))
    result = vibrations_of(slab)
    assert (result.modes.shape, len(result.modes), result.modes.n_translations) == ("held", 3, 0)
    assert result.modes.displacements.shape == (3, 1, 3)
    assert result.to_ase().get_frequencies().real == pytest.approx(result.modes.wavenumbers, abs=0.1)


def test_an_atom_without_mass_is_refused() -> None:
    atoms = Atoms("N2", [[0, 0, 0], [0, 0, 1.1]], calculator=EMT())
    hessian = hessian_of(atoms)
    atoms.set_masses([14.0, 0.0])
    with pytest.raises(InputError, match="atom 1"):
        normal_modes(atoms, hessian)
