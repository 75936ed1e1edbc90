"""What ``atomsym organic-xtb`` is asked to make."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atomsym.core import ConfigError
from atomsym.workflows.organic_xtb.graphs import MOST_HEAVY_ATOMS, VALENCE

SIZE_SHARES = {1: 0.002, 2: 0.008, 3: 0.03, 4: 0.13, 5: 0.32, 6: 0.28, 7: 0.15, 8: 0.055, 9: 0.025}
"""Share of the molecules by number of heavy atoms (H2 counts with 1); what a size lacks, the next one takes."""
KIND_SHARES = {"modes": 0.30, "dynamics": 0.20, "stretch": 0.16, "bend": 0.10, "transfer": 0.10, "dimer": 0.14}
"""Share of a molecule's frames beside its minima; kinds that a molecule does not have go to ``modes``."""


@dataclass(frozen=True)
class OrganicSettings:
    """Settings of a set of organic molecules.

    Attributes:
        molecules: how many.
        frames_per_molecule: labelled geometries of each, its minima included.
        hessians_per_molecule: of these, how many get a Hessian: the minima, then others than dimers.
        elements: among H and ``VALENCE``.
        max_heavy: heavy atoms of the largest molecules.
        conformers: geometries of each that are relaxed.
        seed: of everything random.
        lowest_temperature, highest_temperature: K, of displacements along normal modes.
        dynamics_temperature: K, of the Langevin dynamics.
        timestep: of the dynamics, fs.
        stride: steps between two frames of the dynamics.
        max_force: frames with a larger force on an atom are left out, eV/Å.
        min_distance: frames with atoms closer than this part of the sum of their covalent radii are left out.
        molecules_per_shard: of the files that are written on the way.
    """

    molecules: int = 2700
    frames_per_molecule: int = 40
    hessians_per_molecule: int = 4
    elements: tuple[str, ...] = ("H", "C", "N", "O", "F")
    max_heavy: int = MOST_HEAVY_ATOMS
    conformers: int = 2
    seed: int = 0
    lowest_temperature: float = 300.0
    highest_temperature: float = 2000.0
    dynamics_temperature: float = 1000.0
    timestep: float = 0.5
    stride: int = 12
    max_force: float = 40.0
    min_distance: float = 0.6
    molecules_per_shard: int = 20

    def __post_init__(self) -> None:
        for name in ("molecules", "frames_per_molecule", "conformers", "stride", "molecules_per_shard"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1; found {getattr(self, name)}")
        for name in ("lowest_temperature", "highest_temperature", "dynamics_temperature", "timestep", "max_force"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be positive and finite; found {getattr(self, name)}")
        if not 0 <= self.hessians_per_molecule <= self.frames_per_molecule:
            raise ConfigError(
                f"hessians_per_molecule must be 0 to frames_per_molecule ({self.frames_per_molecule}); "
                f"found {self.hessians_per_molecule}"
            )
        if self.lowest_temperature > self.highest_temperature:
            raise ConfigError("lowest_temperature must not be above highest_temperature")
        if not 1 <= self.max_heavy <= MOST_HEAVY_ATOMS:
            raise ConfigError(f"max_heavy must be 1 to {MOST_HEAVY_ATOMS}; found {self.max_heavy}")
        if not 0.3 <= self.min_distance <= 1.0:
            raise ConfigError(f"min_distance must be 0.3 to 1 of the sum of covalent radii; found {self.min_distance}")
        unknown = [element for element in self.elements if element not in ("H", *VALENCE)]
        if unknown or not {"H", "C"} <= set(self.elements):
            raise ConfigError(
                f"elements are H, C and any of {', '.join(VALENCE)}; found {', '.join(self.elements) or 'none'}"
            )

    @property
    def heavy_elements(self) -> tuple[str, ...]:
        """Elements of the skeletons, in the order of ``VALENCE``."""
        return tuple(element for element in VALENCE if element in self.elements)

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> OrganicSettings:
        """Settings from ``dataclasses.asdict``.

        Raises:
            ConfigError: for an unknown or missing setting.
        """
        try:
            return cls(**{**plain, "elements": tuple(plain["elements"])})
        except (KeyError, TypeError) as error:
            raise ConfigError(f"not the settings of a set of organic molecules ({error})") from error

    @classmethod
    def from_file(cls, path: Path) -> OrganicSettings:
        """Settings written by ``to_json``.

        Raises:
            ConfigError: if the file cannot be read or has an unknown setting.
        """
        try:
            plain = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: not the settings of a set of organic molecules ({error})") from error
        return cls.from_dict(plain if isinstance(plain, dict) else {})
