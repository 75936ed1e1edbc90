"""What the transformations of this package have in common."""

from __future__ import annotations

from typing import Any

from pymatgen.core import Structure
from pymatgen.transformations.transformation_abc import AbstractTransformation

from atomsym.calculators.pymatgen.conversion import to_graph
from atomsym.core import ConfigError
from atomsym.generators.realisation import PrototypeLibrary
from atomsym.symmetry.wyckoff import SymmetricCrystal, analyse

RANDOM, AFLOW = "random", "aflow"
GEOMETRIES = (RANDOM, AFLOW)
"""Where geometries may come from; after those of known crystals there are always random ones."""


class RankedTransformation(AbstractTransformation):
    """One structure in; the best of the ranked results out, or all of them with what was found about each."""

    def apply_transformation(
        self, structure: Structure, return_ranked_list: bool | int = False
    ) -> Structure | list[dict[str, Any]]:
        """The best structure; with ``return_ranked_list`` the list of results, the best first.

        Args:
            structure: to start from.
            return_ranked_list: True for all results, a number for so many of them at most. Each is a dictionary with
                ``structure`` and what the class says.

        Raises:
            InputError: if the structure is disordered or has no symmetry that can be found.
            CalculationError: if nothing came of it.
        """
        ranked = self._ranked(structure)
        if return_ranked_list is False:
            return ranked[0]["structure"]
        return ranked if return_ranked_list is True else ranked[:return_ranked_list]

    def _ranked(self, structure: Structure) -> list[dict[str, Any]]:
        raise NotImplementedError

    @property
    def inverse(self) -> None:
        """There is none."""
        return


def crystal_of(structure: Structure, symprec: float) -> SymmetricCrystal:
    """The conventional standard cell of a structure.

    Raises:
        InputError: if it is disordered, or no symmetry can be found.
    """
    numbers = to_graph(structure).numbers.numpy()  # refuses what is disordered
    return analyse(structure.lattice.matrix, structure.frac_coords, numbers, symprec=symprec)


def structure_of(crystal: SymmetricCrystal) -> Structure:
    """The conventional cell."""
    return Structure(crystal.cell, crystal.numbers.tolist(), crystal.fractional_positions)


def library_of(geometries: str) -> PrototypeLibrary | None:
    """The known crystals of one of ``GEOMETRIES``; None for none."""
    if geometries == RANDOM:
        return None
    from atomsym.calculators.pymatgen.prototypes import aflow_library

    return aflow_library()


def require_geometries(geometries: str) -> None:
    """Check where geometries are to come from.

    Raises:
        ConfigError: if it is none of ``GEOMETRIES``.
    """
    if geometries not in GEOMETRIES:
        raise ConfigError(f"geometries must be one of {', '.join(GEOMETRIES)}; found '{geometries}'")


def require_positive(**values: float) -> None:
    """Check arguments by their names.

    Raises:
        ConfigError: if one is not positive.
    """
    for name, value in values.items():
        if not value > 0:
            raise ConfigError(f"{name} must be positive; found {value}")
