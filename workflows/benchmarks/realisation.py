"""How fast protostructures become crystals, and whether these are what was asked for."""

from __future__ import annotations

import csv
import gzip
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from atomsym.core import ConfigError, DataError, InputError
from atomsym.core.elements import atomic_number_of
from atomsym.datasets.crystals import read_crystals
from atomsym.generators.realisation import Realised, is_degenerate, realise
from atomsym.symmetry.wyckoff import Protostructure, analyse

TOLERANCES = (1e-3, 1e-2, 1e-1)
"""Within which the space group is looked for, Å."""

COLUMNS = ("group", "species", "sites")
"""Of a table of protostructures: the arguments of pyxtal, as the samples of WyFormer are published."""


@dataclass(frozen=True)
class RealisationReport:
    """Over the protostructures of a source.

    Attributes:
        n: protostructures.
        n_degenerate: that no crystal has; they count in the times and the distances, not in ``kept``.
        mean, median, p99, longest: process CPU time of one realisation, ms.
        tries: sets of lattices drawn in the mean.
        floor_met: share of the crystals in which no atoms are too close.
        kept: by tolerance, share of those that are not degenerate whose space group an analysis finds again.
        lost: some of those for which it does not at 0.01 Å.
    """

    n: int
    n_degenerate: int
    mean: float
    median: float
    p99: float
    longest: float
    tries: float
    floor_met: float
    kept: dict[str, float]
    lost: tuple[str, ...]


def read_protostructures(source: str, n: int | None = None) -> list[Protostructure]:
    """Of the crystals of a set, or of a table of protostructures.

    Args:
        source: a .csv or .csv.gz file with a column of CIF texts or with the columns ``COLUMNS``, or the name of a set
            of crystals.
        n: the first so many; None: all.

    Raises:
        ConfigError, DataError: if there is no such set, or the file cannot be read.
    """
    path = Path(source)
    if path.is_file() and set(COLUMNS) <= set(_header(path)):
        return _of_table(path, n)
    found = []
    for record in read_crystals(source)[:n]:
        try:
            crystal = analyse(record.cell, record.fractional_positions, record.numbers)
        except InputError:
            continue
        found.append(crystal.protostructure)
    return found


def measure_realisation(
    protostructures: list[Protostructure], *, seed: int = 0, progress: Callable[[int], None] | None = None
) -> RealisationReport:
    """Realise each once and analyse what came out.

    Args:
        protostructures: at least one.
        seed: of the geometries.
        progress: called with the number that are done.

    Raises:
        ConfigError: if there is none.
    """
    if not protostructures:
        raise ConfigError("there is no protostructure to realise")
    generator = np.random.default_rng(seed)
    realise(protostructures[0], generator=np.random.default_rng(0))  # loads the table
    times, made = np.empty(len(protostructures)), []
    for index, each in enumerate(protostructures):
        start = time.process_time()
        made.append(realise(each, generator=generator))
        times[index] = 1e3 * (time.process_time() - start)
        if progress is not None:
            progress(index + 1)
    same = np.array([[_group(each, tolerance) for tolerance in TOLERANCES] for each in made])
    same = same == np.array([[each.space_group] for each in protostructures])
    degenerate = np.array(
        [
            not all(row) and is_degenerate(each, generator=generator)
            for row, each in zip(same, protostructures, strict=True)
        ]
    )
    sound = same[~degenerate]
    lost = [each for each, row, bad in zip(protostructures, same, degenerate, strict=True) if not (row[1] or bad)]
    return RealisationReport(
        n=len(made),
        n_degenerate=int(degenerate.sum()),
        mean=float(times.mean()),
        median=float(np.median(times)),
        p99=float(np.percentile(times, 99)),
        longest=float(times.max()),
        tries=float(np.mean([each.tries for each in made])),
        floor_met=float(np.mean([each.distance_floor_met for each in made])),
        kept={f"{t:g}": float(share) for t, share in zip(TOLERANCES, sound.mean(axis=0), strict=True)}
        if len(sound)
        else {},
        lost=tuple(str(each) for each in lost[:10]),
    )


def _group(made: Realised, symprec: float) -> int:
    """Space group that an analysis finds; 0 if none."""
    crystal = made.crystal
    try:
        found = analyse(crystal.cell, crystal.fractional_positions, crystal.numbers, symprec=symprec)
    except InputError:
        return 0
    return found.protostructure.space_group


def _header(path: Path) -> list[str]:
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", newline="") as stream:
            return next(csv.reader(stream), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a table ({error})") from error


def _of_table(path: Path, n: int | None) -> list[Protostructure]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    opener = gzip.open if path.suffix == ".gz" else open
    found: list[Protostructure] = []
    try:
        with opener(path, "rt", newline="") as stream:
            for number, row in enumerate(csv.DictReader(stream), start=1):
                if n is not None and len(found) == n:
                    break
                try:
                    found.append(_of_row(row))
                except (ValueError, TypeError, KeyError) as error:
                    raise DataError(f"{path}, row {number}: not a protostructure ({error})") from error
    except (OSError, csv.Error) as error:
        raise DataError(f"{path}: not a table ({error})") from error
    return found


def _of_row(row: dict[str, str]) -> Protostructure:
    """A site is multiplicity and letter, such as ``4a``."""
    pairs = zip(json.loads(row["species"]), json.loads(row["sites"]), strict=True)
    orbits = tuple((atomic_number_of(symbol), site[-1]) for symbol, sites in pairs for site in sites)
    return Protostructure(int(row["group"]), orbits)
