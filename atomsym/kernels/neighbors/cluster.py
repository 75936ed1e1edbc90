"""The optional package torch_cluster, for open systems."""

from __future__ import annotations

import importlib.util

import torch

from atomsym.core.errors import BackendError
from atomsym.kernels.neighbors.checks import check_values
from atomsym.kernels.neighbors.lattice import is_edge
from atomsym.kernels.neighbors.request import NeighborList, Request


def torch_cluster_reason() -> str | None:
    """None if torch_cluster is installed, else how to get it."""
    if importlib.util.find_spec("torch_cluster") is None:
        return "needs the package torch_cluster; install it with: pip install 'atomsym[pyg]'"
    return None


def neighbor_list_torch_cluster(request: Request) -> NeighborList:
    """Edges by ``torch_cluster.radius_graph``, ordered by (receiver, sender); see ``neighbor_list``.

    The package compares distances in the precision of the positions; it is asked for a slightly larger radius, and
    the rule of all backends then decides.

    Raises:
        BackendError: if a direction is periodic.
    """
    from torch_cluster import radius_graph

    if bool(request.pbc.any()):
        raise BackendError("neighbor_list: torch_cluster knows open systems only; use another backend for pbc")
    check_values(request)
    n_atoms = request.n_atoms
    positions = request.positions.to(torch.float64)
    size = float(positions.abs().max()) if n_atoms else 0.0
    radius = request.cutoff * (1 + 1e-6) + 16 * torch.finfo(torch.float64).eps * size
    edges = radius_graph(positions, radius, batch=request.system_index, loop=False, max_num_neighbors=max(n_atoms, 1))
    order = torch.argsort(edges[1] * n_atoms + edges[0])
    sender, receiver = edges[0][order], edges[1][order]
    shift = torch.zeros(sender.shape[0], 3, dtype=torch.int32, device=request.device)
    near = is_edge(positions[receiver], positions[sender], shift, positions.new_zeros(3, 3), request.cutoff)
    edge_index = torch.stack([receiver[near], sender[near]])
    offsets = torch.zeros(n_atoms + 1, dtype=torch.int64, device=request.device)
    torch.cumsum(torch.bincount(edge_index[0], minlength=n_atoms), 0, out=offsets[1:])
    return NeighborList(edge_index, shift[near], offsets)
