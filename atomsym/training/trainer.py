"""The training loop.

Why an own loop and not a trainer library such as Lightning Fabric: its checkpoints are pickles, its samplers draw a
fixed number of items, and its distributed wrapper (torch's) does not support ``torch.autograd.grad``, from which forces
come. Without these three, what is left of it is moving tensors to a device. What we need instead, an exact continuation
from the middle of an epoch, batches bounded by edges, and a loss that does not depend on the number of processes, is
the few hundred lines of this folder.

Everything random in a step follows from the seed and the number of the step; nothing depends on time. A run that was
killed anywhere and continued from its last checkpoint therefore ends with the same weights, bit by bit, on a CPU.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from atomsym.core import CalculationError, ConfigError, LabelledStructure
from atomsym.models import Potential
from atomsym.training.batches import BatchIndices, EdgeBatcher
from atomsym.training.checkpoints import POTENTIAL_RUN, Checkpoint, Progress
from atomsym.training.config import TERMS, TrainingConfig
from atomsym.training.export import save_trained_model
from atomsym.training.logs import STEP_COLUMNS, CsvLog, Value, epoch_columns
from atomsym.training.loss import batch_loss
from atomsym.training.metrics import ErrorSums
from atomsym.training.observers import Observer
from atomsym.training.parallel import Ranks
from atomsym.training.quantities import quantities_of
from atomsym.training.resolve import new_potential
from atomsym.training.samples import Samples
from atomsym.training.schedules import learning_rate, stage_at
from atomsym.training.session import Session, StopRequest, mixed_seed
from atomsym.training.validation import Validation, validate

STEP_LOG_FILE = "steps.csv"
MODEL_FILE = "model.safetensors"


@dataclass(frozen=True)
class TrainingData:
    """Structures of a run.

    Attributes:
        train, validation: at least one structure each.
        tests: further parts by name; the final model is evaluated on them by ``atomsym.workflows.train``.
        description: one line for the model card.
    """

    train: Sequence[LabelledStructure]
    validation: Sequence[LabelledStructure]
    tests: Mapping[str, Sequence[LabelledStructure]] = field(default_factory=dict)
    description: str = ""


@dataclass(frozen=True)
class TrainingResult:
    """How a session ended.

    Attributes:
        folder: of the run.
        complete: whether the run is done; otherwise ``resume`` goes on with it.
        reason: why it ended.
        config: complete.
        progress: where it is.
        model_file: the best model so far; None before the first validation.
    """

    folder: Path
    complete: bool
    reason: str
    config: TrainingConfig
    progress: Progress
    model_file: Path | None


class Trainer(Session[TrainingConfig]):
    """One session of a run: its models, optimizer, data and logs. Use ``train`` or ``resume``."""

    def __init__(
        self,
        config: TrainingConfig,
        data: TrainingData,
        folder: Path,
        samples: Samples,
        checkpoint: Checkpoint[TrainingConfig] | None,
        observer: Observer,
        ranks: Ranks,
        start: Potential | None = None,
    ) -> None:
        if not len(data.validation):
            raise ConfigError("there are no validation structures, so the best model could not be told")
        self.data, self.samples, self.ranks = data, samples, ranks
        self.validation = Samples(data.validation, samples.cutoff, samples.dtype, samples.device)
        self.potential = new_potential(config).to(samples.device).train()
        self.quantities = quantities_of(self.potential)
        if start is not None:
            self.potential.load_state_dict(start.state_dict())
        self.batcher = EdgeBatcher(
            samples.n_edges(), structures=config.batch.structures, edges=config.batch.edges, seed=config.seed
        )
        self._weights = [w for w in self.potential.parameters() if w.requires_grad]
        super().__init__(
            POTENTIAL_RUN, config, folder, self.potential, samples.device, checkpoint, observer,
            data=(_digest(samples, len(self.validation)), "structures"), columns=epoch_columns(self.quantities),
            writes=ranks.writes,
        )  # fmt: skip
        self.step_log: CsvLog | None = None
        if ranks.writes and config.output.step_log:
            self.step_log = CsvLog(folder / STEP_LOG_FILE, STEP_COLUMNS, self.progress.step_log_bytes)

    def run(self, stop: StopRequest | None = None) -> TrainingResult:
        """Train until the run is complete or something asks to stop."""
        reason = self._train(stop)
        file = self.folder / MODEL_FILE if self.best else None
        return TrainingResult(self.folder, bool(self.progress.finished), reason, self.config, self.progress, file)

    def save(self) -> None:
        """Write a checkpoint, and the best model if it is a new one."""
        self.progress.step_log_bytes = self.step_log.length if self.step_log is not None else 0
        super().save()

    # The loop -------------------------------------------------------------------------------------------------------

    def _epoch(self) -> str:
        """Train what is left of an epoch and validate; returns why to stop, if so."""
        progress = self.progress
        number, stage = stage_at(self.config, progress.epoch)
        if number != progress.stage:
            self._enter_stage(number)
        batches = self.batcher.epoch(progress.epoch)
        while progress.position < len(batches):
            self._step(batches, progress.position)
            self._save_if_due()
            if reason := self._reason_to_stop():
                return reason
        found = validate(self.average.model, self.validation, stage.loss, self.config, self.ranks, self._reason_to_stop)
        if isinstance(found, str):
            return found
        self._finish_epoch(found)
        return "" if progress.finished else self._reason_to_stop()

    def _step(self, batches: list[BatchIndices], position: int) -> None:
        progress, config = self.progress, self.config
        _, stage = stage_at(config, progress.epoch)
        indices = batches[position]
        torch.manual_seed(mixed_seed(config.seed, progress.step, self.ranks.rank))
        terms, sums = self._accumulate_gradient(indices)
        norm = self._clip(indices)
        rate = learning_rate(stage, progress.epoch, (position + 1) / len(batches), progress.plateau_factor)
        self._update(rate)
        total = float(sum(terms))
        progress.sums = tuple(a + b for a, b in zip(progress.sums, (1.0, total, *sums), strict=True))
        row: dict[str, Value] = {
            "step": progress.step, "epoch": progress.epoch + 1, "batch": position, "structures": len(indices),
            "learning_rate": rate, "gradient_norm": norm, "loss": total,
            **{f"loss_{name}": value for name, value in zip(TERMS, terms, strict=True)},
        }  # fmt: skip
        if self.step_log is not None:
            self.step_log.write(row)
        self.observer.on_step(progress.epoch, self.config.epochs, position + 1, len(batches), total)

    def _accumulate_gradient(self, indices: BatchIndices) -> tuple[list[float], list[float]]:
        """Gradient of the loss of the batch, summed over the ranks; the terms of the loss, and sums for the log."""
        _, stage = stage_at(self.config, self.progress.epoch)
        for weight in self._weights:
            weight.grad = torch.zeros_like(weight)
        mine = self.batcher.shard(indices, self.ranks.rank, self.ranks.size)
        report = torch.zeros(len(TERMS) + 4, dtype=torch.float64, device=self.samples.device)
        if mine:
            batch = self.samples.batch(mine)
            seed = (self.config.seed, self.progress.step)
            found = batch_loss(self.potential, batch, stage.loss, self.samples.counts(indices), seed=seed)
            if found.total.requires_grad:
                found.total.backward(inputs=self._weights)
            errors = ErrorSums(self.quantities)
            errors.add(batch, found.predictions)
            first = errors.rows["all"][:2, :2].reshape(-1)  # energies and forces, or the target alone
            report[: len(TERMS)] = found.terms
            report[len(TERMS) : len(TERMS) + len(first)] = first
        self.ranks.sum([weight.grad for weight in self._weights if weight.grad is not None])
        self.ranks.sum([report])
        values = report.tolist()
        return values[: len(TERMS)], values[len(TERMS) :]

    def _clip(self, indices: BatchIndices) -> float:
        limit = self.config.optimizer.clip_norm
        norm = float(torch.nn.utils.clip_grad_norm_(self._weights, float("inf") if limit is None else limit))
        if norm != norm or norm == float("inf"):
            named = [self.data.train[index].source or f"structure {index}" for index in indices[:5]]
            raise CalculationError(
                f"the gradient of the loss is not finite in step {self.progress.step + 1} (epoch "
                f"{self.progress.epoch + 1}; batch of {', '.join(named)}{' …' if len(indices) > 5 else ''}). "
                "Look at these structures, or lower optimizer.learning_rate"
            )
        return norm

    def _finish_epoch(self, found: Validation) -> None:
        progress, config = self.progress, self.config
        better = self._keep_if_best(found.loss)
        if better:
            progress.best_errors = found.table
        self._update_plateau(found.loss)
        self._log_epoch(found, better)
        progress.epoch, progress.position, progress.sums = progress.epoch + 1, 0, (0.0,) * len(progress.sums)
        if config.early_stop and progress.stale_epochs >= config.early_stop:
            later = [stage.start for stage in config.all_stages() if stage.start > progress.epoch]
            if later:
                progress.epoch = later[0]
            else:
                progress.finished = f"no improvement in {config.early_stop} epochs"
        if progress.epoch >= config.epochs and not progress.finished:
            progress.finished = f"{config.epochs} epochs done"

    def _update_plateau(self, loss: float) -> None:
        progress = self.progress
        _, stage = stage_at(self.config, progress.epoch)
        if progress.plateau_loss is None or loss < progress.plateau_loss:
            progress.plateau_loss, progress.plateau_epochs = loss, 0
            return
        progress.plateau_epochs += 1
        if progress.plateau_epochs >= stage.schedule.patience:
            progress.plateau_factor *= stage.schedule.decay
            progress.plateau_epochs = 0

    def _enter_stage(self, number: int) -> None:
        """Losses of stages cannot be compared, so the search for the best epoch begins anew."""
        progress = self.progress
        progress.stage = number
        progress.best_loss, progress.stale_epochs = None, 0
        progress.plateau_factor, progress.plateau_loss, progress.plateau_epochs = 1.0, None, 0

    def _reason_to_stop(self) -> str:
        reason = super()._reason_to_stop()
        if self.ranks.any(bool(reason), self.samples.device):
            return reason or "another rank stopped"
        return ""

    def _export(self) -> None:
        model = new_potential(self.config)
        model.load_state_dict(self.best)
        save_trained_model(
            model, self.folder / MODEL_FILE, self.config, self.progress,
            description=self.data.description, sizes=(len(self.data.train), len(self.data.validation)),
        )  # fmt: skip

    def _log_epoch(self, found: Validation, better: bool) -> None:
        progress = self.progress
        steps, loss, *sums = progress.sums
        _, stage = stage_at(self.config, progress.epoch)
        row: dict[str, Value] = {
            "epoch": progress.epoch + 1, "step": progress.step, "seconds": round(self._seconds(), 3),
            "learning_rate": learning_rate(stage, progress.epoch, 1.0, progress.plateau_factor),
            "train_loss": loss / max(steps, 1), "validation_loss": found.loss, "best": int(better),
        }  # fmt: skip
        for (name, quantity), count, total in zip(self.quantities.items(), sums[::2], sums[1::2], strict=False):
            if count:
                row[f"train_{name}_mae_{quantity.column_unit}"] = quantity.scale * total / count
        for name, values in found.table["all"].items():
            quantity = self.quantities[name]
            for kind in ("mae", "rmse"):
                row[f"validation_{name}_{kind}_{quantity.column_unit}"] = quantity.scale * values[kind]
        if self.log is not None:
            self.log.write(row)
        self.observer.on_epoch(row)


def _digest(samples: Samples, n_validation: int) -> str:
    """Recognises the data of a run by the edges and labels of its structures."""
    digest = hashlib.sha256(samples.n_edges().tobytes())
    digest.update(repr([structure.energy for structure in samples.structures]).encode())
    targets = [structure.target for structure in samples.structures]
    if any(target is not None for target in targets):
        digest.update(repr(targets).encode())
    digest.update(repr([len(samples), n_validation]).encode())
    return digest.hexdigest()[:16]
