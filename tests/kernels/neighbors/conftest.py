"""Set-up that the neighbor tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from atomsym.core import AtomGraph
from atomsym.kernels.neighbors import NeighborList

Edge = tuple[int, int, int, int, int]


@pytest.fixture
def edge_set() -> Callable[[NeighborList | AtomGraph], set[Edge]]:
    """Edges as a set of (receiver, sender, shift); no edge may be listed twice."""

    def convert(edges: NeighborList | AtomGraph) -> set[Edge]:
        rows = torch.cat([edges.edge_index.T, edges.edge_shift.to(torch.int64)], dim=1).tolist()
        found = {(row[0], row[1], row[2], row[3], row[4]) for row in rows}
        assert len(found) == len(rows), "an edge is listed twice"
        return found

    return convert


@pytest.fixture
def thread_setting() -> Iterator[None]:
    """Restores torch's number of threads."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
