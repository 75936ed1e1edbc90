"""Known crystals whose geometries a run tries before random ones, and the file of the run that keeps them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from atomsym.artifacts import write_atomically
from atomsym.calculators.pymatgen.prototypes import aflow_prototypes
from atomsym.core import DataError, InputError
from atomsym.symmetry.wyckoff import Protostructure, SymmetricCrystal, analyse, template
from atomsym.workflows.evaluate_crystals.read import read_generated

AFLOW = "aflow"
"""Name of the prototypes of AFLOW that come with pymatgen."""

READING = "reading prototypes"
_OFTEN = 50  # crystals between two reports

Known = tuple[str, SymmetricCrystal]


def read_prototypes(
    sources: Sequence[str], symprec: float, progress: Callable[[str, int, int], None] = lambda stage, done, of: None
) -> list[Known]:
    """Names and crystals of all sources, in their order; what cannot be read or has no symmetry is left out.

    Args:
        sources: ``aflow``, or whatever ``read_generated`` reads.
        symprec: of the analysis, Å.
        progress: is told the stage, what is done of it and of how much.

    Raises:
        DataError: if there is no such source, or no crystal of it can be used.
        MissingDependencyError: if pymatgen is not installed.
    """
    found: list[Known] = []
    for source in sources:
        found += aflow_prototypes() if source == AFLOW else _of_source(source, symprec, progress)
    return found


def _of_source(source: str, symprec: float, progress: Callable[[str, int, int], None]) -> list[Known]:
    records = read_generated(source)
    found: list[Known] = []
    for index, record in enumerate(records):
        if index % _OFTEN == 0:
            progress(READING, index, len(records))
        if not len(record.numbers):
            continue
        try:
            crystal = analyse(record.cell, record.fractional_positions, record.numbers, symprec=symprec)
        except InputError:
            continue
        found.append((f"{Path(source).name}:{record.identifier}", crystal))
    if not found:
        raise DataError(f"{source}: the symmetry of none of its {len(records)} crystals can be found")
    return found


def write_prototypes(path: Path, known: Iterable[Known], protostructures: Iterable[Protostructure]) -> None:
    """Keep the crystals that the protostructures can take their geometry from, so that a run needs no other file."""
    wanted = {template(structure) for structure in protostructures}
    rows = [
        {
            "name": name,
            "space_group": crystal.protostructure.space_group,
            "orbits": crystal.protostructure.orbits,
            "cell": crystal.cell.tolist(),
            "parameters": crystal.parameters.tolist(),
        }
        for name, crystal in known
        if template(crystal.protostructure) in wanted
    ]
    write_atomically(path, json.dumps(rows, indent=1).encode())


def read_kept(path: Path) -> list[Known]:
    """From ``write_prototypes``; floats are the same to the last digit.

    Raises:
        DataError: if the file is damaged.
    """
    try:
        return [
            (
                str(row["name"]),
                SymmetricCrystal(
                    Protostructure(row["space_group"], tuple((z, letter) for z, letter in row["orbits"])),
                    np.array(row["cell"]),
                    np.array(row["parameters"]),
                ),
            )
            for row in json.loads(path.read_text())
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: damaged ({error}); start a new run") from error
