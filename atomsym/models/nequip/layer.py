"""One layer of NequIP: a convolution over the neighbors, a self-connection, and a gate."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atomsym.core import EdgeTopology
from atomsym.kernels.so2_convolution import EdgeFrames
from atomsym.models.nequip.config import NequIPConfig
from atomsym.nn import EquivariantLinear, Gate, Perceptron, SpeciesLinear
from atomsym.nn.edge_product import convolve_edges, edge_product, product_irreps, product_weights


class InteractionLayer(nn.Module):
    """h' = Gate(Linear(Σ_j R(d_ij) Y(r_ij) ⊗ Linear(h_j) / sqrt(N)) + W(z_i) h_i), N that of z_j if elements differ.

    Args:
        config: of the model.
        layer: number of the layer, from 0.

    Attributes:
        up: linear map of the senders' features.
        product: what features and harmonics couple to.
        radial: network from the radial basis to one weight for each path and channel.
        down: linear map of the sums, to what the gate takes.
        skip: the self-connection, chosen by species.
        gate: the non-linearity.
    """

    def __init__(self, config: NequIPConfig, layer: int) -> None:
        super().__init__()
        features, channels = config.features(layer), config.channels
        self.gate = Gate(config.features(layer + 1))
        self.product = edge_product(
            config.product, features, config.harmonics, self.gate.irreps_in, mirror=config.parity
        )
        self._n_weights = product_weights(self.product)
        self.up = EquivariantLinear(features, features, channels, channels)
        self.radial = Perceptron((config.n_radial, *config.radial_hidden, self._n_weights * channels))
        self.down = EquivariantLinear(product_irreps(self.product), self.gate.irreps_in, channels, channels)
        self.skip = SpeciesLinear(features, self.gate.irreps_in, channels, len(config.elements))
        self._normalization = config.average_neighbors**-0.5
        self._by_element = [count**-0.5 for count in config.element_neighbors]

    def forward(
        self,
        features: Tensor,
        species: Tensor,
        harmonics: Tensor,
        basis: Tensor,
        topology: EdgeTopology,
        frames: EdgeFrames | None = None,
    ) -> Tensor:
        """Features after the layer.

        Args:
            features: shape (n_atoms, features(layer).dim, channels).
            species: shape (n_atoms,), int64.
            harmonics: shape (n_edges, (max_degree + 1)²).
            basis: radial basis, zero at the cutoff, shape (n_edges, n_radial).
            topology: who receives from whom.
            frames: of the edges, if the product is taken in them.

        Returns:
            Shape (n_atoms, features(layer + 1).dim, channels).
        """
        weights = self.radial(basis).unflatten(1, (self._n_weights, features.shape[2]))
        senders = self.up(features) * self._factor(features, species)
        summed = convolve_edges(self.product, senders, harmonics, frames, weights, topology)
        gated: Tensor = self.gate(self.down(summed) + self.skip(features, species))
        return gated

    def _factor(self, features: Tensor, species: Tensor) -> Tensor | float:
        if not self._by_element:
            return self._normalization
        # No buffer: cast to single precision and back with the weights, it would have lost its digits.
        table = torch.tensor(self._by_element, dtype=features.dtype, device=features.device)
        return table[species].view(-1, 1, 1)
