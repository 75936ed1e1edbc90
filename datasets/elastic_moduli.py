"""Bulk and shear moduli of crystals: MatCalc's benchmark file, and its division by formula."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from atomsym.core import AtomsymError, DataError, InputError, LabelledStructure
from atomsym.core.elements import atomic_number_of
from atomsym.datasets.dataset import Dataset
from atomsym.metrics.neutrality import Formula, reduced_formula

Modulus = Literal["bulk_modulus_vrh", "shear_modulus_vrh"]

LEAST_MODULUS = 1.0
"""GPa; softer crystals are left out: fits of elastic constants are no better than that."""
POISSON_RATIOS = (0.0, 0.45)
"""Smallest and largest Poisson ratio of the crystals that are kept."""
MOST_ATOMS = 12
"""Of a cell; larger ones are left out."""


def read_elastic_moduli(path: Path, modulus: Modulus) -> Dataset:
    """Crystals whose label ``target`` is log10(M / GPa) of the modulus M, for ``atomsym.heads.IntensiveProperty``.

    Both moduli have to make sense, whichever is the label: crystals with one below ``LEAST_MODULUS``, with a Poisson
    ratio ν = (3 K − 2 G) / (6 K + 2 G) outside ``POISSON_RATIOS``, or with more than ``MOST_ATOMS`` atoms are left out.

    Args:
        path: a list of objects with ``structure`` (pymatgen's plain form), ``bulk_modulus_vrh`` and
            ``shear_modulus_vrh`` in GPa, as JSON, plain or gzipped.
        modulus: which of them is the label.

    Raises:
        DataError: if the file is damaged, or an entry lacks one of these or has one that is no number; naming it.
    """
    structures = []
    for number, entry in enumerate(_entries(path)):
        name = entry.get("mp_id", number) if isinstance(entry, Mapping) else number
        where = f"{path.name}:{name}"
        moduli = {key: _modulus(entry, key, where) for key in ("bulk_modulus_vrh", "shear_modulus_vrh")}
        structure = _structure(entry, where)
        if structure.n_atoms <= MOST_ATOMS and _plausible(*moduli.values()):
            structures.append(replace(structure, target=float(np.log10(moduli[modulus]))))
    return Dataset(structures, str(path))


def divided_by_formula(crystals: Dataset) -> dict[str, Dataset]:
    """About 70 % for training, 10 % for validation, 20 % for the test, by the hash of the reduced formula.

    No formula is in two parts, and the division depends on nothing but the formulas. Those with an element that the
    training part would lack go into it, since a model knows nothing of such an element.
    """
    formulas = [_formula(structure) for structure in crystals]
    part = {formula: _part(formula) for formula in formulas}
    known = {z for formula, name in part.items() if name == "train" for z, _ in formula}
    for formula in part:
        if any(z not in known for z, _ in formula):
            part[formula] = "train"
    names = ("train", "validation", "test")
    return {name: crystals.subset(i for i, f in enumerate(formulas) if part[f] == name) for name in names}


def _formula(structure: LabelledStructure) -> Formula:
    return reduced_formula(Counter(structure.numbers.tolist()))


def _part(formula: Formula) -> str:
    digest = hashlib.sha256(repr(formula).encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    return "test" if place < 0.2 else "validation" if place < 0.3 else "train"


def _plausible(bulk: float, shear: float) -> bool:
    if min(bulk, shear) < LEAST_MODULUS:
        return False
    ratio = (3 * bulk - 2 * shear) / (6 * bulk + 2 * shear)
    return POISSON_RATIOS[0] <= ratio <= POISSON_RATIOS[1]


def _entries(path: Path) -> list[Any]:
    try:
        text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        found = json.loads(text)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if not isinstance(found, list) or not found:
        raise DataError(f"{path}: a list of crystals was expected")
    return found


def _modulus(entry: Any, key: str, where: str) -> float:
    value = entry.get(key) if isinstance(entry, Mapping) else None
    if not isinstance(value, int | float) or isinstance(value, bool) or not np.isfinite(value):
        raise DataError(f"{where}: '{key}' has to be a number in GPa; found {value!r}")
    return float(value)


def _structure(entry: Mapping[str, Any], where: str) -> LabelledStructure:
    try:
        cell = np.array(entry["structure"]["lattice"]["matrix"], dtype=np.float64).reshape(3, 3)
        sites = entry["structure"]["sites"]
        places = np.array([site["abc"] for site in sites], dtype=np.float64).reshape(-1, 3)
        if any(len(site["species"]) != 1 or site["species"][0]["occu"] != 1 for site in sites):
            raise InputError("a site is shared by several elements, or empty in part")
        numbers = np.array([atomic_number_of(site["species"][0]["element"]) for site in sites], dtype=np.int64)
    except (KeyError, TypeError, ValueError, AtomsymError) as error:
        raise DataError(f"{where}: not a crystal in pymatgen's plain form ({error!r})") from error
    if not len(numbers) or not np.isfinite(cell).all() or not np.isfinite(places).all():
        raise DataError(f"{where}: a crystal without atoms, or with coordinates that are not finite")
    return LabelledStructure(numbers, places @ cell, cell, np.ones(3, dtype=bool), source=where)
