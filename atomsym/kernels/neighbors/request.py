"""What every backend of the neighbor list gets and what it returns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real

import torch
from torch import Tensor

from atomsym.core.errors import InputError


@dataclass(frozen=True)
class NeighborList:
    """Directed edges of all atoms within a cutoff, both directions of each pair.

    Attributes:
        edge_index: receiver and sender, shape (2, n_edges), int64, sorted by receiver.
        edge_shift: lattice translations of the sender, shape (n_edges, 3), int32.
        receiver_offsets: edges of receiver n are ``receiver_offsets[n]:receiver_offsets[n + 1]``, shape
            (n_atoms + 1,), int64.
    """

    edge_index: Tensor
    edge_shift: Tensor
    receiver_offsets: Tensor

    @property
    def n_edges(self) -> int:
        return self.edge_index.shape[1]


@dataclass(frozen=True)
class Request:
    """Checked arguments of a neighbor search.

    Attributes:
        positions: shape (n_atoms, 3), float32 or float64, detached and contiguous.
        cell: shape (n_systems, 3, 3), float64, on the device of the positions.
        pbc: shape (n_systems, 3), bool, on the device of the positions.
        system_index: shape (n_atoms,), int64; None for a single system.
        cutoff: Å.
    """

    positions: Tensor
    cell: Tensor
    pbc: Tensor
    system_index: Tensor | None
    cutoff: float

    @property
    def n_atoms(self) -> int:
        return self.positions.shape[0]

    @property
    def n_systems(self) -> int:
        return self.cell.shape[0]

    @property
    def device(self) -> torch.device:
        return self.positions.device

    def systems(self) -> Tensor:
        """System of each atom, shape (n_atoms,), int64."""
        if self.system_index is None:
            return torch.zeros(self.n_atoms, dtype=torch.int64, device=self.device)
        return self.system_index


def make_request(
    positions: Tensor, cutoff: float, cell: Tensor | None, pbc: Tensor | None, system_index: Tensor | None
) -> Request:
    """Check shapes and types and bring them into one form; values are checked by the backends.

    Raises:
        InputError: if a shape, dtype or the cutoff is wrong.
    """
    if positions.ndim != 2 or positions.shape[1] != 3 or positions.dtype not in (torch.float32, torch.float64):
        raise InputError(
            f"positions must be float32 or float64 of shape (n_atoms, 3); "
            f"found {positions.dtype} {tuple(positions.shape)}"
        )
    if not (isinstance(cutoff, Real) and math.isfinite(cutoff) and cutoff > 0):
        raise InputError(f"the cutoff must be a positive number in Å; found {cutoff!r}")
    device = positions.device
    if cell is None:
        cell = torch.zeros(3, 3, dtype=torch.float64, device=device)
    if pbc is None:
        pbc = torch.zeros(cell.shape[:-1], dtype=torch.bool, device=device)
    cell = cell.detach().to(device=device, dtype=torch.float64)
    cell = cell.unsqueeze(0) if cell.ndim == 2 else cell
    pbc = pbc.to(device=device, dtype=torch.bool)
    pbc = pbc.unsqueeze(0) if pbc.ndim == 1 else pbc
    n_systems = cell.shape[0]
    if cell.shape != (n_systems, 3, 3) or pbc.shape != (n_systems, 3):
        raise InputError(
            f"cell must be (n_systems, 3, 3) and pbc (n_systems, 3), or (3, 3) and (3,); "
            f"found {tuple(cell.shape)} and {tuple(pbc.shape)}"
        )
    if system_index is None:
        if n_systems != 1:
            raise InputError(f"{n_systems} cells need a system_index of shape ({positions.shape[0]},)")
    elif system_index.shape != positions.shape[:1] or system_index.dtype != torch.int64:
        raise InputError(
            f"system_index must be int64 of shape ({positions.shape[0]},); "
            f"found {system_index.dtype} {tuple(system_index.shape)}"
        )
    else:
        system_index = system_index.to(device).contiguous()
    return Request(positions.detach().contiguous(), cell.contiguous(), pbc.contiguous(), system_index, float(cutoff))
