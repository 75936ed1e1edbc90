"""The C++ cell list."""

from __future__ import annotations

import torch
from torch import Tensor

from atomsym.core.errors import OutOfMemoryError
from atomsym.kernels.memory import recycled_empty
from atomsym.kernels.native import cpu_extension, n_threads
from atomsym.kernels.neighbors.checks import (
    BYTES_PER_EDGE,
    check_cells,
    free_memory,
    raise_bad_position,
    raise_bad_system_index,
    raise_shift_overflow,
    raise_too_much,
)
from atomsym.kernels.neighbors.request import NeighborList, Request

_OK, _NOT_FINITE, _SINGULAR_CELL, _SHIFT_OVERFLOW, _IMAGES, _EDGES, _SYSTEM_INDEX, _NO_MEMORY = range(8)
_BYTES_PER_IMAGE = 49
_SMALL = 2**29  # bytes that are there; asking the system how much is free takes longer than a small search


def neighbor_list_native(request: Request) -> NeighborList:
    """Edges in an order that depends on positions alone, not on the number of threads; see ``neighbor_list``."""
    search = _search(request, _SMALL) if request.n_atoms < 20_000 else None
    if search is None or search.status in (_IMAGES, _EDGES):
        search = _search(request, free_memory(request.device))
    if search.status != _OK:
        _raise(request, search)
    edge_index = recycled_empty((2, search.n_edges), torch.int64)
    edge_shift = recycled_empty((search.n_edges, 3), torch.int32)
    offsets = torch.empty(request.n_atoms + 1, dtype=torch.int64)
    receiver = edge_index.data_ptr()
    search.fill(receiver, receiver + 8 * search.n_edges, edge_shift.data_ptr(), offsets.data_ptr())
    return NeighborList(edge_index, edge_shift, offsets)


def order_by_sender(neighbors: NeighborList) -> Tensor:
    """Edge numbers ordered by sender, ties by edge number, shape (n_edges,), int64.

    The list has both directions of every edge, so the first of each sender is where ``receiver_offsets`` says.
    """
    order = recycled_empty((neighbors.n_edges,), torch.int64)
    offsets = neighbors.receiver_offsets
    cpu_extension().order_by_sender(
        neighbors.edge_index[1].data_ptr(),
        neighbors.n_edges,
        offsets.shape[0] - 1,
        offsets.data_ptr(),
        order.data_ptr(),
        n_threads(),
    )
    return order


def _search(request: Request, memory_limit: int):  # type: ignore[no-untyped-def]  # a class of the extension module
    return cpu_extension().NeighborSearch(
        request.positions.data_ptr(),
        request.positions.dtype == torch.float32,
        request.n_atoms,
        request.cell.data_ptr(),
        request.pbc.data_ptr(),
        0 if request.system_index is None else request.system_index.data_ptr(),
        request.n_systems,
        request.cutoff,
        float(memory_limit),
        n_threads(),
    )


def _raise(request: Request, search) -> None:  # type: ignore[no-untyped-def]
    free = free_memory(request.device)
    if search.status == _NOT_FINITE:
        raise_bad_position(request.positions, search.culprit)
    if search.status == _SINGULAR_CELL:
        check_cells(request.cell, request.pbc)
    if search.status == _SHIFT_OVERFLOW:
        raise_shift_overflow(request.positions, search.culprit)
    if search.status == _SYSTEM_INDEX and request.system_index is not None:
        raise_bad_system_index(request.system_index, search.culprit, request.n_systems)
    if search.status == _IMAGES:
        raise_too_much("periodic images", search.wanted, _BYTES_PER_IMAGE, free, request.cutoff)
    if search.status == _NO_MEMORY:
        raise OutOfMemoryError(
            f"a cutoff of {request.cutoff:g} Å needs more memory than there is ({free / 1e9:.3g} GB free)"
        )
    raise_too_much("edges", search.wanted, BYTES_PER_EDGE, free, request.cutoff)
