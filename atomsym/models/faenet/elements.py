"""Periods, groups and physical properties of the elements, by which FAENet embeds atoms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

LAST_ELEMENT = 100
"""Largest atomic number in the table."""
N_PERIODS, N_GROUPS = 7, 19
"""Groups 1 to 18, and one more for the elements of the f block that have none."""
PROPERTIES = (
    "atomic_radius", "atomic_volume", "density", "dipole_polarizability", "electron_affinity", "en_allen", "vdw_radius",
    "metallic_radius", "metallic_radius_c12", "covalent_radius_pyykko_double", "covalent_radius_pyykko_triple",
    "covalent_radius_pyykko", "IE1", "IE2",
)  # fmt: skip
"""Columns of the table: radii in pm, molar volume in cm³/mol, density in g/cm³, polarizability in atomic units,
electron affinity and ionization energies in eV, Allen electronegativity in eV."""

_NORMALIZED_TO = 85  # mean and spread are those of H to At, as published


@dataclass(frozen=True, eq=False)
class ElementRows:
    """What the table says of some elements.

    Attributes:
        periods: row of the period's embedding, shape (n,), int64, from 0.
        groups: row of the group's embedding, shape (n,), int64, from 0.
        properties: shape (n, len(PROPERTIES)), float64; mean 0 and variance 1 over H to At, 0 where unknown.
    """

    periods: NDArray[np.int64]
    groups: NDArray[np.int64]
    properties: NDArray[np.float64]


def element_rows(elements: Sequence[int]) -> ElementRows:
    """Rows of the table.

    Args:
        elements: atomic numbers in 1 … ``LAST_ELEMENT``.

    Source: the table ``elements.csv`` holds what the Python package mendeleev 0.14.0 (MIT licence) collects from the
    literature; the choice and normalization of properties is FAENet's (Duval et al. 2023).

    Example:
        >>> rows = element_rows([1, 8, 78])
        >>> (rows.periods + 1).tolist(), (rows.groups + 1).tolist()
        ([1, 2, 6], [1, 16, 10])
    """
    table = _table()
    rows = np.asarray(elements, dtype=np.int64) - 1
    values = table[:, 2:]
    known = values[:_NORMALIZED_TO]
    normalized = (values - np.nanmean(known, axis=0)) / np.nanstd(known, axis=0, ddof=1)
    return ElementRows(
        periods=table[rows, 0].astype(np.int64) - 1,
        groups=table[rows, 1].astype(np.int64) - 1,
        properties=np.nan_to_num(normalized[rows]),
    )


@cache
def _table() -> NDArray[np.float64]:
    """Period, group and properties of each element, shape (LAST_ELEMENT, 16); NaN where unknown."""
    with files("atomsym.models.faenet").joinpath("elements.csv").open(encoding="utf-8") as stream:
        lines = [line for line in stream if not line.startswith("#")]
    table = np.genfromtxt(lines[1:], delimiter=",", dtype=np.float64)[:, 1:]
    table.flags.writeable = False
    return table
