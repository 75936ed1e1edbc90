"""What a backbone is: a learned potential that shows the equivariant features from which heads read."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from atomsym.core import AtomGraph
from atomsym.models.learned import LearnedConfig, LearnedPotential
from atomsym.models.potential import PotentialOutput
from atomsym.symmetry import Irreps


@dataclass(frozen=True, eq=False)
class Description:
    """What one pass of a backbone says of the atoms.

    Attributes:
        energies: of the atoms, shape (n_atoms,), float64, eV.
        features: of the atoms, shape (n_atoms, feature_irreps.dim, feature_channels); smooth functions of the positions
            that depend on neighbors within the backbone's receptive field only.
    """

    energies: Tensor
    features: Tensor


class Backbone(LearnedPotential):
    """A potential whose energies and features come from one pass, so that a head costs little beside it."""

    Config: ClassVar[type[LearnedConfig]]

    @property
    @abstractmethod
    def feature_irreps(self) -> Irreps:
        """Irreps of ``Description.features``; may repeat."""

    @property
    @abstractmethod
    def feature_channels(self) -> int:
        """Multiplicity of every irrep of the features."""

    @abstractmethod
    def describe(self, graph: AtomGraph) -> Description:
        """Energies and features of the atoms of a graph; arguments and errors as ``forward``."""

    def forward(self, graph: AtomGraph) -> PotentialOutput:
        """Energies of the atoms, shape (n_atoms,), float64, eV."""
        return {"energies": self.describe(graph).energies}
