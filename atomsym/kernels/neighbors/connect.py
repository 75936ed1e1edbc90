"""From a graph without edges to one with edges."""

from __future__ import annotations

from atomsym.core.graph import AtomGraph
from atomsym.core.topology import EdgeTopology
from atomsym.kernels.neighbors.native import order_by_sender
from atomsym.kernels.neighbors.neighbor_list import NEIGHBOR_LIST
from atomsym.kernels.neighbors.request import NeighborList, make_request


def connect(graph: AtomGraph, cutoff: float, *, backend: str = "auto") -> AtomGraph:
    """The graph with all edges shorter than the cutoff; edges it had before are dropped.

    A strain does not enter: edges are those of the undeformed positions and cells.

    Args:
        graph: one system or a batch.
        cutoff: Å, > 0.
        backend: see ``neighbor_list``.

    Returns:
        A graph that shares all tensors but the edges. With the C++ backend its ``topology`` is there already.

    Raises:
        InputError, OutOfMemoryError, BackendError: see ``neighbor_list``.

    Example:
        >>> import torch
        >>> dimer = AtomGraph.without_edges(torch.tensor([[0.0, 0, 0], [0, 0, 1]]), torch.tensor([1, 1]))
        >>> connect(dimer, 2.0).edge_index.tolist()
        [[0, 1], [1, 0]]
    """
    system_index = None if graph.n_systems == 1 else graph.system_index
    request = make_request(graph.positions, cutoff, graph.cell, graph.pbc, system_index)
    chosen = NEIGHBOR_LIST.select(backend, device=graph.device, dtype=graph.dtype)
    neighbors = chosen.function(request)
    topology = _topology(neighbors) if chosen.name == "cpp" else None
    return graph.with_edges(neighbors.edge_index, neighbors.edge_shift, request.cutoff, topology)


def _topology(neighbors: NeighborList) -> EdgeTopology:
    receiver, sender = neighbors.edge_index
    offsets = neighbors.receiver_offsets
    return EdgeTopology(receiver, sender, offsets, order_by_sender(neighbors), offsets)
