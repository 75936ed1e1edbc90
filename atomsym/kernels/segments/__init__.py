"""Reductions over the rows that share an index: edges of a receiver, atoms of a system."""

from atomsym.kernels.segments.front import (
    SEGMENT_ARGMAX,
    SEGMENT_SUM,
    segment_max,
    segment_mean,
    segment_softmax,
    segment_sum,
)

__all__ = ["SEGMENT_ARGMAX", "SEGMENT_SUM", "segment_max", "segment_mean", "segment_softmax", "segment_sum"]
