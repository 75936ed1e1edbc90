"""The training loop of generators of protostructures.

As for potentials, everything random in a step follows from the seed and the number of the step, so that a run that was
killed anywhere and continued from its last checkpoint ends with the same weights, bit by bit, on a CPU.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from atomsym.artifacts import usable_device
from atomsym.core import CalculationError, ConfigError
from atomsym.generators import ProtostructureBatch, relabelled
from atomsym.training.batches import BatchIndices, EdgeBatcher
from atomsym.training.checkpoints import Checkpoint, Progress, RunKind
from atomsym.training.generators.config import GeneratorTrainingConfig, new_generator
from atomsym.training.generators.export import save_trained_generator
from atomsym.training.generators.likelihood import mean_loss
from atomsym.training.logs import Value
from atomsym.training.observers import Observer
from atomsym.training.schedules import schedule_factor
from atomsym.training.session import Session, StopRequest, mixed_seed

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


class GeneratorTrainer(Session[GeneratorTrainingConfig]):
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
        self.data, device = data, usable_device(config.device)
        self.generator = new_generator(config).to(device)
        self._require_properties()
        if checkpoint is None:
            self.generator.learn_statistics(data.train)
        n_crystals = len(data.train.groups)
        self.batcher = EdgeBatcher([1] * n_crystals, structures=config.batch.crystals, edges=0, seed=config.seed)
        super().__init__(
            GENERATOR_RUN, config, folder, self.generator, device, checkpoint, observer,
            data=(_digest(data), "crystals"), columns=COLUMNS,
        )  # fmt: skip

    def run(self, stop: StopRequest | None = None) -> GeneratorTrainingResult:
        """Train until the run is complete or something asks to stop."""
        reason = self._train(stop)
        return GeneratorTrainingResult(
            self.folder, bool(self.progress.finished), reason, self.config, self.progress,
            self.folder / GENERATOR_FILE if self.best else None,
        )  # fmt: skip

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
        self._update(self._rate((progress.position + 1) / n_batches))
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
        better = self._keep_if_best(loss)
        if not better and config.schedule.kind == "plateau" and progress.stale_epochs % config.schedule.patience == 0:
            progress.plateau_factor *= config.schedule.decay
        row: dict[str, Value] = {
            "epoch": progress.epoch + 1, "step": progress.step, "seconds": round(self._seconds(), 3),
            "learning_rate": self._rate(1.0), "train_loss": progress.sums[1] / max(progress.sums[0], 1.0),
            "validation_loss": loss, "best": int(better),
        }  # fmt: skip
        if self.log is not None:
            self.log.write(row)
        self.observer.on_epoch(row)
        progress.epoch, progress.position, progress.sums = progress.epoch + 1, 0, (0.0,) * len(progress.sums)
        if config.early_stop and progress.stale_epochs >= config.early_stop:
            progress.finished = f"no improvement in {config.early_stop} epochs"
        elif progress.epoch >= config.epochs:
            progress.finished = f"{config.epochs} epochs done"

    def _require_properties(self) -> None:
        wanted = len(self.generator.properties)
        for part in (self.data.train, self.data.validation, *self.data.tests.values()):
            if part.properties.shape[1] != wanted:
                raise ConfigError(
                    f"the generator takes {wanted} properties, but the data come with {part.properties.shape[1]}"
                )

    def _export(self) -> None:
        generator = new_generator(self.config)
        generator.load_state_dict(self.best)
        sizes = (len(self.data.train.groups), len(self.data.validation.groups))
        save_trained_generator(
            generator, self.folder / GENERATOR_FILE, self.config, self.progress,
            description=self.data.description, sizes=sizes,
        )  # fmt: skip


def _digest(data: GeneratorData) -> str:
    """Recognises the crystals of a run."""
    digest = hashlib.sha256()
    for part in (data.train, data.validation):
        for values in part:
            digest.update(repr(tuple(values.shape)).encode() + values.numpy().tobytes())
    return digest.hexdigest()[:16]
