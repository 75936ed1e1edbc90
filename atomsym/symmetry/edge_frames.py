"""Rotations that take an edge to the polar axis, for convolutions that are block-diagonal in the edge's frame."""

from __future__ import annotations

import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.kernels.spherical_harmonics.reference import unit_vectors


def rotation_to_polar_axis(vectors: Tensor) -> Tensor:
    """A rotation R per vector with R v = |v| e_y, smooth in the vector within two charts.

    The frame is free to turn about the edge (the gauge). No choice of it is smooth on the whole sphere, so there are
    two: for v_y ≥ 0 the shortest turn from v to +y; for v_y < 0 a half turn about x, which takes −y to +y, followed
    by the shortest turn. Within a chart, R is smooth to every order, on the poles ±y included, and never divides by
    anything below 1. On the equator the chart changes, and R jumps by a turn about y.

    Whoever uses the frame must therefore be gauge-invariant: D(R)ᵀ M D(R) x with M commuting with turns about y. Such
    a function has the right derivatives of every order everywhere, since each chart gives it exactly, in an open
    neighborhood if continued beyond the equator. Angles (arccos, arctan2) would not: their derivatives diverge at
    the poles.

    Args:
        vectors: shape (n, 3) or (..., 3), any length. For a zero vector R is the identity with zero derivatives.

    Returns:
        Proper rotations, shape (..., 3, 3). Differentiable any number of times.

    Raises:
        InputError: if the shape is not (..., 3).

    Example:
        >>> v = torch.tensor([[0.6, 0.0, 0.8], [0.0, -1.0, 0.0]])
        >>> (rotation_to_polar_axis(v) @ v.unsqueeze(-1)).squeeze(-1).round(decimals=5).abs()
        tensor([[0., 1., 0.],
                [0., 1., 0.]])
    """
    if vectors.shape[-1:] != (3,) or not vectors.dtype.is_floating_point:
        raise InputError(f"vectors must be float of shape (..., 3); found {vectors.dtype} {tuple(vectors.shape)}")
    unit = unit_vectors(vectors)
    lower = (unit.detach()[..., 1] < 0).unsqueeze(-1)
    half_turn = torch.where(lower, unit.new_tensor([1.0, -1.0, -1.0]), unit.new_tensor([1.0, 1.0, 1.0]))
    x, y, z = (half_turn * unit).unbind(-1)
    # A zero vector has y = 0 and would give a singular matrix; a constant 1 there gives the identity.
    y = torch.where((vectors.detach() == 0).all(-1), torch.ones_like(y), y)
    scale = 1 / (1 + y)  # y >= 0 here
    rows = ((1 - x * x * scale, -x, -x * z * scale), (x, y, z), (-x * z * scale, -z, 1 - z * z * scale))
    shortest = torch.stack([torch.stack(row, -1) for row in rows], -2)
    return shortest * half_turn.unsqueeze(-2)
