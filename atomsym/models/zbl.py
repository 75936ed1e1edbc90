"""The Ziegler-Biersack-Littmark repulsion of screened nuclei."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from atomsym.core.elements import COVALENT_RADII, MAX_ATOMIC_NUMBER
from atomsym.core.units import COULOMB
from atomsym.models.pair import PairConfig, PairPotential
from atomsym.models.registry import register_architecture
from atomsym.nn import cutoff_switch

_WHOLE = 0.5  # of its reach: up to there the repulsion of learned potentials is not weakened
_DERIVATIVES = 5  # of it that are continuous


@dataclass(frozen=True)
class Screening:
    """A screening function φ(x) = Σ c_k e^(-b_k x) of the reduced distance x = d (Z1^p + Z2^p) / length.

    Attributes:
        weights: the c_k; they sum to 1.
        decays: the b_k.
        exponent: p.
        length: Å.
    """

    weights: tuple[float, ...]
    decays: tuple[float, ...]
    exponent: float
    length: float


UNIVERSAL = Screening(
    weights=(0.18175, 0.50986, 0.28022, 0.02817),
    decays=(3.19980, 0.94229, 0.40290, 0.20162),
    exponent=0.23,
    length=0.46850,
)
"""The universal screening function, fitted to 261 pairs of atoms; length 0.8853 bohr.

Source: Ziegler, Biersack, Littmark, The Stopping and Range of Ions in Matter, vol. 1, Pergamon 1985.
"""


def zbl_energy(
    distance: Tensor, receiver_number: Tensor, sender_number: Tensor, screening: Screening = UNIVERSAL
) -> Tensor:
    """Screened Coulomb repulsion of two nuclei, without a cutoff.

    u(d) = e²/(4π ε0) Z1 Z2 / d φ(d (Z1^p + Z2^p) / length).

    Args:
        distance: shape (n_edges,), Å, > 0.
        receiver_number, sender_number: atomic numbers, shape (n_edges,).
        screening: constants; default: the universal ones.

    Returns:
        Energies of whole pairs, shape (n_edges,), eV, dtype of ``distance``. Differentiable any number of times.

    Example:
        >>> zbl_energy(torch.tensor([1.0]), torch.tensor([14]), torch.tensor([14])).round()
        tensor([51.])
    """
    first, second = receiver_number.to(distance.dtype), sender_number.to(distance.dtype)
    scale = (first.pow(screening.exponent) + second.pow(screening.exponent)) / screening.length
    reduced = distance * scale
    shells = zip(screening.weights, screening.decays, strict=True)
    screened = sum((weight * (-decay * reduced).exp() for weight, decay in shells), torch.zeros_like(distance))
    return COULOMB * first * second / distance * screened


def bond_lengths(like: Tensor, receiver_number: Tensor, sender_number: Tensor) -> Tensor:
    """Sums of two covalent radii, shape (n_edges,), Å, in the precision of another tensor."""
    # The radii are no buffer: cast to single precision and back with the weights, they would have lost their digits.
    radii = torch.tensor(COVALENT_RADII, dtype=like.dtype, device=like.device)
    return radii[receiver_number] + radii[sender_number]


def ending_repulsion(
    distance: Tensor, receiver_number: Tensor, sender_number: Tensor, end: float, cutoff: float
) -> Tensor:
    """Half of each pair's universal repulsion, which ends before bonds or melts begin: what learned potentials add.

    It is whole up to half of its reach and zero from there on, with five continuous derivatives.

    Args:
        distance: shape (n_edges,), Å, > 0.
        receiver_number, sender_number: atomic numbers, shape (n_edges,).
        end: the reach, in sums of covalent radii.
        cutoff: it ends there at the latest, Å.

    Returns:
        Shape (n_edges,), eV, dtype of the distance. Differentiable any number of times.
    """
    exact = distance.double()  # in single precision the switch would lose two digits
    reach = (end * bond_lengths(exact, receiver_number, sender_number)).clamp(max=cutoff)
    weight = cutoff_switch(exact, _WHOLE * reach, reach, derivatives=_DERIVATIVES)
    return (0.5 * zbl_energy(exact, receiver_number, sender_number) * weight).to(distance.dtype)


@dataclass(frozen=True)
class ZBLConfig(PairConfig):
    """The universal repulsion for any elements, switched off between ``onset`` and ``cutoff``.

    Attributes:
        elements: default: all 118.
        cutoff: Å; about a bond length, beyond which another potential takes over.
        onset: Å; None weights the whole range by the polynomial envelope.

    Raises:
        ConfigError: if a value is out of range.
    """

    elements: tuple[int, ...] = tuple(range(1, MAX_ATOMIC_NUMBER + 1))
    cutoff: float = 2.0
    onset: float | None = field(default=1.0, kw_only=True)


@register_architecture
class ZBL(PairPotential):
    """Short-range repulsion of any two atoms: E_i = ½ Σ_j w(d) u(d), with u as ``zbl_energy``. It has no parameters.

    Example:
        >>> len(ZBL(ZBLConfig()).elements)
        118
    """

    architecture = "zbl"
    Config = ZBLConfig
    core = 0.01

    def pair_energy(self, distance: Tensor, receiver_number: Tensor, sender_number: Tensor) -> Tensor:
        row: Any = self._row
        unknown = (row[receiver_number] == len(self.elements)) | (row[sender_number] == len(self.elements))
        return zbl_energy(distance, receiver_number, sender_number).masked_fill(unknown, float("nan"))
