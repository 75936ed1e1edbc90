"""One session of a resumable run: what the trainings of potentials and of generators have in common."""

from __future__ import annotations

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from atomsym.artifacts import write_atomically
from atomsym.core import ConfigError
from atomsym.training.checkpoints import Checkpoint, Progress, RunKind, write_checkpoint
from atomsym.training.config import EmaSection, OptimizerSection, OutputSection
from atomsym.training.config_files import config_to_yaml
from atomsym.training.logs import CsvLog
from atomsym.training.observers import Observer
from atomsym.training.optimizers import MovingAverage, make_optimizer, optimizer_tensors, restore_optimizer

CONFIG_FILE = "config.yaml"
LOG_FILE = "log.csv"
RESUME_ENTRIES = ("epochs", "early_stop", "max_minutes", "device")
"""Entries of the config that may change when a run goes on."""

StopRequest = Callable[[], str]
"""Asked between steps: why the run should stop now, or an empty text."""


class RunConfig(Protocol):
    """What a session reads of the config of its run."""

    @property
    def optimizer(self) -> OptimizerSection: ...
    @property
    def ema(self) -> EmaSection: ...
    @property
    def output(self) -> OutputSection: ...
    @property
    def epochs(self) -> int: ...
    @property
    def max_minutes(self) -> float: ...


Config = TypeVar("Config", bound=RunConfig)


class Session(ABC, Generic[Config]):
    """Weights, their average, optimizer and log of a run, from one checkpoint to the next.

    A subclass trains an epoch and writes the file of the model.

    Args:
        kind: of the run.
        config: complete.
        folder: of the run; its config and log are written.
        model: to be trained, on its device, with initial weights.
        device: where it is.
        checkpoint: to go on from; None for a new run.
        observer: is told of epochs and steps.
        data: a digest that recognises the data, and what they are in words.
        columns: of the log.
        writes: whether this process writes files.

    Raises:
        ConfigError: if nothing can be trained, or the data are not those of the run.
        InputError, ArtifactError: if the log or the config cannot be written.
    """

    def __init__(
        self,
        kind: RunKind[Config],
        config: Config,
        folder: Path,
        model: Any,
        device: torch.device,
        checkpoint: Checkpoint[Config] | None,
        observer: Observer,
        *,
        data: tuple[str, str],
        columns: tuple[str, ...],
        writes: bool = True,
    ) -> None:
        self.config, self.folder, self.observer, self.device = config, folder, observer, device
        self.progress = Progress() if checkpoint is None else checkpoint.progress
        self.average = MovingAverage(model, config.ema)
        self.optimizer = make_optimizer(model, config.optimizer)
        self.best: dict[str, Tensor] = {}
        self._kind, self._model = kind, model
        self._exported_epoch: int | None = None
        self._recognise(*data)
        if checkpoint is not None:
            self._restore(checkpoint)
        self.log: CsvLog | None = None
        if writes:
            write_atomically(folder / CONFIG_FILE, config_to_yaml(config).encode())
            self.log = CsvLog(folder / LOG_FILE, columns, self.progress.log_bytes)
        self._session_start = self._saved_at = time.monotonic()
        self._seconds_before, self._saved_step = self.progress.seconds, self.progress.step

    @abstractmethod
    def _epoch(self) -> str:
        """Train what is left of an epoch and validate; returns why to stop, if so."""

    @abstractmethod
    def _export(self) -> None:
        """Write the file of the best model."""

    def save(self) -> None:
        """Write a checkpoint, and the best model if it is a new one."""
        progress = self.progress
        progress.seconds = self._seconds()
        if self.log is not None:
            progress.log_bytes = self.log.length
            parts = {
                "model": self._model.state_dict(), "average": self.average.model.state_dict(), "best": self.best,
                "optimizer": optimizer_tensors(self.optimizer, self._model),
            }  # fmt: skip
            write_checkpoint(self.folder, self.config, progress, parts, self._kind)
            if self.best and self._exported_epoch != progress.best_epoch:
                self._export()
                self._exported_epoch = progress.best_epoch
        self._saved_at, self._saved_step = time.monotonic(), progress.step

    def _train(self, stop: StopRequest | None) -> str:
        """Train until the run is complete or something asks to stop; returns which of them."""
        self._stop = stop or (lambda: "")
        devices = [self.device.index or 0] if self.device.type == "cuda" else []
        reason = self.progress.finished
        with torch.random.fork_rng(devices=devices):
            while not reason and not self.progress.finished:
                reason = self._epoch()
        self.save()
        self.observer.close()
        return self.progress.finished or reason

    def _update(self, rate: float) -> None:
        """A step of the optimizer along the gradient that is there."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.average.update(self._model, self.progress.step)
        self.progress.step += 1
        self.progress.position += 1

    def _keep_if_best(self, loss: float) -> bool:
        """Keep the averaged weights if their validation loss is the lowest so far; returns whether it is."""
        progress = self.progress
        if progress.best_loss is not None and not loss < progress.best_loss:
            progress.stale_epochs += 1
            return False
        progress.best_loss, progress.best_epoch, progress.stale_epochs = loss, progress.epoch + 1, 0
        self.best = {name: tensor.detach().clone() for name, tensor in self.average.model.state_dict().items()}
        return True

    def _reason_to_stop(self) -> str:
        limit = self.config.max_minutes
        late = bool(limit) and time.monotonic() - self._session_start > 60 * limit
        return self._stop() or ("time limit" if late else "")

    def _save_if_due(self) -> None:
        every = self.config.output.checkpoint_steps
        by_steps = every and self.progress.step - self._saved_step >= every
        if by_steps or time.monotonic() - self._saved_at > 60 * self.config.output.checkpoint_minutes:
            self.save()

    def _seconds(self) -> float:
        return self._seconds_before + time.monotonic() - self._session_start

    def _recognise(self, digest: str, what: str) -> None:
        if self.progress.data_digest not in ("", digest):
            raise ConfigError(f"these are not the {what} that the run began with; a run goes on with the same data")
        self.progress.data_digest = digest

    def _restore(self, checkpoint: Checkpoint[Config]) -> None:
        self._model.load_state_dict(checkpoint.part("model"))
        self.average.model.load_state_dict(checkpoint.part("average"))
        self.best = {name: tensor.to(self.device) for name, tensor in checkpoint.part("best").items()}
        restore_optimizer(self.optimizer, self._model, checkpoint.part("optimizer"))
        if self.progress.finished and self.progress.epoch < self.config.epochs:
            self.progress.finished = ""  # more epochs, or more patience, were asked for


def changed_config(config: Any, changes: Mapping[str, Any] | None) -> Any:
    """The config of a run that goes on, with new values of ``RESUME_ENTRIES``.

    Raises:
        ConfigError: if another entry is to be changed.
    """
    wrong = set(changes or {}) - set(RESUME_ENTRIES)
    if wrong:
        raise ConfigError(
            f"a run goes on as it began; only {', '.join(RESUME_ENTRIES)} may change, not {', '.join(sorted(wrong))}"
        )
    return replace(config, **dict(changes or {}))


def mixed_seed(*numbers: int) -> int:
    """A seed from several numbers."""
    digest = hashlib.sha256(repr(numbers).encode()).digest()
    return int.from_bytes(digest[:7], "little")
