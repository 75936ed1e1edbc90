"""What a molecular dynamics run is asked to do: one frozen, validated, JSON-able description."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from atomsym.core import ConfigError

Ensemble = Literal["nve", "nvt"]


@dataclass(frozen=True)
class MdSettings:
    """Settings of one run. Times in fs, temperatures in K.

    Attributes:
        system: name of a built-in system or a file that ASE can read (its last frame is taken).
        model: name or path of a model.
        ensemble: production ensemble: ``nve`` (velocity Verlet) or ``nvt`` (Langevin).
        temperature: target temperature; velocities are drawn from it unless the file has momenta.
        timestep: integration step, fs.
        equilibration_steps: Langevin steps before production, not part of the trajectory.
        steps: production steps.
        friction: Langevin friction, 1/fs.
        log_every: steps between rows of the log.
        trajectory_every: steps between frames of the trajectory.
        checkpoint_every: steps between restart files.
        repeat: supercell repetitions along the lattice vectors.
        seed: of the velocities and of the Langevin noise.
        device: torch device of the model.
        dtype: floating-point type of the model, ``float32`` or ``float64``.
    """

    system: str
    model: str
    ensemble: Ensemble = "nvt"
    temperature: float = 300.0
    timestep: float = 1.0
    equilibration_steps: int = 0
    steps: int = 1000
    friction: float = 0.01
    log_every: int = 10
    trajectory_every: int = 50
    checkpoint_every: int = 1000
    repeat: tuple[int, int, int] = (1, 1, 1)
    seed: int = 0
    device: str = "cpu"
    dtype: str = "float64"

    def __post_init__(self) -> None:
        positive = ("timestep", "steps", "friction", "log_every", "trajectory_every", "checkpoint_every")
        for name in positive:
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"{name} must be positive and finite; found {value}")
        for name in ("temperature", "equilibration_steps", "seed"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{name} must be finite and not negative; found {value}")
        if self.ensemble not in get_args(Ensemble):
            raise ConfigError(f"ensemble must be one of {', '.join(get_args(Ensemble))}; found '{self.ensemble}'")
        if len(self.repeat) != 3 or min(self.repeat) < 1:
            raise ConfigError(f"repeat must be three positive integers; found {self.repeat}")
        if self.dtype not in ("float32", "float64"):
            raise ConfigError(f"dtype must be float32 or float64; found '{self.dtype}'")

    @property
    def total_steps(self) -> int:
        return self.equilibration_steps + self.steps

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_file(cls, path: Path) -> MdSettings:
        """Read settings written by ``to_json``.

        Raises:
            ConfigError: if the file cannot be read or has an unknown or missing setting.
        """
        if not path.is_file():
            raise ConfigError(f"{path.parent} holds no run: there is no {path.name} in it")
        try:
            values = json.loads(path.read_text())
            return cls(**{**values, "repeat": tuple(values["repeat"])})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path}: not the settings of a molecular dynamics run ({error})") from error
