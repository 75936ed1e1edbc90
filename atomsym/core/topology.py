"""The wiring of a graph: who receives from whom, ordered for kernels that walk it by receiver and by sender."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from atomsym.core.errors import InputError


@dataclass(frozen=True, eq=False)
class EdgeTopology:
    """Directed edges sorted by receiver, with the transposed order beside them.

    Kernels that sum over the edges of a receiver walk ``receiver_offsets``; kernels that sum over the edges of a
    sender (gradients with respect to node features) walk ``sender_order`` and ``sender_offsets``. Neither needs
    atomics.

    Attributes:
        receiver: centre of each edge, shape (n_edges,), int64, non-decreasing.
        sender: neighbor of each edge, shape (n_edges,), int64.
        receiver_offsets: edges of receiver n are ``receiver_offsets[n]:receiver_offsets[n + 1]``, shape
            (n_nodes + 1,), int64.
        sender_order: edge numbers ordered by sender, ties by edge number, shape (n_edges,), int64.
        sender_offsets: edges of sender n are ``sender_order[sender_offsets[n]:sender_offsets[n + 1]]``, shape
            (n_nodes + 1,), int64.
    """

    receiver: Tensor
    sender: Tensor
    receiver_offsets: Tensor
    sender_order: Tensor
    sender_offsets: Tensor

    @property
    def n_nodes(self) -> int:
        return self.receiver_offsets.shape[0] - 1

    @property
    def n_edges(self) -> int:
        return self.receiver.shape[0]

    @property
    def wiring(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """All five, in the order in which operators of kernels take them."""
        return self.receiver, self.sender, self.receiver_offsets, self.sender_order, self.sender_offsets

    @classmethod
    def from_edge_index(cls, edge_index: Tensor, n_nodes: int) -> EdgeTopology:
        """Build the topology of edges that are already sorted by receiver.

        Args:
            edge_index: receiver and sender of each edge, shape (2, n_edges), int64.
            n_nodes: number of nodes.

        Raises:
            InputError: if the shape or dtype is wrong, an index is out of range or receivers are not sorted.
        """
        if edge_index.ndim != 2 or edge_index.shape[0] != 2 or edge_index.dtype != torch.int64:
            raise InputError(
                f"edge_index must be int64 of shape (2, n_edges); found {edge_index.dtype} {tuple(edge_index.shape)}"
            )
        receiver, sender = edge_index[0].contiguous(), edge_index[1].contiguous()
        if receiver.numel():
            low, high = int(edge_index.min()), int(edge_index.max())
            if low < 0 or high >= n_nodes:
                raise InputError(f"edge_index has the node {low if low < 0 else high}; allowed are 0 to {n_nodes - 1}")
            if bool((receiver[1:] < receiver[:-1]).any()):
                raise InputError("edges must be sorted by receiver: edge_index[0] has to be non-decreasing")
        return cls._of_sorted(receiver, sender, n_nodes)

    @classmethod
    def one_to_one(cls, n_nodes: int, device: torch.device | str = "cpu") -> EdgeTopology:
        """Every node receives from itself alone: sums over edges become functions of the edges."""
        order = torch.arange(n_nodes + 1, device=device)
        return cls(order[:-1], order[:-1], order, order[:-1], order)

    @classmethod
    def _of_sorted(cls, receiver: Tensor, sender: Tensor, n_nodes: int) -> EdgeTopology:
        return cls(
            receiver=receiver,
            sender=sender,
            receiver_offsets=_offsets(receiver, n_nodes),
            sender_order=torch.argsort(sender, stable=True),
            sender_offsets=_offsets(sender, n_nodes),
        )


def _offsets(index: Tensor, n_nodes: int) -> Tensor:
    offsets = torch.zeros(n_nodes + 1, dtype=torch.int64, device=index.device)
    torch.cumsum(torch.bincount(index, minlength=n_nodes), 0, out=offsets[1:])
    return offsets
