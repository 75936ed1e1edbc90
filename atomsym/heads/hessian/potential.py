"""A backbone with a Hessian head, as one potential."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from atomsym.core import AtomGraph, ConfigError
from atomsym.heads.hessian.blocks import HessianBlocks
from atomsym.heads.hessian.config import HessianHeadConfig
from atomsym.heads.hessian.head import HessianHead
from atomsym.kernels.neighbors import connect
from atomsym.models import Backbone, DatasetStatistics, Potential, PotentialConfig, PotentialOutput
from atomsym.models.description import described_from_statistics, description_of
from atomsym.models.holding import HoldingPotential
from atomsym.models.registry import architecture, architectures, register_architecture


@dataclass(frozen=True)
class HessianPotentialConfig(PotentialConfig):
    """A backbone and its Hessian head.

    Attributes:
        elements: of the backbone.
        cutoff: of the backbone, Å.
        backbone: ``architecture`` and the entries of that architecture's config.
        head: of the Hessian head.
    """

    backbone: dict[str, Any]
    head: HessianHeadConfig = field(default_factory=HessianHeadConfig)


class EnergiesAndHessians(NamedTuple):
    """Both from one pass of the backbone.

    Attributes:
        energies: of the atoms, shape (n_atoms,), float64, eV.
        hessians: of the systems that were asked for.
    """

    energies: Tensor
    hessians: HessianBlocks


@register_architecture
class HessianPotential(HoldingPotential):
    """Energies of a backbone, and predicted Hessians of a head that reads its features.

    The energy and its derivatives are the backbone's alone. The predicted Hessian is not a derivative of anything: how
    far it is from the true one is what training decides.

    Example:
        >>> from atomsym.models import MACEConfig
        >>> backbone = MACEConfig((1, 8), 4.0, (0.0, 0.0), average_neighbors=4.0, channels=4, hidden="0e+1o+2e")
        >>> water = AtomGraph.from_arrays([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]], [8, 1, 1], dtype=torch.float32)
        >>> potential = HessianPotential.of("mace", backbone)
        >>> [tuple(matrix.shape) for matrix in potential.hessians(water)]
        [(9, 9)]
    """

    architecture = "hessian"
    entry = "backbone"
    Config = HessianPotentialConfig
    config: HessianPotentialConfig
    backbone: Backbone
    direct_outputs = ("hessian",)

    def __init__(self, config: HessianPotentialConfig) -> None:
        super().__init__(config)
        self.head = HessianHead(
            self.backbone.feature_irreps, self.backbone.feature_channels, len(config.elements), config.head
        )

    @classmethod
    def held(cls, described: Mapping[str, Any]) -> tuple[type[Potential], dict[str, Any]]:
        """Class and config entries of a description.

        Raises:
            ConfigError: if it names no architecture, or one that shows no features.
        """
        found, entries = super().held(described)
        if not issubclass(found, Backbone):
            known = ", ".join(name for name in architectures() if issubclass(architecture(name), Backbone))
            raise ConfigError(f"'{found.architecture}' shows no features that a head could read; backbones are {known}")
        return found, entries

    @classmethod
    def of(cls, name: str, backbone: PotentialConfig, head: HessianHeadConfig | None = None) -> HessianPotential:
        """A new potential of a backbone's architecture and config."""
        described = description_of(name, backbone)
        return cls(HessianPotentialConfig(backbone.elements, backbone.cutoff, described, head or HessianHeadConfig()))

    @property
    def energy_model(self) -> Potential:
        """The backbone."""
        return self.backbone

    def forward(self, graph: AtomGraph) -> PotentialOutput:
        """Energies of the backbone; the head is not run."""
        return self.backbone.forward(graph)

    def second_order(self, graph: AtomGraph) -> Callable[[AtomGraph], PotentialOutput]:
        """That of the backbone."""
        return self.backbone.second_order(graph)

    def with_hessians(self, graph: AtomGraph, systems: Tensor | None = None) -> EnergiesAndHessians:
        """Energies of all systems and predicted Hessians of some.

        Args:
            graph: with edges, as for ``forward``.
            systems: numbers of the systems whose Hessians are wanted, increasing, int64; None: all.
        """
        described = self.backbone.describe(graph)
        features = described.features
        if systems is not None:
            chosen = torch.isin(graph.system_index, systems)
            graph, features = graph.subset(systems), features[chosen]
        species = self.backbone.species(graph.numbers)
        return EnergiesAndHessians(described.energies, self.head(features, species, graph))

    def hessians(self, graph: AtomGraph, *, sum_rule: bool = True) -> list[Tensor]:
        """Predicted Hessians of all systems, detached; see ``HessianBlocks.matrices``.

        Args:
            graph: one system or a batch; edges are made if they are missing.
            sum_rule: make rows and columns sum to zero for each axis.

        Returns:
            One symmetric matrix per system, shape (3n, 3n), eV/Å², dtype of the graph.
        """
        with torch.no_grad():
            connected = graph if graph.cutoff is not None else connect(graph, self.cutoff)
            return self.with_hessians(connected).hessians.matrices(sum_rule=sum_rule)

    @classmethod
    def config_from_statistics(cls, settings: Mapping[str, Any], statistics: DatasetStatistics) -> PotentialConfig:
        """The config of a potential that is about to be trained; the backbone takes from the data what it always does.

        Raises:
            ConfigError: as the backbone's.
        """
        complete, described = described_from_statistics(settings, "backbone", statistics)
        head = settings.get("head", HessianHeadConfig())
        return HessianPotentialConfig(complete.elements, complete.cutoff, described, head)
