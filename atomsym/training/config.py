"""What a training run is asked to do: one frozen, typed, validated description that survives YAML and JSON."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

from atomsym.artifacts import config_from_dict, config_to_dict, config_to_json
from atomsym.core import ConfigError
from atomsym.symmetrizers import symmetrized_settings

ReferenceEnergies = Literal["least-squares", "isolated", "keep"]

TERMS = (
    "energy", "forces", "direct_forces", "force_consistency", "stress", "virial", "target", "hessian",
    "predicted_hessian", "hessian_subspace",
)  # fmt: skip
"""Terms of the loss; each has a weight of its name."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


@dataclass(frozen=True)
class DataSection:
    """Where structures and labels come from.

    Attributes:
        known_set: name of a known data set, instead of files.
        train, validation, test: files; without validation files a part of the training structures is held out.
        validation_fraction: that part, in (0, 1).
        n_train, n_validation: how many structures to take for each; 0: all, and the fraction.
        split: how structures are held out: at ``random``, whole groups, or the last block of the file.
        keys: names of the labels in the files, such as ``energy: REF_energy``; null leaves a label out.
        units: of the labels in the files, such as ``energy: kcal/mol``; default: eV and Å.
        group: key whose value names the group of a structure in tables of errors; "auto" looks for one.
        reference_energies: energies of isolated atoms: fitted to the energies per atom by ``least-squares``, taken from
            the ``isolated`` atoms among the structures, or given in eV by symbol. With ``start_from``, what is fitted
            is the difference from that model's energies, and ``keep`` leaves its reference energies alone.
        isolated_atoms: file with a single atom of each element; its energies become the reference energies.
    """

    known_set: str = ""
    train: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    validation_fraction: float = 0.1
    n_train: int = 0
    n_validation: int = 0
    split: Literal["random", "group", "block"] = "random"
    keys: dict[str, str | None] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    group: str = "auto"
    reference_energies: ReferenceEnergies | dict[str, float] = "least-squares"
    isolated_atoms: str = ""

    def __post_init__(self) -> None:
        _require(0 < self.validation_fraction < 1, "data.validation_fraction must be between 0 and 1")
        _require(self.n_train >= 0 and self.n_validation >= 0, "data.n_train and data.n_validation must be >= 0")
        _require(not (self.known_set and self.train), "data: give either known_set or train files, not both")
        twice = sorted({path for path in self.train if self.train.count(path) > 1})
        _require(not twice, f"data.train names a file twice, so copies would be held out: {', '.join(twice)}")
        _require(not (self.isolated_atoms and self.known_set), "data: a known_set brings its own isolated atoms")


