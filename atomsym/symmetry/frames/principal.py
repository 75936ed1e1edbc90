"""Frames of principal axes: few, exact, and discontinuous where two principal values meet."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from atomsym.symmetry.frames.frame_set import Frames
from atomsym.symmetry.frames.groups import Group, is_planar, is_proper
from atomsym.symmetry.frames.points import FramePoints

SMALLEST_GAP = 1e-6
"""Of two principal values, as a fraction of their sum, below which derivatives of the axes are damped."""


def second_moments(points: FramePoints) -> Tensor:
    """Σ x xᵀ of each system, shape (n_systems, 3, 3), Å²; zero for a system without points."""
    products = points.vectors.unsqueeze(2) * points.vectors.unsqueeze(1)
    return products.new_zeros(points.n_systems, 3, 3).index_add(0, points.system, products)


def principal_axes(moments: Tensor) -> Tensor:
    """Orthonormal eigenvectors in columns, largest eigenvalue first, with derivatives that are always finite.

    The derivative of an eigenvector has the differences of eigenvalues in its denominators. Where two values are nearer
    than ``SMALLEST_GAP`` times the trace, they are taken apart to that distance before the decomposition, by a constant
    that does not change the eigenvectors: derivatives are exact everywhere else and damped there, where the axes of an
    eigenspace are arbitrary anyhow and no derivative exists.

    Args:
        moments: symmetric, positive semi-definite, shape (n, d, d), float64.

    Returns:
        Shape (n, d, d); signs are arbitrary. Differentiable any number of times.
    """
    values, vectors = torch.linalg.eigh(moments.detach())
    trace = values.clamp(min=0).sum(dim=1)
    floor = torch.where(trace > 0, SMALLEST_GAP * trace, torch.ones_like(trace))
    apart = [values[:, 0]]
    for k in range(1, values.shape[1]):
        apart.append(torch.maximum(values[:, k], apart[-1] + floor))
    shift = torch.stack(apart, dim=1) - values
    separation = (vectors * shift.unsqueeze(1)) @ vectors.transpose(1, 2)
    return torch.linalg.eigh(moments + separation)[1].flip(2)


def principal_frames(points: FramePoints, group: Group) -> Frames:
    """All frames of principal axes: every choice of the signs that the group allows, with equal weights.

    E3: 8, SE3: 4 (right-handed ones), E2: 4, SE2: 2 (axes of the second moments of x and y; z stays). The average over
    them is exactly invariant wherever the principal values differ. Where two of them meet, the axes turn
    by any angle at once and a function's average jumps; where they stay equal (linear molecules, cubic crystals, single
    atoms) the axes are some orthonormal ones, which do not turn with the system.

    Source: Puny, Atzmon, Ben-Hamu, Misra, Grover, Smith, Lipman, ICLR 2022 (arXiv 2110.03336); Duval, Schmidt,
    Hernández-García, Miret, Malliaros, Bengio, Rolnick, ICML 2023 (arXiv 2305.05577) for slabs. Here the second
    moments of crystals are those of edges, see ``frame_points``.
    """
    axes = _axes(points, group)
    signs = _signs(axes, group)
    n, k = signs.shape[:2]
    rotations = (axes.unsqueeze(1) * signs.unsqueeze(2)).reshape(n * k, 3, 3)
    system = torch.arange(n, device=axes.device).repeat_interleave(k)
    return Frames(rotations, rotations.new_full((n * k,), 1 / k), system)


def deterministic_frames(points: FramePoints, group: Group) -> Frames:
    """One frame of principal axes, its signs fixed by the sums of the axes' components: fast and not invariant.

    The sum of the components of an axis depends on how the system lies in space, so the choice of signs does too.
    Kept because published models were trained with it.

    Source: Duval et al. 2023 (arXiv 2305.05577).
    """
    axes = _axes(points, group)
    axes = axes * _sign_of(axes.detach().sum(dim=1)).unsqueeze(1)
    if is_proper(group):
        last = 1 if is_planar(group) else 2
        flips = torch.ones_like(axes[:, 0])
        flips[:, last] = _sign_of(torch.linalg.det(axes.detach()))
        axes = axes * flips.unsqueeze(1)
    n = axes.shape[0]
    return Frames(axes, axes.new_ones(n), torch.arange(n, device=axes.device))


def _axes(points: FramePoints, group: Group) -> Tensor:
    moments = second_moments(points)
    if not is_planar(group):
        return principal_axes(moments)
    in_plane = principal_axes(moments[:, :2, :2])
    return torch.nn.functional.pad(in_plane, (0, 1, 0, 1)) + torch.diag(in_plane.new_tensor([0.0, 0.0, 1.0]))


def _signs(axes: Tensor, group: Group) -> Tensor:
    """Signs of the three axes in each frame, shape (n_systems, k, 3)."""
    free = 2 if is_planar(group) else 3
    table = axes.new_tensor([(*s, *(1.0,) * (3 - free)) for s in itertools.product((1.0, -1.0), repeat=free)])
    if not is_proper(group):
        return table.expand(axes.shape[0], *table.shape)
    even, odd = table[table.prod(dim=1) > 0], table[table.prod(dim=1) < 0]
    right_handed = torch.linalg.det(axes.detach()) > 0
    return torch.where(right_handed[:, None, None], even, odd)


def _sign_of(values: Tensor) -> Tensor:
    return torch.where(values < 0, -1.0, 1.0).to(values.dtype)
