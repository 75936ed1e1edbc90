"""Guards of the neighbor search, with the messages that all backends share."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from atomsym.core.errors import InputError, OutOfMemoryError
from atomsym.kernels.neighbors.request import Request

LARGEST_COORDINATE = 1e12
"""Å; far beyond any structure, and squares stay finite in single precision."""

LARGEST_SHIFT = 2**29
"""Lattice translations per atom; sums and differences of three of them fit an int32."""

SINGULAR_VOLUME = 1e-10
"""Volume of the periodic vectors over the product of their lengths, below which they do not span a lattice."""

BYTES_PER_EDGE = 32
"""Output (two int64 and three int32) and the working copy."""


def check_values(request: Request) -> None:
    """Refuse non-finite numbers, a system_index out of order and periodic directions without a lattice vector."""
    bad = ~(request.positions.abs() <= LARGEST_COORDINATE)
    if bool(bad.any()):
        raise_bad_position(request.positions, int(bad.any(dim=1).nonzero()[0, 0]))
    check_cells(request.cell, request.pbc)
    index = request.system_index
    if index is not None and index.numel():
        wrong = (index < 0) | (index >= request.n_systems)
        wrong[1:] |= index[1:] < index[:-1]
        if bool(wrong.any()):
            raise_bad_system_index(index, int(wrong.nonzero()[0, 0]), request.n_systems)


def check_cells(cell: Tensor, pbc: Tensor) -> None:
    """Refuse cells whose periodic vectors are not finite or linearly dependent.

    Raises:
        InputError: naming the system.
    """
    cell, pbc = cell.cpu(), pbc.cpu()
    finite = (cell.abs() <= LARGEST_COORDINATE).all(dim=2).all(dim=1)
    if not bool(finite.all()):
        system = int((~finite).nonzero()[0, 0])
        raise InputError(f"cell[{system}] has entries that are not finite or above 1e12 Å: {cell[system].tolist()}")
    lengths = torch.where(pbc, torch.linalg.vector_norm(cell, dim=2), 1.0)
    spread = torch.linalg.svdvals(cell * pbc.unsqueeze(2))
    spread = torch.where(torch.arange(3) < pbc.sum(dim=1, keepdim=True), spread, 1.0)
    good = spread.prod(dim=1) > SINGULAR_VOLUME * lengths.prod(dim=1)
    if not bool(good.all()):
        system = int((~good).nonzero()[0, 0])
        raise InputError(
            f"cell[{system}] = {cell[system].tolist()} has no lattice for pbc = {pbc[system].tolist()}: the vectors of "
            f"periodic directions must be non-zero and linearly independent. Set the cell, or pbc to False there"
        )


def raise_bad_position(positions: Tensor, atom: int) -> None:
    found = positions[atom].tolist()
    axis = next(k for k, value in enumerate(found) if not abs(value) <= LARGEST_COORDINATE)
    raise InputError(
        f"positions[{atom}, {axis}] is {found[axis]}; coordinates must be finite and below {LARGEST_COORDINATE:g} Å"
    )


def raise_bad_system_index(index: Tensor, atom: int, n_systems: int) -> None:
    raise InputError(
        f"system_index[{atom}] is {int(index[atom])}; it must be non-decreasing and within 0 to {n_systems - 1}"
    )


def raise_shift_overflow(positions: Tensor, atom: int) -> None:
    raise InputError(
        f"positions[{atom}] = {positions[atom].tolist()} is more than {LARGEST_SHIFT} lattice vectors away from its "
        f"cell; edge shifts are int32. Wrap the atoms first"
    )


def raise_too_much(what: str, count: float, bytes_each: float, free: float, cutoff: float) -> None:
    raise OutOfMemoryError(
        f"a cutoff of {cutoff:g} Å gives about {count:.3g} {what}, which need {count * bytes_each / 1e9:.3g} GB; "
        f"{free / 1e9:.3g} GB are free, enough for {free / bytes_each:.3g}. Use a smaller cutoff or a smaller system"
    )


def free_memory(device: torch.device) -> int:
    """Bytes that can still be allocated on the device, also under a limit set for a group of processes."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free) + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    limits = [int(line.split()[1]) * 1024 for line in _lines("/proc/meminfo") if line.startswith("MemAvailable:")]
    ceiling, used = _lines("/sys/fs/cgroup/memory.max"), _lines("/sys/fs/cgroup/memory.current")
    if ceiling and used and ceiling[0].isdigit():
        limits.append(int(ceiling[0]) - int(used[0]))
    return max(min(limits), 0) if limits else 2**62  # no way to know on this system


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
