"""Linear maps between features that commute with rotations and inversion: they mix channels and equal irreps only."""

from __future__ import annotations

import torch
from torch import Tensor

from atomsym.symmetry import Irrep, Irreps


class EquivariantLinear(torch.nn.Module):
    """y[n, s, m, d] = Σ_{t: irrep(t) = irrep(s)} Σ_c x[n, t, m, c] W_s[t, c, d] / sqrt(fan-in of s).

    Slots of equal irrep need not stand side by side, but it is faster if they do (one matrix product an irrep instead
    of one a run of slots). Weights are drawn with unit variance and the factor is applied in ``forward``, so that one
    learning rate suits all sizes.

    Args:
        irreps_in: slots of the input; may repeat.
        irreps_out: slots of the output; may repeat, each with weights of its own. A slot without a matching input is
            zero.
        channels_in, channels_out: sizes of the channel axes.

    Attributes:
        weights: one per output slot whose irrep the input has, in the order of the output, shape (number of input
            slots of this irrep · channels_in, channels_out), input slots in their order.

    Source: linear layers of e3nn (Geiger and Smidt 2022), without biases.

    Example:
        >>> layer = EquivariantLinear(Irreps.parse("0e+0e+1o"), Irreps.parse("0e+1o"), 4, 8)
        >>> layer(torch.zeros(5, 5, 4)).shape, [tuple(weight.shape) for weight in layer.weights]
        (torch.Size([5, 4, 8]), [(8, 8), (4, 8)])
    """

    def __init__(self, irreps_in: Irreps, irreps_out: Irreps, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.irreps_in, self.irreps_out = irreps_in, irreps_out
        self.channels_in, self.channels_out = channels_in, channels_out
        self._sources = [(irrep, _runs(irreps_in, irrep)) for irrep in irreps_out]
        fan_in = [channels_in * sum(count for _, count in runs) for _, runs in self._sources if runs]
        self.weights = torch.nn.ParameterList(torch.randn(n, channels_out) for n in fan_in)

    def forward(self, features: Tensor) -> Tensor:
        """Apply it.

        Args:
            features: shape (n, irreps_in.dim, channels_in).

        Returns:
            Shape (n, irreps_out.dim, channels_out).
        """
        n = features.shape[0]
        results, weights = [], iter(self.weights)
        for irrep, runs in self._sources:
            if not runs:
                results.append(features.new_zeros(n, irrep.dim, self.channels_out))
                continue
            gathered = torch.cat([_beside(features, start, count, irrep.dim) for start, count in runs], dim=1)
            weight: Tensor = next(weights)
            mixed = gathered @ (weight * weight.shape[0] ** -0.5)
            results.append(mixed.view(n, irrep.dim, self.channels_out))
        return results[0] if len(results) == 1 else torch.cat(results, dim=1)

    def extra_repr(self) -> str:
        return f"{self.irreps_in} -> {self.irreps_out}, channels {self.channels_in} -> {self.channels_out}"


def _runs(irreps: Irreps, wanted: Irrep) -> list[tuple[int, int]]:
    """(first component, number of slots) of each run of neighboring slots of one irrep."""
    runs: list[tuple[int, int]] = []
    for irrep, place in zip(irreps, irreps.slices, strict=True):
        if irrep != wanted:
            continue
        if runs and runs[-1][0] + runs[-1][1] * irrep.dim == place.start:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((place.start, 1))
    return runs


def _beside(features: Tensor, start: int, count: int, dim: int) -> Tensor:
    """Slots of one irrep with their channels side by side: shape (n · dim, count · channels)."""
    n, channels = features.shape[0], features.shape[2]
    block = features[:, start : start + count * dim]
    if count > 1:
        block = block.unflatten(1, (count, dim)).transpose(1, 2)
    return block.reshape(n * dim, count * channels)
