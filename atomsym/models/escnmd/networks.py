"""The networks of scalars: radial functions of an edge, and the energy of an atom."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from atomsym.kernels.matrix_product import matrix_product
from atomsym.kernels.silu import silu

_EPSILON = 1e-5  # of layer norms


class Affine(nn.Module):
    """x W + b.

    Args:
        n_in, n_out: sizes.

    Attributes:
        weight: W, shape (n_in, n_out), drawn with the variance 1 / n_in.
        bias: b, shape (n_out,), zeros at first.
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_in, n_out) * n_in**-0.5)
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, x: Tensor) -> Tensor:
        """(n, n_in) → (n, n_out)."""
        return torch.addmm(self.bias, x, self.weight)


class RadialNetwork(nn.Module):
    """Affine, norm, SiLU, affine, norm, SiLU, affine: of the radial basis and numbers of both elements.

    What does not depend on the distance is computed once an element, not once an edge.

    Args:
        n_radial: functions of the distance.
        channels: numbers of each element, and width of both hidden layers.
        n_out: numbers that come out.

    Attributes:
        first: of basis, numbers of the sender and numbers of the receiver, one after the other.
        second, third: the affine maps after it.
        norms: layer norms before both SiLUs.
    """

    def __init__(self, n_radial: int, channels: int, n_out: int) -> None:
        super().__init__()
        self._sizes = [n_radial, channels, channels]
        self.first = Affine(n_radial + 2 * channels, channels)
        self.second = Affine(channels, channels)
        self.third = Affine(channels, n_out)
        self.norms = nn.ModuleList(nn.LayerNorm(channels, eps=_EPSILON) for _ in range(2))

    def forward(self, basis: Tensor, ends: tuple[Tensor, Tensor], species: tuple[Tensor, Tensor]) -> Tensor:
        """Apply it.

        Args:
            basis: shape (n_edges, n_radial).
            ends: numbers of each element as sender and as receiver, shape (n_species, channels) each.
            species: of senders and receivers, shape (n_edges,) each.

        Returns:
            Shape (n_edges, n_out).
        """
        of_basis, of_sender, of_receiver = self.first.weight.split(self._sizes)
        by_sender, by_receiver = ends[0] @ of_sender + self.first.bias, ends[1] @ of_receiver
        x = matrix_product(basis, of_basis)
        x = x + by_sender.index_select(0, species[0]) + by_receiver.index_select(0, species[1])
        x = self.second(silu(self.norms[0](x)))
        found: Tensor = self.third(silu(self.norms[1](x)))
        return found


class Readout(nn.Module):
    """Affine maps with SiLU between them.

    Args:
        sizes: of the input, the hidden layers and the output.

    Attributes:
        layers: the maps.
    """

    def __init__(self, *sizes: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Affine(n_in, n_out) for n_in, n_out in pairwise(sizes))

    def forward(self, x: Tensor) -> Tensor:
        """(n, sizes[0]) → (n, sizes[-1])."""
        for number, layer in enumerate(self.layers):
            x = layer(silu(x) if number else x)
        return x
