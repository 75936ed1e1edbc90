"""Memory for large results of CPU kernels that is used again instead of going back to the operating system.

A fresh array of tens of MB costs more in page faults than a fast kernel takes to fill it. Blocks above a few MB are
therefore kept, up to a limit for the process, and given to the next array of about the same size.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from atomsym.kernels.native import cpu_extension

SMALLEST = 4 << 20
"""Bytes from which on arrays are recycled; the system's allocator reuses smaller ones itself."""


def recycled_empty(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """An uninitialised CPU tensor; large ones use recycled memory, which returns when the last view is gone.

    Args:
        shape: any shape.
        dtype: element type.

    Example:
        >>> recycled_empty((2, 3), torch.float32).shape
        torch.Size([2, 3])
    """
    size = math.prod(shape) * dtype.itemsize
    if size < SMALLEST:
        return torch.empty(shape, dtype=dtype)
    block: Tensor = cpu_extension().recycled_bytes(size)
    return block.view(dtype).view(shape)


def set_recycled_limit(size: int) -> int:
    """Set how many bytes of free blocks may be kept (default 512 MB; 0 keeps none); returns the former limit."""
    former: int = cpu_extension().recycled_limit(size)
    return former


def recycled_kept() -> int:
    """Bytes of free blocks kept at present."""
    kept: int = cpu_extension().recycled_kept()
    return kept
