"""Smooth maxima and steps: how weights of frames change without a jump."""

from __future__ import annotations

import torch
from torch import Tensor

_POWER = 32  # of the smooth maximum


def smooth_maximum(values: Tensor, index: Tensor, n: int) -> Tensor:
    """Σ v³³ / Σ v³² over the values of each index, shape (n,): near the largest, smooth where two values are equal.

    It exceeds no largest value, and does not change when every value is there several times.

    Args:
        values: shape (n_values,), ≥ 0.
        index: shape (n_values,), int64.
        n: number of results; those without values are 0.
    """
    largest = values.new_zeros(n).scatter_reduce(0, index, values.detach(), "amax")
    scale = torch.where(largest > 0, largest, torch.ones_like(largest))
    ratio = values / scale[index]
    powers = ratio.pow(_POWER)
    total = values.new_zeros(n).index_add(0, index, powers)
    return scale * values.new_zeros(n).index_add(0, index, powers * ratio) / torch.where(largest > 0, total, scale)


def smooth_step(t: Tensor) -> Tensor:
    """t⁴ (35 − 84 t + 70 t² − 20 t³) on [0, 1], 0 before and 1 behind; three continuous derivatives."""
    t = t.clamp(0, 1)
    return t.pow(4) * (35 - 84 * t + 70 * t.square() - 20 * t.pow(3))
