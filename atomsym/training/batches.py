"""Which structures make up which batch: bounded in edges, shuffled by seed and epoch, cut over ranks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BatchIndices = tuple[int, ...]


class EdgeBatcher:
    """Batches of bounded cost. A model's cost and memory follow the number of edges, not of structures.

    The batches of an epoch are a function of the seed and the epoch alone, so that a run can be continued anywhere.

    Args:
        n_edges: edges of every structure.
        structures: most structures in a batch.
        edges: most edges in a batch; a larger structure is a batch of its own. 0: no limit.
        seed: of the order.

    Example:
        >>> EdgeBatcher([10, 20, 30, 100], structures=3, edges=50, seed=0).in_order()
        [(0, 1), (2,), (3,)]
    """

    def __init__(self, n_edges: Sequence[int] | NDArray[np.int64], *, structures: int, edges: int, seed: int) -> None:
        self.n_edges = np.asarray(n_edges, dtype=np.int64)
        self.structures = structures
        self.edges = edges
        self.seed = seed

    def epoch(self, number: int) -> list[BatchIndices]:
        """All batches of an epoch, every structure in exactly one of them."""
        order = np.random.default_rng([self.seed, number]).permutation(len(self.n_edges))
        return self._cut(order)

    def in_order(self) -> list[BatchIndices]:
        """All batches without shuffling, for validation."""
        return self._cut(np.arange(len(self.n_edges)))

    def _cut(self, order: NDArray[np.int64]) -> list[BatchIndices]:
        batches: list[BatchIndices] = []
        current: list[int] = []
        total = 0
        for index in order.tolist():
            cost = int(self.n_edges[index])
            full = len(current) == self.structures or (self.edges and total + cost > self.edges)
            if current and full:
                batches.append(tuple(current))
                current, total = [], 0
            current.append(index)
            total += cost
        if current:
            batches.append(tuple(current))
        return batches

    def shard(self, batch: BatchIndices, rank: int, n_ranks: int) -> BatchIndices:
        """The part of a batch that a rank works on; the parts of all ranks are the batch, evenly by edges."""
        if n_ranks == 1:
            return batch
        loads = [0] * n_ranks
        parts: list[list[int]] = [[] for _ in range(n_ranks)]
        for index in sorted(batch, key=lambda item: (-int(self.n_edges[item]), item)):
            least = min(range(n_ranks), key=lambda number: (loads[number], number))
            parts[least].append(index)
            loads[least] += int(self.n_edges[index]) + 1  # structures without edges are spread too
        return tuple(parts[rank])
