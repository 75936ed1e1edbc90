"""NequIP: equivariant message passing with gates."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from atomsym.core import AtomGraph
from atomsym.core.units import COULOMB
from atomsym.kernels.segments import segment_sum
from atomsym.kernels.so2_convolution import edge_frames
from atomsym.kernels.spherical_harmonics import spherical_harmonics
from atomsym.models.backbone import Backbone, Description
from atomsym.models.nequip.config import NequIPConfig
from atomsym.models.nequip.layer import InteractionLayer
from atomsym.models.registry import register_architecture
from atomsym.models.zbl import zbl_energy
from atomsym.nn import Perceptron, bessel_basis, edge_lengths, polynomial_cutoff
from atomsym.symmetry import Irreps

_ROUNDED_COULOMB = 14.399645  # eV Å; with it imported weights keep their energies


@register_architecture
class NequIP(Backbone):
    """E_i = E0(z_i) + scale · s(z_i) · readout(h_i) + shift + ½ Σ_j ZBL_ij, with h_i the scalars after the last layer.

    The readout is linear, s is 1 and there is no repulsion unless the config says so.

    Differentiable any number of times. Energies are float64 whatever the weights are.

    Source: Batzner, Musaelian, Sun, Geiger, Mailoa, Kornbluth, Molinari, Smidt, Kozinsky, Nature Communications 13,
    2453 (2022), with SiLU gates and the linear readout of later versions. Here every irrep has the same number of
    channels and the Bessel functions are orthonormal; published weights of the radial networks belong to functions
    with another factor (2π / cutoff²), so a conversion rescales the first layer. Edge vectors point from receiver to
    sender.

    Attributes:
        embedding: scalars of each element, shape (n_species, channels).
        frequencies: of the Bessel functions, shape (n_radial,), 1/Å; None unless they are trained.
        layers: one ``InteractionLayer`` each.
        readout: from scalars to the energy.

    Example:
        >>> config = NequIPConfig((1, 8), 5.0, (-13.6, -2041.0), average_neighbors=10.0, channels=8, n_layers=2)
        >>> str(config.features(1)), sum(weight.numel() for weight in NequIP(config).parameters()) > 5_000
        ('0e+1o+2e', True)
    """

    architecture = "nequip"
    Config = NequIPConfig
    config: NequIPConfig

    def __init__(self, config: NequIPConfig) -> None:
        super().__init__(config)
        self._degree = Irreps.parse(config.hidden).max_degree
        self.embedding = torch.nn.Parameter(torch.randn(len(config.elements), config.channels))
        frequencies = torch.arange(1, config.n_radial + 1) * (math.pi / config.cutoff)
        self.frequencies = torch.nn.Parameter(frequencies) if config.trainable_frequencies else None
        self.layers = torch.nn.ModuleList(InteractionLayer(config, layer) for layer in range(config.n_layers))
        self.readout = Perceptron((config.channels, *config.readout_hidden, 1))

    @property
    def feature_irreps(self) -> Irreps:
        """Those of the features that enter the last layer, and of the scalars that leave it."""
        config = self.config
        return Irreps((*config.features(config.n_layers - 1), *config.features(config.n_layers)))

    @property
    def feature_channels(self) -> int:
        return self.config.channels

    def describe(self, graph: AtomGraph) -> Description:
        """Energies and features; see ``feature_irreps``."""
        self.require_edges(graph)
        config = self.config
        species = self.species(graph.numbers)
        vectors = graph.edge_vectors()
        distance = edge_lengths(vectors)
        reduced = self._reduced(distance, species, graph)
        envelope = polynomial_cutoff(reduced, config.cutoff, power=config.envelope_power).unsqueeze(-1)
        basis = bessel_basis(reduced, config.cutoff, config.n_radial, frequencies=self.frequencies) * envelope
        harmonics = spherical_harmonics(vectors, config.max_degree)
        frames = edge_frames(vectors, self._degree, zero_length="scalar") if config.product == "so2" else None
        features = (self.embedding * len(config.elements) ** -0.5)[species].unsqueeze(1)
        entering = features
        for layer in self.layers:
            entering = features
            features = layer(entering, species, harmonics, basis, graph.topology, frames)
        energies = self._scaled(self.readout(features[:, 0]).squeeze(-1), species)
        energies = self.total(energies, species)
        if config.repulsion != "none":
            pairs = self._repulsion(distance, reduced, graph)
            energies = energies + segment_sum(pairs, graph.edge_index[0], graph.n_atoms)
        return Description(energies, torch.cat((entering, features), dim=1))

    def _reduced(self, distance: Tensor, species: Tensor, graph: AtomGraph) -> Tensor:
        """Distances, those of pairs with a cutoff of their own stretched so that it becomes that of all."""
        if not self.config.pair_cutoffs:
            return distance
        cutoffs = torch.tensor(self.config.pair_cutoffs, dtype=distance.dtype, device=distance.device)
        return distance * (self.config.cutoff / cutoffs[species[graph.edge_index[0]], species[graph.edge_index[1]]])

    def _scaled(self, energies: Tensor, species: Tensor) -> Tensor:
        """What the readout says times the factors of the elements, in float64."""
        if not self.config.element_scales:
            return energies
        scales = torch.tensor(self.config.element_scales, dtype=torch.float64, device=energies.device)
        return energies.to(torch.float64) * scales[species]

    def _repulsion(self, distance: Tensor, reduced: Tensor, graph: AtomGraph) -> Tensor:
        """Half of each pair's screened nuclear repulsion, shape (n_edges,), float64, eV."""
        exact, (receivers, senders) = distance.to(torch.float64), graph.edge_index
        pairs = zbl_energy(exact, graph.numbers[receivers], graph.numbers[senders])
        weight = polynomial_cutoff(reduced.to(exact.dtype), self.config.cutoff, power=self.config.repulsion_power)
        return 0.5 * (_ROUNDED_COULOMB / COULOMB) * pairs * weight

    def decay_parameters(self) -> frozenset[str]:
        """The linear maps of features."""
        maps = (".up.", ".down.", ".skip.")
        return frozenset(name for name, _ in self.named_parameters() if any(part in name for part in maps))
