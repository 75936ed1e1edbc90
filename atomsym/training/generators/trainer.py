"""The training loop of generators of protostructures.

As for potentials, everything random in a step follows from the seed and the number of the step, so that a run that was
killed anywhere and continued from its last checkpoint ends with the same weights, bit by bit, on a CPU.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from atomsym.artifacts import usable_device, write_atomically
from atomsym.core import CalculationError, ConfigError
from atomsym.generators import ProtostructureBatch, relabelled
from atomsym.training.batches import BatchIndices, EdgeBatcher
from atomsym.training.checkpoints import Checkpoint, Progress, RunKind, write_checkpoint
from atomsym.training.config_files import config_to_yaml
from atomsym.training.generators.config import GeneratorTrainingConfig, new_generator
from atomsym.training.generators.export import save_trained_generator
from atomsym.training.generators.likelihood import mean_loss
from atomsym.training.logs import CsvLog, Value
from atomsym.training.observers import Observer
from atomsym.training.optimizers import MovingAverage, make_optimizer, optimizer_tensors, restore_optimizer
from atomsym.training.schedules import schedule_factor
from atomsym.training.trainer import CONFIG_FILE, LOG_FILE, StopRequest, mixed_seed

GENERATOR_RUN = RunKind("atomsym-generator-checkpoint", GeneratorTrainingConfig, "generator_checkpoint.safetensors")
GENERATOR_FILE = "generator.safetensors"
COLUMNS = ("epoch", "step", "seconds", "learning_rate", "train_loss", "validation_loss", "best")
"""Of the log; losses are in nats a crystal."""


@dataclass(frozen=True)
class GeneratorData:
    """Crystals of a run, on the CPU; columns of properties are those that the generator asks for.

    Attributes:
        train, validation: at least one crystal each.
        tests: further parts by name, which the best generator is scored on at the end.
        description: one line for the model card.
    """

    train: ProtostructureBatch
    validation: ProtostructureBatch
    tests: Mapping[str, ProtostructureBatch] = field(default_factory=dict)
    description: str = ""


@dataclass(frozen=True)
class GeneratorTrainingResult:
    """How a session ended.

    Attributes:
        folder: of the run.
        complete: whether the run is done; otherwise ``resume_generator`` goes on with it.
        reason: why it ended.
        config: of the run.
        progress: where it is.
        generator_file: the best generator so far; None before the first validation.
    """

    folder: Path
    complete: bool
    reason: str
    config: GeneratorTrainingConfig
    progress: Progress
    generator_file: Path | None


class GeneratorTrainer:
    """One session of a run. Use ``train_generator`` or ``resume_generator``."""

    def __init__(
        self,
        config: GeneratorTrainingConfig,
        data: GeneratorData,
        folder: Path,
        checkpoint: Checkpoint[GeneratorTrainingConfig] | None,
        observer: Observer,
    ) -> None:
        for name, part in (("training", data.train), ("validation", data.validation)):
            if not len(part.groups):
                raise ConfigError(f"there are no {name} crystals")
        self.config, self.data, self.folder, self.observer = config, data, folder, observer
        self.device = usable_device(config.device)
        self.progress = Progress() if checkpoint is None else checkpoint.progress
        self.generator = new_generator(config).to(self.device)
        self._require_properties()
        if checkpoint is None:
            self.generator.learn_statistics(data.train)
        self.average = MovingAverage(self.generator, config.ema)
        self.optimizer = make_optimizer(self.generator, config.optimizer)
        self.best: dict[str, Tensor] = {}
        self._exported_epoch: int | None = None
        self._check_data()
        if checkpoint is not None:
            self._restore(checkpoint)
        n_crystals = len(data.train.groups)
        self.batcher = EdgeBatcher([1] * n_crystals, structures=config.batch.crystals, edges=0, seed=config.seed)
        write_atomically(folder / CONFIG_FILE, config_to_yaml(config).encode())
        self.log = CsvLog(folder / LOG_FILE, COLUMNS, self.progress.log_bytes)
        self._session_start = self._saved_at = time.monotonic()
        self._seconds_before = self.progress.seconds
        self._saved_step = self.progress.step

    def run(self, stop: StopRequest | None = None) -> GeneratorTrainingResult:
        """Train until the run is complete or something asks to stop."""
        self._stop = stop or (lambda: "")
        devices = [self.device.index or 0] if self.device.type == "cuda" else []
        reason = self.progress.finished
        with torch.random.fork_rng(devices=devices):
            while not reason and not self.progress.finished:
                reason = self._epoch()
        self.save()
        self.observer.close()
        return GeneratorTrainingResult(
            self.folder, bool(self.progress.finished), self.progress.finished or reason, self.config, self.progress,
            self.folder / GENERATOR_FILE if self.best else None,
        )  # fmt: skip

    def save(self) -> None:
        """Write a checkpoint, and the best generator if it is a new one."""
        self.progress.seconds = self._seconds()
        self.progress.log_bytes = self.log.length
        parts = {
            "model": self.generator.state_dict(), "average": self.average.model.state_dict(), "best": self.best,
            "optimizer": optimizer_tensors(self.optimizer, self.generator),
        }  # fmt: skip
        write_checkpoint(self.folder, self.config, self.progress, parts, GENERATOR_RUN)
        if self.best and self._exported_epoch != self.progress.best_epoch:
            self._export()
        self._saved_at, self._saved_step = time.monotonic(), self.progress.step

    def _epoch(self) -> str:
        """Train what is left of an epoch and validate; returns why to stop, if so."""
        progress, config = self.progress, self.config
        batches = self.batcher.epoch(progress.epoch)
        while progress.position < len(batches):
            self._step(batches[progress.position], len(batches))
            self._save_if_due()
            if reason := self._reason_to_stop():
                return reason
        found = mean_loss(
            self.average.model, self.data.validation, seed=mixed_seed(config.seed, 1), draws=config.validation_draws,
            augmentation=config.augmentation, stop=self._reason_to_stop,
        )  # fmt: skip
        if isinstance(found, str):
            return found
        self._finish_epoch(found)
        return "" if progress.finished else self._reason_to_stop()

    def _step(self, indices: BatchIndices, n_batches: int) -> None:
        progress, config = self.progress, self.config
        torch.manual_seed(mixed_seed(config.seed, progress.step, 0))  # dropout
        random = torch.Generator().manual_seed(mixed_seed(config.seed, progress.step, 1))
        batch = self.data.train.select(torch.tensor(indices))
        batch = relabelled(batch, random) if config.augmentation else batch
        self.optimizer.zero_grad()
        loss = self.generator.loss(batch.to(self.device), random).mean()
        torch.autograd.backward(loss)
        self._clip()
        rate = self._rate((progress.position + 1) / n_batches)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.average.update(self.generator, progress.step)
        progress.step += 1
        progress.position += 1
        value = float(loss.detach())
        progress.sums = (progress.sums[0] + len(indices), progress.sums[1] + len(indices) * value, *progress.sums[2:])
        self.observer.on_step(progress.epoch, config.epochs, progress.position, n_batches, value)

    def _clip(self) -> None:
        limit = self.config.optimizer.clip_norm
        norm = float(torch.nn.utils.clip_grad_norm_(self.generator.parameters(), limit or float("inf")))
        if norm != norm or norm == float("inf"):
            raise CalculationError(
                f"the gradient of the loss is not finite in step {self.progress.step + 1} (epoch "
                f"{self.progress.epoch + 1}); lower optimizer.learning_rate"
            )

    def _rate(self, fraction: float) -> float:
        config, progress = self.config, self.progress
        factor = schedule_factor(config.schedule, progress.epoch + fraction, config.epochs, progress.plateau_factor)
        return config.optimizer.learning_rate * factor

    def _finish_epoch(self, loss: float) -> None:
        progress, config = self.progress, self.config
        better = progress.best_loss is None or loss < progress.best_loss
        if better:
            progress.best_loss, progress.best_epoch, progress.stale_epochs = loss, progress.epoch + 1, 0
            self.best = {name: tensor.detach().clone() for name, tensor in self.average.model.state_dict().items()}
        else:
            progress.stale_epochs += 1
            if config.schedule.kind == "plateau" and progress.stale_epochs % config.schedule.patience == 0:
                progress.plateau_factor *= config.schedule.decay
        row: dict[str, Value] = {
            "epoch": progress.epoch + 1, "step": progress.step, "seconds": round(self._seconds(), 1),
            "learning_rate": self._rate(1.0), "train_loss": progress.sums[1] / max(progress.sums[0], 1.0),
            "validation_loss": loss, "best": int(better),
        }  # fmt: skip
        self.log.write(row)
        self.observer.on_epoch(row)
        progress.epoch, progress.position, progress.sums = progress.epoch + 1, 0, (0.0,) * len(progress.sums)
        if config.early_stop and progress.stale_epochs >= config.early_stop:
            progress.finished = f"no improvement in {config.early_stop} epochs"
        elif progress.epoch >= config.epochs:
            progress.finished = f"{config.epochs} epochs done"

    def _reason_to_stop(self) -> str:
        limit = self.config.max_minutes
        late = bool(limit) and time.monotonic() - self._session_start > 60 * limit
        return self._stop() or ("time limit" if late else "")

    def _save_if_due(self) -> None:
        every = self.config.output.checkpoint_steps
        by_steps = every and self.progress.step - self._saved_step >= every
        if by_steps or time.monotonic() - self._saved_at > 60 * self.config.output.checkpoint_minutes:
            self.save()

    def _restore(self, checkpoint: Checkpoint[GeneratorTrainingConfig]) -> None:
        self.generator.load_state_dict(checkpoint.part("model"))
        self.average.model.load_state_dict(checkpoint.part("average"))
        self.best = {name: tensor.to(self.device) for name, tensor in checkpoint.part("best").items()}
        restore_optimizer(self.optimizer, self.generator, checkpoint.part("optimizer"))
        progress = self.progress
        if progress.finished and progress.epoch < self.config.epochs:
            progress.finished = ""  # more epochs, or more patience, were asked for

    def _require_properties(self) -> None:
        wanted = len(self.generator.properties)
        for part in (self.data.train, self.data.validation, *self.data.tests.values()):
            if part.properties.shape[1] != wanted:
                raise ConfigError(
                    f"the generator takes {wanted} properties, but the data come with {part.properties.shape[1]}"
                )

    def _check_data(self) -> None:
        """Recognise the crystals of a run."""
        digest = hashlib.sha256()
        for part in (self.data.train, self.data.validation):
            for values in part:
                digest.update(repr(tuple(values.shape)).encode() + values.numpy().tobytes())
        found = digest.hexdigest()[:16]
        if self.progress.data_digest not in ("", found):
            raise ConfigError("these are not the crystals that the run began with; a run goes on with the same data")
        self.progress.data_digest = found

    def _export(self) -> None:
        generator = new_generator(self.config)
        generator.load_state_dict(self.best)
        sizes = (len(self.data.train.groups), len(self.data.validation.groups))
        save_trained_generator(
            generator, self.folder / GENERATOR_FILE, self.config, self.progress,
            description=self.data.description, sizes=sizes,
        )  # fmt: skip
        self._exported_epoch = self.progress.best_epoch

    def _seconds(self) -> float:
        return self._seconds_before + time.monotonic() - self._session_start
