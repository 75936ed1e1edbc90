"""How many crystals of a table survive the way to their free parameters and back.

``python -m atomsym.workflows.symmetry_round_trip TABLE [EVERY]`` analyses each (or every n-th) crystal and builds it
anew from its protostructure and parameters. The primitive cell of that is compared with the given crystal by the
structure matcher of pymatgen (Ong et al., Comput. Mater. Sci. 68, 314, 2013) at its usual tolerances.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np

from atomsym.core import InputError, MissingDependencyError
from atomsym.datasets.crystals import CrystalRecord, iterate_crystals
from atomsym.symmetry.wyckoff import analyse
from atomsym.symmetry.wyckoff.analysis import SYMPREC
from atomsym.symmetry.wyckoff.primitive import primitive_cell

TOLERANCES = (0.2, 0.3, 5.0)
"""Of lengths (relative), sites (of the mean free length per atom) and angles (degrees)."""


@dataclass(frozen=True)
class RoundTrip:
    """Outcome for a table.

    Attributes:
        n_crystals: that were tried.
        failed: identifiers of those that could not be analysed or do not match, with the reason.
        same_group: how many have the same space group when the rebuilt crystal is analysed again.
        median_rms: of the matcher, in its units; nan if nothing matched.
        largest_rms: likewise.
        milliseconds: median time of an analysis.
    """

    n_crystals: int
    failed: tuple[tuple[str, str], ...]
    same_group: int
    median_rms: float
    largest_rms: float
    milliseconds: float

    @property
    def rate(self) -> float:
        """Share of crystals that come back."""
        return 1 - len(self.failed) / self.n_crystals if self.n_crystals else float("nan")

    def __str__(self) -> str:
        return (
            f"{self.n_crystals} crystals, {100 * self.rate:.2f} % come back, rms {self.median_rms:.1e} (median), "
            f"{self.largest_rms:.1e} (largest); same group again {100 * self.same_group / max(self.n_crystals, 1):.2f} "
            f"%; {self.milliseconds:.2f} ms for an analysis"
        )


def round_trip(records: Iterable[CrystalRecord], *, symprec: float = SYMPREC) -> RoundTrip:
    """Analyse crystals, build them anew and compare.

    Args:
        records: the crystals.
        symprec: of the analysis, Å.

    Raises:
        MissingDependencyError: if pymatgen or moyopy is not installed.
    """
    try:
        from pymatgen.analysis.structure_matcher import StructureMatcher
        from pymatgen.core import Structure
    except ModuleNotFoundError as error:
        raise MissingDependencyError.for_package("pymatgen", "pymatgen", "the comparison of crystals") from error
    matcher = StructureMatcher(*TOLERANCES)
    failed: list[tuple[str, str]] = []
    rms, times = [], []
    n_crystals = same = 0
    for record in records:
        n_crystals += 1
        start = time.perf_counter()
        try:
            crystal = analyse(record.cell, record.fractional_positions, record.numbers, symprec=symprec)
            times.append(time.perf_counter() - start)
            again = analyse(crystal.cell, crystal.fractional_positions, crystal.numbers, symprec=symprec)
        except InputError as error:
            failed.append((record.identifier, str(error)))
            continue
        same += again.protostructure.space_group == crystal.protostructure.space_group
        given = Structure(record.cell, record.numbers, record.fractional_positions)
        primitive = primitive_cell(crystal.protostructure)
        cell, atoms = primitive.basis @ crystal.cell, primitive.atoms
        own = Structure(cell, crystal.numbers[atoms], crystal.positions[atoms], coords_are_cartesian=True)
        distance = matcher.get_rms_dist(given, own)
        if distance is None:
            failed.append((record.identifier, "the rebuilt crystal does not match"))
        else:
            rms.append(distance[0])
    return RoundTrip(
        n_crystals, tuple(failed), same,
        float(np.median(rms)) if rms else float("nan"), max(rms, default=float("nan")),
        1e3 * float(np.median(times)) if times else float("nan"),
    )  # fmt: skip


def main() -> None:
    """Print the outcome for the table named on the command line, and what failed."""
    every = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    found = round_trip(islice(iterate_crystals(sys.argv[1]), None, None, every))
    sys.stdout.write(f"{found}\n" + "".join(f"  {name}: {reason}\n" for name, reason in found.failed))


if __name__ == "__main__":
    main()
