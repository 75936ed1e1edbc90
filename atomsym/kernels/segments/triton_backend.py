"""Segment sum on the GPU for a sorted index: one program per segment and block of columns, no atomics."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.kernels.triton_support import FUSED

_ROWS = 16


def sorted_segment_sum(values: Tensor, index: Tensor, n_segments: int) -> Tensor:
    """See ``segment_sum``; the index must be non-decreasing.

    Raises:
        InputError: if the index is not sorted or out of range.
    """
    if index.numel() and bool((index[1:] < index[:-1]).any() | (index[0] < 0) | (index[-1] >= n_segments)):
        raise InputError(f"backend 'triton' needs a sorted index with segments from 0 to {n_segments - 1}")
    columns = values.new_empty(n_segments, *values.shape[1:])
    width = columns[:1].numel()
    if columns.numel() == 0:
        return columns
    starts = torch.searchsorted(index.contiguous(), torch.arange(n_segments + 1, device=index.device))
    block = min(128, triton.next_power_of_2(width))
    grid = (n_segments, triton.cdiv(width, block))
    _sum_kernel[grid](values.contiguous(), starts, columns, width, ROWS=_ROWS, BLOCK=block, **FUSED)
    return columns


@triton.jit
def _sum_kernel(values, starts, sums, width, ROWS: tl.constexpr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    segment = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    begin = tl.load(starts + segment)
    end = tl.load(starts + segment + 1)
    total = tl.zeros((BLOCK,), dtype=sums.dtype.element_ty)
    for first in range(begin, end, ROWS):
        row = first + tl.arange(0, ROWS)
        inside = (row < end)[:, None] & (column < width)[None, :]
        total += tl.sum(tl.load(values + row[:, None] * width + column[None, :], mask=inside, other=0.0), axis=0)
    tl.store(sums + segment * width + column, total, mask=column < width)
