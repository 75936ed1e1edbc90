"""What a user chooses of a calculator: plain data that is checked, written to databases and sent to workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import torch

from atomsym.calculators.evaluator import ENGINES
from atomsym.core import ConfigError, InputError
from atomsym.core.precision import DTYPES
from atomsym.derivatives import HessianMethod


@dataclass(frozen=True)
class Settings:
    """Settings of a calculator beside its model.

    Attributes:
        device: "cpu", "cuda", "cuda:1" …; "auto" is the GPU if there is one, and the CPU otherwise.
        dtype: "float64", "float32", or "auto" for the precision in which the model is stored.
        skin: of the neighbor list, Å.
        backend: of the neighbor list.
        allow_overlap: accept atoms closer than 0.1 Å.
        content_hash: refuse a model file with another content hash; None accepts any.
        engine: "auto" uses the architecture's inference engine where there is one, "autograd" never does.
        hessian: method of Hessians, one of ``atomsym.derivatives.HessianMethod``.
        forces: "gradient" for derivatives of the energy, "direct" for those that the model predicts beside it.
    """

    device: str = "cpu"
    dtype: str = "float64"
    skin: float = 0.0
    backend: str = "auto"
    allow_overlap: bool = False
    content_hash: str | None = None
    engine: str = "auto"
    hessian: str = "auto"
    forces: str = "gradient"

    def __post_init__(self) -> None:
        """Accept torch's own objects for device and dtype, and store their names.

        Raises:
            ConfigError: if the dtype, the engine, the method of Hessians or the kind of forces is another one.
            InputError: if the skin is not a length.
        """
        object.__setattr__(self, "device", str(self.device))
        object.__setattr__(self, "dtype", str(self.dtype).removeprefix("torch."))
        if self.dtype not in (*DTYPES, "auto"):
            raise ConfigError(f"dtype is {self.dtype!r}; allowed are 'float64', 'float32' and 'auto'")
        if self.engine not in ENGINES:
            raise ConfigError(f"engine is {self.engine!r}; allowed are {', '.join(map(repr, ENGINES))}")
        methods = get_args(HessianMethod)
        if self.hessian not in methods:
            raise ConfigError(f"hessian is {self.hessian!r}; allowed are {', '.join(map(repr, methods))}")
        if self.forces not in ("gradient", "direct"):
            raise ConfigError(f"forces is {self.forces!r}; allowed are 'gradient' and 'direct'")
        if isinstance(self.skin, bool) or not isinstance(self.skin, int | float) or not 0 <= self.skin < float("inf"):
            raise InputError(f"skin must be a length in Å, 0 or more; found {self.skin!r}")

    def precision(self, stored: torch.dtype) -> torch.dtype:
        """The dtype to calculate in, for a model that is stored in this one."""
        return DTYPES.get(self.dtype, stored)
