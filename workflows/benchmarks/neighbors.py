"""Neighbor lists beside those of vesin and matscipy on the CPU, and of nvalchemi-toolkit-ops on a GPU."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from atomsym.core.errors import CalculationError, InputError
from atomsym.kernels.neighbors import connect, neighbor_list
from atomsym.kernels.neighbors.request import NeighborList
from atomsym.workflows.benchmarks.peak_memory import peak_memory

PEERS = {"vesin": "vesin", "matscipy": "matscipy", "nvalchemi": "nvalchemiops"}
"""Name in the table: package that is imported."""

_OUTPUT_BYTES = 28  # per edge: two int64 and three int32


@dataclass(frozen=True)
class Periodic:
    """A periodic box: positions (n_atoms, 3) and cell (3, 3), float64, Å."""

    positions: Tensor
    cell: Tensor


def fcc(n_atoms: int) -> Periodic:
    """Copper-like crystal, a = 3.9 Å, rattled by 0.1 Å, in the order of its cubes; about ``n_atoms``."""
    n_cubes = max(round((n_atoms / 4) ** (1 / 3)), 1)
    corner = torch.tensor([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]], dtype=torch.float64)
    sites = torch.cartesian_prod(*[torch.arange(float(n_cubes), dtype=torch.float64)] * 3)
    positions = 3.9 * (sites[:, None] + corner).reshape(-1, 3)
    noise = torch.randn(positions.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return Periodic(positions + 0.1 * noise, 3.9 * n_cubes * torch.eye(3, dtype=torch.float64))


def water(n_atoms: int) -> Periodic:
    """Atoms at the density of water, 0.1 per Å³, on disturbed cubic sites, in random order."""
    n_sites, spacing = max(round(n_atoms ** (1 / 3)), 1), 10 ** (1 / 3)
    generator = torch.Generator().manual_seed(0)
    sites = spacing * torch.cartesian_prod(*[torch.arange(float(n_sites), dtype=torch.float64)] * 3)
    noise = 0.3 * spacing * (2 * torch.rand(sites.shape, generator=generator, dtype=torch.float64) - 1)
    order = torch.randperm(len(sites), generator=generator)
    return Periodic((sites + noise)[order], n_sites * spacing * torch.eye(3, dtype=torch.float64))


SYSTEMS: dict[str, Callable[[int], Periodic]] = {"fcc": fcc, "water": water}


def ours(box: Periodic, cutoff: float) -> NeighborList:
    """i and j as int64, shifts as int32, sorted by i, and the first edge of each i."""
    return neighbor_list(box.positions, cutoff, box.cell, torch.ones(3, dtype=torch.bool, device=box.positions.device))


def ours_connect(box: Periodic, cutoff: float) -> int:
    """A graph with edges and its topology, which also orders the edges by sender."""
    from atomsym.core import AtomGraph

    numbers = torch.ones(len(box.positions), dtype=torch.int64)
    bare = AtomGraph.without_edges(box.positions, numbers, box.cell, torch.ones(3, dtype=torch.bool))
    return connect(bare, cutoff).topology.n_edges


def peer_search(peer: str, box: Periodic, cutoff: float) -> Callable[[], int]:
    """A call of the peer that returns its number of edges. What each returns is in the comments.

    Raises:
        InputError: for an unknown peer.
    """
    if peer == "vesin":  # i and j as uint64, shifts as int32, not sorted by i
        from vesin import NeighborList as VesinList

        points, cell = box.positions.numpy(), box.cell.numpy()

        def vesin() -> int:
            search = VesinList(cutoff=cutoff, full_list=True)
            return len(search.compute(points=points, box=cell, periodic=True, quantities="ijS")[0])

        return vesin
    if peer == "matscipy":  # i, j and shifts as int32, sorted by i
        from ase import Atoms
        from matscipy.neighbours import neighbour_list

        numbers = [1] * len(box.positions)
        atoms = Atoms(numbers=numbers, positions=box.positions.numpy(), cell=box.cell.numpy(), pbc=True)
        return lambda: len(neighbour_list("ijS", atoms, cutoff)[0])
    if peer == "nvalchemi":  # (2, n_edges), first edge of each i, shifts, all int32
        from nvalchemiops.torch.neighbors import neighbor_list as nvalchemi_list

        pbc = torch.ones(1, 3, dtype=torch.bool, device=box.positions.device)

        def nvalchemi() -> int:
            found = nvalchemi_list(box.positions, cutoff, cell=box.cell[None], pbc=pbc, return_neighbor_list=True)
            return int(found[0].shape[1])

        return nvalchemi
    raise InputError(f"no peer '{peer}'; known: {', '.join(PEERS)}")


def installed(peer: str) -> bool:
    """Whether the package of a peer can be imported."""
    return importlib.util.find_spec(PEERS[peer]) is not None


def run(
    sizes: tuple[int, ...] = (1000, 10_000, 100_000),
    cutoffs: tuple[float, ...] = (5.0, 6.0),
    systems: tuple[str, ...] = ("fcc", "water"),
    *,
    threads: int | None = None,
    repeats: int = 5,
) -> list[dict[str, Any]]:
    """Measure neighbor lists of periodic boxes on the CPU, ours and those of the peers that are installed.

    Times are the smallest of several calls: processor time for one thread, wall time for more. Peers run on one
    thread whatever ``threads`` says.

    Args:
        sizes: approximate numbers of atoms.
        cutoffs: Å.
        systems: names in ``SYSTEMS``.
        threads: threads of our search; default: torch's setting.
        repeats: calls at 10,000 atoms; smaller systems get more, larger ones fewer.

    Returns:
        One row per system, size and cutoff: ``n_edges``, times ``ours_ms``, ``connect_ms`` (with topology) and
        ``<peer>_ms``, ``<peer>_ratio`` = peer / ours, ``ns_per_edge``, ``peak_bytes_per_edge`` and ``peak_MB`` of our
        search (None where the system does not tell).

    Raises:
        InputError: for an unknown system.
        CalculationError: if a peer finds another number of edges.
    """
    for system in systems:
        if system not in SYSTEMS:
            raise InputError(f"no system '{system}'; known: {', '.join(SYSTEMS)}")
    peers = [peer for peer in ("vesin", "matscipy") if installed(peer)]
    threads = threads or torch.get_num_threads()
    with _threads(threads):
        return [
            _row(system, SYSTEMS[system](size), cutoff, peers, threads, repeats)
            for system in systems
            for size in sizes
            for cutoff in cutoffs
        ]


def _row(system: str, box: Periodic, cutoff: float, peers: list[str], threads: int, repeats: int) -> dict[str, Any]:
    n_atoms = len(box.positions)
    calls = max(2, min(20, repeats * 10_000 // max(n_atoms, 1)))
    clock = time.process_time if threads == 1 else time.perf_counter
    n_edges = ours(box, cutoff).n_edges
    peak = peak_memory(lambda: ours(box, cutoff))
    ours_ms = _smallest_ms(lambda: ours(box, cutoff), calls, clock)
    row: dict[str, Any] = {
        "system": system,
        "n_atoms": n_atoms,
        "cutoff": cutoff,
        "threads": threads,
        "n_edges": n_edges,
        "ours_ms": ours_ms,
        "connect_ms": _smallest_ms(lambda: ours_connect(box, cutoff), calls, clock),
        "ns_per_edge": 1e6 * ours_ms / max(n_edges, 1),
        "output_bytes_per_edge": _OUTPUT_BYTES,
        "peak_bytes_per_edge": None if peak is None else peak / max(n_edges, 1),
        "peak_MB": None if peak is None else peak / 1e6,
    }
    for peer in peers:
        search = peer_search(peer, box, cutoff)
        if (found := search()) != n_edges:
            raise CalculationError(f"{system}, {n_atoms} atoms, {cutoff} Å: {n_edges} edges, {peer} has {found}")
        row[f"{peer}_ms"] = _smallest_ms(search, calls, clock)
        row[f"{peer}_ratio"] = row[f"{peer}_ms"] / ours_ms
    return row


def run_gpu(
    sizes: tuple[int, ...] = (1000, 10_000, 100_000, 1_000_000), cutoffs: tuple[float, ...] = (5.0, 6.0)
) -> list[dict[str, Any]]:
    """The same on a GPU, beside nvalchemi-toolkit-ops if it is installed; wall times with synchronisation.

    Raises:
        InputError: without a CUDA device.
    """
    if not torch.cuda.is_available():
        raise InputError("this comparison needs a CUDA device")
    rows = []
    for system in SYSTEMS:
        for size in sizes:
            box = SYSTEMS[system](size)
            box = Periodic(box.positions.cuda(), box.cell.cuda())
            rows += [_gpu_row(system, box, cutoff) for cutoff in cutoffs]
    return rows


def _gpu_row(system: str, box: Periodic, cutoff: float) -> dict[str, Any]:
    def synchronised(search: Callable[[], Any]) -> Callable[[], None]:
        def call() -> None:
            search()
            torch.cuda.synchronize()

        return call

    own = synchronised(lambda: ours(box, cutoff))
    own()  # compiles
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    n_edges = ours(box, cutoff).n_edges
    peak = torch.cuda.max_memory_allocated() - before
    row: dict[str, Any] = {
        "system": system,
        "n_atoms": len(box.positions),
        "cutoff": cutoff,
        "n_edges": n_edges,
        "ours_ms": _smallest_ms(own, 5, time.perf_counter),
        "peak_bytes_per_edge": peak / max(n_edges, 1),
        "peak_MB": peak / 1e6,
    }
    if installed("nvalchemi"):
        search = peer_search("nvalchemi", box, cutoff)
        row["nvalchemi_edges"] = search()
        row["nvalchemi_ms"] = _smallest_ms(synchronised(search), 5, time.perf_counter)
        row["nvalchemi_ratio"] = row["nvalchemi_ms"] / row["ours_ms"]
    return row


def _smallest_ms(call: Callable[[], Any], calls: int, clock: Callable[[], float]) -> float:
    times = []
    for _ in range(calls):
        start = clock()
        call()
        times.append(clock() - start)
    return 1e3 * min(times)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
