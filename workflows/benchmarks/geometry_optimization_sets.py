"""Structures to optimize: published sets by name, or any folder of xyz files.

S22 is there always, from ASE. No other data come with the package: sets are looked for below the folder in the
environment variable ``ATOMSYM_DATA``, in ``geomopt/<set>/*.xyz``, charge and multiplicity in
``geomopt/reference_energies.csv``; the coordinates are those of pysisyphus' ``geom_library``.

Sources: Baker, J. Comput. Chem. 14, 1085 (1993) (30 minima); Baker and Chan, J. Comput. Chem. 17, 888 (1996) (25
transition states); Jurečka et al., Phys. Chem. Chem. Phys. 8, 1985 (2006) (S22).
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from ase import Atoms
from ase.data.s22 import create_s22_system, s22

from atomsym.core import ConfigError, InputError
from atomsym.workflows.structures import load_structure

FOLDER_VARIABLE = "ATOMSYM_DATA"
Target = Literal["minimum", "saddle"]
NAMED: dict[str, tuple[str, Target]] = {
    "baker": ("baker", "minimum"),
    "baker-ts": ("baker_ts", "saddle"),
    "s22": ("s22", "minimum"),
}


@dataclass(frozen=True)
class Case:
    """One structure of a set.

    Attributes:
        set_name: of the set, or of the folder.
        name: of the structure.
        target: what is sought from it.
        load: makes or reads it.
        file: that it is read from; None if it is made.
    """

    set_name: str
    name: str
    target: Target
    load: Callable[[], Atoms]
    file: Path | None = None

    def atoms(self) -> Atoms:
        """The start structure, not periodic unless its file says so."""
        atoms = self.load()
        atoms.info = {}
        return atoms


def cases_of(name: str, data: Path | None = None) -> list[Case]:
    """The neutral closed-shell structures of a set, in the order of their file names.

    Args:
        name: ``baker``, ``baker-ts``, ``s22``, or a folder of xyz files whose minima are sought; a folder whose name
            ends in ``ts`` is one of saddle points. Without a data folder S22 is ASE's.
        data: the data folder; default: the environment variable ``ATOMSYM_DATA``.

    Raises:
        ConfigError: if there is no such set and no such folder, or the data folder is not known.
        InputError: if the folder holds no xyz files.
    """
    if name not in NAMED:
        folder, target = Path(name), "saddle" if name.rstrip("/").endswith("ts") else "minimum"
        if not folder.is_dir():
            raise ConfigError(f"'{name}' is neither a folder nor a set; sets are {', '.join(NAMED)}")
        return _found(folder.name, folder, target, set())
    sub, target = NAMED[name]
    if name == "s22" and data is None and not os.environ.get(FOLDER_VARIABLE):
        return [Case(name, system, target, partial(create_s22_system, system)) for system in s22]
    root = _root(data)
    return _found(name, root / sub, target, _charged(root / "reference_energies.csv", sub))


def _root(data: Path | None) -> Path:
    given = data if data is not None else os.environ.get(FOLDER_VARIABLE)
    if not given:
        raise ConfigError(f"where are the sets? Set {FOLDER_VARIABLE} to the data folder, or give --data")
    root = Path(given)
    return root / "geomopt" if (root / "geomopt").is_dir() else root


def _found(name: str, folder: Path, target: str, charged: set[str]) -> list[Case]:
    files = sorted(file for file in folder.glob("*.xyz") if not file.stem.endswith("_downhill"))
    if not files:
        raise InputError(f"{folder} holds no xyz files of the set '{name}'")
    kind: Target = "saddle" if target == "saddle" else "minimum"
    return [
        Case(name, file.stem, kind, partial(load_structure, str(file)), file)
        for file in files
        if file.name not in charged
    ]


def _charged(table: Path, sub: str) -> set[str]:
    """Files that need a charge or unpaired electrons, which calculators take in ways too different to compare."""
    if not table.is_file():
        return set()
    with table.open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["set"] == sub]
    return {row["file"] for row in rows if int(row["charge"]) != 0 or int(row["multiplicity"]) != 1}
