"""The floating-point types of models, by the names that settings and files have for them."""

from __future__ import annotations

import torch

from atomsym.core.errors import ConfigError

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def dtype_named(name: str) -> torch.dtype:
    """The type of this name.

    Raises:
        ConfigError: if it is neither float32 nor float64.

    Example:
        >>> dtype_named("float32")
        torch.float32
    """
    if name not in DTYPES:
        raise ConfigError(f"dtype must be float32 or float64; found '{name}'")
    return DTYPES[name]
