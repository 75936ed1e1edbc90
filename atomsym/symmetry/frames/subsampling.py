"""Fewer frames than there are: the heaviest ones, or a sample."""

from __future__ import annotations

import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.symmetry.frames.frame_set import Frames

TIE = {torch.float64: 1e-9, torch.float32: 1e-4}
"""Relative difference within which two weights count as equal: those of equivalent atoms differ by rounding."""


def largest_frames(frames: Frames, n: int, n_systems: int) -> Frames:
    """The n heaviest frames of each system and all that are as heavy as the last of them, with weights that sum to 1.

    As invariant as all the frames are, since weights do not change under rotations; frames of equal weight, such as
    those of equivalent atoms, stay together, whatever their number. Not continuous: frames come and go as the order of
    their weights changes.

    Raises:
        InputError: if n < 1.
    """
    if n < 1:
        raise InputError(f"at least one frame has to stay; found {n}")
    weights = frames.weights.detach()
    by_weight = torch.argsort(weights, descending=True, stable=True)
    order = by_weight[torch.argsort(frames.system[by_weight], stable=True)]
    counts = frames.per_system(n_systems)
    starts = torch.cumsum(counts, 0) - counts
    place = torch.minimum(starts + n - 1, starts + (counts - 1).clamp(min=0)).clamp(max=max(len(order) - 1, 0))
    bound = weights[order][place] * (1 - TIE[weights.dtype])
    kept = (weights >= bound[frames.system]).nonzero().squeeze(1)
    system, chosen = frames.system[kept], frames.weights.index_select(0, kept)
    total = chosen.new_zeros(n_systems).index_add(0, system, chosen)
    return Frames(frames.rotations.index_select(0, kept), chosen / total.index_select(0, system), system)


def sampled_frames(frames: Frames, uniforms: Tensor) -> Frames:
    """Frames of each system drawn with their weights as probabilities; the mean over draws is the whole average.

    The weight of a drawn frame is 1 / k in value, but has the relative derivative of the frame's own weight, so that
    gradients are those of the whole average in the mean too.

    Args:
        frames: of all systems.
        uniforms: random numbers in [0, 1), shape (n_systems, k); equal rows make the same choice for equal systems.

    Raises:
        InputError: if the shape is another one.
    """
    if uniforms.ndim != 2 or uniforms.shape[1] < 1:
        raise InputError(f"uniforms must have the shape (n_systems, k); found {tuple(uniforms.shape)}")
    n_systems, k = uniforms.shape
    counts = frames.per_system(n_systems)
    starts = torch.cumsum(counts, 0) - counts
    number = torch.arange(n_systems, device=frames.system.device).unsqueeze(1)
    # Every system's weights sum to 1, so that of the system s fills the interval [s, s + 1) of the running sum.
    running = torch.cumsum(frames.weights.detach(), 0)
    places = torch.searchsorted(running, number + uniforms.to(running), right=True)
    places = torch.maximum(torch.minimum(places, (starts + counts - 1).unsqueeze(1)), starts.unsqueeze(1)).reshape(-1)
    chosen = frames.weights.index_select(0, places)
    weights = chosen / (k * chosen.detach())
    return Frames(frames.rotations.index_select(0, places), weights, frames.system[places])
