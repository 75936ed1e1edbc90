"""Lengths of edge vectors with finite derivatives of every order, also where two atoms coincide."""

from __future__ import annotations

import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.core.validation import MIN_DISTANCE


def edge_lengths(vectors: Tensor, core: float = MIN_DISTANCE) -> Tensor:
    """Length of each vector, exact from ``core`` on and rounded off below it.

    d = |r| for |r| >= core, else (core + |r|² / core) / 2.

    The square root has no derivative at 0. Below the core the length is a parabola instead, which joins with equal
    value and slope and ends at core / 2: a repulsion stays finite and repulsive for atoms that overlap, and its force
    on coinciding atoms is zero by symmetry. Structures that passed validation never get there.

    Args:
        vectors: edge vectors, shape (n_edges, 3), Å.
        core: radius of the rounded region, Å, > 0.

    Returns:
        Shape (n_edges,), Å, > 0, dtype of the input. Differentiable any number of times.

    Raises:
        InputError: if ``core <= 0``.

    Example:
        >>> edge_lengths(torch.tensor([[3.0, 0.0, 4.0], [0.0, 0.0, 0.0]]))
        tensor([5.0000, 0.0500])
    """
    if not core > 0:
        raise InputError(f"edge lengths need core > 0; found {core}")
    squared = vectors.square().sum(dim=-1)
    outside = squared >= core**2
    # Both branches get arguments that are harmless to differentiate where the other one is taken.
    root = torch.where(outside, squared, torch.ones_like(squared)).sqrt()
    rounded = core / 2 + torch.where(outside, torch.zeros_like(squared), squared) / (2 * core)
    return torch.where(outside, root, rounded)
