"""The trained generator as a file whose card tells how it came about."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from atomsym.artifacts import config_to_dict, save_generator
from atomsym.generators import ProtostructureGenerator
from atomsym.training.checkpoints import Progress
from atomsym.training.export import file_names, filled_card
from atomsym.training.generators.config import GeneratorTrainingConfig


def save_trained_generator(
    generator: ProtostructureGenerator,
    path: Path,
    config: GeneratorTrainingConfig,
    progress: Progress,
    *,
    description: str,
    sizes: tuple[int, int],
) -> None:
    """Write the generator with a filled card.

    Args:
        generator: with the weights to be saved.
        path: the file.
        config: of the run.
        progress: of the run.
        description: of the data, one line.
        sizes: numbers of training and validation crystals.

    Raises:
        ArtifactError: if the file cannot be written.
        ConfigError: if the name cannot be one of a model.
    """
    where = description or ", ".join(file_names(config.data.train))
    data = f"{where}: {sizes[0]} crystals for training, {sizes[1]} for validation"
    save_generator(generator, path, filled_card(config.output, data, generator_record(config, progress, sizes)))


def generator_record(config: GeneratorTrainingConfig, progress: Progress, sizes: tuple[int, int]) -> dict[str, Any]:
    """What the card says of the training as plain data; the hash is that of its config."""
    data = config.data
    data = replace(
        data,
        train=file_names(data.train),
        validation=file_names(data.validation),
        test=file_names(data.test),
    )
    config = replace(config, data=data)
    return {
        "config": config_to_dict(config),
        "config_hash": config.hash,
        "data_digest": progress.data_digest,
        "crystals": {"train": sizes[0], "validation": sizes[1]},
        "best_epoch": progress.best_epoch,
        "steps": progress.step,
        "validation_loss": progress.best_loss,
        "unit": "nats a crystal",
    }
