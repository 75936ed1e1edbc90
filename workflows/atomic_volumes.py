"""Fit of the volumes of atoms in crystals to the volumes of known ones: ``python -m atomsym.workflows.atomic_volumes``.

Prints the table that ``atomsym/generators/realisation/volume.py`` holds, and how well it predicts the test set.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from atomsym.core.elements import COVALENT_RADII, MAX_ATOMIC_NUMBER
from atomsym.datasets.crystals import read_crystals

TRAIN = ("mp_20_biternary_val", "mp_20_slices_mini")
TEST = "mp_20_biternary_test"
PRIOR_SCALE = 1.45
"""Of the radius of a sphere, in covalent radii."""

PRIOR_WEIGHT = 1.0
"""Of the squared logarithm of a volume over that of its sphere, against one crystal."""

FEWEST = 3  # crystals with an element; of rarer ones the volume is put in by hand
_STEPS = 30

_LOGGER = logging.getLogger(__name__)
Array = NDArray[np.float64]


def fractions_and_volumes(names: Iterable[str]) -> tuple[Array, Array]:
    """Share of each element, shape (n_crystals, 119), and mean volume of an atom, Å³, of the crystals of sets."""
    crystals = [crystal for name in names for crystal in read_crystals(name)]
    fractions = np.zeros((len(crystals), MAX_ATOMIC_NUMBER + 1))
    for row, crystal in zip(fractions, crystals, strict=True):
        np.add.at(row, crystal.numbers, 1 / len(crystal.numbers))
    volumes = [abs(float(np.linalg.det(crystal.cell))) / len(crystal.numbers) for crystal in crystals]
    return fractions, np.array(volumes)


def fit(fractions: Array, volumes: Array) -> Array:
    """Volumes of the elements that minimise the squared error of ln V of the crystals, Å³; zero for rare elements."""
    spheres = 4 / 3 * np.pi * (PRIOR_SCALE * np.array(COVALENT_RADII)) ** 3
    spheres *= np.exp(np.mean(np.log(volumes / (fractions @ spheres))))
    found = spheres.copy()
    for _ in range(_STEPS):  # Gauss–Newton in the logarithms
        predicted = fractions @ found
        jacobian = fractions * found / predicted[:, None]
        matrix = jacobian.T @ jacobian + PRIOR_WEIGHT * np.eye(len(found))
        step = jacobian.T @ np.log(volumes / predicted) - PRIOR_WEIGHT * np.log(found / spheres)
        found *= np.exp(np.linalg.solve(matrix, step))
    return np.where((fractions > 0).sum(axis=0) >= FEWEST, found, 0.0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of this module; the data are found through ATOMSYM_DATA."""
    argparse.ArgumentParser(prog="python -m atomsym.workflows.atomic_volumes", description=__doc__).parse_args(
        arguments
    )
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    volumes = np.round(fit(*fractions_and_volumes(TRAIN)), 1)
    _LOGGER.info("%s", ", ".join(f"{volume:.1f}" for volume in volumes))
    fractions, test = fractions_and_volumes([TEST])
    known = ~(fractions[:, volumes == 0] > 0).any(axis=1)
    error = np.log((fractions @ volumes)[known] / test[known])
    _LOGGER.info("test set: ln V is off by %.4f in the mean, standard deviation %.4f", error.mean(), error.std())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
