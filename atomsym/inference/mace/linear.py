"""Linear maps of features forward and in reverse, without copies: one batched matrix product a run of components."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from atomsym.nn import EquivariantLinear
from atomsym.symmetry import Irreps


@dataclass(frozen=True)
class _Run:
    """Neighboring components that map to neighboring components.

    Attributes:
        source, target: slices of the component axes.
        weights: shape (components, channels_in, channels_out).
        first: the target is written, not added to.
    """

    source: slice
    target: slice
    weights: Tensor
    first: bool


class LinearMap:
    """y[n, o] = Σ_i x[n, i] W[i → o] for components i that map to o; every component of x maps to one o at most.

    The component axis is the batch axis of the matrix products; rows of all atoms of one component lie at equal
    distances in memory, which is all that a matrix product needs.

    Args:
        runs: see above.
        dim_in, dim_out: sizes of the component axes.
    """

    def __init__(self, runs: list[_Run], dim_in: int, dim_out: int, channels_in: int, channels_out: int) -> None:
        self._runs, self.dim_in, self.dim_out = runs, dim_in, dim_out
        self.channels_in, self.channels_out = channels_in, channels_out
        self._fills_target = sum(run.target.stop - run.target.start for run in runs if run.first) == dim_out
        self._fills_source = sum(run.source.stop - run.source.start for run in runs) == dim_in

    @classmethod
    def from_layer(cls, layer: EquivariantLinear, irreps_in: Irreps, factor: float, dtype: torch.dtype) -> LinearMap:
        """The map of a layer, times a factor, for input slots in another order than the layer's.

        Args:
            layer: the layer; its input slots of equal irrep keep their order among each other.
            irreps_in: input slots in the order they come in.
            factor: of the result.
            dtype: of the map.
        """
        channels = layer.channels_in
        entries: list[tuple[int, int, int, Tensor]] = []  # rank among equal irreps, target, source, weights
        weights = iter(layer.weights)
        for irrep, place in zip(layer.irreps_out, layer.irreps_out.slices, strict=True):
            sources = [s.start for i, s in zip(irreps_in, irreps_in.slices, strict=True) if i == irrep]
            if not sources:
                continue
            weight = next(weights).detach().double()
            scaled = (weight * (factor * weight.shape[0] ** -0.5)).unflatten(0, (len(sources), channels))
            for rank, start in enumerate(sources):
                entries += [(rank, place.start + m, start + m, scaled[rank]) for m in range(irrep.dim)]
        entries.sort(key=lambda entry: entry[:2])
        runs: list[list[tuple[int, int, int, Tensor]]] = []
        for entry in entries:
            follows = runs and all(runs[-1][-1][k] + step == entry[k] for k, step in enumerate((0, 1, 1)))
            if follows:
                runs[-1].append(entry)
            else:
                runs.append([entry])
        made = [
            _Run(
                slice(run[0][2], run[-1][2] + 1),
                slice(run[0][1], run[-1][1] + 1),
                torch.stack([entry[3] for entry in run]).to(dtype).contiguous(),
                run[0][0] == 0,
            )
            for run in runs
        ]
        return cls(made, irreps_in.dim, layer.irreps_out.dim, channels, layer.channels_out)

    def forward(self, features: Tensor) -> Tensor:
        """(n, dim_in, channels_in) → (n, dim_out, channels_out)."""
        shape = (features.shape[0], self.dim_out, self.channels_out)
        out = features.new_empty(shape) if self._fills_target else features.new_zeros(shape)
        for run in self._runs:
            target = out[:, run.target].transpose(0, 1)
            source = features[:, run.source].transpose(0, 1)
            if run.first:
                torch.bmm(source, run.weights, out=target)
            else:
                torch.baddbmm(target, source, run.weights, out=target)
        return out

    def reverse(self, gradient: Tensor) -> Tensor:
        """Gradient of the input from that of the result: (n, dim_out, channels_out) → (n, dim_in, channels_in)."""
        shape = (gradient.shape[0], self.dim_in, self.channels_in)
        out = gradient.new_empty(shape) if self._fills_source else gradient.new_zeros(shape)
        for run in self._runs:
            target = out[:, run.source].transpose(0, 1)
            torch.bmm(gradient[:, run.target].transpose(0, 1), run.weights.transpose(1, 2), out=target)
        return out


def ranked_slots(irreps: Irreps) -> list[int]:
    """Order of slots in which the first ones of each irrep come first, then the second ones, and so on.

    Slots of different irreps then stand side by side, so that a linear map onto one slot an irrep takes few runs.
    """
    seen: dict[object, int] = {}
    ranks = []
    for irrep in irreps:
        ranks.append(seen.get(irrep, 0))
        seen[irrep] = ranks[-1] + 1
    return sorted(range(len(ranks)), key=lambda slot: (ranks[slot], slot))
