"""What an inference engine is, and how an architecture's is found."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, TypeVar

import torch
from torch import Tensor

from atomsym.core import AtomGraph, CalculationError
from atomsym.models import Potential


class NotCoveredError(CalculationError):
    """A structure that an engine cannot do though its potential can: evaluate it by autograd instead."""


class Engine(ABC):
    """Energies and their derivatives for the edge vectors, of a potential whose weights do not change any more.

    An engine is made once from a potential: it folds and tabulates what depends on the weights alone, and then goes
    forward and backward by hand. It belongs to the weights as they were; ``outdated`` tells when they have changed.

    Attributes:
        potential: what it was made from; never changed.
        dtype: float32 or float64, of its arithmetic and of the graphs it takes.
    """

    def __init__(self, potential: Potential, dtype: torch.dtype) -> None:
        self.potential, self.dtype = potential, dtype
        self._tensors = (*potential.parameters(), *potential.buffers())
        self._versions = self._current_versions()

    @abstractmethod
    def edge_gradients(self, graph: AtomGraph) -> tuple[Tensor, Tensor, Tensor]:
        """Energies of the atoms and what they depend on the edges by.

        Args:
            graph: on the CPU, in the engine's dtype, with edges and without strain; elements are known.

        Returns:
            Energies, shape (n_atoms,), eV; edge vectors r, shape (n_edges, 3), Å; and dE/dr of the total energy, of
            the same shape, eV/Å. All detached.

        Raises:
            NotCoveredError: if the structure is outside of what the engine covers.
        """

    def energies(self, graph: AtomGraph) -> Tensor:
        """Energies of the atoms alone, shape (n_atoms,); arguments and errors as for ``edge_gradients``."""
        return self.edge_gradients(graph)[0]

    gives_features: ClassVar[bool] = False
    """Whether ``features`` is there."""

    def features(self, graph: AtomGraph) -> Tensor:
        """Features of the atoms as the backbone describes them, detached; arguments and errors as ``edge_gradients``.

        Raises:
            CalculationError: if the engine gives none.
        """
        raise CalculationError(f"{type(self).__name__} gives no features")

    @abstractmethod
    def needed_bytes(self, graph: AtomGraph) -> int:
        """About how much memory ``edge_gradients`` takes for a graph, beside the engine itself."""

    def outdated(self) -> bool:
        """Whether the potential's weights have been changed in place since the engine was made."""
        return self._versions != self._current_versions()

    def _current_versions(self) -> list[int]:
        return [tensor._version for tensor in self._tensors]


_EngineType = TypeVar("_EngineType", bound=type[Engine])
_ENGINES: dict[str, Callable[[Potential, torch.dtype], Engine | None]] = {}


def register_engine(architecture: str) -> Callable[[_EngineType], _EngineType]:
    """Class decorator: use this engine for potentials of an architecture.

    A class method ``supports(potential) -> bool``, if there is one, may decline some configurations.
    """

    def register(engine: _EngineType) -> _EngineType:
        def make(potential: Potential, dtype: torch.dtype) -> Engine | None:
            supports = getattr(engine, "supports", None)
            return engine(potential, dtype) if supports is None or supports(potential) else None

        _ENGINES[architecture] = make
        return engine

    return register


def engine_for(potential: Potential, dtype: torch.dtype) -> Engine | None:
    """An engine for a potential, or None if its architecture has none or its weights were made in inference mode.

    Args:
        potential: on the CPU.
        dtype: float32 or float64.

    Example:
        >>> from atomsym.models import ARGON, LennardJones
        >>> engine_for(LennardJones(ARGON), torch.float64) is None
        True
    """
    potential = potential.energy_model
    tensors = (*potential.parameters(), *potential.buffers())
    if any(tensor.device.type != "cpu" or tensor.is_inference() for tensor in tensors):
        return None
    make = _ENGINES.get(getattr(type(potential), "architecture", ""))
    return None if make is None else make(potential, dtype)
