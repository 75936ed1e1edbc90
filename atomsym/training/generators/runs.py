"""Beginning a training run of a generator, and going on with one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from atomsym.core import ConfigError
from atomsym.training.checkpoints import read_checkpoint_of
from atomsym.training.generators.config import GeneratorTrainingConfig
from atomsym.training.generators.trainer import (
    GENERATOR_RUN,
    GeneratorData,
    GeneratorTrainer,
    GeneratorTrainingResult,
)
from atomsym.training.observers import Observer
from atomsym.training.session import StopRequest, changed_config


def train_generator(
    config: GeneratorTrainingConfig,
    data: GeneratorData,
    folder: Path,
    *,
    observer: Observer | None = None,
    stop: StopRequest | None = None,
) -> GeneratorTrainingResult:
    """Train a generator.

    The folder gets ``config.yaml``, ``log.csv``, ``generator_checkpoint.safetensors`` and ``generator.safetensors``,
    the averaged weights of the epoch with the lowest validation loss.

    Args:
        config: what to do.
        data: the crystals.
        folder: must exist and hold no run.
        observer: is told of steps and epochs.
        stop: a reason ends the session with a checkpoint after the current step.

    Raises:
        ConfigError: if the config does not fit the data or the folder holds a run.
        CalculationError: if the gradient of the loss is not finite.
        ArtifactError: if a file cannot be written.
    """
    if (folder / GENERATOR_RUN.file_name).exists():
        raise ConfigError(f"{folder} holds a training run; go on with it by resuming, or choose another folder")
    trainer = GeneratorTrainer(config, data, folder, None, observer or Observer())
    trainer.save()
    return trainer.run(stop)


def resume_generator(
    folder: Path,
    data: GeneratorData,
    *,
    changes: Mapping[str, Any] | None = None,
    observer: Observer | None = None,
    stop: StopRequest | None = None,
) -> GeneratorTrainingResult:
    """Go on with a run from its last checkpoint, exactly as if it had not been interrupted.

    Args:
        folder: of the run.
        data: the same crystals in the same order.
        changes: new values of ``RESUME_ENTRIES``.
        observer, stop: as for ``train_generator``.

    Raises:
        ArtifactError: if there is no run, or its checkpoint is damaged.
        ConfigError: if the data are not those of the run, or another entry is to be changed.
        CalculationError: as ``train_generator``.
    """
    checkpoint = read_checkpoint_of(GENERATOR_RUN, folder)
    config = changed_config(checkpoint.config, changes)
    return GeneratorTrainer(config, data, folder, checkpoint, observer or Observer()).run(stop)
