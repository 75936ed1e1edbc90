"""pymatgen's StructureMatcher, asked as rarely as possible: each crystal is reduced once, and only when needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from atomsym.core import MissingDependencyError
from atomsym.metrics import Crystal
from atomsym.workflows.evaluate_crystals.settings import EvaluationSettings


class CrystalMatcher:
    """Compares crystals of two lists, which may be the same one.

    A pair is the same if the matcher fits their primitive cells, scaled to one volume. Cells with different numbers of
    atoms after the reduction are not compared.

    Args:
        first, second: the lists.
        settings: tolerances.

    Attributes:
        n_compared: how often the matcher was asked.

    Raises:
        MissingDependencyError: if pymatgen is not installed.

    Source: Ong et al., Comput. Mater. Sci. 68, 314 (2013).
    """

    def __init__(self, first: Sequence[Crystal], second: Sequence[Crystal], settings: EvaluationSettings) -> None:
        self._matcher = structure_matcher(
            settings.length_tolerance, settings.site_tolerance, settings.angle_tolerance
        )  # fmt: skip
        self._lists = (first, second)
        self._reduced: dict[tuple[int, int], Any] = {}
        self.n_compared = 0

    def same(self, i: int, j: int) -> bool:
        """Whether crystal i of the first list is crystal j of the second."""
        a, b = self._reduce(0, i), self._reduce(1, j)
        if a is None or b is None or len(a) != len(b):
            return False
        self.n_compared += 1
        return bool(self._matcher.fit(a, b, skip_structure_reduction=True))

    def _reduce(self, which: int, index: int) -> Any:
        crystals = self._lists[which]
        key = (0 if self._lists[0] is self._lists[1] else which, index)
        if key not in self._reduced:
            try:
                reduced = as_structure(crystals[index]).get_reduced_structure("niggli")
                self._reduced[key] = reduced.get_primitive_structure()
            except (ValueError, np.linalg.LinAlgError):  # cells that cannot be reduced are like no other
                self._reduced[key] = None
        return self._reduced[key]


class CrystalDisplacements:
    """Root-mean-square displacements of references and generated crystals, in units of (V/N)^⅓.

    Args:
        reference, generated: the crystals.
        length_tolerance, site_tolerance, angle_tolerance: of the matcher; the defaults are those of crystal structure
            prediction.

    Raises:
        MissingDependencyError: if pymatgen is not installed.
    """

    def __init__(
        self,
        reference: Sequence[Crystal],
        generated: Sequence[Crystal],
        length_tolerance: float = 0.3,
        site_tolerance: float = 0.5,
        angle_tolerance: float = 10.0,
    ) -> None:
        self._matcher = structure_matcher(length_tolerance, site_tolerance, angle_tolerance)
        self._reference, self._generated = reference, generated

    def __call__(self, i: int, j: int) -> float | None:
        """Of reference i and generated crystal j; None if they do not match."""
        try:
            found = self._matcher.get_rms_dist(as_structure(self._reference[i]), as_structure(self._generated[j]))
        except (ValueError, np.linalg.LinAlgError):
            return None
        return None if found is None else float(found[0])


def structure_matcher(length_tolerance: float, site_tolerance: float, angle_tolerance: float) -> Any:
    """pymatgen's matcher of primitive cells, volumes scaled.

    Raises:
        MissingDependencyError: if pymatgen is not installed.
    """
    try:
        from pymatgen.core.structure_matcher import StructureMatcher
    except ImportError:
        try:
            from pymatgen.analysis.structure_matcher import StructureMatcher
        except ImportError as error:
            raise MissingDependencyError.for_package(
                "pymatgen", "pymatgen", "comparing crystals for uniqueness and novelty"
            ) from error
    return StructureMatcher(ltol=length_tolerance, stol=site_tolerance, angle_tol=angle_tolerance)


def as_structure(crystal: Crystal) -> Any:
    """A pymatgen Structure; sites in the order of the elements, as the matcher wants them."""
    from pymatgen.core import Lattice, Structure

    order = np.argsort(crystal.numbers, kind="stable")
    numbers, places = np.asarray(crystal.numbers)[order], np.asarray(crystal.fractional_positions)[order]
    return Structure(Lattice(crystal.cell), numbers.tolist(), places)
