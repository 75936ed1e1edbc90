"""Memory before it is used: what is free on a device, and what differentiating an energy twice will keep."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from atomsym.core import AtomGraph
from atomsym.derivatives.energies import EnergyFunction, atom_energies, gradients, second_order

_PROBE_EDGES = 20_000  # larger graphs are measured on a part of them


def free_memory(device: torch.device) -> int:
    """Bytes that a new calculation can have on this device.

    On a GPU: what the driver reports free and what torch holds unused. On the CPU: what the kernel reports available,
    within the limit of the control group; all physical memory where the kernel does not say.
    """
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    available = _available_from_kernel()
    limit, used = _number("/sys/fs/cgroup/memory.max"), _number("/sys/fs/cgroup/memory.current")
    return available if limit is None or used is None else min(available, max(limit - used, 0))


def _available_from_kernel() -> int:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # not Linux
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text(encoding="ascii"))
    except (OSError, ValueError):  # no control group, or "max"
        return None


def kept_bytes(potential: EnergyFunction, graph: AtomGraph, *, twice: bool) -> int:
    """Bytes that autograd keeps for one gradient, and with ``twice`` for differentiating that gradient again.

    Measured by counting what is saved for backward, each storage once. A graph of more edges than ``_PROBE_EDGES`` is
    measured on its first edges and scaled up, so that the measurement itself stays small.
    """
    part = _leading_part(graph)
    positions = part.positions.detach().requires_grad_()
    with counted_saves() as saved:
        energies, _ = atom_energies(
            second_order(potential, part) if twice else potential, part.with_positions(positions)
        )
        kept = gradients(energies, (positions,), part, create_graph=twice)
    total = saved.n_bytes + sum(tensor.nbytes for tensor in kept)
    return int(total * max(1.0, graph.n_edges / max(part.n_edges, 1)))


class Saves:
    """What autograd has saved for backward, each storage once.

    Attributes:
        sizes: bytes by address.
    """

    def __init__(self) -> None:
        self.sizes: dict[int, int] = {}

    @property
    def n_bytes(self) -> int:
        return sum(self.sizes.values())

    def add(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        self.sizes[storage.data_ptr()] = storage.nbytes()
        return tensor


@contextmanager
def counted_saves() -> Iterator[Saves]:
    """Counts what autograd saves inside; the recorded graph can be differentiated as ever."""
    saves = Saves()
    with torch.autograd.graph.saved_tensors_hooks(saves.add, lambda tensor: tensor):
        yield saves


def is_small(graph: AtomGraph) -> bool:
    """Whether a graph is measured as a whole."""
    return graph.n_edges <= _PROBE_EDGES


def _leading_part(graph: AtomGraph) -> AtomGraph:
    """The first edges and the atoms that they touch."""
    if is_small(graph):
        return graph
    edges = graph.edge_index[:, :_PROBE_EDGES]
    atoms, renumbered = edges.unique(return_inverse=True)
    return replace(
        graph,
        positions=graph.positions[atoms],
        numbers=graph.numbers[atoms],
        system_index=graph.system_index[atoms],
        edge_index=renumbered,
        edge_shift=graph.edge_shift[:_PROBE_EDGES],
    )


def in_words(n_bytes: float) -> str:
    """Bytes for messages.

    Example:
        >>> in_words(7.2e11)
        '720 GB'
    """
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.3g} {unit}"
    return f"{n_bytes:.0f} bytes"
