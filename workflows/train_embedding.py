"""Trains the embedding of protostructures behind the Fréchet distance: ``python -m atomsym.workflows.train_embedding``.

The network learns the formation energy per atom of MP-20 and MPTS-52 crystals from their protostructures. Crystals
that are in the test file, by identifier or by canonical protostructure, are left out of the training. With
``--property band_gap`` it learns another column of these tables, and judges what ``atomsym benchmark guidance`` draws.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from atomsym.artifacts import write_atomically
from atomsym.core import ConfigError, DataError
from atomsym.datasets.crystals import CrystalRecord, read_crystals
from atomsym.metrics.embedding import (
    FILE,
    PROPERTY,
    EmbeddingConfig,
    OrbitTokens,
    ProtostructureEmbedding,
    embedding_bytes,
    orbit_tokens,
    standardised,
)
from atomsym.symmetry.wyckoff import Protostructure
from atomsym.symmetry.wyckoff.relabelling import canonical
from atomsym.workflows.evaluate_crystals.describe import protostructure_of

_LOGGER = logging.getLogger(__name__)

TRAINING = ("mp_20_biternary_val", "mp_20_slices_mini", "mpts_52_val")
TEST = "mp_20_biternary_test"
SYMPREC = 0.1


@dataclass(frozen=True)
class TrainingSettings:
    """How the network is trained.

    Attributes:
        epochs: passes over the data.
        batch: protostructures in a step.
        learning_rate: of AdamW, at its highest; one cycle of warm-up and cosine decay.
        weight_decay: of AdamW.
        seed: of the weights and the order of the data.
    """

    epochs: int = 30
    batch: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 1 or not self.learning_rate > 0 or self.weight_decay < 0:
            raise ConfigError(f"epochs, batch and learning_rate must be positive; found {self}")


def labelled(
    records: Sequence[CrystalRecord], label: str = PROPERTY
) -> tuple[list[Protostructure], list[float], list[str]]:
    """Canonical protostructures, values of the property and identifiers of the crystals that have both."""
    structures, values, names = [], [], []
    for record in records:
        found = protostructure_of(record, SYMPREC)
        if found is not None and label in record.properties:
            structures.append(canonical(found))
            values.append(record.properties[label])
            names.append(record.identifier)
    return structures, values, names


def train_embedding(
    structures: Sequence[Protostructure], energies: Sequence[float], config: EmbeddingConfig, settings: TrainingSettings
) -> tuple[ProtostructureEmbedding, float, float]:
    """Fit the network to energies of a kind; the loss is the mean absolute error.

    Args:
        structures, energies: what to learn from; eV or eV/atom.
        config: sizes.
        settings: of the training.

    Returns:
        The network in evaluation mode, with the points of ``structures`` at mean zero and total variance one; mean and
        standard deviation of the energies.

    Raises:
        DataError: if there are fewer than two crystals.
    """
    if len(structures) < 2:
        raise DataError(f"at least two crystals are needed; found {len(structures)}")
    tokens = orbit_tokens(structures)
    labels = torch.tensor(energies, dtype=torch.float32)
    mean, deviation = float(labels.mean()), float(labels.std().clamp_min(1e-6))
    targets = (labels - mean) / deviation
    generator = torch.Generator().manual_seed(settings.seed)
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        network = ProtostructureEmbedding(config)
    optimizer = torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    steps = settings.epochs * -(-len(targets) // settings.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, total_steps=steps, pct_start=0.1)
    for epoch in range(settings.epochs):
        total = 0.0
        for rows in torch.randperm(len(targets), generator=generator).split(settings.batch):
            loss = (network(tokens.rows(rows)) - targets[rows]).abs().mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(rows)
        _LOGGER.info("epoch %d: mean absolute error %.1f meV", epoch, 1e3 * deviation * total / len(targets))
    network.eval()
    _normalise(network, tokens)
    return network, mean, deviation


def _normalise(network: ProtostructureEmbedding, tokens: OrbitTokens) -> None:
    with torch.inference_mode():
        points = torch.cat([network.points(tokens.rows(rows)) for rows in torch.arange(len(tokens)).split(512)])
        total = points.double().var(dim=0).sum().sqrt()
        network.mean.copy_(points.double().mean(dim=0))
        network.scale.copy_(1 / total)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train on the known sets and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=FILE)
    parser.add_argument("--epochs", type=int, default=TrainingSettings.epochs)
    parser.add_argument("--seed", type=int, default=TrainingSettings.seed)
    parser.add_argument("--property", default=PROPERTY, help="column of energies in eV or eV/atom")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    settings = TrainingSettings(epochs=given.epochs, seed=given.seed)
    if given.property != PROPERTY and given.file == FILE:
        raise ConfigError("name a file: the shipped one is of the formation energy")
    test_structures, test_energies, test_names = labelled(read_crystals(TEST), given.property)
    held, names = set(test_structures), set(test_names)
    structures: list[Protostructure] = []
    energies: list[float] = []
    used: list[str] = []
    for source in TRAINING:
        found = labelled(read_crystals(source), given.property)
        used += [source] if found[0] else []
        for structure, energy, name in zip(*found, strict=True):
            if name not in names and structure not in held:
                structures.append(structure)
                energies.append(energy)
                names.add(name)
    if not structures or not test_structures:
        raise DataError(f"no crystals of the known sets have the property '{given.property}'")
    _LOGGER.info("%d crystals for training, %d for the test", len(structures), len(test_structures))
    network, mean, deviation = train_embedding(structures, energies, EmbeddingConfig(), settings)
    labels = torch.tensor(test_energies)
    error = float((standardised(network, test_structures) * deviation + mean - labels).abs().mean())
    spread = float((labels - labels.median()).abs().mean())
    unit = "eV/atom" if given.property.endswith("per_atom") else "eV"
    _LOGGER.info("test: mean absolute error %.1f m%s; of the median %.1f", 1e3 * error, unit, 1e3 * spread)
    description = {
        "kind": "embedding of protostructures for the Fréchet distance",
        "training_data": f"{len(structures)} crystals of {', '.join(used)} without those of {TEST}",
        "data_hash": hashlib.sha256(repr(sorted(zip(structures, energies, strict=True))).encode()).hexdigest()[:16],
        "licence": "MIT; trained on data of the Materials Project, CC BY 4.0",
        "symprec": str(SYMPREC),
        "energy_mean_deviation": f"{mean:.4f}, {deviation:.4f} {unit}",
        "test_mae": f"{1e3 * error:.1f} m{unit} on {len(labels)} crystals; {1e3 * spread:.1f} for the median",
        "training": f"{settings}",
    }
    if given.property != PROPERTY:
        description["property"] = given.property
    write_atomically(given.file, embedding_bytes(network, description))
    _LOGGER.info("%s: %d values", given.file, int(np.sum([p.numel() for p in network.parameters()])))


if __name__ == "__main__":
    main()
