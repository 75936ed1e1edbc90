"""Frame averaging with principal axes: all frames, a random one, or one of fixed signs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from atomsym.core import AtomGraph, ConfigError
from atomsym.symmetrizers.symmetrizer import Symmetrizer, SymmetrizerConfig, register_symmetrizer
from atomsym.symmetry.frames import (
    Frames,
    deterministic_frames,
    frame_points,
    is_planar,
    is_proper,
    principal_frames,
    sampled_frames,
)


@register_symmetrizer
class Full(Symmetrizer):
    """The average over all frames of principal axes; see ``atomsym.symmetry.frames.principal_frames``.

    Exact where principal values differ, and not continuous where two of them meet.
    """

    method = "full"
    continuous, stochastic = False, False

    def __init__(self, config: SymmetrizerConfig, elements: tuple[int, ...], cutoff: float) -> None:
        super().__init__(config, elements, cutoff)
        self.exact = config.group
        self.n_frames = (4 if is_planar(config.group) else 8) // (2 if is_proper(config.group) else 1)

    def frames(self, graph: AtomGraph) -> Frames:
        """All frames of all systems."""
        return principal_frames(frame_points(graph, self.cutoff), self.config.group)


@dataclass(frozen=True)
class StochasticConfig(SymmetrizerConfig):
    """Description of the stochastic symmetrizer.

    Attributes:
        group: see ``SymmetrizerConfig``.
        seed: of the draw in evaluation mode.
    """

    seed: int = 0

    def __post_init__(self) -> None:
        require_seed(self.seed)


@register_symmetrizer
class Stochastic(Symmetrizer):
    """One of the frames of principal axes, chosen at random: invariant in the mean over draws only.

    In training every system gets a new frame at each call, from torch's random numbers, which the trainer seeds. In
    evaluation the choice follows from ``seed`` and is the same for every system, whatever batch it is in.
    """

    method = "stochastic"
    Config = StochasticConfig
    config: StochasticConfig
    continuous, stochastic = False, True
    exact = ""
    n_frames = 1

    def frames(self, graph: AtomGraph) -> Frames:
        """One frame of each system."""
        every = principal_frames(frame_points(graph, self.cutoff), self.config.group)
        return sampled_frames(every, draws(graph.n_systems, 1, None if self.training else self.config.seed))


@register_symmetrizer
class Deterministic(Symmetrizer):
    """One frame of principal axes with signs from the sums of their components: cheap, and not invariant.

    The signs depend on how the system lies in space; see ``atomsym.symmetry.frames.deterministic_frames``.
    """

    method = "deterministic"
    continuous, stochastic = False, False
    exact = ""
    n_frames = 1

    def frames(self, graph: AtomGraph) -> Frames:
        """One frame of each system."""
        return deterministic_frames(frame_points(graph, self.cutoff), self.config.group)


def draws(n_systems: int, n: int, seed: int | None) -> Tensor:
    """Uniform random numbers, shape (n_systems, n), float64: the same in every row if there is a seed.

    Args:
        n_systems: rows.
        n: numbers for each system.
        seed: None: torch's own random numbers.
    """
    if seed is None:
        return torch.rand(n_systems, n, dtype=torch.float64)
    row = torch.rand(1, n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return row.expand(n_systems, n)


def require_seed(seed: int) -> None:
    """Raise ConfigError unless it can seed a generator."""
    if not 0 <= seed < 2**31:
        raise ConfigError(f"the seed of a symmetrizer must be in [0, 2**31); found {seed}")
