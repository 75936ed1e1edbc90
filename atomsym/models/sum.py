"""A sum of potentials, such as a learned one and a short-range repulsion."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from atomsym.core import AtomGraph, ConfigError
from atomsym.models.pair import check_elements_and_cutoff
from atomsym.models.potential import Potential, PotentialConfig, PotentialOutput
from atomsym.models.registry import architecture, register_architecture

Part = tuple[str, tuple[tuple[str, Any], ...]]
"""Architecture name, and the (name, value) pairs of its config."""


@dataclass(frozen=True)
class SumConfig(PotentialConfig):
    """The summands. ``elements`` and ``cutoff`` follow from them: use ``SumConfig.of``.

    Attributes:
        elements: atomic numbers that all summands know.
        cutoff: the largest of the summands' cutoffs, Å.
        parts: one entry per summand.
    """

    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", _tuples(self.parts))
        check_elements_and_cutoff(self)
        if not self.parts:
            raise ConfigError("a sum needs at least one potential")

    @classmethod
    def of(cls, *potentials: Potential) -> SumConfig:
        """The config of a sum of these potentials.

        Raises:
            ConfigError: if there are none, or no element is known to all of them.
        """
        if not potentials:
            raise ConfigError("a sum needs at least one potential")
        common = set(potentials[0].elements).intersection(*(potential.elements for potential in potentials))
        return cls(
            elements=tuple(sorted(common)),
            cutoff=max(potential.cutoff for potential in potentials),
            parts=tuple((potential.architecture, _entries(potential.config)) for potential in potentials),
        )


@register_architecture
class Sum(Potential):
    """E_i = Σ_k E_i of potential k. Direct outputs of the summands are left out.

    Example:
        >>> from atomsym.models import ARGON, ZBL, LennardJones, ZBLConfig
        >>> Sum.of(LennardJones(ARGON), ZBL(ZBLConfig())).elements
        (18,)
    """

    architecture = "sum"
    Config = SumConfig

    def __init__(self, config: SumConfig) -> None:
        super().__init__(config)
        classes = [(architecture(name), dict(entries)) for name, entries in config.parts]
        self.parts = torch.nn.ModuleList(cls(cls.Config(**entries)) for cls, entries in classes)
        self.continuous = all(part.continuous for part in self.parts)  # type: ignore[misc]
        others = [str(part.quantity) for part in self.parts if part.quantity != "energy"]
        if others:
            raise ConfigError(f"a sum of energies has no room for the {others[0]}")

    @classmethod
    def of(cls, *potentials: Potential) -> Sum:
        """The sum of these potentials; it holds the modules themselves, with their weights."""
        total = cls(SumConfig.of(*potentials))
        total.parts = torch.nn.ModuleList(potentials)
        return total

    def forward(self, graph: AtomGraph) -> PotentialOutput:
        """Energies of the atoms, shape (n_atoms,), eV."""
        energies: list[Tensor] = [part(graph)["energies"] for part in self.parts]
        return {"energies": sum(energies[1:], energies[0])}


def _entries(config: PotentialConfig) -> tuple[tuple[str, Any], ...]:
    return tuple((entry.name, getattr(config, entry.name)) for entry in fields(config))


def _tuples(value: Any) -> Any:
    """Nested lists, as a file gives them, as nested tuples."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value
