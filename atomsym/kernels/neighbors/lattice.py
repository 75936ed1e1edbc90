"""Fractional coordinates, wrapping and images, in float64 torch, for batches of any mixture of periodic directions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from atomsym.kernels.neighbors.checks import LARGEST_SHIFT, raise_shift_overflow
from atomsym.kernels.neighbors.request import Request


@dataclass(frozen=True)
class WrappedAtoms:
    """Atoms moved into their cells.

    Attributes:
        positions: x + shift @ cell, shape (n_atoms, 3), float64.
        fraction: fractional coordinates in [0, 1); zero along directions that are not periodic; (n_atoms, 3).
        shift: lattice translation that wraps each atom, shape (n_atoms, 3), int64.
        margin: cutoff over the distance of lattice planes: the reach in fractional coordinates, zero along directions
            that are not periodic; (n_systems, 3).
        rounding: bound of the error of any distance between entries at these positions, Å.
    """

    positions: Tensor
    fraction: Tensor
    shift: Tensor
    margin: Tensor
    rounding: float


def wrap(request: Request) -> WrappedAtoms:
    """Wrap the atoms along periodic directions.

    Raises:
        InputError: if an atom is so far away that shifts would not fit an int32.
    """
    system = request.systems()
    positions = request.positions.to(torch.float64)
    lattice = request.cell * request.pbc.unsqueeze(2)
    dual = torch.linalg.pinv(lattice) * request.pbc.unsqueeze(1)  # columns; rounding leaves no exact zeros
    margin = request.cutoff * torch.linalg.vector_norm(dual, dim=1)
    whole = torch.einsum("na,nab->nb", positions, dual[system])
    shift = -torch.floor(whole)
    far = (shift.abs() >= LARGEST_SHIFT).any(dim=1)
    if bool(far.any()):
        raise_shift_overflow(request.positions, int(far.nonzero()[0, 0]))
    wrapped = positions + torch.einsum("na,nab->nb", shift, lattice[system])
    turns = _largest(shift) + _largest(margin) + 2
    size = _largest(positions) + 3 * turns * _largest(lattice)
    rounding = 64 * torch.finfo(torch.float64).eps * size
    return WrappedAtoms(wrapped, whole + shift, shift.to(torch.int64), margin, rounding)


def _largest(values: Tensor) -> float:
    return float(values.abs().max()) if values.numel() else 0.0


def is_edge(xi: Tensor, xj: Tensor, shift: Tensor, cell: Tensor, cutoff: float) -> Tensor:
    """The rule for edges, in float64, every operation rounded as written; other backends repeat it to the bit.

    r = (xj − xi) + ((s0 c0 + s1 c1) + s2 c2);  (rx² + ry²) + rz² < cutoff².

    Args:
        xi: given positions of receivers, shape (..., 3).
        xj: given positions of senders, shape (..., 3).
        shift: lattice translations, shape (..., 3).
        cell: lattice vectors in rows, shape (..., 3, 3).
        cutoff: Å.
    """
    s = shift.to(torch.float64).unsqueeze(-1)
    r = (xj - xi) + ((s[..., 0, :] * cell[..., 0, :] + s[..., 1, :] * cell[..., 1, :]) + s[..., 2, :] * cell[..., 2, :])
    return (r[..., 0] * r[..., 0] + r[..., 1] * r[..., 1]) + r[..., 2] * r[..., 2] < cutoff * cutoff
