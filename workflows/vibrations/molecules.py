"""What thermochemistry needs to know of a molecule: its parts, its rotational symmetry and its spin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.neighborlist import build_neighbor_list, natural_cutoffs
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from atomsym.core import ConfigError, MissingDependencyError

BOND = 1.3  # × sum of covalent radii
TOLERANCE = 0.1  # Å, within which atoms are related by symmetry


@dataclass(frozen=True)
class SymmetryNumber:
    """How many rotations bring a molecule onto itself.

    Attributes:
        value: the number.
        point_group: Schoenflies symbol; None if it was not looked for.
        origin: where the number comes from, in words.
    """

    value: int
    point_group: str | None
    origin: str


def fragments(atoms: Atoms) -> NDArray[np.int64]:
    """Number of the molecule that each atom belongs to, by bonds shorter than 1.3 × the sum of covalent radii."""
    if len(atoms) == 1:
        return np.zeros(1, dtype=np.int64)
    cutoffs = natural_cutoffs(atoms, mult=BOND)
    matrix = build_neighbor_list(atoms, cutoffs, skin=0.0, self_interaction=False).get_connectivity_matrix()
    return np.asarray(connected_components(matrix, directed=False)[1], dtype=np.int64)


def smallest_gap(atoms: Atoms, labels: NDArray[np.int64]) -> float:
    """Smallest distance between atoms of different molecules, Å."""
    distances = np.linalg.norm(atoms.positions[:, None] - atoms.positions[None], axis=2)
    return float(distances[labels[:, None] != labels[None]].min())


def symmetry_number(atoms: Atoms, *, linear: bool) -> SymmetryNumber:
    """Rotational symmetry number of a molecule, by pymatgen's point-group analysis; isotopes count as different.

    Raises:
        MissingDependencyError: if pymatgen is needed and missing.
    """
    if len(atoms) == 1:
        return SymmetryNumber(1, "Kh", "an atom")
    kinds = _kinds(atoms)
    if linear:
        same = _is_centrosymmetric(atoms, kinds)
        return SymmetryNumber(2 if same else 1, "D*h" if same else "C*v", f"geometry, within {TOLERANCE:g} Å")
    try:
        from pymatgen.core import Molecule
        from pymatgen.symmetry.analyzer import PointGroupAnalyzer
    except ImportError as error:
        raise MissingDependencyError.for_package("pymatgen", "pymatgen", "finding the symmetry number") from error
    molecule = Molecule(kinds, atoms.positions - atoms.get_center_of_mass())
    # Its test of linearity is a bound on the product of relative moments of inertia, too wide for long chains.
    moments = np.asarray(atoms.get_moments_of_inertia())
    analyzer = PointGroupAnalyzer(
        molecule,
        tolerance=TOLERANCE,
        eigen_tolerance=min(0.01, 0.5 * float(np.prod(2 * moments / moments.sum()))),
        matrix_tolerance=TOLERANCE,
    )
    group = str(analyzer.sch_symbol)
    return SymmetryNumber(
        analyzer.get_rotational_symmetry_number(), group, f"point group {group} within {TOLERANCE:g} Å (pymatgen)"
    )


def multiplicity(atoms: Atoms, charge: int, given: int | None) -> int:
    """The spin multiplicity: the given one, or the lowest that the number of electrons allows.

    Raises:
        ConfigError: if the number of electrons does not allow the given one.
    """
    electrons = int(atoms.numbers.sum()) - charge
    lowest = 1 + electrons % 2
    if given is None:
        return lowest
    if given % 2 != lowest % 2 or given > electrons + 1:
        kind = "odd" if lowest == 1 else "even"
        raise ConfigError(
            f"a multiplicity of {given} is impossible with {electrons} electrons: it must be {kind} and at most "
            f"{electrons + 1}"
        )
    return given


def _kinds(atoms: Atoms) -> list[str]:
    """Element symbols; an isotope gets the symbol of an element that is not there, so that it is a kind of its own."""
    natural = Atoms(numbers=atoms.numbers).get_masses()
    unused = iter(sorted(set(range(1, 100)) - set(atoms.numbers.tolist())))
    names: dict[tuple[int, float], str] = {}
    found = []
    for number, mass, usual in zip(atoms.numbers.tolist(), atoms.get_masses().round(3), natural, strict=True):
        own = abs(mass - usual) < 2e-3
        key = (number, 0.0 if own else float(mass))
        if key not in names:
            names[key] = str(Atoms(numbers=[number if own else next(unused)]).symbols)
        found.append(names[key])
    return found


def _is_centrosymmetric(atoms: Atoms, kinds: list[str]) -> bool:
    arm = atoms.positions - atoms.get_center_of_mass()
    distances = np.linalg.norm(arm[:, None] + arm[None], axis=2)
    partner = distances.argmin(axis=1)
    return all(distances[i, j] < TOLERANCE and kinds[i] == kinds[j] for i, j in enumerate(partner))
