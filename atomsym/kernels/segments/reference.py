"""Segment reductions in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor


def reference_segment_sum(values: Tensor, index: Tensor, n_segments: int) -> Tensor:
    """See ``segment_sum``."""
    return values.new_zeros(n_segments, *values.shape[1:]).index_add(0, index, values)


def reference_segment_argmax(values: Tensor, index: Tensor, n_segments: int) -> Tensor:
    """Row of the first largest value of each segment and column; n for an empty segment.

    Args:
        values: shape (n, ...).
        index: shape (n,), int64.
        n_segments: number of segments.

    Returns:
        Shape (n_segments, ...), int64. A NaN counts as largest.
    """
    values = values.detach()
    n = values.shape[0]
    column = index.reshape(n, *[1] * (values.ndim - 1)).expand(values.shape)
    lowest = values.new_full((n_segments, *values.shape[1:]), -torch.inf)
    largest = lowest.scatter_reduce(0, column, values, "amax")
    rows = torch.arange(n, device=values.device).reshape(n, *[1] * (values.ndim - 1)).expand(values.shape)
    is_largest = (values == largest.gather(0, column)) | values.isnan()
    none = torch.full((n_segments, *values.shape[1:]), n, dtype=torch.int64, device=values.device)
    return none.scatter_reduce(0, column, torch.where(is_largest, rows, n), "amin")
