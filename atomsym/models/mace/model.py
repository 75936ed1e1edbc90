"""MACE: equivariant message passing with many-body messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from atomsym.core import AtomGraph
from atomsym.core.units import COULOMB
from atomsym.kernels.segments import segment_sum
from atomsym.kernels.so2_convolution import edge_frames
from atomsym.kernels.spherical_harmonics import spherical_harmonics
from atomsym.models.backbone import Backbone, Description
from atomsym.models.mace.config import MACEConfig
from atomsym.models.mace.layer import Edges, Interaction, ProductBasis, Readout
from atomsym.models.mace.radial import RadialBasis
from atomsym.models.potential import PotentialOutput
from atomsym.models.registry import register_architecture
from atomsym.models.zbl import Screening, bond_lengths, ending_repulsion, zbl_energy
from atomsym.nn import edge_lengths, polynomial_cutoff, polynomial_envelope
from atomsym.nn.expansion import Expansion
from atomsym.symmetry import Irreps

# MACE's rounded constants; with them imported weights keep their energies.
ROUNDED_SCREENING = Screening(
    weights=(0.1818, 0.5099, 0.2802, 0.02817),
    decays=(3.2, 0.9423, 0.4028, 0.2016),
    exponent=0.300,
    length=0.4543 * 0.529,
)
_ROUNDED_COULOMB = 14.3996  # eV Å
_SMOOTH_ORDER = 6  # five continuous derivatives, and a few meV at the shortest O–H distances of liquid water


@dataclass(frozen=True, eq=False)
class _Expanded:
    """All that depends on the distances of edges alone, as polynomials: of each layer, and the repulsion or None."""

    layers: tuple[tuple[Expansion, Expansion | None], ...]
    repulsion: Expansion | None

    def radial(self, distance: Tensor) -> tuple[tuple[Tensor, Tensor | None], ...]:
        """As ``Edges.radial``."""
        return tuple(
            (weights.at(distance), None if near is None else near.at(distance)) for weights, near in self.layers
        )


@register_architecture
class MACE(Backbone):
    """E_i = E0(z_i) + scale · (Σ_layers readout(h_i) + ½ Σ_j ZBL_ij) + shift.

    Each layer sums messages of the neighbors (``Interaction``), then multiplies up to ``correlation`` of the sums
    (``ProductBasis``). Differentiable three times on the compiled kernels, any number of times on the reference.

    Source: Batatia, Kovács, Simm, Ortner, Csányi, NeurIPS 2022 (arXiv 2206.07697). Products are taken in an
    orthonormal basis of couplings, which spans the same functions as the published one. Edge vectors point from
    receiver to sender.

    Example:
        >>> config = MACEConfig((1, 8), 5.0, (-13.6, -2041.0), average_neighbors=10.0, channels=8)
        >>> sum(weight.numel() for weight in MACE(config).parameters()) > 10_000
        True
    """

    architecture = "mace"
    Config = MACEConfig
    config: MACEConfig

    def __init__(self, config: MACEConfig) -> None:
        super().__init__(config)
        self._degree = max(config.max_degree, Irreps.parse(config.hidden).max_degree)
        n_species, channels, layers = len(config.elements), config.channels, range(config.n_layers)
        self.embedding = torch.nn.Parameter(torch.randn(n_species, channels))
        self.radial_basis = RadialBasis(config)
        self.interactions = torch.nn.ModuleList(Interaction(config, layer) for layer in layers)
        self.products = torch.nn.ModuleList(ProductBasis(config, layer) for layer in layers)
        self.readouts = torch.nn.ModuleList(self._readout(layer) for layer in layers if self._reads(layer))

    def _reads(self, layer: int) -> bool:
        return layer == self.config.n_layers - 1 or not self.config.last_readout_only

    def _readout(self, layer: int) -> Readout:
        config = self.config
        last = layer == config.n_layers - 1 and config.n_layers > 1
        sizes = (config.channels, config.readout_hidden, 1) if last else (config.channels, 1)
        return Readout(config.features(layer + 1), sizes, config.readout_activation)

    @property
    def feature_irreps(self) -> Irreps:
        """Those of the features that enter the last layer, of its messages, and of the scalars that leave it."""
        config = self.config
        last = config.n_layers - 1
        return Irreps((*config.features(last), *config.messages(last), *config.features(config.n_layers)))

    @property
    def feature_channels(self) -> int:
        return self.config.channels

    def describe(self, graph: AtomGraph) -> Description:
        """Energies, and features with the receptive field of all layers; see ``feature_irreps``."""
        return self._described(graph, None)

    def second_order(self, graph: AtomGraph) -> Callable[[AtomGraph], PotentialOutput]:
        """See ``Potential``: radial networks and the repulsion are their polynomials of second order."""
        self.require_edges(graph)
        with torch.no_grad():
            distance = edge_lengths(graph.edge_vectors())
        expanded = self._expanded(distance, self._edge_numbers(graph))
        return lambda moved: {"energies": self._described(moved, expanded).energies}

    def _expanded(self, distance: Tensor, numbers: tuple[Tensor, Tensor]) -> _Expanded:
        n = self.config.n_radial

        def radial(d: Tensor) -> Tensor:
            basis, cutoff = self.radial_basis(d, *numbers)
            return torch.cat((basis, cutoff.unsqueeze(1)), dim=1)

        both = Expansion.of(radial, distance)
        basis, cutoff = both.columns(slice(0, n)), both.columns(slice(n, n + 1))
        layers = tuple(cast(Interaction, interaction).expanded(basis, cutoff) for interaction in self.interactions)
        repelled = None
        if self.config.repulsion != "none":
            repelled = Expansion.of(lambda d: self.repulsion(d, *numbers).unsqueeze(1), distance)
        return _Expanded(layers, repelled)

    @staticmethod
    def _edge_numbers(graph: AtomGraph) -> tuple[Tensor, Tensor]:
        return graph.numbers[graph.edge_index[0]], graph.numbers[graph.edge_index[1]]

    def _described(self, graph: AtomGraph, expanded: _Expanded | None) -> Description:
        self.require_edges(graph)
        config = self.config
        vectors = graph.edge_vectors()
        distance = edge_lengths(vectors)
        numbers = self._edge_numbers(graph)
        frames = edge_frames(vectors, self._degree, zero_length="scalar") if config.product == "so2" else None
        harmonics = spherical_harmonics(vectors, config.max_degree)
        if expanded is None:
            basis, cutoff = self.radial_basis(distance, *numbers)
            edges = Edges(graph.topology, harmonics, basis, cutoff, frames)
        else:
            edges = Edges(graph.topology, harmonics, None, None, frames, expanded.radial(distance))
        species = self.species(graph.numbers)
        energies, features = self._learned(species, edges)
        if config.repulsion != "none":
            repelled = None if expanded is None else expanded.repulsion
            pairs = self.repulsion(distance, *numbers) if repelled is None else repelled.at(distance).squeeze(1)
            energies = energies + segment_sum(pairs, graph.edge_index[0], graph.n_atoms)
        return Description(self.total(energies, species), features)

    def decay_parameters(self) -> frozenset[str]:
        """The linear maps of messages, and the products with theirs, as in the published training."""
        return frozenset(
            name for name, _ in self.named_parameters() if ".down." in name or name.startswith("products.")
        )

    def repulsion(self, distance: Tensor, receiver_number: Tensor, sender_number: Tensor) -> Tensor:
        """Half of each pair's screened nuclear repulsion, zero from its reach on, shape (n_edges,).

        The reach is the sum of covalent radii, for the universal form times ``repulsion_end``.
        In units of the model's scale, which the published form is multiplied with like all of the interaction and the
        universal one is not. The former jumps at the cutoff for pairs whose radii add up to more (Cs–Cs: 4.9 Å).
        """
        config, numbers = self.config, (receiver_number, sender_number)
        if config.repulsion == "universal":
            return ending_repulsion(distance, *numbers, config.repulsion_end, self.cutoff) / config.scale
        reach = bond_lengths(distance, *numbers)
        if config.repulsion == "published":
            weight = polynomial_cutoff(distance, reach, power=config.envelope_power) * (distance < self.cutoff)
        else:
            weight = polynomial_envelope(distance, reach.clamp(max=self.cutoff), order=_SMOOTH_ORDER)
        pairs = zbl_energy(distance, *numbers, ROUNDED_SCREENING)
        return 0.5 * (_ROUNDED_COULOMB / COULOMB) * pairs * weight

    def _learned(self, species: Tensor, edges: Edges) -> tuple[Tensor, Tensor]:
        features = (self.embedding * len(self.config.elements) ** -0.5)[species].unsqueeze(1)
        readouts = iter(self.readouts)
        energies = features.new_zeros(species.shape[0])
        for layer, (interaction, product) in enumerate(zip(self.interactions, self.products, strict=True)):
            entering = features
            messages, skipped = interaction(entering, species, edges)
            features = product(messages, species, skipped)
            if self._reads(layer):
                energies = energies + next(readouts)(features)
        return energies, torch.cat((entering, messages, features), dim=1)
