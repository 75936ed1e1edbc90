"""Properties of a whole system that do not grow with it, read from any network that gives a number for each atom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from atomsym.core import AtomGraph, CalculationError, ConfigError, InputError, check_elements
from atomsym.kernels.neighbors import connect
from atomsym.models import DatasetStatistics, Potential, PotentialConfig, PotentialOutput
from atomsym.models.description import described_from_statistics, description_of
from atomsym.models.holding import HoldingPotential
from atomsym.models.registry import register_architecture

INTENSIVE = "intensive"
"""Architecture name of ``IntensiveProperty``."""


@dataclass(frozen=True)
class IntensivePropertyConfig(PotentialConfig):
    """A network and what it predicts.

    Attributes:
        elements: of the network.
        cutoff: of the network, Å.
        model: ``architecture`` and the entries of that architecture's config.
        quantity: name of the property, such as "log10 of the bulk modulus".
        unit: of its values, such as "log10(GPa)".
    """

    model: dict[str, Any]
    quantity: str
    unit: str

    def __post_init__(self) -> None:
        if not self.quantity.strip() or not self.unit.strip() or self.quantity == "energy":
            raise ConfigError(
                "an intensive property needs its quantity and unit in words, such as 'log10 of the bulk modulus' and "
                f"'log10(GPa)'; found '{self.quantity}' and '{self.unit}'"
            )


@register_architecture
class IntensiveProperty(HoldingPotential):
    """y = (1/n) Σ_i e_i over the n atoms of a system, with e_i what any potential's network says of atom i.

    Every architecture serves as the network, and a symmetrizer wraps the whole as it does a potential. The mean of a
    supercell is that of its cell. Where a potential has energies of isolated atoms, a value for each element stands,
    fitted to the compositions before training, so that learning begins with y ≈ Σ_z x_z y_z (x: atomic fractions).

    It is trained as a potential is, with ``target`` as label and term of the loss; logs, tables and pictures are in its
    unit. **It has no energy and no forces**: calculators give y under its name and nothing else. ``system_property``
    gives y for training, ``intensive_property`` for use.

    Attributes:
        model: the network.
        quantity, unit: of y.

    Source: mean pooling of atomic contributions, as usual for intensive properties (Xie and Grossman 2018).

    Example:
        >>> from atomsym.models import ARGON
        >>> model = IntensiveProperty.of("lennard-jones", ARGON, "cohesion", "eV/atom")
        >>> dimer = AtomGraph.from_arrays([[0, 0, 0], [0, 0, 3.8]], [18, 18])
        >>> pairs = AtomGraph.from_arrays([[0, 0, 0], [0, 0, 3.8], [50, 0, 0], [50, 0, 3.8]], [18] * 4)
        >>> bool((intensive_property(model, dimer) - intensive_property(model, pairs)).abs() < 1e-12)
        True
    """

    architecture = INTENSIVE
    Config = IntensivePropertyConfig
    config: IntensivePropertyConfig
    model: Potential

    def __init__(self, config: IntensivePropertyConfig) -> None:
        super().__init__(config)
        if self.model.quantity != "energy":
            raise ConfigError(f"the model of an intensive property gives the {self.model.quantity} already")
        self.continuous = self.model.continuous  # type: ignore[misc]
        self.quantity, self.unit = config.quantity, config.unit

    @classmethod
    def of(cls, name: str, model: PotentialConfig, quantity: str, unit: str) -> IntensiveProperty:
        """A new one of an architecture's name and config."""
        described = description_of(name, model)
        return cls(IntensivePropertyConfig(model.elements, model.cutoff, described, quantity, unit))

    def forward(self, graph: AtomGraph) -> PotentialOutput:
        """The network's e_i under the name ``energies``, shape (n_atoms,), in the unit of the property."""
        return {"energies": self.model(graph)["energies"]}

    @classmethod
    def quantity_from_settings(cls, settings: Mapping[str, Any]) -> tuple[str, str]:
        """What is set.

        Raises:
            ConfigError: if one of them is missing.
        """
        _require_settings(settings, "quantity", "unit")
        return str(settings["quantity"]), str(settings["unit"])

    @classmethod
    def config_from_statistics(cls, settings: Mapping[str, Any], statistics: DatasetStatistics) -> PotentialConfig:
        """The config of one that is about to be trained; the network takes from the data what it always does.

        Raises:
            ConfigError: as the network's, and if the quantity or its unit is missing.
        """
        _require_settings(settings, "model", "quantity", "unit")
        complete, described = described_from_statistics(settings, "model", statistics)
        return IntensivePropertyConfig(
            complete.elements, complete.cutoff, described, settings["quantity"], settings["unit"]
        )


def _require_settings(settings: Mapping[str, Any], *names: str) -> None:
    missing = [name for name in names if name not in settings]
    if missing:
        raise ConfigError(f"the model settings of '{INTENSIVE}' lack: {', '.join(missing)}")


def system_property(model: Potential, graph: AtomGraph) -> Tensor:
    """The property of each system, differentiable in the weights and positions.

    Args:
        model: an ``IntensiveProperty``, symmetrized or not.
        graph: one system or a batch, with edges.

    Returns:
        Shape (n_systems,), float64, in ``model.unit``.

    Raises:
        InputError: if the model gives energies, a system has no atoms, or edges are missing.
        UnsupportedElementError: if the model does not know an element.
        CalculationError: if a value is not finite.
    """
    if model.quantity == "energy":
        raise InputError(f"this {model.architecture} potential gives energies, not an intensive property")
    if bool((graph.atoms_per_system == 0).any()):
        raise InputError("a system without atoms has no intensive property")
    model.require_edges(graph)
    check_elements(graph, model.elements)
    values = model(graph)["energies"].to(torch.float64)
    means = values.new_zeros(graph.n_systems).index_add(0, graph.system_index, values) / graph.atoms_per_system
    wrong = (~means.isfinite()).nonzero().flatten().tolist()
    if wrong:
        raise CalculationError(f"the model gave the {model.quantity} {float(means[wrong[0]])} of system {wrong[0]}")
    return means


def intensive_property(model: Potential, graph: AtomGraph) -> Tensor:
    """The property of each system, detached.

    Args:
        model: an ``IntensiveProperty``, symmetrized or not.
        graph: one system or a batch; edges are made if they are missing.

    Returns:
        Shape (n_systems,), float64, in ``model.unit``.

    Raises:
        InputError, UnsupportedElementError, CalculationError: as ``system_property``.
    """
    with torch.no_grad():
        return system_property(model, graph if graph.cutoff is not None else connect(graph, model.cutoff))
