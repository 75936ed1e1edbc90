"""A distance that stops falling: closer atoms look as if they were no closer."""

from __future__ import annotations

from math import comb

import torch
from torch import Tensor

from atomsym.core.errors import InputError


def held_distance(distance: Tensor, closest: float | Tensor, onset: float | Tensor, *, derivatives: int = 5) -> Tensor:
    """The distance itself from the onset on, and (closest + onset) / 2 up to ``closest``, smooth between.

    h = max(d, closest) + (onset - closest) ∫₀ˢ w, s = (onset - d) / (onset - closest) held in [0, 1], where w is the
    polynomial of ``cutoff_switch``: the slope of h is 1 - w.

    Args:
        distance: shape (n_edges,), Å.
        closest: where it stops to change, Å, >= 0; a tensor gives each edge its own, shape (n_edges,).
        onset: where it begins to differ from the distance, Å, > closest; likewise.
        derivatives: n >= 1; n + 1 derivatives are continuous.

    Returns:
        Shape (n_edges,), Å, dtype of the input; it never falls with the distance.

    Raises:
        InputError: unless ``0 <= closest < onset`` (where both are numbers) and ``derivatives >= 1``.

    Example:
        >>> held_distance(torch.tensor([0.1, 0.5, 1.0, 1.5]), 0.5, 1.0)
        tensor([0.7500, 0.7500, 1.0000, 1.5000])
    """
    numbers = not isinstance(closest, Tensor) and not isinstance(onset, Tensor)
    if derivatives < 1 or (numbers and not 0 <= closest < onset):
        raise InputError(
            f"a held distance needs 0 <= closest < onset and derivatives >= 1; found {closest}, {onset}, {derivatives}"
        )
    width = onset - closest
    s = ((onset - distance) / width).clamp(0, 1)
    n = derivatives
    integral = torch.zeros_like(s)
    for k in reversed(range(n + 1)):
        integral = integral * s + (-1) ** k * comb(n + k, k) * comb(2 * n + 1, n - k) / (n + 2 + k)
    held = torch.maximum(distance, torch.as_tensor(closest, dtype=distance.dtype, device=distance.device))
    return held + width * s.pow(n + 2) * integral
