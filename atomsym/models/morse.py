"""The Morse potential with explicit parameters for every pair of elements."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from atomsym.models.pair import PairConfig, PairPotential, PairTable
from atomsym.models.registry import register_architecture


@dataclass(frozen=True)
class MorseConfig(PairConfig):
    """Parameters of u(d) = D (e^(-2 α (d - r0)) - 2 e^(-α (d - r0))).

    Attributes:
        depth: well depths D in eV, >= 0, one row and column per element.
        alpha: inverse widths α in 1/Å, > 0.
        equilibrium: distances r0 of the minimum in Å, > 0.

    Raises:
        ConfigError: if a value is out of range or a table is not symmetric.
    """

    depth: PairTable
    alpha: PairTable
    equilibrium: PairTable

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set_table("depth", minimum=0.0, inclusive=True)
        self._set_table("alpha", minimum=0.0, inclusive=False)
        self._set_table("equilibrium", minimum=0.0, inclusive=False)


@register_architecture
class Morse(PairPotential):
    """A bond that breaks: E_i = ½ Σ_j w(d) D (x² - 2 x) with x = e^(-α (d - r0)); finite at distance 0.

    Example:
        >>> Morse(COPPER).cutoff
        10.0
    """

    architecture = "morse"
    Config = MorseConfig

    def __init__(self, config: MorseConfig) -> None:
        super().__init__(config)
        self.depth = torch.nn.Parameter(torch.tensor(config.depth, dtype=torch.float64))
        self.alpha = torch.nn.Parameter(torch.tensor(config.alpha, dtype=torch.float64))
        self.equilibrium = torch.nn.Parameter(torch.tensor(config.equilibrium, dtype=torch.float64))

    def pair_energy(self, distance: Tensor, receiver_number: Tensor, sender_number: Tensor) -> Tensor:
        depth = self._of_pair(self.depth, receiver_number, sender_number)
        alpha = self._of_pair(self.alpha, receiver_number, sender_number)
        equilibrium = self._of_pair(self.equilibrium, receiver_number, sender_number)
        x = torch.exp(-alpha * (distance - equilibrium))
        return depth * x * (x - 2)


COPPER = MorseConfig(
    elements=(29,), cutoff=10.0, depth=((0.3429,),), alpha=((1.3588,),), equilibrium=((2.866,),), onset=7.5
)
"""Copper fitted to lattice constant, sublimation energy and compressibility: D = 0.3429 eV, α = 1.3588/Å, r0 = 2.866 Å.

Summed over the whole lattice these give a = 3.606 Å, 3.54 eV/atom and a bulk modulus of 140 GPa.

Source: Girifalco, Weizer, Phys. Rev. 114, 687 (1959); the switch is ours.
"""
