"""What a relaxation is asked to do."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atomsym.core import ConfigError
from atomsym.workflows.run_settings import read_settings, require_dtype, require_positive, settings_to_json

OPTIMIZERS = ("lbfgs", "bfgs", "fire", "rfo", "newton", "geometric")
WITH_HESSIAN = ("rfo", "newton", "geometric")


@dataclass(frozen=True)
class RelaxSettings:
    """Settings of one relaxation.

    Attributes:
        system: name of a built-in system or a file that ASE can read (its last frame is taken).
        model: name or path of a model, or ``module:factory`` of another ASE calculator.
        kwargs: keyword arguments of that factory, or of ``AtomsymCalculator``.
        cell: whether lattice vectors are relaxed too.
        pressure: on a relaxed cell, GPa.
        fix_symmetry: keep the space group of the start.
        free_parameters: relax only what the space group of the start leaves free, in its conventional standard cell:
            exact symmetry at every step.
        symprec: Å, within which atoms count as related by symmetry.
        optimizer: ``lbfgs``, ``bfgs``, ``fire``; with a Hessian, for atoms alone, ``rfo`` or ``newton``, and for
            molecules ``geometric`` (the package geomeTRIC).
        fmax: converged when no atom has a larger force, eV/Å, …
        smax: … and, with ``cell``, no stress component is farther from the pressure, GPa.
        max_steps: of the optimizer, over all resumptions.
        device: torch device of the model.
        dtype: floating-point type of the model.
    """

    system: str
    model: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    cell: bool = False
    pressure: float = 0.0
    fix_symmetry: bool = False
    free_parameters: bool = False
    symprec: float = 0.01
    optimizer: str = "lbfgs"
    fmax: float = 0.01
    smax: float = 0.01
    max_steps: int = 500
    device: str = "cpu"
    dtype: str = "float64"

    def __post_init__(self) -> None:
        require_positive(self, "fmax", "smax", "symprec", "max_steps")
        if not math.isfinite(self.pressure):
            raise ConfigError(f"pressure must be finite; found {self.pressure}")
        if self.pressure and not self.cell:
            raise ConfigError("a pressure acts on the cell: add --cell to relax it")
        if self.optimizer not in OPTIMIZERS:
            raise ConfigError(f"optimizer must be one of {', '.join(OPTIMIZERS)}; found '{self.optimizer}'")
        if self.fix_symmetry and self.free_parameters:
            raise ConfigError("fix_symmetry and free_parameters both keep the space group; take one of them")
        if self.optimizer in WITH_HESSIAN and (self.cell or self.fix_symmetry or self.free_parameters):
            raise ConfigError(
                f"{self.optimizer} moves atoms only; take lbfgs, bfgs or fire for a cell or a space group"
            )
        require_dtype(self.dtype)

    def to_json(self) -> str:
        return settings_to_json(self)

    @classmethod
    def from_file(cls, path: Path) -> RelaxSettings:
        """See ``read_settings``."""
        return read_settings(cls, path, "relaxation")
