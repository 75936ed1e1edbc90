"""eSEN: smooth message passing with dense linear maps in the frames of edges."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from atomsym.core import AtomGraph
from atomsym.kernels.segments import segment_sum
from atomsym.kernels.so2_convolution import edge_frames
from atomsym.models.backbone import Backbone, Description
from atomsym.models.esen.block import Block
from atomsym.models.esen.config import ESENConfig
from atomsym.models.esen.edges import DegreeEmbedding, Edges
from atomsym.models.registry import register_architecture
from atomsym.models.zbl import bond_lengths, ending_repulsion
from atomsym.nn import MergedLayerNorm, Perceptron, edge_lengths, gaussian_basis, held_distance, polynomial_envelope
from atomsym.symmetry import Irreps

_HELD = 0.5  # of `hold_below`: the distance at which the network sees no further change


@register_architecture
class ESEN(Backbone):
    """E_i = E0(z_i) + scale · readout(scalars of norm(x_i)) + shift + ½ Σ_j ZBL_ij, x being what leaves the last block.

    Everything on the way is smooth: forces are derivatives, no neighbor is left out, every message carries the
    envelope, frames have no random turn, and non-linearities are gates or exact products. Differentiable any number
    of times. Energies are float64 whatever the weights are.

    Source: Fu, Wood, Barroso-Luque, Levine, Gao, Dzamba, Zitnick, "Learning smooth and expressive interatomic
    potentials for physical property prediction" (2025, arXiv 2502.12147); merged norm, smooth attention and product on
    the grid as in EquiformerV3 (2026, arXiv 2604.09130). Here features have the parity (−1)^l, which takes half of
    the weights of orders above 0; linear maps in frames and radial networks have no biases, radial networks no norms,
    and gates are SiLU instead of the sigmoid.

    Attributes:
        embedding: scalars of each element, shape (n_species, channels).
        senders, receivers: numbers of each element for the radial networks, shape (n_species, species_channels).
        degree_embedding: from the edges to features of all degrees.
        blocks: one ``Block`` each.
        norm: of the last features.
        readout: from scalars to the energy.

    Example:
        >>> config = ESENConfig((1, 8), 5.0, (-13.6, -2041.0), average_neighbors=10.0, channels=8, max_degree=3)
        >>> str(ESEN(config).feature_irreps), sum(weight.numel() for weight in ESEN(config).parameters()) > 50_000
        ('0e+1o+2e+3o', True)
    """

    architecture = "esen"
    Config = ESENConfig
    config: ESENConfig

    def __init__(self, config: ESENConfig) -> None:
        super().__init__(config)
        n_species = len(config.elements)
        self.embedding = torch.nn.Parameter(torch.randn(n_species, config.channels))
        self.senders = torch.nn.Parameter(torch.randn(n_species, config.species_channels))
        self.receivers = torch.nn.Parameter(torch.randn(n_species, config.species_channels))
        self.degree_embedding = DegreeEmbedding(config)
        self.blocks = torch.nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm = MergedLayerNorm(config.max_degree, config.channels)
        self.readout = Perceptron((config.channels, config.readout_hidden, 1))

    @property
    def feature_irreps(self) -> Irreps:
        """Those of the features after the last norm: every degree up to ``max_degree``."""
        return self.config.features

    @property
    def feature_channels(self) -> int:
        return self.config.channels

    def describe(self, graph: AtomGraph) -> Description:
        """Energies, and the features that the readout sees, with all degrees."""
        self.require_edges(graph)
        species = self.species(graph.numbers)
        edges = self.edges(graph, species)
        features = self.degree_embedding(edges)
        scalars = features[:, :1] + self.embedding.index_select(0, species).unsqueeze(1)
        features = torch.cat((scalars, features[:, 1:]), 1)
        for block in self.blocks:
            features = block(features, edges)
        features = self.norm(features)
        energies = self.total(self.readout(features[:, 0]).squeeze(-1), species)
        if self.config.repulsion != "none":
            energies = energies + self.repulsion(graph)
        return Description(energies, features)

    def repulsion(self, graph: AtomGraph) -> Tensor:
        """Half of each atom's screened nuclear repulsion with its neighbors, shape (n_atoms,), eV."""
        numbers = graph.numbers[graph.edge_index[0]], graph.numbers[graph.edge_index[1]]
        distance = edge_lengths(graph.edge_vectors())
        pairs = ending_repulsion(distance, *numbers, self.config.repulsion_end, self.cutoff)
        return segment_sum(pairs, graph.edge_index[0], graph.n_atoms)

    def edges(self, graph: AtomGraph, species: Tensor) -> Edges:
        """Frames, radial functions and envelope of a graph's edges; species as ``LearnedPotential.species`` gives."""
        config, topology = self.config, graph.topology
        vectors = graph.edge_vectors()
        distance = self._seen(edge_lengths(vectors), graph)
        envelope = polynomial_envelope(distance, config.cutoff, order=config.envelope_order)
        # Σ_k g_k² is about √π for Gaussians as wide as their spacing: the factor makes their mean square 1.
        basis = gaussian_basis(distance, config.cutoff, config.n_radial) * math.sqrt(
            config.n_radial / math.sqrt(math.pi)
        )
        scalars = torch.cat(
            (
                basis,
                self.senders.index_select(0, species.index_select(0, topology.sender)),
                self.receivers.index_select(0, species.index_select(0, topology.receiver)),
            ),
            1,
        )
        frames = edge_frames(vectors, config.max_degree, config.orders, zero_length="scalar")
        return Edges(topology, scalars, envelope, frames, envelope * config.average_neighbors**-0.5)

    def _seen(self, distance: Tensor, graph: AtomGraph) -> Tensor:
        """The distance that radial networks and envelope see."""
        if not self.config.hold_below:
            return distance
        numbers = graph.numbers[graph.edge_index[0]], graph.numbers[graph.edge_index[1]]
        onset = self.config.hold_below * bond_lengths(distance, *numbers)
        return held_distance(distance, _HELD * onset, onset)

    def decay_parameters(self) -> frozenset[str]:
        """The linear maps of features."""
        maps = (".first.", ".second.", ".up.", ".down.")
        return frozenset(name for name, _ in self.named_parameters() if any(part in name for part in maps))
