"""Every choice that the Hessian head takes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from atomsym.core import ConfigError
from atomsym.kernels.symmetric_contraction import MAX_CORRELATION


@dataclass(frozen=True)
class HessianHeadConfig:
    """Description of a Hessian head.

    Attributes:
        cutoff: Å. Pairs of atoms farther apart have no block; blocks fade out smoothly before. A cutoff beyond the
            diameter of a molecule couples all of its atoms.
        channels: multiplicity of the head's features.
        correlation: largest number of the backbone's features that are multiplied at an atom; 1 takes them as they are.
        n_radial: radial basis functions of the distance of a pair.
        hidden: width of the networks that weight pairs and atoms.
        scale: of the blocks, eV/Å²; about the root mean square of the entries between bonded atoms.
    """

    cutoff: float = 12.0
    channels: int = 32
    correlation: int = 2
    n_radial: int = 16
    hidden: int = 64
    scale: float = 5.0

    def __post_init__(self) -> None:
        for name in ("channels", "correlation", "n_radial", "hidden"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} of a Hessian head must be at least 1; found {getattr(self, name)}")
        if self.correlation > MAX_CORRELATION:
            raise ConfigError(f"correlation must be 1 to {MAX_CORRELATION}; found {self.correlation}")
        for name in ("cutoff", "scale"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ConfigError(f"{name} of a Hessian head must be positive; found {getattr(self, name)}")
