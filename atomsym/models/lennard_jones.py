"""The Lennard-Jones potential with explicit parameters for every pair of elements."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from atomsym.core.units import BOLTZMANN
from atomsym.models.pair import PairConfig, PairPotential, PairTable
from atomsym.models.registry import register_architecture


@dataclass(frozen=True)
class LennardJonesConfig(PairConfig):
    """Parameters of u(d) = 4 ε ((σ/d)^12 - (σ/d)^6).

    Attributes:
        epsilon: well depths ε in eV, >= 0, one row and column per element.
        sigma: distances σ in Å where u is zero, > 0, one row and column per element. No mixing rule is applied: give
            the mixed entries, for example ``lorentz_berthelot(...)``.

    Raises:
        ConfigError: if a value is out of range or a table is not symmetric.
    """

    epsilon: PairTable
    sigma: PairTable

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set_table("epsilon", minimum=0.0, inclusive=True)
        self._set_table("sigma", minimum=0.0, inclusive=False)


@register_architecture
class LennardJones(PairPotential):
    """Van der Waals attraction and repulsion: E_i = ½ Σ_j w(d) 4 ε ((σ/d)^12 - (σ/d)^6).

    Example:
        >>> potential = LennardJones(ARGON)
        >>> round(potential.config.epsilon[0][0], 5)
        0.01032
    """

    architecture = "lennard-jones"
    Config = LennardJonesConfig

    def __init__(self, config: LennardJonesConfig) -> None:
        super().__init__(config)
        self.epsilon = torch.nn.Parameter(torch.tensor(config.epsilon, dtype=torch.float64))
        self.sigma = torch.nn.Parameter(torch.tensor(config.sigma, dtype=torch.float64))

    def pair_energy(self, distance: Tensor, receiver_number: Tensor, sender_number: Tensor) -> Tensor:
        epsilon = self._of_pair(self.epsilon, receiver_number, sender_number)
        sixth = (self._of_pair(self.sigma, receiver_number, sender_number) / distance).pow(6)
        return 4 * epsilon * (sixth * sixth - sixth)


def lorentz_berthelot(epsilon: tuple[float, ...], sigma: tuple[float, ...]) -> tuple[PairTable, PairTable]:
    """Tables for a mixture from the values of the pure elements: ε_ij = sqrt(ε_i ε_j), σ_ij = (σ_i + σ_j) / 2.

    Example:
        >>> lorentz_berthelot((1.0, 4.0), (3.0, 5.0))
        (((1.0, 2.0), (2.0, 4.0)), ((3.0, 4.0), (4.0, 5.0)))
    """
    depths = tuple(tuple(a if a == b else (a * b) ** 0.5 for b in epsilon) for a in epsilon)
    return depths, tuple(tuple((a + b) / 2 for b in sigma) for a in sigma)


ARGON = LennardJonesConfig(elements=(18,), cutoff=8.5, epsilon=((119.8 * BOLTZMANN,),), sigma=((3.405,),), onset=6.8)
"""Liquid argon: ε/k = 119.8 K (0.010324 eV), σ = 3.405 Å, cut off between 2 σ and 2.5 σ.

Source: Rowley, Nicholson, Parsonage, J. Comput. Phys. 17, 401 (1975); the switch is ours.
"""
