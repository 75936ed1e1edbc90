"""What a training run of a generator is asked to do: one frozen, typed, validated description."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from atomsym.core import ConfigError
from atomsym.core.configs import checked_settings, config_from_dict, config_to_json
from atomsym.core.precision import dtype_named
from atomsym.generators import ProtostructureGenerator, generator_class
from atomsym.training.config import EmaSection, OptimizerSection, OutputSection, ScheduleSection, _require


@dataclass(frozen=True)
class CrystalDataSection:
    """Where crystals come from.

    Attributes:
        train, validation, test: names of known sets of crystals, or files. A crystal counts once, in the first set that
            has its identifier, and what is in a validation or test set is not trained on.
        validation_fraction: without validation sets, the part of the training crystals that is held out, in (0, 1).
        max_atoms: crystals with more atoms in the conventional cell are left out; 0: none.
        symprec: distance within which atoms are symmetric, Å.
    """

    train: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    validation_fraction: float = 0.1
    max_atoms: int = 0
    symprec: float = 0.01

    def __post_init__(self) -> None:
        named = [*self.train, *self.validation, *self.test]
        _require(bool(self.train), "data.train must name at least one set of crystals")
        _require(len(set(named)) == len(named), "data names a set of crystals twice")
        _require(0 < self.validation_fraction < 1, "data.validation_fraction must be between 0 and 1")
        _require(self.max_atoms >= 0, f"data.max_atoms must be >= 0; found {self.max_atoms}")
        _require(self.symprec > 0, f"data.symprec must be > 0; found {self.symprec}")


@dataclass(frozen=True)
class CrystalBatchSection:
    """Size of a step's batch.

    Attributes:
        crystals: in a batch.
    """

    crystals: int = 256

    def __post_init__(self) -> None:
        _require(self.crystals >= 1, f"batch.crystals must be >= 1; found {self.crystals}")


@dataclass(frozen=True)
class GeneratorOptimizerSection(OptimizerSection):
    """As for potentials, with other defaults."""

    name: Literal["adam", "adamw"] = "adamw"
    learning_rate: float = 1e-3
    amsgrad: bool = False
    weight_decay: float = 0.01
    clip_norm: float | None = 100.0


@dataclass(frozen=True)
class GeneratorTrainingConfig:
    """A training run of a generator.

    Attributes:
        generator: ``architecture``, and fields of its config.
        data, batch, optimizer, schedule, ema, output: see the sections.
        augmentation: describe each crystal in a random setting of its group at every step.
        validation_draws: how often each validation crystal is asked at random; the validation loss is their mean.
        epochs: passes over the training crystals.
        early_stop: epochs without improvement of the validation loss after which the run ends; 0: never.
        max_minutes: the run stops cleanly after this time and can be resumed; 0: no limit.
        seed: of weights, splits, order of the batches and everything else that is random.
        dtype: of the network.
        device: ``cpu``, ``cuda`` or ``auto``.
    """

    generator: dict[str, Any] = field(default_factory=dict)
    data: CrystalDataSection = field(default_factory=CrystalDataSection)
    batch: CrystalBatchSection = field(default_factory=CrystalBatchSection)
    optimizer: GeneratorOptimizerSection = field(default_factory=GeneratorOptimizerSection)
    schedule: ScheduleSection = field(default_factory=ScheduleSection)
    ema: EmaSection = field(default_factory=EmaSection)
    output: OutputSection = field(default_factory=OutputSection)
    augmentation: bool = True
    validation_draws: int = 4
    epochs: int = 100
    early_stop: int = 0
    max_minutes: float = 0.0
    seed: int = 0
    dtype: Literal["float32", "float64"] = "float32"
    device: str = "cpu"

    def __post_init__(self) -> None:
        name = self.generator.get("architecture")
        _require(isinstance(name, str), "generator.architecture must name a generator")
        settings = {key: value for key, value in self.generator.items() if key != "architecture"}
        checked_settings(generator_class(str(name)).Config, settings, "generator")
        _require(self.validation_draws >= 1, f"validation_draws must be >= 1; found {self.validation_draws}")
        _require(self.epochs >= 1, f"epochs must be >= 1; found {self.epochs}")
        _require(self.early_stop >= 0, f"early_stop must be >= 0; found {self.early_stop}")
        _require(self.max_minutes >= 0, f"max_minutes must be >= 0; found {self.max_minutes}")
        _require(0 <= self.seed < 2**31, f"seed must be in [0, 2**31); found {self.seed}")
        _require(
            not self.output.tensorboard and not self.output.step_log, "generators have neither step_log nor tensorboard"
        )

    @property
    def hash(self) -> str:
        """sha256 of the whole description, 64 hexadecimal digits."""
        return hashlib.sha256(config_to_json(self).encode()).hexdigest()


def new_generator(config: GeneratorTrainingConfig) -> ProtostructureGenerator:
    """The generator of a config with random weights from its seed, in training mode.

    Raises:
        ConfigError: if a setting is wrong.
    """
    settings = {key: value for key, value in config.generator.items() if key != "architecture"}
    own = generator_class(str(config.generator["architecture"]))
    try:
        described = config_from_dict(own.Config, settings)
    except ConfigError as error:
        raise ConfigError(f"in generator: {error}") from None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return own(described).to(dtype=dtype_named(config.dtype)).train()
