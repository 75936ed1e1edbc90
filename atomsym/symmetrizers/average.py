"""Averages over sets of rotations that do not depend on the system, and random rotations in training."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from atomsym.core import AtomGraph, ConfigError, InputError
from atomsym.symmetrizers.symmetrizer import Symmetrizer, SymmetrizerConfig, register_symmetrizer
from atomsym.symmetry.frames import (
    Frames,
    fixed_frames,
    point_group,
    random_elements,
    require_group,
    rotation_quadrature,
)

Matrix = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]


@dataclass(frozen=True)
class GroupAverageConfig(SymmetrizerConfig):
    """Description of an average over a finite group.

    Attributes:
        group: not used; the operations say which group it is.
        name: of a point group in its usual setting, see ``atomsym.symmetry.frames.POINT_GROUPS``; or
        operations: the matrices themselves, such as those of ``atomsym.symmetry.frames.crystal_point_group``.
    """

    name: str = ""
    operations: tuple[Matrix, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.name) == bool(self.operations):
            raise ConfigError("a group average needs either the name of a point group or its operations")
        try:
            _operations(self)
        except InputError as error:
            raise ConfigError(f"a group average: {error}") from None


@register_symmetrizer
class GroupAverage(Symmetrizer):
    """The average over a finite group: exactly invariant under its operations, and continuous."""

    method = "group"
    Config = GroupAverageConfig
    config: GroupAverageConfig
    continuous, stochastic = True, False
    exact = "finite"

    def __init__(self, config: GroupAverageConfig, elements: tuple[int, ...], cutoff: float) -> None:
        super().__init__(config, elements, cutoff)
        self._operations = _operations(config)
        self.n_frames = len(self._operations)

    def frames(self, graph: AtomGraph) -> Frames:
        """The operations, for every system."""
        operations = self._operations.to(graph.device)
        weights = operations.new_full((len(operations),), 1 / len(operations))
        return fixed_frames(operations, weights, graph.n_systems)


@dataclass(frozen=True)
class QuadratureConfig(SymmetrizerConfig):
    """Description of a quadrature over a group of rotations.

    Attributes:
        group: see ``SymmetrizerConfig``.
        degree: largest degree of the Wigner matrices that are integrated exactly.
    """

    degree: int = 5

    def __post_init__(self) -> None:
        if self.degree < 0:
            raise ConfigError(f"degree must be >= 0; found {self.degree}")


@register_symmetrizer
class Quadrature(Symmetrizer):
    """The average over a quadrature of the whole group: the honest reference. Continuous; invariant up to its degree.

    Since the rotations do not depend on the system, energies of parts that do not interact add up.
    """

    method = "quadrature"
    Config = QuadratureConfig
    config: QuadratureConfig
    continuous, stochastic = True, False
    exact = ""

    def __init__(self, config: QuadratureConfig, elements: tuple[int, ...], cutoff: float) -> None:
        super().__init__(config, elements, cutoff)
        self._rotations, self._weights = rotation_quadrature(config.degree, config.group)
        self.n_frames = len(self._weights)

    def frames(self, graph: AtomGraph) -> Frames:
        """The rotations of the quadrature, for every system."""
        return fixed_frames(self._rotations.to(graph.device), self._weights.to(graph.device), graph.n_systems)


@register_symmetrizer
class Augmentation(Symmetrizer):
    """A random rotation of each system in training, none afterwards: the potential learns to be nearly invariant.

    Nothing is guaranteed in evaluation; the energy is a continuous function, since nothing is done to it there. Random
    numbers are torch's, which the trainer seeds.
    """

    method = "augmentation"
    continuous, stochastic = True, True
    exact = ""
    n_frames = 1

    def frames(self, graph: AtomGraph) -> Frames:
        """A random element of the group for each system in training, the identity otherwise."""
        n = graph.n_systems
        identity = torch.eye(3, dtype=torch.float64).expand(n, 3, 3)
        rotations = random_elements(n, self.config.group) if self.training else identity
        rotations = rotations.to(graph.device)
        return Frames(rotations, rotations.new_ones(n), torch.arange(n, device=graph.device))


def _operations(config: GroupAverageConfig) -> torch.Tensor:
    if config.name:
        return point_group(config.name)
    return require_group(torch.tensor(config.operations, dtype=torch.float64))
