"""What every interatomic potential is: an energy function of an atom graph, with a typed description of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, TypedDict

import torch
from torch import Tensor

from atomsym.core import AtomGraph, ConfigError, InputError
from atomsym.models.statistics import DatasetStatistics


@dataclass(frozen=True)
class PotentialConfig:
    """Base of the frozen, plain-data descriptions that are written into model files.

    A subclass lists every choice that the architecture takes, with defaults where they exist; values are str, int,
    float, bool, None, and tuples of them, so that a config survives JSON.

    Attributes:
        elements: atomic numbers that the model knows, increasing.
        cutoff: radius of the neighbor list in Å.
    """

    elements: tuple[int, ...]
    cutoff: float


class PotentialOutput(TypedDict, total=False):
    """What ``Potential.forward`` returns; ``energies`` is always there, the others are direct outputs.

    energies: energy of each atom, shape (n_atoms,), eV. The energy of a system is their sum.
    forces: predicted beside the energies, no derivative of them; shape (n_atoms, 3), eV/Å.
    """

    energies: Tensor
    forces: Tensor


class Potential(torch.nn.Module):
    """Base class of potentials. A subclass sets ``architecture`` and ``Config`` and implements ``forward``.

    Forces, stress and Hessians are never computed here: ``atomsym.derivatives`` differentiates the energies.

    Attributes:
        architecture: the name it is registered and saved under.
        direct_outputs: what it predicts besides energies instead of differentiating them, such as "hessian"; an
            instance can have others than its class.
        continuous: whether the energy is a continuous function of positions; molecular dynamics asks.
        quantity: what its "energies" are: "energy", or the name of a property that a network reads out in its place,
            see ``atomsym.heads.IntensiveProperty``; derivatives refuse the latter.
        unit: of that.
    """

    architecture: ClassVar[str]
    Config: ClassVar[type[PotentialConfig]]
    direct_outputs: ClassVar[tuple[str, ...]] = ()
    continuous: ClassVar[bool] = True
    quantity: str = "energy"
    unit: str = "eV"

    def __init__(self, config: PotentialConfig) -> None:
        super().__init__()
        self.config = config

    @property
    def cutoff(self) -> float:
        return self.config.cutoff

    @property
    def elements(self) -> tuple[int, ...]:
        return self.config.elements

    @property
    def energy_model(self) -> Potential:
        """The part whose energies these are, without heads that energies do not pass through; usually itself."""
        return self

    def second_order(self, graph: AtomGraph) -> Callable[[AtomGraph], PotentialOutput]:
        """A function of graphs whose energies, with their first and second derivatives, are this potential's.

        It may be made for one set of positions, those of ``graph``, and be wrong elsewhere; edges and atoms are the
        graph's. For Hessians, where it is cheaper to differentiate than the potential. Here: the potential itself.
        """
        return self

    @classmethod
    def config_from_statistics(cls, settings: Mapping[str, Any], statistics: DatasetStatistics) -> PotentialConfig:
        """The complete config of a potential that is about to be trained: what the user set, the rest from the data.

        Here only the elements come from the data. An architecture that wants more of them overrides this; what
        ``settings`` has always wins.

        Args:
            settings: some fields of ``Config``, of the right types.
            statistics: facts about the training set.

        Raises:
            ConfigError: if a field is neither set, nor known from the data, nor has a default.
        """
        values = {"elements": statistics.elements, **settings}
        needed = [f.name for f in fields(cls.Config) if f.default is MISSING and f.default_factory is MISSING]
        missing = [name for name in needed if name not in values]
        if missing:
            raise ConfigError(f"the model settings of '{cls.architecture}' lack: {', '.join(missing)}")
        return cls.Config(**values)

    @classmethod
    def cutoff_from_settings(cls, settings: Mapping[str, Any]) -> float:
        """The cutoff in Å that a potential with some fields of ``Config`` set has: what is set, or the default.

        Raises:
            ConfigError: if there is neither.
        """
        default = next(f.default for f in fields(cls.Config) if f.name == "cutoff")
        cutoff = settings.get("cutoff", default)
        if cutoff is MISSING:
            raise ConfigError("model.cutoff is missing: the radius in Å within which atoms interact")
        return float(cutoff)

    @classmethod
    def quantity_from_settings(cls, settings: Mapping[str, Any]) -> tuple[str, str]:
        """``quantity`` and ``unit`` of a potential with some fields of ``Config`` set."""
        return cls.quantity, cls.unit

    @classmethod
    def with_energy_offsets(cls, config: Any, offsets: Mapping[int, float]) -> PotentialConfig:
        """The config with something added to the energy of every atom of an element, eV by atomic number.

        Raises:
            ConfigError: if the architecture has no energies of the elements.
        """
        raise ConfigError(
            f"'{cls.architecture}' has no reference energies of the elements to fit; set data.reference_energies: keep"
        )

    def decay_parameters(self) -> frozenset[str]:
        """Names, as in ``named_parameters``, of the weights that weight decay may shrink; here none.

        Decay suits weights of linear maps, for which zero means "no opinion". It does not suit physical parameters,
        so an architecture says itself which of its weights decay.
        """
        return frozenset()

    def require_edges(self, graph: AtomGraph) -> None:
        """Refuse a graph whose edges are missing or too short for this potential.

        Raises:
            InputError: if the graph has no edges yet or was connected with a smaller cutoff.
        """
        if graph.cutoff is None or graph.cutoff < self.cutoff:
            found = "has no edges yet" if graph.cutoff is None else f"was connected up to {graph.cutoff:g} Å"
            raise InputError(
                f"the graph {found}, but {type(self).__name__} needs edges up to {self.cutoff:g} Å; "
                "make them with atomsym.kernels.neighbors.connect(graph, potential.cutoff)"
            )

    def forward(self, graph: AtomGraph) -> PotentialOutput:
        """Energies of the atoms of a graph whose edges were made with at least ``cutoff``.

        Edges longer than the potential's cutoff must contribute exactly nothing, so that a list with a skin serves.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement forward")
