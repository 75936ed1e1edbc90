"""The prototypes of the AFLOW library, which come with pymatgen, as known crystals for the look-up of geometries."""

from __future__ import annotations

import gzip
import importlib.util
import json
from functools import cache
from pathlib import Path
from typing import Any

from atomsym.core import InputError, MissingDependencyError
from atomsym.core.elements import atomic_number_of
from atomsym.generators.realisation import PrototypeLibrary
from atomsym.symmetry.wyckoff import SymmetricCrystal, analyse

SYMPREC = 0.01


@cache
def aflow_prototypes() -> tuple[tuple[str, SymmetricCrystal], ...]:
    """Names, such as ``AB_cF8_225_a_b``, and crystals; disordered ones are left out.

    Raises:
        MissingDependencyError: if pymatgen is not installed.

    Source: Mehl et al., Comput. Mater. Sci. 136, S1 (2017); the data are part of pymatgen.
    """
    found = []
    for entry in _entries():
        structure = entry["snl"]
        species = [site["species"] for site in structure["sites"]]
        if any(len(each) > 1 or each[0]["occu"] < 1 for each in species):
            continue  # disordered
        numbers = [atomic_number_of(each[0]["element"]) for each in species]
        places = [site["abc"] for site in structure["sites"]]
        try:
            crystal = analyse(structure["lattice"]["matrix"], places, numbers, symprec=SYMPREC)
        except InputError:
            continue
        found.append((str(entry["tags"]["aflow"]), crystal))
    return tuple(found)


@cache
def aflow_library() -> PrototypeLibrary:
    """See ``aflow_prototypes``."""
    return PrototypeLibrary(aflow_prototypes())


def _entries() -> list[dict[str, Any]]:
    """The file as it is: to make pymatgen's objects of it takes several seconds."""
    try:
        package = importlib.util.find_spec("pymatgen.analysis.prototypes")
    except ModuleNotFoundError:
        package = None
    if package is None or package.origin is None:
        raise MissingDependencyError.for_package("pymatgen", "pymatgen", "the library of prototypes")
    file = Path(package.origin).parent / "aflow_prototypes.json.gz"
    try:
        with gzip.open(file, "rt") as stream:
            entries: list[dict[str, Any]] = json.load(stream)
    except OSError as error:
        raise MissingDependencyError(f"this version of pymatgen has no library of prototypes ({error})") from error
    return entries
