"""What every symmetrizer is: a choice of frames for each system, with a statement of what their average keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeVar

import torch

from atomsym.core import AtomGraph
from atomsym.core.registry import Registry
from atomsym.symmetry.frames import Frames, Group


@dataclass(frozen=True)
class SymmetrizerConfig:
    """Base of the descriptions of symmetrizers.

    Attributes:
        group: E3 (rotations and reflections of space), SE3 (rotations only), E2 or SE2 (those that leave z as it is,
            for slabs).
    """

    group: Group = "E3"


class Symmetrizer(torch.nn.Module):
    """Base class. A subclass sets ``method`` and ``Config``, states its properties and implements ``frames``.

    The properties are those of the averaged energy in evaluation mode.

    Args:
        config: of the class's ``Config``.
        elements: atomic numbers that the potential knows.
        cutoff: of the potential, Å.

    Attributes:
        method: the name it is registered under.
        continuous: whether the energy is a continuous function of the positions if the wrapped potential's is.
        stochastic: whether frames are drawn at random, in training at least. In evaluation the draw depends on a seed
            of the config alone, so that results can be reproduced.
        exact: the group under which the energy is exactly invariant: one of ``Group``, "finite" for the operations of a
            finite group, or "" for none.
        n_frames: frames of each system in evaluation mode; None if their number depends on the system.
    """

    method: ClassVar[str]
    Config: ClassVar[type[SymmetrizerConfig]] = SymmetrizerConfig
    continuous: bool
    stochastic: bool
    exact: str
    n_frames: int | None

    def __init__(self, config: SymmetrizerConfig, elements: tuple[int, ...], cutoff: float) -> None:
        super().__init__()
        self.config = config
        self.cutoff = cutoff
        self.elements = elements

    def frames(self, graph: AtomGraph) -> Frames:
        """Frames of all systems of a graph with edges, differentiable in positions, cell and strain.

        Args:
            graph: one system or a batch, connected up to ``cutoff`` at least.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement frames")


Kind = TypeVar("Kind", bound=type[Symmetrizer])

_SYMMETRIZERS = Registry[type[Symmetrizer]]("symmetrizer", "method")


def register_symmetrizer(found: Kind) -> Kind:
    """Class decorator: make a symmetrizer known under its ``method``; errors as ``Registry.register``."""
    _SYMMETRIZERS.register(found)
    return found


def symmetrizer(method: str) -> type[Symmetrizer]:
    """The class registered under a name.

    Raises:
        ConfigError: if there is none; the message suggests the nearest name.
    """
    return _SYMMETRIZERS[method]


def symmetrizers() -> tuple[str, ...]:
    """All registered names, sorted."""
    return _SYMMETRIZERS.names()
