"""Weighted frames: the symmetrizer for forces, molecular dynamics and Hessians."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from atomsym.core import AtomGraph, ConfigError
from atomsym.symmetrizers.principal import draws, require_seed
from atomsym.symmetrizers.symmetrizer import Symmetrizer, SymmetrizerConfig, register_symmetrizer
from atomsym.symmetry.frames import (
    Frames,
    frame_points,
    largest_frames,
    rotation_quadrature,
    sampled_frames,
    weighted_frames,
)
from atomsym.symmetry.frames.weighted import LARGEST_THRESHOLD


@dataclass(frozen=True)
class WeightedConfig(SymmetrizerConfig):
    """Description of weighted frames.

    Attributes:
        group: see ``SymmetrizerConfig``.
        threshold: pairs of points whose squared area is below this fraction of the largest get no frame; from 0 (all
            pairs) to 0.75. In the plane likewise with angular moments, which make few frames anyway.
        flatness: squared sine, about, below which a system counts as nearly linear and a quadrature takes over.
        degree: of that quadrature.
        samples: frames of each system; 0: all.
        choice: which ones: the ``largest`` weights (frames of equal weight stay together), or ``random`` ones.
        seed: of the random choice in evaluation mode.
        training_samples: frames of each system drawn by weight in training only; 0: the same as in evaluation. A step
            costs as many forward passes, its gradient is that of the whole average in the mean over draws.
    """

    threshold: float = 0.5
    flatness: float = 0.01
    degree: int = 3
    samples: int = 0
    choice: Literal["largest", "random"] = "largest"
    seed: int = 0
    training_samples: int = 0

    def __post_init__(self) -> None:
        require_seed(self.seed)
        if not 0 <= self.threshold <= LARGEST_THRESHOLD:
            raise ConfigError(f"threshold must be in [0, {LARGEST_THRESHOLD}]; found {self.threshold}")
        if not 0 < self.flatness < 1:
            raise ConfigError(f"flatness must be in (0, 1); found {self.flatness}")
        if min(self.degree, self.samples, self.training_samples) < 0:
            raise ConfigError(
                "degree, samples and training_samples must be >= 0; "
                f"found {self.degree}, {self.samples} and {self.training_samples}"
            )


@register_symmetrizer
class Weighted(Symmetrizer):
    """The average over weighted frames; see ``atomsym.symmetry.frames.weighted_frames``.

    Exact but for (nearly) linear systems, and as smooth as the wrapped potential up to two derivatives. With
    ``samples`` it becomes cheaper and discontinuous: the largest weights keep it exact, random ones do not.
    """

    method = "weighted"
    Config = WeightedConfig
    config: WeightedConfig

    def __init__(self, config: WeightedConfig, elements: tuple[int, ...], cutoff: float) -> None:
        super().__init__(config, elements, cutoff)
        random = config.samples > 0 and config.choice == "random"
        self.continuous = config.samples == 0
        self.stochastic = random or config.training_samples > 0
        self.exact = "" if random else config.group
        self.n_frames = config.samples if random else None
        self._remainder: tuple[Tensor, Tensor] = rotation_quadrature(config.degree, config.group)

    def frames(self, graph: AtomGraph) -> Frames:
        """Weighted frames of all systems."""
        config = self.config
        points = frame_points(graph, self.cutoff)
        every = weighted_frames(
            points, config.group, self._remainder, threshold=config.threshold, flatness=config.flatness
        )
        if self.training and config.training_samples:
            return sampled_frames(every, draws(graph.n_systems, config.training_samples, None))
        if not config.samples:
            return every
        if config.choice == "largest":
            return largest_frames(every, config.samples, graph.n_systems)
        seed = None if self.training else config.seed
        return sampled_frames(every, draws(graph.n_systems, config.samples, seed))
