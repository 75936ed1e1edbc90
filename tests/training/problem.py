"""A tiny real problem: Morse parameters are fitted to energies, forces and stresses of Lennard-Jones argon."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from atomsym.artifacts import config_from_dict
from atomsym.core import AtomGraph, LabelledStructure
from atomsym.derivatives import evaluate, hessian
from atomsym.kernels.neighbors import connect
from atomsym.models import ARGON, LennardJones
from atomsym.training import TrainingConfig

TRUTH = LennardJones(replace(ARGON, cutoff=6.0, onset=4.5))
MORSE = {
    "architecture": "morse",
    "cutoff": 6.0,
    "onset": 4.5,
    "depth": [[0.008]],
    "alpha": [[1.5]],
    "equilibrium": [[3.9]],
}


def labelled(
    rng: np.random.Generator, number: int, *, periodic: bool = True, with_hessian: bool = False
) -> LabelledStructure:
    """Rattled argon with labels of the truth."""
    basis = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    a = rng.uniform(5.2, 5.7)
    positions = basis * a + rng.normal(0, 0.15, (4, 3))
    cell = np.eye(3) * a if periodic else np.zeros((3, 3))
    numbers = np.full(4, 18)
    graph = connect(AtomGraph.from_arrays(positions, numbers, cell, periodic), 6.0)
    found = evaluate(TRUTH, graph, ("energy", "forces", *(["stress"] if periodic else [])))
    matrix = hessian(TRUTH, graph).numpy() if with_hessian else None
    return LabelledStructure(
        numbers=numbers,
        positions=positions,
        cell=cell,
        pbc=np.full(3, periodic),
        energy=float(found.energy[0]),
        forces=found.forces.numpy(),
        stress=found.stress[0].numpy() if found.stress is not None else None,
        hessian=matrix,
        group="crystal" if periodic else "cluster",
        source=f"made:{number}",
    )


def make_structures() -> list[LabelledStructure]:
    """Twelve crystals and four clusters, some with Hessians."""
    rng = np.random.default_rng(7)
    return [labelled(rng, n, periodic=n % 4 != 3, with_hessian=n % 3 == 0) for n in range(16)]


def config(**entries: Any) -> TrainingConfig:
    """A quick run; entries replace those of the config."""
    base: dict[str, Any] = {
        "model": MORSE,
        "loss": {"energy": 1.0, "forces": 1.0, "stress": 100.0},
        "optimizer": {"learning_rate": 0.02},
        "batch": {"structures": 3},
        "epochs": 4,
        "output": {"name": "tiny", "licence": "MIT", "level_of_theory": "Lennard-Jones"},
    }
    return config_from_dict(TrainingConfig, {**base, **entries})
