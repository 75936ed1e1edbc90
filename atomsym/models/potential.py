"""What every interatomic potential is: an energy function of an atom graph, with a typed description of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypedDict

import torch
from torch import Tensor

from atomsym.core import AtomGraph, InputError


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
    """What ``Potential.forward`` returns; ``energies`` is always there.

    energies: energy of each atom, shape (n_atoms,), eV. The energy of a system is their sum.
    hessian_blocks and other direct outputs are declared by ``Potential.direct_outputs``.
    """

    energies: Tensor


class Potential(torch.nn.Module):
    """Base class of potentials. A subclass sets ``architecture`` and ``Config`` and implements ``forward``.

    Forces, stress and Hessians are never computed here: ``atomsym.derivatives`` differentiates the energies.

    Attributes:
        architecture: the name it is registered and saved under.
        direct_outputs: names of outputs besides ``energies`` that forward returns.
        continuous: whether the energy is a continuous function of positions; molecular dynamics asks.
    """

    architecture: ClassVar[str]
    Config: ClassVar[type[PotentialConfig]]
    direct_outputs: ClassVar[tuple[str, ...]] = ()
    continuous: ClassVar[bool] = True

    def __init__(self, config: PotentialConfig) -> None:
        super().__init__()
        self.config = config

    @property
    def cutoff(self) -> float:
        return self.config.cutoff

    @property
    def elements(self) -> tuple[int, ...]:
        return self.config.elements

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
