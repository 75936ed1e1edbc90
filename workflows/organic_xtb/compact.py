"""A small set as text: rounded numbers, gzipped extended XYZ, one file for each part."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from atomsym.core import LabelledStructure
from atomsym.datasets import open_lmdb, write_extxyz
from atomsym.workflows.organic_xtb.selection import PARTS

DIGITS = {"positions": 6, "energy": 6, "forces": 5, "hessian": 3}
"""Decimals that are kept: Å, eV, eV/Å, eV/Å². Rounded positions change an energy by less than 1e-4 eV."""


def write_compact(folder: Path) -> list[Path]:
    """Write ``PART.extxyz.gz`` beside the parts of a complete set.

    Returns:
        The files.

    Raises:
        DataError, ArtifactError: if the parts cannot be read or the files not be written.
    """
    files = []
    for part in PARTS:
        files.append(folder / f"{part}.extxyz.gz")
        write_extxyz((rounded(structure) for structure in open_lmdb(folder / f"{part}.lmdb")), files[-1])
    return files


def rounded(structure: LabelledStructure) -> LabelledStructure:
    """The structure with ``DIGITS`` decimals."""
    values = {name: getattr(structure, name) for name in DIGITS}
    kept = {name: np.round(value, DIGITS[name]) + 0.0 for name, value in values.items() if value is not None}
    return replace(structure, **kept)
