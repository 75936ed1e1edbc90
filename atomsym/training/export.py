"""The trained potential as a model file whose card tells how it came about."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from atomsym.artifacts import ModelCard, ModelDescription, config_to_dict, save_model
from atomsym.models import Potential
from atomsym.training.checkpoints import Progress
from atomsym.training.config import OutputSection, TrainingConfig
from atomsym.training.quantities import quantities_of


def save_trained_model(
    potential: Potential,
    path: Path,
    config: TrainingConfig,
    progress: Progress,
    *,
    description: str,
    sizes: tuple[int, int],
) -> ModelDescription:
    """Write the model with a filled card.

    Args:
        potential: with the weights to be saved.
        path: the file.
        config: complete config of the run.
        progress: of the run, with the errors of the best epoch.
        description: of the data, one line.
        sizes: numbers of training and validation structures.

    Raises:
        ArtifactError: if the file cannot be written.
        ConfigError: if the name cannot be one of a model.
    """
    where = description or config.data.known_set or ", ".join(file_names(config.data.train)) or "unnamed structures"
    data = f"{where}: {sizes[0]} structures for training, {sizes[1]} for validation"
    record = training_record(config, progress, sizes)
    record["units"] = {name: quantity.unit for name, quantity in quantities_of(potential).items()}
    return save_model(potential, path, filled_card(config.output, data, record))


def filled_card(output: OutputSection, training_data: str, record: dict[str, Any]) -> ModelCard:
    """The card of what a run has trained: the author's statements, the data in words and the record of the run."""
    return ModelCard(
        name=output.name,
        level_of_theory=output.level_of_theory,
        training_data=training_data,
        licence=output.licence,
        citation=output.citation,
        description=output.description,
        training=json.dumps(record, separators=(",", ":"), ensure_ascii=False),
    )


def training_record(config: TrainingConfig, progress: Progress, sizes: tuple[int, int]) -> dict[str, Any]:
    """What the card says of the training: settings, splits and errors as plain data; the hash is that of its config."""
    files = config.data
    data = replace(
        files,
        train=file_names(files.train),
        validation=file_names(files.validation),
        test=file_names(files.test),
        isolated_atoms=Path(files.isolated_atoms).name,
    )
    config = replace(config, data=data)
    return {
        "config": config_to_dict(config),
        "config_hash": config.hash,
        "data_digest": progress.data_digest,
        "structures": {"train": sizes[0], "validation": sizes[1]},
        "best_epoch": progress.best_epoch,
        "steps": progress.step,
        "validation_loss": progress.best_loss,
        "validation_errors": progress.best_errors,
    }


def file_names(paths: tuple[str, ...]) -> tuple[str, ...]:
    """Without folders: a model file travels, and the folders of the machine it was trained on mean nothing there."""
    return tuple(Path(path).name for path in paths)
