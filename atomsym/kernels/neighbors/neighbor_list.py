"""The front function of the neighbor list and its backends."""

from __future__ import annotations

from torch import Tensor

from atomsym.kernels.backends import Backend, Operation
from atomsym.kernels.native import cpu_reason
from atomsym.kernels.neighbors.cluster import neighbor_list_torch_cluster, torch_cluster_reason
from atomsym.kernels.neighbors.native import neighbor_list_native
from atomsym.kernels.neighbors.reference import neighbor_list_reference
from atomsym.kernels.neighbors.request import NeighborList, Request, make_request
from atomsym.kernels.triton_support import triton_device_types, triton_reason


def _neighbor_list_triton(request: Request) -> NeighborList:
    from atomsym.kernels.neighbors.triton_backend import neighbor_list_triton

    return neighbor_list_triton(request)


NEIGHBOR_LIST = Operation("neighbor_list")
NEIGHBOR_LIST.register(
    Backend("cpp", neighbor_list_native, device_types=frozenset({"cpu"}), priority=30, unavailable=cpu_reason)
)
NEIGHBOR_LIST.register(
    Backend("triton", _neighbor_list_triton, device_types=triton_device_types(), priority=20, unavailable=triton_reason)
)
NEIGHBOR_LIST.register(Backend("reference", neighbor_list_reference, priority=10))
NEIGHBOR_LIST.register(
    Backend("torch_cluster", neighbor_list_torch_cluster, priority=0, unavailable=torch_cluster_reason)
)


def neighbor_list(
    positions: Tensor,
    cutoff: float,
    cell: Tensor | None = None,
    pbc: Tensor | None = None,
    system_index: Tensor | None = None,
    *,
    backend: str = "auto",
) -> NeighborList:
    """All pairs of atoms closer than the cutoff, periodic images included, both directions of each pair.

    Edge e has the vector r = x[sender] + shift @ cell − x[receiver]. It is an edge if |r|² < cutoff² in float64, every
    operation rounded as in ``lattice.is_edge``: a neighbor exactly at the cutoff is none, and all backends agree to
    the last bit. An atom is its own neighbor through images only (never with a zero shift). Positions need not lie in
    the cell; they are never wrapped, shifts account for where they are. The cell may be smaller than the cutoff,
    skewed or left-handed, and there is no largest number of neighbors.

    Edges are sorted by receiver. Within a receiver the order is the same from call to call and for any number of
    threads, but not the same for all backends.

    Args:
        positions: shape (n_atoms, 3), float32 or float64, Å.
        cutoff: Å, > 0.
        cell: lattice vectors in rows, shape (n_systems, 3, 3) or (3, 3), Å; zero rows are allowed where pbc is False.
        pbc: periodic directions, shape (n_systems, 3) or (3,), bool; default: none.
        system_index: system of each atom, shape (n_atoms,), int64, non-decreasing; default: one system.
        backend: ``cpp`` (cell list, CPU), ``triton`` (GPU), ``reference`` (brute force), ``torch_cluster`` (open
            systems only), or ``auto``.

    Returns:
        The edges. They do not depend on ``positions`` in the sense of autograd.

    Raises:
        InputError: if a shape, type or value is wrong: positions not finite, a periodic direction without a lattice
            vector, atoms more than 2^29 cells away, ``system_index`` not sorted.
        OutOfMemoryError: if images or edges would not fit into the free memory.
        BackendError: if the backend cannot do what is asked.

    Example:
        >>> import torch
        >>> cell = 3.0 * torch.eye(3)
        >>> one_atom = neighbor_list(torch.zeros(1, 3), 3.5, cell, torch.tensor([True, True, False]))
        >>> one_atom.edge_shift.tolist()
        [[-1, 0, 0], [0, -1, 0], [0, 1, 0], [1, 0, 0]]
    """
    request = make_request(positions, cutoff, cell, pbc, system_index)
    chosen = NEIGHBOR_LIST.select(backend, device=positions.device, dtype=positions.dtype)
    result: NeighborList = chosen.function(request)
    return result
