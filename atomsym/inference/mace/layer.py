"""The layers of MACE forward and in reverse, on raw kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from atomsym.core import EdgeTopology
from atomsym.inference.linear import LinearMap
from atomsym.inference.mace.tables import TableSet, folded_tables, layer_tables
from atomsym.kernels.irreps_linear import IrrepsLinear
from atomsym.kernels.irreps_linear.native import mapped
from atomsym.kernels.symmetric_contraction import native as contraction_kernel
from atomsym.kernels.tabulated_convolution import native as convolution_kernel
from atomsym.kernels.tensor_product import ChannelwiseProduct
from atomsym.models.mace import MACE
from atomsym.models.mace.layer import Interaction, ProductBasis
from atomsym.nn import SpeciesLinear


@dataclass(frozen=True, eq=False)
class EdgeData:
    """What all layers read of the edges, and the gradients that they add to.

    Attributes:
        topology: who receives from whom.
        pairs: receiver species · n_species + sender species, shape (n_edges,).
        distance: shape (n_edges,), Å.
        harmonics: shape (n_edges, (max_degree + 1)²).
        distance_gradient, harmonics_gradient: of the energy, in the shapes of the two.
    """

    topology: EdgeTopology
    pairs: Tensor
    distance: Tensor
    harmonics: Tensor
    distance_gradient: Tensor
    harmonics_gradient: Tensor


@dataclass(frozen=True, eq=False)
class SpeciesRows:
    """Species of the atoms, and the atoms of each.

    Attributes:
        species: shape (n_atoms,), int64.
        groups: (species, numbers of its atoms) of the species that occur.
    """

    species: Tensor
    groups: tuple[tuple[int, Tensor], ...]

    @classmethod
    def of(cls, species: Tensor) -> SpeciesRows:
        present = torch.unique(species).tolist()
        return cls(species, tuple((s, (species == s).nonzero().flatten()) for s in present))


class Convolution:
    """Sums of messages and their linear map: x → A, unnormalised apart from a constant.

    Args:
        model: the potential.
        layer: number of the layer. That of the first holds the senders' features and the linear map in its tables.
        dtype: of the arithmetic.
    """

    def __init__(self, model: MACE, layer: int, dtype: torch.dtype) -> None:
        interaction = cast(Interaction, model.interactions[layer])
        factor = 1.0 if interaction.density is not None else 1 / model.config.average_neighbors
        self.tables: TableSet
        self._dim_out, self._channels = interaction.messages.dim, model.config.channels
        self.product: ChannelwiseProduct = interaction.channelwise
        if layer == 0:
            self._down = None
            self.tables = self._fold(model, factor, dtype)
        else:
            self._down = LinearMap(interaction.down, factor, dtype)
            self.tables = layer_tables(model, layer, dtype)

    @staticmethod
    def _fold(model: MACE, factor: float, dtype: torch.dtype) -> TableSet:
        interaction = cast(Interaction, model.interactions[0])
        rows = (model.embedding.detach().double() * len(model.elements) ** -0.5).unsqueeze(1)
        up = LinearMap(interaction.up, 1.0, torch.float64)
        down = interaction.down
        by_irrep = dict(zip(down.irreps_out, down.weights, strict=True))
        mixing = [
            by_irrep[interaction.channelwise.irreps_out[path.index_out]].detach().double()
            for path in interaction.channelwise.paths
        ]
        scale = factor * model.config.channels**-0.5
        return folded_tables(model, up.forward(rows).squeeze(1), torch.stack(mixing) * scale, dtype)

    def forward(self, features: Tensor | None, edges: EdgeData) -> Tensor:
        """Messages, shape (n_atoms, messages.dim, channels); features None in the first layer."""
        if edges.topology.n_edges == 0:  # no table may exist yet
            return edges.harmonics.new_zeros(edges.topology.n_nodes, self._dim_out, self._channels)
        kinds = self.tables.kinds(edges.pairs)
        operands = (features, edges.harmonics, edges.distance, self.tables.tables, kinds, edges.topology, self.product)
        summed = convolution_kernel.convolution(*operands)
        return summed if self._down is None else self._down.forward(summed)

    def reverse(self, gradient: Tensor, features: Tensor | None, edges: EdgeData) -> Tensor | None:
        """Gradient of the features; those of the edges are added to ``edges``."""
        if edges.topology.n_edges == 0:
            return None if features is None else torch.zeros_like(features)
        kinds = self.tables.kinds(edges.pairs)
        summed = gradient if self._down is None else self._down.reverse(gradient)
        into = (edges.harmonics_gradient, edges.distance_gradient)
        operands = (summed, features, edges.harmonics, edges.distance, self.tables.tables, kinds, edges.topology)
        return convolution_kernel.gradients(*operands, self.product, into)[0]


class SpeciesMap:
    """``SpeciesLinear`` forward and in reverse.

    Args:
        layer: of the model.
        dtype: of the arithmetic.
    """

    def __init__(self, layer: SpeciesLinear, dtype: torch.dtype) -> None:
        linear = IrrepsLinear(layer.irreps_in, layer.irreps_out)
        self._handle, self._dims = linear.handle, (linear.in_dim, linear.out_dim)
        scaled = [weight.detach().double() * layer.factor for weight in layer.weights]
        self._weights = torch.stack(scaled, dim=1).to(dtype).contiguous()  # species, block, channels, channels

    def forward(self, features: Tensor, rows: SpeciesRows) -> Tensor:
        """(n, irreps_in.dim, channels) → (n, irreps_out.dim, channels)."""
        return self._apply(features, rows, reverse=False)

    def reverse(self, gradient: Tensor, rows: SpeciesRows) -> Tensor:
        """(n, irreps_out.dim, channels) → (n, irreps_in.dim, channels)."""
        return self._apply(gradient, rows, reverse=True)

    def _apply(self, x: Tensor, rows: SpeciesRows, reverse: bool) -> Tensor:
        if len(rows.groups) == 1:
            return mapped(x, self._weights[rows.groups[0][0]], self._handle, reverse)
        out = x.new_empty(x.shape[0], self._dims[0 if reverse else 1], x.shape[2])
        for species, atoms in rows.groups:
            out.index_copy_(0, atoms, mapped(x.index_select(0, atoms), self._weights[species], self._handle, reverse))
        return out


class Products:
    """h' = Linear(B(A)): the symmetric contraction and its linear map.

    Args:
        basis: of the model.
        dtype: of the arithmetic.
    """

    def __init__(self, basis: ProductBasis, dtype: torch.dtype) -> None:
        self.contraction = basis.contraction
        self._weights = basis.weights.detach().to(dtype).contiguous()
        self.linear = LinearMap(basis.linear, 1.0, dtype)

    def _species(self, rows: SpeciesRows) -> Tensor:
        return torch.zeros_like(rows.species) if self._weights.shape[0] == 1 else rows.species

    def forward(self, messages: Tensor, rows: SpeciesRows) -> Tensor:
        """(n, messages.dim, channels) → (n, irreps_out.dim, channels)."""
        key, dim, species = self.contraction.key, self.contraction.dim_out, self._species(rows)
        return self.linear.forward(contraction_kernel.value(key, dim, species, messages, self._weights, [], []))

    def reverse(self, gradient: Tensor, messages: Tensor, rows: SpeciesRows) -> Tensor:
        """Gradient of the messages."""
        key, species, g = self.contraction.key, self._species(rows), self.linear.reverse(gradient)
        return contraction_kernel.gradient(key, True, False, species, g, messages, self._weights, [], [])[0]
