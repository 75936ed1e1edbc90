"""Learned potentials can learn: a few geometries of ethanol are reproduced after a short training."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from atomsym.core import AtomGraph
from atomsym.datasets import read_dataset
from atomsym.derivatives import evaluate
from atomsym.models import ESEN, MACE, LearnedPotential, NequIP
from atomsym.training.samples import Samples
from atomsym.training.statistics import dataset_statistics

CUTOFF, STEPS = 4.0, 600
SETTINGS: dict[type[LearnedPotential], dict[str, Any]] = {
    MACE: {"hidden": "0e+1o", "max_degree": 2, "correlation": 2},
    NequIP: {"hidden": "0e+1o", "n_layers": 3},
    ESEN: {"edge_channels": 16, "feed_forward_channels": 32},
}


@pytest.fixture(scope="module")
def samples() -> Samples:
    """Five of the training geometries that rMD17 publishes."""
    file = Path(os.environ.get("ATOMSYM_DATA", "/nowhere")) / "rmd17/rmd17_ethanol_train_01.npz"
    if not file.is_file():
        pytest.skip("no published data: set ATOMSYM_DATA")
    return Samples([read_dataset(file)[index] for index in range(0, 500, 100)], CUTOFF, torch.float32)


@pytest.mark.slow
@pytest.mark.parametrize("potential_class", list(SETTINGS))
def test_five_geometries_of_ethanol_are_reproduced(potential_class: type[LearnedPotential], samples: Samples) -> None:
    """Forces to 5 % of their size, from 100 % at the start; energies to a quarter of how much they vary."""
    statistics = dataset_statistics(samples)
    settings = {"channels": 16, "radial_hidden": (16,), **SETTINGS[potential_class]}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        potential = potential_class(potential_class.config_from_statistics(settings, statistics))  # type: ignore[arg-type]
    batch = AtomGraph.batch([samples.graph(index) for index in range(len(samples))])
    forces = torch.cat([torch.from_numpy(frame.forces) for frame in samples.structures]).float()
    energy = torch.tensor([frame.energy for frame in samples.structures], dtype=torch.float64)
    optimizer = torch.optim.Adam(potential.parameters(), lr=0.01, amsgrad=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)

    def errors(create_graph: bool) -> tuple[torch.Tensor, torch.Tensor]:
        found = evaluate(potential, batch, ("forces",), create_graph=create_graph)
        assert found.forces is not None
        return (found.forces - forces) / statistics.rms_forces, found.energy - energy

    before = errors(create_graph=False)[0].square().mean().sqrt()
    for _ in range(STEPS):
        optimizer.zero_grad()
        of_forces, of_energy = errors(create_graph=True)
        (of_forces.square().mean() + (of_energy / 3).square().mean()).backward()
        optimizer.step()
        schedule.step()
    of_forces, of_energy = errors(create_graph=False)
    assert before > 0.9
    assert of_forces.square().mean().sqrt() < 0.05
    assert of_energy.abs().max() < 0.25 * energy.std()
