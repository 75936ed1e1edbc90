"""A mace-torch model that is already in memory as one of ours, without a file between."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from atomsym.models.mace import MACE
from atomsym.workflows.convert.extract_mace import describe
from atomsym.workflows.convert.mace import mace_from_arrays
from atomsym.workflows.convert.mace_config import ForeignMACE


def potential_from_mace(module: torch.nn.Module, head: str | None = None) -> MACE:
    """Our MACE with the weights of a model of mace-torch, for comparisons in one process.

    Args:
        module: ``MACE`` or ``ScaleShiftMACE`` of mace-torch, on any device, of any precision; it is only read.
        head: name of the head, needed if there are several.

    Returns:
        The potential on the CPU, in double precision and evaluation mode.

    Raises:
        InputError: if the model has a feature that our MACE lacks; the message names it.
    """
    description, arrays = describe(module)
    return mace_from_arrays(ForeignMACE(description, tensors(arrays)), head)


def tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """Arrays of numpy, zero-dimensional ones included, as tensors."""
    return {name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items()}
