"""The Triton backend of products of two factors: the sum over the couplings that do not vanish."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from atomsym.kernels.pointwise.tables import product_tables
from atomsym.kernels.triton_support import FUSED

_LARGEST_BLOCK = 128


@cache
def _couplings(handle: str, slot: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Those of each component of a slot, from the next slot and the one after: where they start, and what they are."""
    cube = product_tables(handle).couplings().permute(slot, (slot + 1) % 3, (slot + 2) % 3)
    result, first, second = cube.nonzero().unbind(1)
    start = torch.searchsorted(result.contiguous(), torch.arange(cube.shape[0] + 1))
    places = (index.to(device, torch.int32) for index in (start, first, second))
    return *places, cube[result, first, second].to(device, dtype)


def leave_out(slot: int, tensors: list[Tensor], steps: list[int], handle: str, out: Tensor) -> None:
    """Fill ``out`` with the form without the tensor of a slot (that of the result is 2).

    Args:
        slot: which.
        tensors: of all slots, shape (n, dim, channels), rows contiguous; that of the slot is not looked at.
        steps: elements from one row to the next, 0 where all are the same.
        handle: of the product.
        out: shape (n, dim of the slot, channels), contiguous.
    """
    from atomsym.kernels.pointwise.triton_kernels import product_kernel  # imports triton: only when asked for

    n, dim, channels = out.shape
    if not out.numel():
        return
    first, second = (slot + 1) % 3, (slot + 2) % 3
    width = min(_LARGEST_BLOCK, 1 << (channels - 1).bit_length())
    launch: Any = product_kernel[(n, dim, -(-channels // width))]
    launch(
        out,
        tensors[first],
        tensors[second],
        *_couplings(handle, slot, out.device, out.dtype),
        dim,
        channels,
        steps[first],
        steps[second],
        BLOCK=width,
        **FUSED,
    )
