"""What is known of each crystal of a set before sets are compared: formula, validity, symmetry, size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache, cached_property

import numpy as np
from ase.data import atomic_masses
from numpy.typing import NDArray

from atomsym.core import InputError
from atomsym.datasets.crystals import CrystalRecord
from atomsym.metrics import Crystal, Validity, composition_of, reduced_formula, validity, volume_of
from atomsym.symmetry.wyckoff import Protostructure, analyse
from atomsym.symmetry.wyckoff.primitive import primitive_basis
from atomsym.symmetry.wyckoff.relabelling import Template, canonical, template

Progress = Callable[[str, int, int], None]
Formula = tuple[tuple[int, int], ...]

_AMU_PER_CUBIC_ANGSTROM = 1.66053907  # g/cm³


@dataclass(frozen=True, eq=False)
class CrystalSet:
    """Crystals of one origin; lists and arrays have one entry for each.

    Attributes:
        name: of the source.
        crystals: as they were read.
        validity: rules of distance and charge.
        formulas: reduced; None for cells that hold no crystal.
        protostructures: canonical, at the main tolerance; None where no space group was found or atoms overlap.
        strict_groups: space groups at the strict tolerance, 0 for none; empty if they were not asked for.
    """

    name: str
    crystals: Sequence[CrystalRecord]
    validity: Validity
    formulas: list[Formula | None]
    protostructures: list[Protostructure | None]
    strict_groups: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.crystals)

    @cached_property
    def groups(self) -> NDArray[np.int64]:
        """Space groups at the main tolerance, 0 for none."""
        return np.array([0 if p is None else p.space_group for p in self.protostructures], dtype=np.int64)

    @cached_property
    def templates(self) -> list[Template | None]:
        """Canonical protostructures with anonymous elements."""
        return [None if p is None else template(p) for p in self.protostructures]

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Atoms in the primitive cell; in the given cell where no space group was found."""
        return np.array(
            [
                len(crystal.numbers) if p is None else p.n_atoms // lattice_points(p.space_group)
                for crystal, p in zip(self.crystals, self.protostructures, strict=True)
            ],
            dtype=np.int64,
        )

    @cached_property
    def densities(self) -> NDArray[np.float64]:
        """Of the cells that hold crystals, g/cm³, shape (n_valid_cells,)."""
        held = [crystal for crystal, good in zip(self.crystals, self.validity.cell, strict=True) if good]
        masses = (atomic_masses[np.asarray(crystal.numbers)].sum() / volume_of(crystal) for crystal in held)
        return np.array([_AMU_PER_CUBIC_ANGSTROM * mass for mass in masses])

    def subset(self, indices: Sequence[int] | NDArray[np.int64]) -> CrystalSet:
        """Some of the crystals."""
        rows = [int(index) for index in indices]
        v = self.validity
        return CrystalSet(
            self.name,
            [self.crystals[row] for row in rows],
            Validity(*(getattr(v, each.name)[rows] for each in fields(v))),
            [self.formulas[row] for row in rows],
            [self.protostructures[row] for row in rows],
            self.strict_groups[rows] if len(self.strict_groups) else self.strict_groups,
        )


def describe(
    name: str,
    crystals: Sequence[CrystalRecord],
    *,
    symprec: float,
    strict_symprec: float | None = None,
    balanced: Callable[[Mapping[int, int]], bool],
    on_progress: Progress | None = None,
) -> CrystalSet:
    """Look at every crystal of a set; those that are broken are described as such and never raise.

    Args:
        name: of the set, for reports.
        crystals: what was read.
        symprec: main tolerance of space groups and templates, Å.
        strict_symprec: the second one, None for none.
        balanced: rule of charges.
        on_progress: gets the name, how many are done and how many there are.
    """
    checked = validity(crystals, balanced=balanced)
    protostructures: list[Protostructure | None] = []
    strict = []
    for index, crystal in enumerate(crystals):
        good = bool(checked.distances[index])
        found = protostructure_of(crystal, symprec) if good else None
        protostructures.append(None if found is None else canonical(found))
        if strict_symprec is not None:
            found = protostructure_of(crystal, strict_symprec) if good else None
            strict.append(0 if found is None else found.space_group)
        if on_progress is not None:
            on_progress(name, index + 1, len(crystals))
    formulas = [reduced_formula(composition_of(c)) if checked.cell[i] else None for i, c in enumerate(crystals)]
    return CrystalSet(name, crystals, checked, formulas, protostructures, np.array(strict, dtype=np.int64))


def protostructure_of(crystal: Crystal, symprec: float) -> Protostructure | None:
    """Of a crystal in the standard setting; None if no space group is found."""
    try:
        found = analyse(crystal.cell, crystal.fractional_positions, crystal.numbers, symprec=symprec)
    except InputError:
        return None
    return found.protostructure


@cache
def lattice_points(space_group: int) -> int:
    """Of the conventional cell: 1 for P, 2 for A, C and I, 3 for R, 4 for F."""
    return round(1 / abs(np.linalg.det(primitive_basis(space_group))))
