"""One layer of MACE: messages from the neighbors, and products of up to ν of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from atomsym.core import ConfigError, EdgeTopology
from atomsym.kernels.segments import segment_sum
from atomsym.kernels.so2_convolution import EdgeFrames
from atomsym.kernels.symmetric_contraction import SymmetricContraction, symmetric_contraction
from atomsym.kernels.tensor_product import ChannelwiseProduct
from atomsym.models.mace.config import MACEConfig
from atomsym.nn import EquivariantLinear, Perceptron, SpeciesLinear
from atomsym.nn.edge_product import convolve_edges, edge_product, product_irreps, product_weights
from atomsym.nn.expansion import Expansion
from atomsym.symmetry import Irreps


@dataclass(frozen=True, eq=False)
class Edges:
    """What all layers read of the edges.

    Attributes:
        topology: who receives from whom.
        harmonics: spherical harmonics of the edge vectors, shape (n_edges, (max_degree + 1)²).
        basis: radial basis, shape (n_edges, n_radial).
        cutoff: weight that vanishes at the cutoff, shape (n_edges,).
        frames: of the edges, if the product is taken in them.
        radial: weights of the paths and channels of each layer, and the density of each edge or None; None: the
            networks of the layers give them.
    """

    topology: EdgeTopology
    harmonics: Tensor
    basis: Tensor | None
    cutoff: Tensor | None
    frames: EdgeFrames | None = None
    radial: tuple[tuple[Tensor, Tensor | None], ...] | None = None


class Interaction(torch.nn.Module):
    """Messages A_i = Linear(Σ_j R(d_ij) Y(r_ij) ⊗ Linear(h_j)) / normalisation, and what skips the layer.

    Args:
        config: of the model.
        layer: number of the layer, from 0.

    Attributes:
        up: linear map of the senders' features.
        product: what features and harmonics couple to.
        radial: network from the basis to one weight for each path and channel.
        down: linear map of the summed messages.
        skip: ``residual``: of the layer's input to its output; ``plain``: of the messages.
        density: network of the learned number of neighbors, or None.
    """

    def __init__(self, config: MACEConfig, layer: int) -> None:
        super().__init__()
        features, messages, channels = config.features(layer), config.messages(layer), config.channels
        self.config, self.layer, self.messages = config, layer, messages
        self.residual = (config.first_interaction if layer == 0 else config.interaction) == "residual"
        self.product = edge_product(config.product, features, config.harmonics, messages)
        self._n_weights = product_weights(self.product)
        self.up = EquivariantLinear(features, features, channels, channels)
        self.radial = Perceptron((config.n_radial, *config.radial_hidden, self._n_weights * channels))
        self.down = EquivariantLinear(product_irreps(self.product), messages, channels, channels)
        ends = (features, config.features(layer + 1)) if self.residual else (messages, messages)
        self.skip = SpeciesLinear(*ends, channels, len(config.elements))
        self.density = Perceptron((config.n_radial, 1)) if config.has_density(layer) else None

    @property
    def channelwise(self) -> ChannelwiseProduct:
        """The product, for those who know the Clebsch–Gordan one only.

        Raises:
            ConfigError: if it is another one.
        """
        if not isinstance(self.product, ChannelwiseProduct):
            raise ConfigError(f"this needs the product 'clebsch-gordan'; the model has '{self.config.product}'")
        return self.product

    def forward(self, features: Tensor, species: Tensor, edges: Edges) -> tuple[Tensor, Tensor | None]:
        """Messages, shape (n_atoms, messages.dim, channels), and what to add to the layer's output, or None."""
        weights, near = self._radial(edges) if edges.radial is None else edges.radial[self.layer]
        weights = weights.unflatten(1, (self._n_weights, self.config.channels))
        summed = convolve_edges(self.product, self.up(features), edges.harmonics, edges.frames, weights, edges.topology)
        messages = self._normalized(self.down(summed), near, edges.topology)
        if self.residual:
            return messages, self.skip(features, species)
        return self.skip(messages, species), None

    def expanded(self, basis: Expansion, cutoff: Expansion) -> tuple[Expansion, Expansion | None]:
        """Weights of the paths and channels, and the density of each edge or None, as polynomials of the distance."""
        weights = basis.through(self.radial)
        near = None if self.density is None else basis.through(self.density).mapped(_near)
        if self.config.cutoff_on_weights:
            weights, near = weights.times(cutoff), None if near is None else near.times(cutoff)
        return weights, near

    def _radial(self, edges: Edges) -> tuple[Tensor, Tensor | None]:
        """The same as tensors, shapes (n_edges, n_weights · channels) and (n_edges, 1)."""
        weights = self.radial(edges.basis)
        near = None if self.density is None else _near(self.density(edges.basis))
        if self.config.cutoff_on_weights:
            cutoff = cast(Tensor, edges.cutoff).unsqueeze(-1)
            weights, near = weights * cutoff, None if near is None else near * cutoff
        return weights, near

    def _normalized(self, messages: Tensor, near: Tensor | None, topology: EdgeTopology) -> Tensor:
        """Messages over the average, or over 1 + Σ_j tanh(f(b_ij)²), number of neighbors."""
        if near is None:
            return messages / self.config.average_neighbors
        density = segment_sum(near, topology.receiver, topology.n_nodes)
        return messages / (density + 1).unsqueeze(-1)


