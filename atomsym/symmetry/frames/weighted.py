"""Weighted frames: exact and continuous, at the price of many frames."""

from __future__ import annotations

import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.symmetry.frames.frame_set import Frames, joined_frames, ragged_ranges, with_mirrored
from atomsym.symmetry.frames.groups import Group, is_planar
from atomsym.symmetry.frames.points import FramePoints

LARGEST_THRESHOLD = 0.75
"""Beyond it weights would rise from zero to their largest value within too small a change of the positions."""

_POWER = 32  # of the smooth maximum
_SMALLEST = 1e-5  # σ³ is below rounding there
_NEGLIGIBLE = 0.3  # σ³² is below rounding there
_SHORT = 1e-2  # Å, points below which a system has no shape
_FAINT = 1e-15


def weighted_frames(
    points: FramePoints,
    group: Group,
    remainder: tuple[Tensor, Tensor],
    *,
    threshold: float = 0.5,
    flatness: float = 0.01,
) -> Frames:
    """A frame for each pair of points that is not too small, weighted so that nothing ever jumps.

    In space, the frame of an ordered pair (i, j) is e1 ∥ x_i, e2 ∥ x_j − (x_j · e1) e1, e3 = e1 × e2. With the squared
    area s = |x_i × x_j|² and σ = s / (smooth maximum of s), its weight is proportional to

        max(0, σ − threshold)³,

    which has two continuous derivatives where a pair comes or goes, five at collinearity. In the plane, a single point
    makes a frame, e1 ∥ (x, y), with s = x² + y². Supercells, which have every pair several times, have the
    same average.

    Where even the best pair is nearly collinear, ρ = s_max / |x|⁴_max < ``flatness``, frames are about to lose their
    meaning. There the weights are reduced by a smooth step S(ρ / flatness), S(0) = 0 and S(1) = 1 with three continuous
    derivatives, and 1 − S falls to a fixed set of rotations, such as a quadrature. So the average is

    - exactly invariant for ρ ≥ flatness, whatever the threshold;
    - continuous with two derivatives everywhere, at equal principal values and in linear molecules too;
    - as invariant as the fixed set for single atoms, linear molecules and molecules within sin θ < √flatness of
      linear ones (in the plane: systems that are columns along z).

    Groups with reflections get the mirror image of each frame too.

    Args:
        points: see ``frame_points``; pairs are formed within an owner.
        group: of motions.
        remainder: rotations, shape (k, 3, 3), and weights, shape (k,), with the sum 1, of the group.
        threshold: from 0, which keeps all pairs, to 0.75; a larger one leaves out more of the less important pairs: the
            price falls, nothing is lost in exactness or continuity.
        flatness: bound of ρ.

    Returns:
        Numbers of frames depend on the system. Differentiable any number of times in the points.

    Raises:
        InputError: if threshold is not in [0, 0.75] or flatness not in (0, 1).

    Source: Dym, Lawrence, Siegel, ICML 2024 (arXiv 2402.16077): weighted frames, and why no single frame can be
    continuous. The weights, the threshold and the treatment of collinear systems are our own.
    """
    if not (0 <= threshold <= LARGEST_THRESHOLD and 0 < flatness < 1):
        raise InputError(f"weighted frames need 0 <= threshold <= {LARGEST_THRESHOLD} and 0 < flatness < 1")
    candidates = _points_in_plane(points) if is_planar(group) else _pairs(points)
    system = points.system.index_select(0, candidates[0])
    with torch.no_grad():
        sizes = _sizes(points.vectors, candidates, group)
        largest = smooth_maximum(sizes, system, points.n_systems)
        floor = min(max(threshold, _SMALLEST), _NEGLIGIBLE)
        kept = (sizes > floor * largest[system]).nonzero().squeeze(1)
    candidates, system = tuple(c[kept] for c in candidates), system[kept]
    sizes = _sizes(points.vectors, candidates, group)
    largest = smooth_maximum(sizes, system, points.n_systems)
    share = _shape_share(points, largest, group, flatness)
    per_frame = largest.index_select(0, system)
    raw = (sizes / per_frame - threshold).clamp(min=0).pow(3)
    used = ((raw.detach() > 0) & (share.detach()[system] > _FAINT)).nonzero().squeeze(1)
    raw, system = raw.index_select(0, used), system[used]
    total = raw.new_zeros(points.n_systems).index_add(0, system, raw)
    weights = raw / total.index_select(0, system) * share.index_select(0, system)
    rotations = _frames(points.vectors, tuple(c[used] for c in candidates), group)
    return joined_frames(
        [with_mirrored(Frames(rotations, weights, system), group), _remaining(share, remainder, rotations)]
    )


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


def _pairs(points: FramePoints) -> tuple[Tensor, ...]:
    """All ordered pairs of points with the same owner, a point with itself included."""
    _, numbered, counts = torch.unique_consecutive(points.owner, return_inverse=True, return_counts=True)
    first_of_owner = torch.cumsum(counts, 0) - counts
    partners = counts[numbered]
    first = torch.repeat_interleave(torch.arange(len(numbered), device=counts.device), partners)
    return first, ragged_ranges(first_of_owner[numbered], partners)


def _points_in_plane(points: FramePoints) -> tuple[Tensor, ...]:
    return (torch.arange(points.vectors.shape[0], device=points.vectors.device),)


def _sizes(vectors: Tensor, candidates: tuple[Tensor, ...], group: Group) -> Tensor:
    """Squared areas of pairs, Å⁴; of points in the plane squared lengths, Å²."""
    first = vectors.index_select(0, candidates[0])
    if is_planar(group):
        return first[:, :2].square().sum(1)
    return torch.linalg.cross(first, vectors.index_select(0, candidates[1])).square().sum(1)


def _shape_share(points: FramePoints, largest: Tensor, group: Group, flatness: float) -> Tensor:
    """S(ρ / flatness) of each system: how much of the weight its own frames have."""
    squared = points.vectors.square().sum(1)
    length = smooth_maximum(squared, points.system, points.n_systems)
    whole = length + _SHORT**2 if is_planar(group) else length.square() + _SHORT**4
    return smooth_step(largest / whole / flatness)


def _frames(vectors: Tensor, candidates: tuple[Tensor, ...], group: Group) -> Tensor:
    first = vectors.index_select(0, candidates[0])
    if is_planar(group):
        first = first * first.new_tensor([1.0, 1.0, 0.0])
        e3 = first.new_tensor([0.0, 0.0, 1.0]).expand_as(first)
        e1 = first / first.norm(dim=1, keepdim=True)
        return torch.stack([e1, torch.linalg.cross(e3, e1), e3], dim=2)
    e1 = first / first.norm(dim=1, keepdim=True)
    normal = torch.linalg.cross(first, vectors.index_select(0, candidates[1]))
    e3 = normal / normal.norm(dim=1, keepdim=True)
    return torch.stack([e1, torch.linalg.cross(e3, e1), e3], dim=2)


def _remaining(share: Tensor, remainder: tuple[Tensor, Tensor], like: Tensor) -> Frames:
    rotations, weights = (tensor.to(like) for tensor in remainder)
    system = (share.detach() < 1).nonzero().squeeze(1)
    left = (1 - share.index_select(0, system)).unsqueeze(1) * weights
    k = len(rotations)
    return Frames(rotations.repeat(len(system), 1, 1), left.reshape(-1), system.repeat_interleave(k))
