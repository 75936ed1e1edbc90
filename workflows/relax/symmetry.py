"""Space groups before and after a relaxation, and keeping them, by spglib and moyopy."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from ase import Atoms

from atomsym.calculators.ase import standard_atoms
from atomsym.core import InputError, MissingDependencyError
from atomsym.symmetry.wyckoff import SymmetricCrystal


@dataclass(frozen=True)
class SpaceGroup:
    """A space group by its number (1–230) and international symbol."""

    number: int
    symbol: str

    def __str__(self) -> str:
        return f"{self.symbol} ({self.number})"


def find_space_group(atoms: Atoms, symprec: float) -> SpaceGroup | None:
    """The space group of a crystal; None without spglib, or if the structure is not periodic in three directions.

    Args:
        atoms: the structure.
        symprec: Å, within which atoms count as related.
    """
    if not atoms.pbc.all() or importlib.util.find_spec("spglib") is None:
        return None
    from ase.spacegroup.symmetrize import check_symmetry

    found = check_symmetry(atoms, symprec=symprec)
    return None if found is None else SpaceGroup(int(found.number), str(found.international))


def keep_symmetry(atoms: Atoms, symprec: float) -> None:
    """Make the symmetry exact that holds within ``symprec``, and constrain atoms and cell to it.

    Raises:
        MissingDependencyError: if spglib is not installed.
        InputError: if the structure is not periodic in three directions, or atoms are held fixed besides.
    """
    if importlib.util.find_spec("spglib") is None:
        raise MissingDependencyError.for_package("spglib", "crystal", "--fix-symmetry")
    if not atoms.pbc.all():
        raise InputError("--fix-symmetry keeps a space group: the structure must be periodic in three directions")
    if atoms.constraints:
        raise InputError("--fix-symmetry cannot be combined with atoms that are held fixed; remove one of the two")
    from ase.constraints import FixSymmetry

    atoms.set_constraint(FixSymmetry(atoms, symprec=symprec))


def in_standard_cell(atoms: Atoms, symprec: float) -> tuple[Atoms, SymmetricCrystal]:
    """The conventional standard cell of a crystal, exactly symmetric, and what its symmetry leaves free.

    Raises:
        InputError: if the structure is not periodic in three directions, atoms are held fixed, it has a charge or
            magnetic moments, which the other cell would not have, or no space group is found.
    """
    if not atoms.pbc.all():
        raise InputError("--free-parameters keeps a space group: the structure must be periodic in three directions")
    if atoms.constraints:
        raise InputError("--free-parameters cannot be combined with atoms that are held fixed; remove one of the two")
    if atoms.get_initial_magnetic_moments().any() or atoms.info.get("charge"):
        raise InputError("--free-parameters goes to another cell, to which charges and magnetic moments do not belong")
    return standard_atoms(atoms, symprec=symprec)
