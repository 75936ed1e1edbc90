"""FAENet: message passing that reads edge vectors as plain numbers, made for frame averaging."""

from __future__ import annotations

import torch
from torch import Tensor

from atomsym.core import AtomGraph
from atomsym.kernels.silu import silu
from atomsym.models.faenet.config import FAENetConfig
from atomsym.models.faenet.embedding import EdgeEmbedding, ElementEmbedding
from atomsym.models.faenet.interaction import InteractionLayer
from atomsym.models.faenet.linear import Linear
from atomsym.models.faenet.output import EnergyHead, ForceHead
from atomsym.models.learned import LearnedPotential
from atomsym.models.potential import PotentialOutput
from atomsym.models.registry import register_architecture
from atomsym.nn import edge_lengths, gaussian_basis, polynomial_cutoff


@register_architecture
class FAENet(LearnedPotential):
    """E_i = E0(z_i) + scale · e_i + shift, with e_i read from the states h_i^0 … h_i^n between the layers.

    By ``config.skip``: ``none``: e = head(h^n); ``add``: e = Σ_k head(h^k); ``concat``: e = Σ_k w_k head(h^k);
    ``concat_atom``: e = head(f(W [h^0, …, h^n])).

    **Neither energies nor forces follow a rotation**: directions enter as plain components. Alone it is a model for
    one orientation; frames make it invariant. It does know permutations, translations and lattice vectors exactly.

    Differentiable any number of times. Energies are float64 whatever the weights are. With ``direct_forces`` the
    output has ``forces`` too, which are no derivative of the energy and conserve nothing.

    Source: Duval, Schmidt, Hernández-García, Miret, Malliaros, Bengio, Rolnick, ICML 2023 (arXiv 2305.05577). Here
    neighbors enter smoothly, their number is not limited, ``concat`` has no bias (a constant for a system whatever its
    size), and atoms carry no tags.

    Attributes:
        elements_embedding: first states of the atoms.
        edges_embedding: states of the edges.
        layers: one ``InteractionLayer`` each.
        mix: of the states or of their energies; None unless ``skip`` concatenates.
        head: energies.
        atom_weights: from the first states to weights in the energy; None unless they are ``weighted_initial``.
        force_head: direct forces; None without.

    Example:
        >>> config = FAENetConfig((1, 8), 5.0, (-13.6, -2041.0), average_neighbors=10.0, n_layers=2)
        >>> config.element_channels, sum(weight.numel() for weight in FAENet(config).parameters()) > 100_000
        (50, True)
    """

    architecture = "faenet"
    Config = FAENetConfig
    config: FAENetConfig

    def __init__(self, config: FAENetConfig) -> None:
        super().__init__(config)
        self.continuous = config.envelope_power > 0  # type: ignore[misc]
        self.direct_outputs = ("forces",) if config.direct_forces else ()  # type: ignore[misc]
        self.elements_embedding = ElementEmbedding(config)
        self.edges_embedding = EdgeEmbedding(config)
        self.layers = torch.nn.ModuleList(InteractionLayer(config) for _ in range(config.n_layers))
        self.mix: Linear | None = None
        if config.skip == "concat":
            self.mix = Linear(config.n_layers + 1, 1, bias=False)
        elif config.skip == "concat_atom":
            self.mix = Linear((config.n_layers + 1) * config.channels, config.channels)
        self.head = EnergyHead(config)
        self.atom_weights = Linear(config.channels, 1) if config.energy_head == "weighted_initial" else None
        self.force_head = ForceHead(config) if config.direct_forces else None

    def forward(self, graph: AtomGraph) -> PotentialOutput:
        """Energies of the atoms, shape (n_atoms,), float64, eV, and direct forces, shape (n_atoms, 3), eV/Å, if any."""
        self.require_edges(graph)
        species = self.species(graph.numbers)
        vectors = graph.edge_vectors()
        distance = edge_lengths(vectors)
        edges = self.edges_embedding(vectors, gaussian_basis(distance, self.cutoff, self.config.n_gaussians))
        envelope = self._envelope(distance)
        states = [self.elements_embedding()[species]]
        for layer in self.layers:
            states.append(states[-1] + layer(states[-1], edges, envelope, graph))
        if self.config.skip == "concat_atom" and self.mix is not None:
            last = silu(self.mix(torch.cat(states, dim=1)))
        else:
            last = states[-1]
        weights = None if self.atom_weights is None else self.atom_weights(states[0])
        output: PotentialOutput = {"energies": self.total(self._energies(states, last, weights), species)}
        if self.force_head is not None:
            output["forces"] = self.config.scale * self.force_head(last)
        return output

    def _envelope(self, distance: Tensor) -> Tensor:
        """Weight of each edge's message, shape (n_edges, 1); zero beyond the cutoff."""
        if self.config.envelope_power:
            weight = polynomial_cutoff(distance, self.cutoff, power=self.config.envelope_power)
        else:
            weight = (distance < self.cutoff).to(distance.dtype)
        return weight.unsqueeze(1)

    def _energies(self, states: list[Tensor], last: Tensor, weights: Tensor | None) -> Tensor:
        """e, shape (n_atoms,)."""
        if self.config.skip in ("none", "concat_atom"):
            energies: Tensor = self.head(last, weights)
        else:
            each = torch.cat([self.head(state, weights) for state in states], dim=1)
            energies = each.sum(dim=1, keepdim=True) if self.mix is None else self.mix(each)
        return energies.squeeze(1)

    def decay_parameters(self) -> frozenset[str]:
        """The linear maps."""
        return frozenset(
            name for name, weight in self.named_parameters() if name.endswith("weight") and weight.ndim == 2
        )
