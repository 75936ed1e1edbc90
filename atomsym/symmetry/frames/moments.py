"""Weighted frames of the plane from angular moments: at most 21 of a system, whatever its size."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from atomsym.symmetry.frames.frame_set import Frames
from atomsym.symmetry.frames.points import FramePoints
from atomsym.symmetry.frames.smooth import smooth_maximum, smooth_step

ORDERS = (1, 2, 3, 4, 5, 6)
"""Rotational symmetries that a moment can have; crystals have no others."""

_SHORT = 1e-2  # Å, points below which a system has no shape
_SMALLEST = 1e-5  # σ³ is below rounding there


def moment_frames(points: FramePoints, *, threshold: float, flatness: float) -> tuple[Frames, Tensor]:
    """Frames about z from z_m = Σ_i |p_i|^(d−m) (x_i + i y_i)^m, the moments of the orders m = 1 … 6.

    With d = 6 for even and 5 for odd orders, moments are polynomials of the points. The moment of order m makes m
    frames, whose first axes have the angles (arg z_m + 2 π k) / m. Its size is s = |z_m| / (m² Σ_i |p_i|^d), which
    prefers low orders, and with σ = s / (smooth maximum of s) its frames share the weight max(0, σ − threshold)³: a
    frame loses its weight before its angle loses its meaning. A hexagonal surface has a moment of order six alone, so
    six frames. Edges of periodic systems have no odd moments, since every edge is there in both directions.

    Args:
        points: see ``frame_points``; their owners do not matter.
        threshold, flatness: see ``weighted_frames``.

    Returns:
        Frames without mirror images, whose weights sum to the share of each system, and these shares, shape
        (n_systems,): S(ρ / flatness) S(s_max / flatness²), with ρ the largest |p|² over the largest |x|². It is zero
        where all points lie on a line along z, or no moment is there.

    Source: own choice; weights that vanish with the meaning of a frame after Dym, Lawrence, Siegel 2024.
    """
    moments, whole = _moments(points)
    orders = torch.tensor(ORDERS, device=moments.device).repeat(points.n_systems)
    system = torch.arange(points.n_systems, device=moments.device).repeat_interleave(len(ORDERS))
    moments, norm = moments.reshape(-1, 2), whole.reshape(-1) * orders**2
    with torch.no_grad():
        sizes = moments.norm(dim=1) / norm
        largest = smooth_maximum(sizes, system, points.n_systems)
        kept = ((sizes > 0) & (sizes > _SMALLEST * largest[system])).nonzero().squeeze(1)
    moments, orders, system = moments.index_select(0, kept), orders[kept], system[kept]
    sizes = moments.norm(dim=1) / norm.index_select(0, kept)
    largest = smooth_maximum(sizes, system, points.n_systems)
    share = _share(points, largest, flatness)
    raw = (sizes / largest.index_select(0, system) - threshold).clamp(min=0).pow(3)
    total = raw.new_zeros(points.n_systems).index_add(0, system, raw)
    used = ((raw.detach() > 0) & (share.detach()[system] > 0)).nonzero().squeeze(1)
    moments, raw, orders, system = (
        moments.index_select(0, used), raw.index_select(0, used), orders[used], system[used],
    )  # fmt: skip
    weights = raw * (share / torch.where(total > 0, total, torch.ones_like(total))).index_select(0, system) / orders
    of_moment = torch.repeat_interleave(torch.arange(len(orders), device=orders.device), orders)
    steps = torch.arange(len(of_moment), device=orders.device) - (torch.cumsum(orders, 0) - orders)[of_moment]
    phases = torch.atan2(moments[:, 1], moments[:, 0]).index_select(0, of_moment)
    angles = phases + 2 * math.pi * steps.to(phases.dtype)
    rotations = _about_z(angles / orders[of_moment])
    return Frames(rotations, weights.index_select(0, of_moment), system[of_moment]), share


def _moments(points: FramePoints) -> tuple[Tensor, Tensor]:
    """Moments, shape (n_systems, 6, 2), and bounds of them, shape (n_systems, 6); Å⁵ or Å⁶."""
    x, y = points.vectors[:, 0], points.vectors[:, 1]
    squared = x.square() + y.square()
    power, columns = (x, y), []
    for order in ORDERS:
        factor = squared.pow(((5 if order % 2 else 6) - order) // 2)
        columns += [factor * power[0], factor * power[1]]
        power = (power[0] * x - power[1] * y, power[0] * y + power[1] * x)
    columns += [squared.pow(2.5), squared.pow(3)]
    sums = x.new_zeros(points.n_systems, len(columns)).index_add(0, points.system, torch.stack(columns, dim=1))
    whole = torch.stack([sums[:, -2] + _SHORT**5, sums[:, -1] + _SHORT**6] * (len(ORDERS) // 2), dim=1)
    return sums[:, :-2].reshape(-1, len(ORDERS), 2), whole


def _share(points: FramePoints, largest: Tensor, flatness: float) -> Tensor:
    squared = points.vectors.square()
    whole = smooth_maximum(squared.sum(1), points.system, points.n_systems)
    planar = smooth_maximum(squared[:, 0] + squared[:, 1], points.system, points.n_systems)
    return smooth_step(planar / (whole + _SHORT**2) / flatness) * smooth_step(largest / flatness**2)


def _about_z(angles: Tensor) -> Tensor:
    """Matrices whose first columns have these angles, shape (n, 3, 3)."""
    c, s, zero, one = torch.cos(angles), torch.sin(angles), torch.zeros_like(angles), torch.ones_like(angles)
    return torch.stack([torch.stack(row, -1) for row in ((c, -s, zero), (s, c, zero), (zero, zero, one))], -2)
