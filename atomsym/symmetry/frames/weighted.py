"""Weighted frames: exact and continuous, at the price of many frames."""

from __future__ import annotations

import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.symmetry.frames.frame_set import Frames, joined_frames, ragged_ranges, with_mirrored
from atomsym.symmetry.frames.groups import Group, is_planar
from atomsym.symmetry.frames.moments import moment_frames
from atomsym.symmetry.frames.points import FramePoints
from atomsym.symmetry.frames.smooth import smooth_maximum, smooth_step

LARGEST_THRESHOLD = 0.75
"""Beyond it weights would rise from zero to their largest value within too small a change of the positions."""

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
      linear ones (in the plane: systems that are columns along z, and those whose moments all vanish).

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
    if is_planar(group):
        frames, share = moment_frames(points, threshold=threshold, flatness=flatness)
    else:
        frames, share = _pair_frames(points, threshold, flatness)
    return joined_frames([with_mirrored(frames, group), _remaining(share, remainder, frames.rotations)])


def _pair_frames(points: FramePoints, threshold: float, flatness: float) -> tuple[Frames, Tensor]:
    """Frames of pairs without mirror images, whose weights sum to the share of each system, and these shares."""
    candidates = _pairs(points)
    system = points.system.index_select(0, candidates[0])
    with torch.no_grad():
        sizes = _squared_areas(points.vectors, candidates)
        largest = smooth_maximum(sizes, system, points.n_systems)
        floor = min(max(threshold, _SMALLEST), _NEGLIGIBLE)
        kept = (sizes > floor * largest[system]).nonzero().squeeze(1)
    candidates, system = (candidates[0][kept], candidates[1][kept]), system[kept]
    sizes = _squared_areas(points.vectors, candidates)
    largest = smooth_maximum(sizes, system, points.n_systems)
    share = _shape_share(points, largest, flatness)
    per_frame = largest.index_select(0, system)
    raw = (sizes / per_frame - threshold).clamp(min=0).pow(3)
    used = ((raw.detach() > 0) & (share.detach()[system] > _FAINT)).nonzero().squeeze(1)
    raw, system = raw.index_select(0, used), system[used]
    total = raw.new_zeros(points.n_systems).index_add(0, system, raw)
    weights = raw / total.index_select(0, system) * share.index_select(0, system)
    rotations = _frames_of_pairs(points.vectors, (candidates[0][used], candidates[1][used]))
    return Frames(rotations, weights, system), share


def _pairs(points: FramePoints) -> tuple[Tensor, Tensor]:
    """All ordered pairs of points with the same owner, a point with itself included."""
    _, numbered, counts = torch.unique_consecutive(points.owner, return_inverse=True, return_counts=True)
    first_of_owner = torch.cumsum(counts, 0) - counts
    partners = counts[numbered]
    first = torch.repeat_interleave(torch.arange(len(numbered), device=counts.device), partners)
    return first, ragged_ranges(first_of_owner[numbered], partners)


def _squared_areas(vectors: Tensor, pairs: tuple[Tensor, Tensor]) -> Tensor:
    """Of pairs, Å⁴."""
    first, second = (vectors.index_select(0, side) for side in pairs)
    return torch.linalg.cross(first, second).square().sum(1)


def _shape_share(points: FramePoints, largest: Tensor, flatness: float) -> Tensor:
    """S(ρ / flatness) of each system: how much of the weight its own frames have."""
    length = smooth_maximum(points.vectors.square().sum(1), points.system, points.n_systems)
    return smooth_step(largest / (length.square() + _SHORT**4) / flatness)


def _frames_of_pairs(vectors: Tensor, pairs: tuple[Tensor, Tensor]) -> Tensor:
    first, second = (vectors.index_select(0, side) for side in pairs)
    e1 = first / first.norm(dim=1, keepdim=True)
    normal = torch.linalg.cross(first, second)
    e3 = normal / normal.norm(dim=1, keepdim=True)
    return torch.stack([e1, torch.linalg.cross(e3, e1), e3], dim=2)


def _remaining(share: Tensor, remainder: tuple[Tensor, Tensor], like: Tensor) -> Frames:
    rotations, weights = (tensor.to(like) for tensor in remainder)
    system = (share.detach() < 1).nonzero().squeeze(1)
    left = (1 - share.index_select(0, system)).unsqueeze(1) * weights
    k = len(rotations)
    return Frames(rotations.repeat(len(system), 1, 1), left.reshape(-1), system.repeat_interleave(k))
