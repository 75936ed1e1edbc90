"""Small structures with forces that really belong to their energies, and the folder of published sets, if any."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from atomsym.core import LabelledStructure

Maker = Callable[..., list[LabelledStructure]]


def bonded(positions: np.ndarray, stiffness: float = 5.0) -> tuple[float, np.ndarray]:
    """Energy and forces of springs of length 1.2 Å between all atoms."""
    vectors = positions[:, None] - positions[None]
    lengths = np.linalg.norm(vectors, axis=2) + np.eye(len(positions))
    stretch = (lengths - 1.2) * (1 - np.eye(len(positions)))
    energy = 0.25 * stiffness * float((stretch**2).sum())
    return energy, -stiffness * ((stretch / lengths)[:, :, None] * vectors).sum(axis=1)


@pytest.fixture
def molecules() -> Maker:
    """``molecules(n, seed)``: distorted tetrahedra C O H H with energy and forces."""

    def make(n: int, seed: int = 0, step: float = 0.05) -> list[LabelledStructure]:
        generator = np.random.default_rng(seed)
        corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 1.2 / np.sqrt(8)
        made = []
        for index in range(n):
            positions = corners + step * generator.standard_normal((4, 3))
            energy, forces = bonded(positions)
            made.append(
                LabelledStructure(
                    numbers=np.array([6, 8, 1, 1]),
                    positions=positions,
                    cell=np.zeros((3, 3)),
                    pbc=np.zeros(3, dtype=bool),
                    energy=energy - 500.0,
                    forces=forces,
                    source=f"made:{index}",
                )
            )
        return made

    return make


@pytest.fixture
def crystals() -> Maker:
    """``crystals(n, seed)``: rattled cubic cells of Cu and Ni with energy, forces, stress and group."""

    def make(n: int, seed: int = 0) -> list[LabelledStructure]:
        generator = np.random.default_rng(seed)
        made = []
        for index in range(n):
            fractional = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
            stress = generator.standard_normal((3, 3)) * 0.01
            forces = generator.standard_normal((4, 3))
            numbers = np.where(generator.random(4) < 0.5, 29, 28)
            made.append(
                LabelledStructure(
                    numbers=numbers,
                    positions=fractional * 3.6 + 0.05 * generator.standard_normal((4, 3)),
                    cell=3.6 * np.eye(3) + 0.02 * generator.standard_normal((3, 3)),
                    pbc=np.ones(3, dtype=bool),
                    energy=float(np.where(numbers == 29, -3.7, -5.5).sum() + 0.01 * generator.standard_normal()),
                    forces=forces - forces.mean(axis=0),
                    stress=stress + stress.T,
                    group="even" if index % 2 == 0 else "odd",
                    source=f"made:{index}",
                )
            )
        return made

    return make


@pytest.fixture(scope="session")
def published() -> Path:
    """The folder of published data sets; tests that need it are skipped where there is none."""
    folder = os.environ.get("ATOMSYM_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("no published data: set ATOMSYM_DATA")
    return Path(folder)


def same(a: LabelledStructure, b: LabelledStructure, *, provenance: bool = True) -> bool:
    """Equal to the last digit."""
    arrays = ("numbers", "positions", "cell", "pbc", "forces", "stress", "hessian")
    for name in arrays:
        x, y = getattr(a, name), getattr(b, name)
        if (x is None) != (y is None) or (x is not None and not np.array_equal(x, y, equal_nan=x.dtype.kind == "f")):
            return False
    scalars = ("energy", "target", "group", *(("source",) if provenance else ()))
    return all(getattr(a, name) == getattr(b, name) for name in scalars)
