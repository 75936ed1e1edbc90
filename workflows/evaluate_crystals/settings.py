"""What decides the numbers of an evaluation: tolerances, thresholds and rules."""

from __future__ import annotations

import math
from dataclasses import dataclass

from atomsym.core import ConfigError
from atomsym.workflows.run_settings import require_positive


@dataclass(frozen=True)
class EvaluationSettings:
    """Tolerances and thresholds, all of which the report repeats.

    Attributes:
        symprec: for space groups and templates, Å.
        strict_symprec: for the second figure of space groups, Å.
        length_tolerance, site_tolerance, angle_tolerance: of pymatgen's StructureMatcher; relative, in units of
            (V/N)^⅓, and degrees.
        metastable: highest distance above the hull that counts as metastable, eV/atom.
        stable: highest one that counts as stable, eV/atom.
        smact: whether the package SMACT decides on charges, not our own rule.
        recovery: whether references are to be found again among the generated crystals (METRe, cRMSE).
        seed: of the draws of real crystals to compare with and of halves.
    """

    symprec: float = 0.1
    strict_symprec: float = 0.01
    length_tolerance: float = 0.2
    site_tolerance: float = 0.3
    angle_tolerance: float = 5.0
    metastable: float = 0.1
    stable: float = 0.0
    smact: bool = False
    recovery: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        require_positive(
            self, "symprec", "strict_symprec", "length_tolerance", "site_tolerance", "angle_tolerance"
        )  # fmt: skip
        if not (math.isfinite(self.stable) and math.isfinite(self.metastable) and self.stable <= self.metastable):
            raise ConfigError(
                f"thresholds above the hull must be finite, stable ({self.stable}) not above metastable "
                f"({self.metastable})"
            )
        if self.seed < 0:
            raise ConfigError(f"seed must not be negative; found {self.seed}")
