"""Beginning a training run, and going on with one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from atomsym.artifacts import usable_device
from atomsym.core import ConfigError
from atomsym.core.precision import dtype_named
from atomsym.models import Potential
from atomsym.training.checkpoints import FILE_NAME, read_checkpoint
from atomsym.training.config import TrainingConfig
from atomsym.training.observers import Observer
from atomsym.training.parallel import Ranks
from atomsym.training.resolve import model_cutoff, resolved_config
from atomsym.training.samples import Samples
from atomsym.training.session import StopRequest, changed_config
from atomsym.training.start import starting_potential
from atomsym.training.trainer import Trainer, TrainingData, TrainingResult


def train(
    config: TrainingConfig,
    data: TrainingData,
    folder: Path,
    *,
    observer: Observer | None = None,
    stop: StopRequest | None = None,
    ranks: Ranks | None = None,
    start: Potential | None = None,
) -> TrainingResult:
    """Train a potential.

    The folder gets ``config.yaml`` (complete), ``log.csv``, ``checkpoint.safetensors`` and ``model.safetensors``, the
    averaged weights of the epoch with the lowest validation loss. Where stages change the loss, that is the best epoch
    of the last stage that was reached.

    Args:
        config: what to do; what the model takes from the data may be left out.
        data: the structures.
        folder: must exist and hold no run.
        observer: is told of steps and epochs.
        stop: a reason ends the session with a checkpoint after the current step.
        ranks: processes of the run; default: this one.
        start: ``starting_potential`` of the config, if that has been read.

    Raises:
        ConfigError: if the config does not fit the data or the folder holds a run.
        DataError: if labels that the loss needs are missing or not finite.
        InputError: if a structure cannot be used.
        CalculationError: if the loss or its gradient is not finite.
        ArtifactError: if a file cannot be written.
    """
    processes = ranks or Ranks()
    device = _device(config, processes)
    if processes.any((folder / FILE_NAME).exists(), device):  # all ranks look before the first one writes
        raise ConfigError(f"{folder} holds a training run; go on with it by resuming, or choose another folder")
    start = starting_potential(config) if start is None else start
    samples = Samples(data.train, model_cutoff(config, start), dtype_named(config.dtype), device)
    complete, _ = resolved_config(config, samples, start)
    trainer = Trainer(complete, data, folder, samples, None, observer or Observer(), processes, start)
    trainer.save()
    return trainer.run(stop)


def resume(
    folder: Path,
    data: TrainingData,
    *,
    changes: Mapping[str, object] | None = None,
    observer: Observer | None = None,
    stop: StopRequest | None = None,
    ranks: Ranks | None = None,
) -> TrainingResult:
    """Go on with a run from its last checkpoint, exactly as if it had not been interrupted.

    Args:
        folder: of the run.
        data: the same structures in the same order.
        changes: new values of ``RESUME_ENTRIES``.
        observer, stop, ranks: as for ``train``; the number of processes may differ.

    Raises:
        ArtifactError: if there is no run, or its checkpoint is damaged.
        ConfigError: if the data are not those of the run, or another entry is to be changed.
        InputError, CalculationError: as ``train``.
    """
    checkpoint = read_checkpoint(folder)
    config = changed_config(checkpoint.config, changes)
    processes = ranks or Ranks()
    samples = Samples(data.train, float(config.model["cutoff"]), dtype_named(config.dtype), _device(config, processes))
    trainer = Trainer(config, data, folder, samples, checkpoint, observer or Observer(), processes)
    return trainer.run(stop)


def _device(config: TrainingConfig, ranks: Ranks) -> torch.device:
    device = usable_device(config.device)
    if device.type == "cuda" and ranks.size > 1:
        return torch.device("cuda", ranks.local_rank)
    return device
