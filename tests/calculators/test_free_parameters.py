"""The free parameters of a crystal under any optimizer of ASE, and calculators of other packages by name."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.optimize import BFGS, FIRE, LBFGS

from atomsym.calculators.ase import AtomsymCalculator, FreeParameterFilter, standard_atoms
from atomsym.calculators.ase.load import load_calculator
from atomsym.calculators.symmetric_relaxation import relax_symmetric
from atomsym.core import InputError, MissingDependencyError
from atomsym.generators.realisation import is_degenerate, realise
from atomsym.models.lennard_jones import LennardJones, LennardJonesConfig
from atomsym.symmetry.wyckoff import Protostructure, SymmetricCrystal, analyse, wyckoff_positions
from atomsym.symmetry.wyckoff.freedom import symmetrised_cell
from atomsym.testing.tolerances import FINITE_DIFFERENCE_FORCES

OXIDE = LennardJones(
    LennardJonesConfig(
        elements=(8, 14), cutoff=6.0, onset=4.0,
        epsilon=((0.01, 0.4), (0.4, 0.01)), sigma=((2.4, 1.6), (1.6, 2.5)),
    )
)  # fmt: skip
"""Bonds between unlike atoms; like ones repel each other."""
RUTILE = Protostructure(136, ((14, "a"), (8, "f")))
MONOCLINIC = Protostructure(14, ((14, "e"), (8, "e"), (8, "a")))


def movable(
    structure: Protostructure, *, cell: bool = True, pressure: float = 0.0
) -> tuple[Atoms, FreeParameterFilter, SymmetricCrystal]:
    crystal = realise(structure, generator=np.random.default_rng(3)).crystal
    atoms = Atoms(crystal.numbers, positions=crystal.positions, cell=crystal.cell, pbc=True)
    atoms.calc = AtomsymCalculator(OXIDE)
    return atoms, FreeParameterFilter(atoms, crystal, cell=cell, scalar_pressure=pressure), crystal


@pytest.mark.parametrize("pressure", [0.0, 0.05])
@pytest.mark.parametrize("structure", [RUTILE, MONOCLINIC], ids=["rutile", "monoclinic"])
def test_forces_are_those_of_the_enthalpy(structure: Protostructure, pressure: float) -> None:
    _, filtered, _ = movable(structure, pressure=pressure)
    start = filtered.get_positions() + 0.05 * np.random.default_rng(0).normal(size=(len(filtered), 3))
    size = filtered.freedom.size
    filtered.set_positions(start)
    forces = filtered.get_forces()
    assert not forces.ravel()[size:].any()

    def enthalpy(positions: np.ndarray) -> float:
        filtered.set_positions(positions)
        return filtered.get_potential_energy()

    steps = 1e-4 * np.eye(start.size)[:size].reshape(-1, *start.shape)
    expected = -np.array([(enthalpy(start + d) - enthalpy(start - d)) / 2e-4 for d in steps])
    bound = 10 * FINITE_DIFFERENCE_FORCES.float64 * (1 + np.abs(expected).max())
    np.testing.assert_allclose(forces.ravel()[:size], expected, atol=bound)


@pytest.mark.parametrize("optimizer", [BFGS, LBFGS, FIRE])
def test_optimizers_of_ase_keep_the_symmetry_exactly(optimizer: type) -> None:
    atoms, filtered, crystal = movable(RUTILE)
    steps = []
    run = optimizer(filtered, logfile=None)
    run.attach(lambda: steps.append(np.abs(symmetrised_cell(136, atoms.cell.array) - atoms.cell.array).max()))
    assert run.run(fmax=1e-3, steps=600)
    assert max(steps) < 1e-12
    np.testing.assert_allclose(atoms.positions, filtered.crystal.positions, atol=1e-12)
    assert filtered.crystal.protostructure == RUTILE
    other = relax_symmetric(crystal, AtomsymCalculator(OXIDE), fmax=1e-3, smax=1e-4)
    assert atoms.get_potential_energy() == pytest.approx(other.energy, abs=2e-4)


def test_a_held_cell_stays() -> None:
    atoms, filtered, crystal = movable(RUTILE, cell=False)
    BFGS(filtered, logfile=None).run(fmax=1e-3, steps=200)
    np.testing.assert_allclose(atoms.cell.array, crystal.cell, atol=1e-12)
    assert np.linalg.norm(atoms.get_forces(), axis=1).max() < 5e-3


def test_a_pressure_is_reached() -> None:
    atoms, filtered, _ = movable(RUTILE, pressure=5 * units.GPa)
    BFGS(filtered, logfile=None).run(fmax=1e-3, steps=400)
    np.testing.assert_allclose(atoms.get_stress()[:3] / units.GPa, -5, atol=0.05)


def test_other_atoms_and_constraints_are_refused() -> None:
    atoms, crystal = standard_atoms(bulk("Cu", a=3.7))
    assert len(atoms) == 4
    with pytest.raises(InputError, match="not those of the crystal"):
        FreeParameterFilter(bulk("Cu"), crystal)
    with pytest.raises(InputError, match="periodic in three directions"):
        standard_atoms(Atoms("Cu"))
    atoms.set_constraint(FixAtoms([0]))
    with pytest.raises(InputError, match="held fixed"):
        FreeParameterFilter(atoms, crystal)


@pytest.mark.slow
def test_relaxations_in_most_groups_keep_them() -> None:
    """Gold on the smallest position and copper on the general one, by EMT, up to 100 atoms.

    A relaxed crystal may be more symmetric than its group, never less.
    """
    generator = np.random.default_rng(0)
    done = converged = same = 0
    for group in range(1, 231):
        small = sorted(wyckoff_positions(group), key=lambda position: position.multiplicity)
        letters = [small[0].letter, small[-1].letter] + [small[-1].letter] * (len(small) == 1)
        wanted = Protostructure(group, tuple(zip((79, 29, 29), letters, strict=False)))
        if wanted.n_atoms > 100 or is_degenerate(wanted, generator=generator):
            continue
        start = realise(wanted, generator=generator).crystal
        found = relax_symmetric(start, EMT(), fmax=0.02, max_steps=300)
        assert found.crystal.protostructure == wanted
        np.testing.assert_allclose(symmetrised_cell(group, found.crystal.cell), found.crystal.cell, atol=1e-10)
        crystal = found.crystal
        again = analyse(crystal.cell, crystal.fractional_positions, crystal.numbers, symprec=1e-3)
        assert operators_per_atom(again.protostructure) >= operators_per_atom(wanted) - 1e-12
        done += 1
        converged += found.converged
        same += again.protostructure.space_group == group
    assert done > 150
    assert converged > 0.95 * done
    assert same > 0.5 * done


def operators_per_atom(structure: Protostructure) -> float:
    return wyckoff_positions(structure.space_group)[-1].multiplicity / structure.n_atoms


def test_calculators_of_other_packages_have_short_names() -> None:
    assert isinstance(load_calculator("ase.calculators.emt:EMT"), EMT)
    with pytest.raises(InputError, match=r"no file 'chgnt'.*of other packages: chgnet, or module:factory"):
        load_calculator("chgnt")
    if importlib.util.find_spec("chgnet") is None:
        with pytest.raises(MissingDependencyError, match=r"atomsym\[chgnet\]"):
            load_calculator("chgnet")
    else:
        assert "stress" in load_calculator("chgnet").implemented_properties
