"""Which geometry of a protostructure to go on with: the one of least energy, where there is a calculator."""

from __future__ import annotations

import numpy as np
from ase.calculators.calculator import BaseCalculator

from atomsym.calculators.symmetric_relaxation import primitive_atoms
from atomsym.core import ConfigError
from atomsym.generators.realisation import PrototypeLibrary, Realised, realisations
from atomsym.symmetry.wyckoff import Protostructure, SymmetricCrystal


def energy_per_atom(crystal: SymmetricCrystal, calculator: BaseCalculator) -> float:
    """eV/atom; not a number if the calculator fails, so that other geometries still count."""
    atoms = primitive_atoms(crystal)
    atoms.calc = calculator
    try:
        return float(atoms.get_potential_energy()) / len(atoms)
    except Exception:  # noqa: BLE001 - calculators raise anything
        return float("nan")


def best_geometry(
    protostructure: Protostructure,
    *,
    generator: np.random.Generator,
    prototypes: PrototypeLibrary | None = None,
    count: int = 4,
    calculator: BaseCalculator | None = None,
) -> Realised:
    """The best of several geometries, those of known crystals among them.

    With a calculator it is the one of least energy. Without, it is that of the most similar known crystal, and where
    none is known the one with the largest smallest distance.

    Args:
        protostructure: which positions are occupied.
        generator: of the random geometries.
        prototypes: known crystals; see ``realisations``.
        count: geometries tried; no more than two if only the lattice is free.
        calculator: of the energies; where it fails for all, it is as if there were none.

    Returns:
        The crystal may have another choice of origin and axes than the protostructure, as ``PrototypeLibrary.matches``.

    Raises:
        ConfigError: if the count is not positive.

    Example:
        >>> rutile = Protostructure(136, ((22, "a"), (8, "f")))
        >>> best_geometry(rutile, generator=np.random.default_rng(0)).source
        'random'
    """
    if count < 1:
        raise ConfigError(f"count must be positive; found {count}")
    tries = count if protostructure.degrees_of_freedom else min(count, 2)
    found = realisations(protostructure, generator=generator, prototypes=prototypes, count=tries)
    if calculator is not None and len(found) > 1:
        energies = np.array([energy_per_atom(each.crystal, calculator) for each in found])
        if np.isfinite(energies).any():
            return found[int(np.where(np.isfinite(energies), energies, np.inf).argmin())]
    known = [each for each in found if not each.tries]
    return known[0] if known else max(found, key=lambda each: each.contact)
