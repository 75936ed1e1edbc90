"""What a relaxation is asked to do."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path

from atomsym.core import ConfigError

OPTIMIZERS = ("lbfgs", "bfgs", "fire")


@dataclass(frozen=True)
class RelaxSettings:
    """Settings of one relaxation.

    Attributes:
        system: name of a built-in system or a file that ASE can read (its last frame is taken).
        model: name or path of a model, or ``module:factory`` of another ASE calculator.
        cell: whether lattice vectors are relaxed too.
        pressure: on a relaxed cell, GPa.
        fix_symmetry: keep the space group of the start.
        symprec: Å, within which atoms count as related by symmetry.
        optimizer: ``lbfgs``, ``bfgs`` or ``fire``.
        fmax: converged when no atom has a larger force, eV/Å, …
        smax: … and, with ``cell``, no stress component is farther from the pressure, GPa.
        max_steps: of the optimizer, over all resumptions.
        device: torch device of the model.
        dtype: floating-point type of the model.
    """

    system: str
    model: str
    cell: bool = False
    pressure: float = 0.0
    fix_symmetry: bool = False
    symprec: float = 0.01
    optimizer: str = "lbfgs"
    fmax: float = 0.01
    smax: float = 0.01
    max_steps: int = 500
    device: str = "cpu"
    dtype: str = "float64"

    def __post_init__(self) -> None:
        for name in ("fmax", "smax", "symprec", "max_steps"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"{name} must be positive and finite; found {value}")
        if not math.isfinite(self.pressure):
            raise ConfigError(f"pressure must be finite; found {self.pressure}")
        if self.pressure and not self.cell:
            raise ConfigError("a pressure acts on the cell: add --cell to relax it")
        if self.optimizer not in OPTIMIZERS:
            raise ConfigError(f"optimizer must be one of {', '.join(OPTIMIZERS)}; found '{self.optimizer}'")
        if self.dtype not in ("float32", "float64"):
            raise ConfigError(f"dtype must be float32 or float64; found '{self.dtype}'")

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_file(cls, path: Path) -> RelaxSettings:
        """Read settings written by ``to_json``.

        Raises:
            ConfigError: if the file cannot be read or has an unknown or missing setting.
        """
        if not path.is_file():
            raise ConfigError(f"{path.parent} holds no relaxation: there is no {path.name} in it")
        try:
            return cls(**json.loads(path.read_text()))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path}: not the settings of a relaxation ({error})") from error