@dataclass(frozen=True)
class LossSection:
    """Weights and shape of the loss; see ``atomsym.training.batch_loss`` for the formula.

    Attributes:
        energy: weight of the energy per atom.
        forces: weight of the components of forces, of derivatives of the energy.
        direct_forces: weight of the components of direct forces, of models that predict some beside the energy.
        force_consistency: weight of the difference between direct forces and derivatives of the energy, where there
            are labels of forces. Only the direct forces learn from it.
        stress: weight of the stress components in eV/Å³.
        virial: weight of the virial per atom, in eV; an alternative to ``stress``, from the same labels.
        hessian: weight of the Hessian entries, of derivatives of the energy.
        hessian_rows: random rows of each of these Hessians in a step; 0 for all of them.
        predicted_hessian: weight of the entries of predicted Hessians, of models with a Hessian head; the residual is
            its absolute value, whatever ``function`` is.
        hessian_subspace: weight of predicted Hessians in the subspace of the softest modes, likewise.
        target: weight of the property of a model that gives one instead of energies; the only term of such a model.
        function: of a residual: its square, or ``huber``, which is linear beyond ``huber_delta``.
        huber_delta: in the unit of each label.
    """

    energy: float = 1.0
    forces: float = 100.0
    direct_forces: float = 0.0
    force_consistency: float = 0.0
    stress: float = 0.0
    virial: float = 0.0
    hessian: float = 0.0
    hessian_rows: int = 1
    predicted_hessian: float = 0.0
    hessian_subspace: float = 0.0
    target: float = 0.0
    function: Literal["squared", "huber"] = "squared"
    huber_delta: float = 0.01

    def __post_init__(self) -> None:
        for name in TERMS:
            _require(getattr(self, name) >= 0, f"loss.{name} must be >= 0; found {getattr(self, name)}")
        _require(self.huber_delta > 0, f"loss.huber_delta must be > 0; found {self.huber_delta}")
        _require(self.hessian_rows >= 0, f"loss.hessian_rows must be >= 0; found {self.hessian_rows}")
        _require(any(self.weights.values()), "loss: all weights are zero, so there is nothing to learn")

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each term by name."""
        return {name: getattr(self, name) for name in TERMS}


@dataclass(frozen=True)
class OptimizerSection:
    """The optimizer.

    Attributes:
        name: ``adam`` (decay enters the gradient) or ``adamw`` (decay is applied to the weights).
        learning_rate: before the schedule.
        betas, eps, amsgrad: of the method.
        weight_decay: for the weights that ``Potential.decay_parameters`` names.
        clip_norm: largest norm of the whole gradient; None: no limit.
    """

    name: Literal["adam", "adamw"] = "adam"
    learning_rate: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    amsgrad: bool = True
    weight_decay: float = 0.0
    clip_norm: float | None = 10.0

    def __post_init__(self) -> None:
        _require(self.learning_rate > 0, f"optimizer.learning_rate must be > 0; found {self.learning_rate}")
        _require(all(0 <= beta < 1 for beta in self.betas), f"optimizer.betas must be in [0, 1); found {self.betas}")
        _require(self.eps > 0 and self.weight_decay >= 0, "optimizer.eps must be > 0 and weight_decay >= 0")
        _require(self.clip_norm is None or self.clip_norm > 0, "optimizer.clip_norm must be > 0 or null")


@dataclass(frozen=True)
class ScheduleSection:
    """How the learning rate changes within a stage.

    Attributes:
        kind: ``constant``, ``cosine`` (down to ``final_fraction`` at the end of the stage), ``exponential`` (by
            ``decay`` an epoch) or ``plateau`` (by ``decay`` after ``patience`` epochs without improvement).
        warmup_epochs: length of the linear rise at the beginning.
        final_fraction: last learning rate of ``cosine`` / its first one.
        decay: factor.
        patience: epochs.
    """

    kind: Literal["constant", "cosine", "exponential", "plateau"] = "constant"
    warmup_epochs: float = 0.0
    final_fraction: float = 0.01
    decay: float = 0.8
    patience: int = 20

    def __post_init__(self) -> None:
        _require(self.warmup_epochs >= 0, f"schedule.warmup_epochs must be >= 0; found {self.warmup_epochs}")
        _require(0 <= self.final_fraction <= 1, f"schedule.final_fraction must be in [0, 1]; {self.final_fraction}")
        _require(0 < self.decay <= 1, f"schedule.decay must be in (0, 1]; found {self.decay}")
        _require(self.patience >= 1, f"schedule.patience must be >= 1; found {self.patience}")


@dataclass(frozen=True)
class StageSection:
    """A later part of the run that differs from the first one.

    Attributes:
        start_epoch: number of epochs before it.
        learning_rate: default: that of the optimizer section.
        loss, schedule: entries that differ from the sections of the run.
    """

    start_epoch: int
    learning_rate: float | None = None
    loss: dict[str, Any] = field(default_factory=dict)
    schedule: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class EmaSection:
    """Exponential moving average of the weights; the average is what is validated and saved.

    Attributes:
        decay: of the average at each step; 0 switches it off.
        warmup: begin with shorter averages, min(decay, (1 + step) / (10 + step)).
    """

    decay: float = 0.99
    warmup: bool = True

    def __post_init__(self) -> None:
        _require(0 <= self.decay < 1, f"ema.decay must be in [0, 1); found {self.decay}")


@dataclass(frozen=True)
class BatchSection:
    """Size of a step's batch, over all ranks.

    Attributes:
        structures: most structures in a batch.
        edges: most edges in a batch; a larger structure is a batch of its own. 0: no limit.
    """

    structures: int = 10
    edges: int = 0

    def __post_init__(self) -> None:
        _require(self.structures >= 1, f"batch.structures must be >= 1; found {self.structures}")
        _require(self.edges >= 0, f"batch.edges must be >= 0; found {self.edges}")


@dataclass(frozen=True)
class OutputSection:
    """What is written, and what the model file says.

    Attributes:
        name: of the model.
        level_of_theory, licence, citation, description: see ``ModelCard``.
        checkpoint_minutes: time between checkpoints.
        checkpoint_steps: steps between checkpoints; 0: by time only.
        step_log: also write one row a step.
        tensorboard: also write event files; needs the extra ``tensorboard``.
    """

    name: str = "model"
    level_of_theory: str = "unknown"
    licence: str = "unknown"
    citation: str = ""
    description: str = ""
    checkpoint_minutes: float = 5.0
    checkpoint_steps: int = 0
    step_log: bool = False
    tensorboard: bool = False

    def __post_init__(self) -> None:
        _require(self.checkpoint_minutes > 0, "output.checkpoint_minutes must be > 0")
        _require(self.checkpoint_steps >= 0, "output.checkpoint_steps must be >= 0")


@dataclass(frozen=True)
class Stage:
    """A part of a run with everything that may change between parts, complete.

    Attributes:
        start, end: epochs, the end excluded.
        learning_rate: before the schedule.
        loss, schedule: see the sections.
    """

    start: int
    end: int
    learning_rate: float
    loss: LossSection
    schedule: ScheduleSection


@dataclass(frozen=True)
class TrainingConfig:
    """A training run.

    Attributes:
        model: ``architecture``, and fields of its config; those that come from the data may be left out. An entry
            ``symmetrizer`` (the name of a method, or ``method`` and its settings) wraps any architecture.
        start_from: name or file of a model whose architecture, settings and weights the run begins with, instead of
            ``model``.
        data, loss, optimizer, schedule, stages, ema, batch, output: see the sections.
        epochs: passes over the training structures.
        early_stop: epochs without improvement of the validation loss after which the run ends; 0: never.
        max_minutes: the run stops cleanly after this time and can be resumed; 0: no limit.
        seed: of weights, splits, order of the batches and everything else that is random.
        dtype: of the model.
        device: ``cpu``, ``cuda`` or ``auto``.
    """

    model: dict[str, Any] = field(default_factory=dict)
    start_from: str = ""
    data: DataSection = field(default_factory=DataSection)
    loss: LossSection = field(default_factory=LossSection)
    optimizer: OptimizerSection = field(default_factory=OptimizerSection)
    schedule: ScheduleSection = field(default_factory=ScheduleSection)
    stages: tuple[StageSection, ...] = ()
    ema: EmaSection = field(default_factory=EmaSection)
    batch: BatchSection = field(default_factory=BatchSection)
    output: OutputSection = field(default_factory=OutputSection)
    epochs: int = 100
    early_stop: int = 0
    max_minutes: float = 0.0
    seed: int = 0
    dtype: Literal["float32", "float64"] = "float64"
    device: str = "cpu"

    def __post_init__(self) -> None:
        named = isinstance(self.model.get("architecture"), str)
        _require(named or (bool(self.start_from) and not self.model), "model.architecture must name an architecture")
        object.__setattr__(self, "model", symmetrized_settings(self.model))
        keeps = self.data.reference_energies == "keep"
        _require(not keeps or bool(self.start_from), "data.reference_energies: keep needs a model to start_from")
        _require(self.epochs >= 1, f"epochs must be >= 1; found {self.epochs}")
        _require(self.early_stop >= 0, f"early_stop must be >= 0; found {self.early_stop}")
        _require(math.isfinite(self.max_minutes) and self.max_minutes >= 0, "max_minutes must be >= 0")
        _require(0 <= self.seed < 2**31, f"seed must be in [0, 2**31); found {self.seed}")
        starts = [0, *(stage.start_epoch for stage in self.stages)]
        _require(all(a < b for a, b in pairwise(starts)), "stages must begin one after the other, after epoch 0")
        self.all_stages()

    def all_stages(self) -> tuple[Stage, ...]:
        """The stages of the run, the first included, each complete; those that begin after the last epoch left out.

        Raises:
            ConfigError: if a stage has an unknown entry or one out of range.
        """
        ends = [stage.start_epoch for stage in self.stages] + [self.epochs]
        rate = self.optimizer.learning_rate
        found = [Stage(0, min(ends[0], self.epochs), rate, self.loss, self.schedule)]
        for number, stage in enumerate(self.stages):
            path = f"stages[{number}]"
            complete = Stage(
                start=stage.start_epoch,
                end=min(ends[number + 1], self.epochs),
                learning_rate=rate if stage.learning_rate is None else stage.learning_rate,
                loss=_changed(self.loss, stage.loss, f"{path}.loss"),
                schedule=_changed(self.schedule, stage.schedule, f"{path}.schedule"),
            )
            _require(complete.learning_rate > 0, f"{path}.learning_rate must be > 0; found {complete.learning_rate}")
            if complete.start < self.epochs:
                found.append(complete)
        return tuple(found)

    @property
    def hash(self) -> str:
        """sha256 of the whole description, 64 hexadecimal digits."""
        return hashlib.sha256(config_to_json(self).encode()).hexdigest()


def _changed(section: Any, entries: dict[str, Any], path: str) -> Any:
    try:
        return config_from_dict(type(section), {**config_to_dict(section), **entries})
    except ConfigError as error:
        raise ConfigError(f"in {path}: {error}") from None
