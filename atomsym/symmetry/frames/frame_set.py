"""What a set of frames is: orthogonal matrices with weights, a number of them for each system of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from atomsym.symmetry.frames.groups import Group, is_proper, mirror_of


@dataclass(frozen=True, eq=False)
class Frames:
    """Weighted frames of the systems of a batch; systems may have different numbers of them.

    A frame is an orthogonal matrix R whose columns are its axes; x R are the coordinates of a row vector x in it. The
    average of a function f over the frames is Σ w f(x R).

    Attributes:
        rotations: shape (n_frames, 3, 3), float64.
        weights: shape (n_frames,), ≥ 0; they sum to 1 over the frames of each system.
        system: of each frame, shape (n_frames,), int64, non-decreasing.
    """

    rotations: Tensor
    weights: Tensor
    system: Tensor

    @property
    def n_frames(self) -> int:
        return self.rotations.shape[0]

    def per_system(self, n_systems: int) -> Tensor:
        """Number of frames of each system, shape (n_systems,), int64."""
        return torch.bincount(self.system, minlength=n_systems)

    def part(self, start: int, stop: int) -> Frames:
        """The frames from start to stop - 1, with the weights that they have."""
        return Frames(self.rotations[start:stop], self.weights[start:stop], self.system[start:stop])


def fixed_frames(rotations: Tensor, weights: Tensor, n_systems: int) -> Frames:
    """The same frames for every system.

    Args:
        rotations: shape (k, 3, 3).
        weights: shape (k,), with the sum 1.
        n_systems: number of systems.
    """
    system = torch.arange(n_systems, device=rotations.device).repeat_interleave(len(rotations))
    return Frames(rotations.repeat(n_systems, 1, 1), weights.repeat(n_systems), system)


def joined_frames(parts: Sequence[Frames]) -> Frames:
    """All frames of several sets, ordered by system; whoever makes the parts sees to the sum of the weights."""
    system = torch.cat([part.system for part in parts])
    order = torch.argsort(system, stable=True)
    rotations = torch.cat([part.rotations for part in parts])[order]
    return Frames(rotations, torch.cat([part.weights for part in parts])[order], system[order])


def with_mirrored(frames: Frames, group: Group) -> Frames:
    """The frames, and for a group with reflections their mirror images too, each with half of the weight."""
    if is_proper(group):
        return frames
    halves = 0.5 * frames.weights
    mirrored = frames.rotations @ mirror_of(group, frames.rotations)
    return joined_frames([Frames(r, halves, frames.system) for r in (frames.rotations, mirrored)])


def ragged_ranges(starts: Tensor, counts: Tensor) -> Tensor:
    """The numbers starts[i], …, starts[i] + counts[i] − 1 for one i after the other, int64.

    Example:
        >>> ragged_ranges(torch.tensor([4, 0]), torch.tensor([2, 3]))
        tensor([4, 5, 0, 1, 2])
    """
    before = torch.cumsum(counts, 0) - counts
    return torch.repeat_interleave(starts - before, counts) + torch.arange(int(counts.sum()), device=starts.device)
