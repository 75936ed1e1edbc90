"""Brute force in torch: every pair in every image within range, one system after the other."""

from __future__ import annotations

import torch
from torch import Tensor

from atomsym.kernels.neighbors.checks import BYTES_PER_EDGE, check_values, free_memory, raise_too_much
from atomsym.kernels.neighbors.lattice import is_edge, wrap
from atomsym.kernels.neighbors.request import NeighborList, Request

_PAIRS_AT_ONCE = 1_000_000
_BYTES_PER_PAIR = 150


def neighbor_list_reference(request: Request) -> NeighborList:
    """Edges in the order of (receiver, sender, shift); see ``neighbor_list`` for the arguments."""
    check_values(request)
    atoms = wrap(request)
    given = request.positions.to(torch.float64)
    counts = torch.bincount(request.systems(), minlength=request.n_systems).tolist()
    indices, shifts, first, n_edges = [], [], 0, 0
    free = free_memory(request.device)
    for system, n in enumerate(counts):
        images = _images(atoms.margin[system], n, free, request.cutoff)
        block = max(1, _PAIRS_AT_ONCE // max(1, n * images.shape[0]))
        for start in range(first, first + n, block):
            receivers = torch.arange(start, min(start + block, first + n), device=request.device)
            senders = torch.arange(first, first + n, device=request.device)
            index, shift = _edges(request, system, given, atoms.shift, receivers, senders, images)
            indices.append(index)
            shifts.append(shift)
            n_edges += index.shape[1]
            if n_edges * BYTES_PER_EDGE > free:
                raise_too_much("edges", n_edges * request.n_atoms / (start + 1), BYTES_PER_EDGE, free, request.cutoff)
        first += n
    empty = torch.empty(2, 0, dtype=torch.int64, device=request.device)
    edge_index = torch.cat([empty, *indices], dim=1)
    edge_shift = torch.cat([empty.to(torch.int32).new_empty(0, 3), *shifts])
    offsets = torch.zeros(request.n_atoms + 1, dtype=torch.int64, device=request.device)
    torch.cumsum(torch.bincount(edge_index[0], minlength=request.n_atoms), 0, out=offsets[1:])
    return NeighborList(edge_index, edge_shift, offsets)


def _images(margin: Tensor, n_atoms: int, free: int, cutoff: float) -> Tensor:
    """All translations between two wrapped atoms within reach, shape (n_images, 3), int64, in lexical order."""
    reach = [int(m + 1 + 1e-9) if m > 0 else 0 for m in margin.tolist()]  # wrapped atoms differ by less than one cell
    count = (2.0 * reach[0] + 1) * (2.0 * reach[1] + 1) * (2.0 * reach[2] + 1)
    if count * max(n_atoms, 1) * _BYTES_PER_PAIR > free:
        raise_too_much("images of an atom's neighbors", count * n_atoms, _BYTES_PER_PAIR, free, cutoff)
    ranges = [torch.arange(-k, k + 1, device=margin.device) for k in reach]
    return torch.cartesian_prod(*ranges)


def _edges(
    request: Request, system: int, given: Tensor, wrapping: Tensor, receivers: Tensor, senders: Tensor, images: Tensor
) -> tuple[Tensor, Tensor]:
    # an image of the wrapped sender, seen from the wrapped receiver, as a translation between the given positions
    shift = images + wrapping[senders][None, :, None] - wrapping[receivers][:, None, None]
    xi, xj = given[receivers][:, None, None], given[senders][None, :, None]
    near = is_edge(xi, xj, shift, request.cell[system], request.cutoff)
    itself = (receivers[:, None, None] == senders[None, :, None]) & (images == 0).all(dim=1)
    i, j, k = (near & ~itself).nonzero(as_tuple=True)
    return torch.stack([receivers[i], senders[j]]), shift[i, j, k].to(torch.int32)
