"""Learned canonicalization: one frame, from an equivariant network that is trained with the potential."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from atomsym.core import AtomGraph, ConfigError
from atomsym.symmetrizers.symmetrizer import Symmetrizer, SymmetrizerConfig, register_symmetrizer
from atomsym.symmetrizers.vector_network import VectorNetwork
from atomsym.symmetry.frames import Frames, gram_schmidt_frame, is_proper, polar_frame


@dataclass(frozen=True)
class CanonicalizationConfig(SymmetrizerConfig):
    """Description of a learned canonicalization.

    Attributes:
        group: E3 or SE3.
        projection: from three vectors to a frame: the nearest orthogonal matrix (``polar``) or ``gram-schmidt``.
        channels, n_layers, n_radial: of the network, see ``VectorNetwork``.
    """

    group: Literal["E3", "SE3"] = "E3"
    projection: Literal["polar", "gram-schmidt"] = "polar"
    channels: int = 16
    n_layers: int = 2
    n_radial: int = 8

    def __post_init__(self) -> None:
        if min(self.channels, self.n_layers, self.n_radial) < 1:
            raise ConfigError("channels, n_layers and n_radial of a canonicalization must be at least 1")


@register_symmetrizer
class Canonicalization(Symmetrizer):
    """One frame of each system, from a small equivariant network.

    Exact where the network's vectors are independent. Symmetric systems (with a centre of inversion, linear ones) have
    dependent vectors whatever the weights are; there the frame is some orthonormal one. No single frame can be
    continuous, this one is not either.
    """

    method = "canonicalization"
    Config = CanonicalizationConfig
    config: CanonicalizationConfig
    continuous, stochastic = False, False
    n_frames = 1

    def __init__(self, config: CanonicalizationConfig, elements: tuple[int, ...], cutoff: float) -> None:
        super().__init__(config, elements, cutoff)
        self.exact = config.group
        self.network = VectorNetwork(elements, cutoff, config.channels, config.n_layers, config.n_radial)

    def frames(self, graph: AtomGraph) -> Frames:
        """One frame of each system."""
        project = polar_frame if self.config.projection == "polar" else gram_schmidt_frame
        rotations = project(self.network(graph).to(torch.float64), proper=is_proper(self.config.group))
        n = graph.n_systems
        return Frames(rotations, rotations.new_ones(n), torch.arange(n, device=graph.device))
