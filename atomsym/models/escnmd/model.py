"""eSCN-MD: the published eSEN and UMA networks on the kernels of this package."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atomsym.core import AtomGraph, InputError
from atomsym.core.elements import symbol_of
from atomsym.kernels.so2_convolution import edge_frames
from atomsym.models.backbone import Backbone, Description
from atomsym.models.escnmd.block import EPSILON, Block, DegreeEmbedding
from atomsym.models.escnmd.config import ESCNMDConfig
from atomsym.models.escnmd.networks import Readout
from atomsym.models.esen.edges import Edges
from atomsym.models.registry import register_architecture
from atomsym.nn import MergedLayerNorm, edge_lengths, gaussian_basis, polynomial_cutoff
from atomsym.symmetry import Irreps


@register_architecture
class ESCNMD(Backbone):
    """E_i = E0(z_i) + scale · readout(scalars of norm(x_i)) + shift, x being what leaves the last block.

    The function that the published eSEN and UMA potentials compute with conservative forces, for one charge, spin and
    data set: what these say is a constant vector, which is part of the embeddings and of the biases of norms. Energies
    of mirror images can differ, since features have no parity. Two derivatives of the energy are continuous where a
    neighbor enters, no neighbor is left out, and frames have no random turn. Differentiable any number of times;
    energies are float64 whatever the weights are.

    Source: Fu, Wood, Barroso-Luque, Levine, Gao, Dzamba, Zitnick, "Learning smooth and expressive interatomic
    potentials for physical property prediction" (2025, arXiv 2502.12147); Wood et al., "UMA: A family of universal
    models for atoms" (2025, arXiv 2506.23971). Here the linear maps of features are divided by the square root of their
    fan-in where they are applied.

    Attributes:
        embedding: scalars of each element, shape (n_species, channels).
        senders, receivers: numbers of each element for the radial networks, shape (n_species, edge_channels).
        degree_embedding: from the edges to features of all degrees.
        blocks: one ``Block`` each.
        norm: of the last features.
        readout: from scalars to the energy.

    Example:
        >>> config = ESCNMDConfig((1, 8), 5.0, (-13.6, -2041.0), channels=8, hidden_channels=8, edge_channels=8)
        >>> str(ESCNMD(config).feature_irreps), ESCNMD(config).feature_channels
        ('0e+1e+2e', 8)
    """

    architecture = "escn-md"
    Config = ESCNMDConfig
    config: ESCNMDConfig

    def __init__(self, config: ESCNMDConfig) -> None:
        super().__init__(config)
        n_species = len(config.elements)
        self.embedding = nn.Parameter(torch.randn(n_species, config.channels))
        self.senders = nn.Parameter(torch.randn(n_species, config.edge_channels))
        self.receivers = nn.Parameter(torch.randn(n_species, config.edge_channels))
        self.degree_embedding = DegreeEmbedding(config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm = MergedLayerNorm(config.max_degree, config.channels, EPSILON)
        self.readout = Readout(config.channels, config.hidden_channels, config.hidden_channels, 1)

    @property
    def feature_irreps(self) -> Irreps:
        """Those of the features after the last norm: every degree up to ``max_degree``."""
        return self.config.features

    @property
    def feature_channels(self) -> int:
        return self.config.channels

    def describe(self, graph: AtomGraph) -> Description:
        """Energies, and the features that the readout sees, with all degrees.

        Raises:
            InputError: besides those of ``forward``, if a system has not the composition that the weights are for; not
                in compiled code.
        """
        self.require_edges(graph)
        species = self.species(graph.numbers)
        self._require_composition(graph, species)
        edges, ends = self.edges(graph), (self.senders, self.receivers)
        features = self.degree_embedding(edges, ends, species)
        scalars = features[:, :1] + self.embedding.index_select(0, species).unsqueeze(1)
        features = torch.cat((scalars, features[:, 1:]), 1)
        for block in self.blocks:
            features = block(features, edges, ends, species)
        features = self.norm(features)
        return Description(self.total(self.readout(features[:, 0]).squeeze(-1), species), features)

    def edges(self, graph: AtomGraph) -> Edges:
        """Frames, radial basis and envelope of a graph's edges."""
        config, vectors = self.config, graph.edge_vectors()
        distance = edge_lengths(vectors)
        envelope = polynomial_cutoff(distance, config.cutoff, power=config.envelope_power)
        width = config.radial_width * config.cutoff / (config.n_radial - 1)
        basis = gaussian_basis(distance, config.cutoff, config.n_radial, width=width)
        frames = edge_frames(vectors, config.max_degree, config.orders, zero_length="scalar")
        return Edges(graph.topology, basis, envelope, frames, envelope)

    def _require_composition(self, graph: AtomGraph, species: Tensor) -> None:
        composition = self.config.composition
        if not composition or torch.compiler.is_compiling() or not len(species):
            return
        n_species = len(composition)
        places = graph.system_index * n_species + species
        counts = torch.bincount(places, minlength=graph.n_systems * n_species).reshape(-1, n_species)
        wanted = torch.tensor(composition, device=counts.device)
        wrong = (counts * wanted.sum() != counts.sum(1, keepdim=True) * wanted).any(1)
        if bool(wrong.any()):
            system = int(wrong.nonzero()[0, 0])
            raise InputError(
                f"system {system} is {self._formula(counts[system].tolist())}, but the experts of this model were "
                f"merged for the composition {self._formula(composition)}; convert the checkpoint for the other one"
            )

    def _formula(self, counts: tuple[int, ...] | list[int]) -> str:
        pairs = zip(self.config.elements, counts, strict=True)
        return "".join(f"{symbol_of(number)}{count if count > 1 else ''}" for number, count in pairs if count)

    def decay_parameters(self) -> frozenset[str]:
        """The matrices of linear maps."""
        maps = (".weights", ".first.weight", ".second.weight", ".third.weight", "readout.layers")
        names = (name for name, _ in self.named_parameters() if any(part in name for part in maps))
        return frozenset(name for name in names if not name.endswith("bias"))
