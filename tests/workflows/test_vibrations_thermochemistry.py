"""Thermochemistry: textbook entropies, ASE's numbers, symmetry numbers of known molecules, and spins."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.thermochemistry import HarmonicThermo, IdealGasThermo

from atomsym.core import ConfigError
from atomsym.workflows.vibrations.modes import NormalModes, Shape
from atomsym.workflows.vibrations.molecules import SymmetryNumber, fragments, multiplicity, symmetry_number
from atomsym.workflows.vibrations.thermochemistry import (
    Conditions,
    Thermochemistry,
    ideal_gas,
    oscillators,
    zero_point_energy,
)

WATER = np.array([1594.7, 3657.1, 3755.9])  # 1/cm, experiment (Shimanouchi 1972)
J_MOL_K = units.J / units.mol


def modes_with(wavenumbers: np.ndarray, shape: Shape, n_atoms: int) -> NormalModes:
    n = len(wavenumbers)
    return NormalModes(
        np.asarray(wavenumbers, dtype=float),
        np.zeros((n, n_atoms, 3)),
        np.ones(n),
        np.ones(n),
        shape,
        3,
        3,
        np.zeros(6),
    )


def of_water(**chosen: object) -> Thermochemistry:
    conditions = Conditions(temperature=298.15, pressure=1.0, **chosen)  # type: ignore[arg-type]
    return ideal_gas(molecule("H2O"), modes_with(WATER, "nonlinear", 3), SymmetryNumber(2, "C2v", ""), conditions)


def test_zero_point_energy_is_half_a_quantum_each() -> None:
    assert zero_point_energy(WATER) == pytest.approx(0.5 * WATER.sum() / 8065.544, rel=1e-6)
    assert zero_point_energy(np.array([-500.0, 1000.0])) == pytest.approx(500 / 8065.544, rel=1e-6)


def test_the_entropy_of_steam_is_the_measured_one() -> None:
    """188.8 J/(mol K) at 298.15 K and 1 bar (NIST-JANAF); H(298) − H(0) = 9.9 kJ/mol."""
    found = of_water()
    assert found.entropy / J_MOL_K == pytest.approx(188.8, abs=0.3)
    thermal = found.enthalpy - found.zero_point_energy
    assert thermal / (units.kJ / units.mol) == pytest.approx(9.9, abs=0.05)
    assert sum(found.entropy_parts.values()) == pytest.approx(found.entropy, rel=1e-12)
    assert found.free_energy == pytest.approx(found.enthalpy - 298.15 * found.entropy, rel=1e-12)


@pytest.mark.parametrize(("temperature", "pressure"), [(298.15, 1.0), (700.0, 20.0)])
def test_ase_finds_the_same(temperature: float, pressure: float) -> None:
    atoms = molecule("H2O")
    theirs = IdealGasThermo((WATER * units.invcm).tolist(), "nonlinear", atoms=atoms, symmetrynumber=2, spin=0.5)
    conditions = Conditions(temperature, pressure, multiplicity=2)
    found = ideal_gas(atoms, modes_with(WATER, "nonlinear", 3), SymmetryNumber(2, None, ""), conditions)
    assert found.zero_point_energy == pytest.approx(theirs.get_ZPE_correction(), rel=1e-9)
    assert found.enthalpy == pytest.approx(theirs.get_enthalpy(temperature, verbose=False), rel=1e-9)
    assert found.entropy == pytest.approx(theirs.get_entropy(temperature, pressure * 1e5, verbose=False), rel=1e-9)
    assert found.free_energy == pytest.approx(
        theirs.get_gibbs_energy(temperature, pressure * 1e5, verbose=False), rel=1e-9
    )


def test_an_atom_has_the_entropy_of_sackur_and_tetrode() -> None:
    argon = ideal_gas(
        Atoms("Ar"), modes_with(np.zeros(0), "atom", 1), SymmetryNumber(1, "Kh", ""), Conditions(298.15, 1.0)
    )
    assert argon.entropy / J_MOL_K == pytest.approx(154.85, abs=0.01)  # NIST-JANAF: 154.845
    assert argon.enthalpy == pytest.approx(2.5 * units.kB * 298.15, rel=1e-9)


def test_oscillators_alone_have_a_helmholtz_energy() -> None:
    found = oscillators(modes_with(WATER, "held", 1), 500.0)
    theirs = HarmonicThermo((WATER * units.invcm).tolist())
    assert found.free_energy == pytest.approx(theirs.get_helmholtz_energy(500.0, verbose=False), rel=1e-9)
    assert found.pressure is None


def test_soft_modes_turn_into_rotors() -> None:
    """Grimme (2012): the entropy of a mode far above the cutoff stays, of one far below no longer diverges."""
    stiff = of_water(entropy="quasi-harmonic")
    assert stiff.entropy == pytest.approx(of_water().entropy, abs=0.01 * J_MOL_K)
    assert stiff.enthalpy == of_water().enthalpy
    atoms = molecule("C2H6")
    found = {}
    for soft in (1e-2, 1e-3):
        for entropy in ("harmonic", "quasi-harmonic"):
            conditions = Conditions(298.15, 1.0, entropy=entropy)
            modes = modes_with(np.array([soft, 1000.0]), "nonlinear", 8)
            found[soft, entropy] = ideal_gas(atoms, modes, SymmetryNumber(6, None, ""), conditions).entropy / units.kB
    assert found[1e-3, "harmonic"] - found[1e-2, "harmonic"] == pytest.approx(math.log(10), abs=1e-3)
    # of a rotor whose moment of inertia has reached that of the molecule
    assert 0 < found[1e-3, "quasi-harmonic"] - found[1e-2, "quasi-harmonic"] < 0.01


def test_imaginary_modes_are_left_out_and_counted() -> None:
    found = ideal_gas(
        molecule("H2O"), modes_with(np.array([-900.0, *WATER[1:]]), "nonlinear", 3), SymmetryNumber(2, None, ""),
        Conditions(298.15, 1.0),
    )  # fmt: skip
    assert found.ignored == 1
    assert found.zero_point_energy == pytest.approx(zero_point_energy(WATER[1:]))


@pytest.mark.parametrize(
    ("name", "number", "group"),
    [
        ("H2O", 2, "C2v"), ("NH3", 3, "C3v"), ("CH4", 12, "Td"), ("C6H6", 12, "D6h"), ("C2H4", 4, "D2h"),
        ("C2H6", 6, "D3d"), ("CH3OH", 1, "Cs"), ("CO2", 2, "D*h"), ("HCN", 1, "C*v"), ("N2", 2, "D*h"),
    ],
)  # fmt: skip
def test_symmetry_numbers_of_known_molecules(name: str, number: int, group: str) -> None:
    atoms = molecule(name)
    atoms.rotate(71, (3, 1, 2))
    found = symmetry_number(atoms, linear=group.endswith(("*h", "*v")))
    assert (found.value, found.point_group) == (number, group)


def test_isotopes_and_long_chains_are_not_taken_for_more_symmetric() -> None:
    water = molecule("H2O")
    water.set_masses([15.999, 2.014, 1.008])
    assert symmetry_number(water, linear=False).value == 1
    water.set_masses([15.999, 2.014, 2.014])
    assert symmetry_number(water, linear=False).value == 2
    oxygen = molecule("O2")
    oxygen.set_masses([17.999, 15.995])
    assert symmetry_number(oxygen, linear=True).value == 1
    zigzag = Atoms("C12", [[1.25 * k, 0.4 * (-1) ** k, 0] for k in range(12)])  # C2h; looks linear from afar
    assert symmetry_number(zigzag, linear=False).value == 2


def test_the_spin_must_fit_the_electrons() -> None:
    assert multiplicity(molecule("H2O"), 0, None) == 1
    assert multiplicity(molecule("H2O"), 1, None) == 2
    assert multiplicity(molecule("O2"), 0, 3) == 3
    with pytest.raises(ConfigError, match="10 electrons"):
        multiplicity(molecule("H2O"), 0, 2)
    with pytest.raises(ConfigError, match="at most 3"):
        multiplicity(Atoms("He"), 0, 5)


def test_molecules_apart_are_counted() -> None:
    pair = molecule("H2O")
    other = molecule("H2O")
    other.positions += [0, 0, 6.0]
    assert fragments(pair + other).tolist() == [0, 0, 0, 1, 1, 1]
