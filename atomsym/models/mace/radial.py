"""The radial part of MACE: distance to basis functions, smooth at the cutoff."""

from __future__ import annotations

import torch
from torch import Tensor

from atomsym.core.elements import COVALENT_RADII
from atomsym.models.mace.config import MACEConfig
from atomsym.nn import bessel_basis, gaussian_basis, held_distance, polynomial_cutoff

_AGNESI = (0.9183, 4.5791, 1.0805)  # q, p, a: fitted constants of ACEpotentials.jl
_SOFT_STEEPNESS = 4.0
_HELD = 0.5  # of `hold_below`: the distance at which the network sees no further change


class RadialBasis(torch.nn.Module):
    """b(d) = basis(t(d)) · cutoff(d), with an optional transform t of the distance that depends on the two elements.

    Example:
        >>> config = MACEConfig(elements=(1,), cutoff=5.0, atomic_energies=(0.0,), average_neighbors=10.0)
        >>> basis, cutoff = RadialBasis(config)(torch.tensor([1.0, 5.0]), torch.tensor([1, 1]), torch.tensor([1, 1]))
        >>> basis.shape, cutoff.tolist()[1]
        (torch.Size([2, 8]), 0.0)
    """

    def __init__(self, config: MACEConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, distance: Tensor, receiver_number: Tensor, sender_number: Tensor) -> tuple[Tensor, Tensor]:
        """Basis functions and the cutoff.

        Args:
            distance: shape (n_edges,), Å, > 0.
            receiver_number, sender_number: atomic numbers, shape (n_edges,).

        Returns:
            The basis, shape (n_edges, n_radial), times the cutoff unless ``cutoff_on_weights``, and the cutoff, shape
            (n_edges,). Both vanish from the cutoff on, the basis with ``cutoff_on_weights`` excepted.
        """
        config = self.config
        cutoff = polynomial_cutoff(distance, config.cutoff, power=config.envelope_power)
        transformed = self.transformed(distance, receiver_number, sender_number)
        basis = self.basis(transformed)
        return (basis if config.cutoff_on_weights else basis * cutoff.unsqueeze(-1)), cutoff

    def transformed(self, distance: Tensor, receiver_number: Tensor, sender_number: Tensor) -> Tensor:
        """The transformed distance, shape (n_edges,).

        With R the sum of the two covalent radii: agnesi is t = 1 / (1 + a x^q / (1 + x^(q - p))), x = 2 d / R; soft is
        t = a + (d - a) (1 + tanh(4 (d - (a + b) / 2) / (b - a))) / 2, a = 3 R / 4, b = 4 R / 3. With ``hold_below`` the
        distance is held before.
        """
        config = self.config
        if config.distance_transform == "none" and not config.hold_below:
            return distance
        radii = self.radii(distance)
        bond = radii[receiver_number] + radii[sender_number]
        if config.hold_below:
            distance = held_distance(distance, _HELD * config.hold_below * bond, config.hold_below * bond)
        if config.distance_transform == "none":
            return distance
        if config.distance_transform == "agnesi":
            q, p, a = _AGNESI
            x = distance / (0.5 * bond)
            return 1 / (1 + a * x.pow(q) / (1 + x.pow(q - p)))
        lower, upper = 0.75 * bond, 4 / 3 * bond
        step = 0.5 * (1 + torch.tanh(_SOFT_STEEPNESS / (upper - lower) * (distance - 0.5 * (lower + upper))))
        return lower + (distance - lower) * step

    def basis(self, distance: Tensor) -> Tensor:
        """Basis functions of a transformed distance, shape (n_edges, n_radial)."""
        config = self.config
        if config.radial_basis == "gaussian":
            return gaussian_basis(distance, config.cutoff, config.n_radial)
        if config.radial_basis == "chebyshev":
            return chebyshev(distance, config.n_radial)
        own = config.frequencies
        frequencies = torch.tensor(own, dtype=distance.dtype, device=distance.device) if own else None
        return bessel_basis(distance, config.cutoff, config.n_radial, frequencies=frequencies)

    def radii(self, like: Tensor) -> Tensor:
        """Covalent radii by atomic number, Å, in the precision of another tensor."""
        # Not a buffer: cast to single precision and back with the weights, it would have lost its digits.
        return torch.tensor(COVALENT_RADII, dtype=like.dtype, device=like.device)


def chebyshev(x: Tensor, n_basis: int) -> Tensor:
    """Chebyshev polynomials T_1 … T_n by their recurrence, shape (…, n_basis)."""
    found = [torch.ones_like(x), x]
    while len(found) <= n_basis:
        found.append(2 * x * found[-1] - found[-2])
    return torch.stack(found[1 : n_basis + 1], dim=-1)
