"""How many crystals of tables survive the way to their free parameters and back.

``python -m atomsym.workflows.symmetry_round_trip TABLE … -o FOLDER`` analyses each crystal and builds it anew from its
protostructure and parameters. The primitive cell of that is compared with the given crystal by the structure matcher
of pymatgen (Ong et al., Comput. Mater. Sci. 68, 314, 2013) at its usual tolerances. Where that does not match primitive
cells, the cells are compared as they are: in slightly distorted supercells its own reduction finds a smaller cell in
one of two equal crystals. Each outcome is kept in FOLDER as soon as it is known, so that the same command goes on after
an interruption; ``round_trip.md`` and ``round_trip_failures.csv`` are written at the end.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from atomsym.artifacts import write_atomically
from atomsym.core import DataError, InputError, MissingDependencyError
from atomsym.datasets.crystals import CrystalRecord, iterate_crystals
from atomsym.symmetry.wyckoff import SymmetricCrystal, analyse
from atomsym.symmetry.wyckoff.analysis import SYMPREC
from atomsym.symmetry.wyckoff.primitive import primitive_cell
from atomsym.workflows.journal import LABELS, Journal
from atomsym.workflows.paths import make_folder
from atomsym.workflows.status_line import counted, status_line

TOLERANCES = (0.2, 0.3, 5.0)
"""Of lengths (relative), sites (of the mean free length per atom) and angles (degrees)."""


@dataclass(frozen=True)
class Outcome:
    """Of one crystal.

    Attributes:
        identifier: of the crystal.
        group: space group, 0 if it could not be analysed.
        rms: of the matcher, in its units; None if the rebuilt crystal does not match.
        same_group: whether the rebuilt crystal has the same space group.
        milliseconds: of the analysis; None if it failed.
        failure: why the crystal did not come back, "" if it did.
    """

    identifier: str
    group: int = 0
    rms: float | None = None
    same_group: bool = False
    milliseconds: float | None = None
    failure: str = ""


@dataclass(frozen=True)
class RoundTrip:
    """Outcome for a table.

    Attributes:
        outcomes: of all crystals, in their order.
    """

    outcomes: tuple[Outcome, ...]

    @property
    def n_crystals(self) -> int:
        return len(self.outcomes)

    @property
    def failed(self) -> tuple[tuple[str, str], ...]:
        """Identifiers of those that could not be analysed or do not match, with the reason."""
        return tuple((each.identifier, each.failure) for each in self.outcomes if each.failure)

    @property
    def rate(self) -> float:
        """Share of crystals that come back."""
        return 1 - len(self.failed) / self.n_crystals if self.outcomes else float("nan")

    @property
    def same_group(self) -> int:
        """How many have the same space group when the rebuilt crystal is analysed again."""
        return sum(each.same_group for each in self.outcomes)

    @property
    def median_rms(self) -> float:
        """Of the matcher, in its units; nan if nothing matched."""
        return self._percentile([each.rms for each in self.outcomes], 50)

    @property
    def largest_rms(self) -> float:
        """Likewise."""
        return self._percentile([each.rms for each in self.outcomes], 100)

    @property
    def milliseconds(self) -> float:
        """Median time of an analysis."""
        return self._percentile([each.milliseconds for each in self.outcomes], 50)

    @staticmethod
    def _percentile(values: Sequence[float | None], percent: float) -> float:
        known = [value for value in values if value is not None]
        return float(np.percentile(known, percent)) if known else float("nan")


def round_trip(records: Iterable[CrystalRecord], *, symprec: float = SYMPREC) -> RoundTrip:
    """Analyse crystals, build them anew and compare.

    Args:
        records: the crystals.
        symprec: of the analysis, Å.

    Raises:
        MissingDependencyError: if pymatgen is not installed.
    """
    compared = matchers()
    return RoundTrip(tuple(outcome_of(record, compared, symprec) for record in records))


def resumed_round_trip(
    table: str, folder: Path, *, every: int = 1, symprec: float = SYMPREC, console: Console | None = None
) -> RoundTrip:
    """``round_trip`` of a table whose outcomes are kept in a folder; those that are there are not found again.

    Args:
        table: file or known set.
        folder: that exists.
        every: take every n-th crystal.
        symprec: of the analysis, Å.
        console: for the progress.

    Raises:
        DataError: if the table cannot be read, or the folder has outcomes of another table.
        MissingDependencyError: as ``round_trip``.
    """
    compared = matchers()
    path = folder / f"{Path(table).name.removesuffix('.gz').removesuffix('.csv')}-{every}-{symprec:g}.journal"
    outcomes = []
    with Journal(path) as journal, status_line(console or Console(quiet=True)) as show:
        for index, record in enumerate(islice(iterate_crystals(table), None, None, every)):
            if index not in journal:
                journal.append(index, LABELS, json.dumps(asdict(outcome_of(record, compared, symprec))).encode())
                show(counted(f"{table}: crystals", index + 1, 0))
            outcomes.append(Outcome(**json.loads(journal.content(index))))
            if outcomes[-1].identifier != record.identifier:
                raise DataError(f"{path} has outcomes of another table; choose another folder")
    return RoundTrip(tuple(outcomes))


def outcome_of(record: CrystalRecord, compared: Sequence[Any], symprec: float) -> Outcome:
    """Of one crystal, compared by the first matcher that matches; what goes wrong is noted in it and not raised."""
    start = time.perf_counter()
    try:
        crystal = analyse(record.cell, record.fractional_positions, record.numbers, symprec=symprec)
        milliseconds = 1e3 * (time.perf_counter() - start)
        again = analyse(crystal.cell, crystal.fractional_positions, crystal.numbers, symprec=symprec)
    except InputError as error:
        return Outcome(record.identifier, failure=str(error))
    group = crystal.protostructure.space_group
    pair = _structures(record, crystal)
    distances = (matcher.get_rms_dist(*pair) for matcher in compared)
    rms = next((float(distance[0]) for distance in distances if distance is not None), None)
    return Outcome(
        record.identifier, group, rms, again.protostructure.space_group == group, milliseconds,
        "the rebuilt crystal does not match" if rms is None else "",
    )  # fmt: skip


def _structures(record: CrystalRecord, crystal: SymmetricCrystal) -> tuple[Any, Any]:
    """The given crystal and the primitive cell of the rebuilt one, as pymatgen has them."""
    from pymatgen.core import Structure

    primitive = primitive_cell(crystal.protostructure)
    cell, atoms = primitive.basis @ crystal.cell, primitive.atoms
    return (
        Structure(record.cell, record.numbers, record.fractional_positions),
        Structure(cell, crystal.numbers[atoms], crystal.positions[atoms], coords_are_cartesian=True),
    )


def matchers() -> tuple[Any, Any]:
    """Of primitive cells, and of cells as they are.

    Raises:
        MissingDependencyError: if pymatgen is not installed.
    """
    try:
        from pymatgen.analysis.structure_matcher import StructureMatcher
    except ModuleNotFoundError as error:
        raise MissingDependencyError.for_package("pymatgen", "pymatgen", "the comparison of crystals") from error
    return StructureMatcher(*TOLERANCES), StructureMatcher(*TOLERANCES, primitive_cell=False)


def table_of(found: dict[str, RoundTrip]) -> str:
    """Markdown, a line for each table."""
    rows = ["| set | crystals | come back | rms: median, largest | same group again | ms |", f"|{' --- |' * 6}"]
    for name, each in found.items():
        back = each.n_crystals - len(each.failed)
        rows.append(
            f"| `{name}` | {each.n_crystals:,} | {back:,} ({100 * each.rate:.2f} %) | {each.median_rms:.0e}, "
            f"{each.largest_rms:.2g} | {100 * each.same_group / max(each.n_crystals, 1):.2f} % | "
            f"{each.milliseconds:.2f} |"
        )
    return "\n".join(rows) + "\n"


def failures_of(found: dict[str, RoundTrip]) -> str:
    """As CSV: crystals that do not come back, and those that have another space group when they do."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["set", "identifier", "space_group", "rms", "failure"])
    for name, each in found.items():
        for one in each.outcomes:
            if one.failure or not one.same_group:
                writer.writerow([name, one.identifier, one.group, one.rms, one.failure or "another space group again"])
    return text.getvalue()


def main(arguments: Sequence[str] | None = None) -> None:
    """The tables named on the command line, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m atomsym.workflows.symmetry_round_trip", description=__doc__)
    parser.add_argument("tables", nargs="+", metavar="TABLE", help="file with CIF texts, or a known set")
    parser.add_argument("--every", type=int, default=1, help="take every n-th crystal (default: all)")
    parser.add_argument("--symprec", type=float, default=SYMPREC, help="of the analysis, Å (default: %(default)s)")
    parser.add_argument("-o", "--output", type=Path, default=Path("atomsym-round-trip"), metavar="FOLDER")
    given = parser.parse_args(arguments)
    make_folder(given.output)
    console = Console(stderr=True)
    found = {}
    for table in given.tables:
        found[table] = resumed_round_trip(
            table, given.output, every=given.every, symprec=given.symprec, console=console
        )
    write_atomically(given.output / "round_trip.md", table_of(found).encode())
    write_atomically(given.output / "round_trip_failures.csv", failures_of(found).encode())
    Console().print(table_of(found), highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