class ProductBasis(torch.nn.Module):
    """h' = Linear(B(A)) + skipped: the symmetric contraction of the messages and its linear map.

    Args:
        config: of the model.
        layer: number of the layer, from 0.

    Attributes:
        contraction: what the products couple to.
        weights: shape (number of species, or 1, contraction.n_paths, channels).
        linear: of the contracted products.
    """

    def __init__(self, config: MACEConfig, layer: int) -> None:
        super().__init__()
        irreps_out = config.features(layer + 1)
        self.contraction = SymmetricContraction(config.messages(layer), irreps_out, config.correlation)
        n_species = len(config.elements) if config.species_product else 1
        self.weights = torch.nn.Parameter(_drawn(self.contraction, n_species, config.channels))
        self.linear = EquivariantLinear(irreps_out, irreps_out, config.channels, config.channels)

    def forward(self, messages: Tensor, species: Tensor, skipped: Tensor | None) -> Tensor:
        """Features after the layer, shape (n_atoms, irreps_out.dim, channels)."""
        if self.weights.shape[0] == 1:
            species = torch.zeros_like(species)
        mixed = self.linear(symmetric_contraction(messages, self.weights, species, self.contraction))
        return mixed if skipped is None else mixed + skipped


class Readout(torch.nn.Module):
    """Energies from the scalar features: linear, or a network with one hidden layer.

    Args:
        irreps: of the features; 0e comes first.
        sizes: of the network: channels, hidden width if any, 1.
        activation: between its layers.
    """

    def __init__(self, irreps: Irreps, sizes: tuple[int, ...], activation: str) -> None:
        super().__init__()
        self.irreps = irreps
        self.network = Perceptron(sizes, activation)

    def forward(self, features: Tensor) -> Tensor:
        """(n_atoms, irreps.dim, channels) → (n_atoms,)."""
        energies: Tensor = self.network(features[:, 0]).squeeze(-1)
        return energies


def _near(x: Tensor) -> Tensor:
    """How much of a neighbor an edge counts as, from the output of the density's network."""
    return torch.tanh(x.square())


def _drawn(contraction: SymmetricContraction, n_species: int, channels: int) -> Tensor:
    """Normal weights over the number of paths of their block, so that every order and irrep begins alike."""
    weights = torch.randn(n_species, contraction.n_paths, channels)
    for block in contraction.blocks:
        weights[:, block.paths] /= max(block.paths.stop - block.paths.start, 1)
    return weights
