"""Neighbor search on the GPU: images and bins by torch, pairs by Triton in a counting pass and a writing pass.

Every receiver has a few runs of entries (atoms and images in memory order) to look at. With all pairs, for many small
systems, there is one run: the entries of its system. With bins there is one run per row of neighboring bins. One
program walks the runs of one receiver, so nothing is written by two programs and the order is reproducible.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from atomsym.kernels.neighbors.checks import BYTES_PER_EDGE, check_values, free_memory, raise_too_much
from atomsym.kernels.neighbors.lattice import WrappedAtoms, wrap
from atomsym.kernels.neighbors.request import NeighborList, Request

_BYTES_PER_ENTRY = 200  # entries, their unsorted copies and the sort
_ALL_PAIRS = 1024  # entries per system up to which bins do not pay
_BLOCK = 64


@dataclass(frozen=True)
class _Entries:
    """Atoms and those images that can be neighbors, those of a system together.

    Attributes:
        atom: shape (n_entries,), int64.
        shift: translation from the given position of the atom, shape (n_entries, 3), int64.
        positions: shape (n_entries, 3), float64.
    """

    atom: Tensor
    shift: Tensor
    positions: Tensor

    def __getitem__(self, index: Tensor) -> _Entries:
        return _Entries(self.atom[index], self.shift[index], self.positions[index])


def neighbor_list_triton(request: Request) -> NeighborList:
    """Edges in an order that depends on the input alone; see ``neighbor_list``."""
    check_values(request)
    if request.n_atoms == 0:
        empty = torch.empty(2, 0, dtype=torch.int64, device=request.device)
        return NeighborList(empty, empty.to(torch.int32).reshape(0, 3), empty.new_zeros(1))
    atoms = wrap(request)
    reach = request.cutoff * (1 + 1e-6) + 2 * atoms.rounding
    low, high = _bounds(request, atoms, reach)
    entries = _make_entries(request, atoms, low, high)
    per_system = torch.bincount(request.systems()[entries.atom], minlength=request.n_systems)
    if int(per_system.max()) <= _ALL_PAIRS:
        runs = _runs_of_systems(request, per_system)
    else:
        entries, runs = _runs_of_bins(request, atoms, entries, per_system, low, high, reach)
    return _pairs(request, atoms, entries, runs)


def _bounds(request: Request, atoms: WrappedAtoms, reach: float) -> tuple[Tensor, Tensor]:
    """Box around the wrapped atoms of each system, widened by the reach, each (n_systems, 3)."""
    system = request.systems().unsqueeze(1).expand(-1, 3)
    zeros = atoms.positions.new_zeros(request.n_systems, 3)
    low = zeros.scatter_reduce(0, system, atoms.positions, "amin", include_self=False)
    high = zeros.scatter_reduce(0, system, atoms.positions, "amax", include_self=False)
    return low - reach, high + reach


def _make_entries(request: Request, atoms: WrappedAtoms, low: Tensor, high: Tensor) -> _Entries:
    """Images within the box of their system, in the order of atoms and translations."""
    system = request.systems()
    margin = (atoms.margin * (1 + 1e-6) + 1e-9)[system] * request.pbc[system]
    first = torch.ceil(-margin - atoms.fraction)
    last = torch.where(request.pbc[system], torch.floor(1 + margin - atoms.fraction), 0.0)
    first = torch.where(request.pbc[system], first, 0.0)
    n_along = last - first + 1
    count = n_along.prod(dim=1)
    total, free = float(count.sum()), free_memory(request.device)
    if total * _BYTES_PER_ENTRY > free or total >= 2**31:
        raise_too_much("periodic images", total, _BYTES_PER_ENTRY, free, request.cutoff)
    n_along, first, count = n_along.to(torch.int64), first.to(torch.int64), count.to(torch.int64)
    atom = torch.repeat_interleave(torch.arange(request.n_atoms, device=request.device), count)
    number = torch.arange(atom.shape[0], device=request.device) - (torch.cumsum(count, 0) - count)[atom]
    across = n_along[atom]
    turns = torch.stack(
        [number // (across[:, 1] * across[:, 2]), number // across[:, 2] % across[:, 1], number % across[:, 2]], dim=1
    )
    turns = turns + first[atom]
    lattice = (request.cell * request.pbc.unsqueeze(2))[system[atom]]
    positions = atoms.positions[atom] + torch.einsum("na,nab->nb", turns.to(torch.float64), lattice)
    owner = system[atom]
    inside = ((positions >= low[owner]) & (positions <= high[owner])).all(dim=1)
    return _Entries(atom, turns + atoms.shift[atom], positions)[inside]


def _runs_of_systems(request: Request, per_system: Tensor) -> tuple[Tensor, Tensor]:
    end = torch.cumsum(per_system, 0)
    system = request.systems()
    return (end - per_system)[system].unsqueeze(1), end[system].unsqueeze(1)


def _runs_of_bins(
    request: Request,
    atoms: WrappedAtoms,
    entries: _Entries,
    per_system: Tensor,
    low: Tensor,
    high: Tensor,
    reach: float,
) -> tuple[_Entries, tuple[Tensor, Tensor]]:
    """Entries sorted into bins, and for every receiver the runs of the rows of bins around it, (n_atoms, n_rows)."""
    n_bins, width = _choose_bins(high - low, per_system, reach)
    system = request.systems()
    first_bin = torch.cumsum(n_bins.prod(dim=1), 0) - n_bins.prod(dim=1)

    def bins(positions: Tensor, owner: Tensor) -> Tensor:
        index = torch.floor((positions - low[owner]) / width[owner]).to(torch.int64)
        return torch.minimum(index.clamp(min=0), n_bins[owner] - 1)

    def number(index: Tensor, owner: Tensor) -> Tensor:
        in_system = (index[:, 2] * n_bins[owner, 1] + index[:, 1]) * n_bins[owner, 0] + index[:, 0]
        return first_bin[owner] + in_system

    owner = system[entries.atom]
    key = number(bins(entries.positions, owner), owner)
    key, order = torch.sort(key, stable=True)
    start = torch.searchsorted(key, torch.arange(int(n_bins.prod(dim=1).sum()) + 1, device=request.device))
    home = bins(atoms.positions, system)
    span = torch.ceil(reach / width).amax(dim=0).to(torch.int64).tolist()
    begins, ends = [], []
    for z in range(-span[2], span[2] + 1):
        for y in range(-span[1], span[1] + 1):
            row = home + torch.tensor([0, y, z], device=request.device)
            exists = ((row >= 0) & (row < n_bins[system])).all(dim=1)
            row = torch.minimum(row.clamp(min=0), n_bins[system] - 1)
            left, right = row.clone(), row.clone()
            left[:, 0] = (row[:, 0] - span[0]).clamp(min=0)
            right[:, 0] = torch.minimum(row[:, 0] + span[0], n_bins[system, 0] - 1)
            begin = start[number(left, system)]
            begins.append(begin)
            ends.append(torch.where(exists, start[number(right, system) + 1], begin))
    return entries[order], (torch.stack(begins, dim=1), torch.stack(ends, dim=1))


def _choose_bins(length: Tensor, per_system: Tensor, reach: float) -> tuple[Tensor, Tensor]:
    """Numbers and sides of bins, (n_systems, 3): sides of about the reach, but not many more bins than entries."""
    side = torch.full_like(length[:, :1], reach)
    most = 2.0 * per_system.to(torch.float64).unsqueeze(1) + 64
    for _ in range(40):  # where one direction is long, the cube root approaches its limit step by step
        n_bins = torch.floor(length / side).clamp(min=1)
        side = side * (n_bins.prod(dim=1, keepdim=True) / most).clamp(min=1).pow(1 / 3) * (1 + 1e-12)
    n_bins = torch.floor(length / side).clamp(min=1)
    return n_bins.to(torch.int64), length / n_bins


def _pairs(request: Request, atoms: WrappedAtoms, entries: _Entries, runs: tuple[Tensor, Tensor]) -> NeighborList:
    device, n_atoms = request.device, request.n_atoms
    given = request.positions.to(torch.float64)
    begin, end = (bounds.to(torch.int32).contiguous() for bounds in runs)
    sender_positions = given[entries.atom].T.contiguous()
    entry_atom = entries.atom.to(torch.int32)
    entry_shift = entries.shift.to(torch.int32).T.contiguous()
    counts = torch.empty(n_atoms, dtype=torch.int64, device=device)
    arguments = (
        given,
        atoms.shift.to(torch.int32).contiguous(),
        request.cell,
        request.systems(),
        sender_positions,
        entry_atom,
        entry_shift,
        entry_atom.shape[0],
        begin,
        end,
        begin.shape[1],
        torch.tensor([request.cutoff * request.cutoff], dtype=torch.float64, device=device),
    )
    nothing = counts.new_empty(0)
    # fused multiply-adds would round otherwise than the rule says
    options = {"BLOCK": _BLOCK, "num_warps": 1, "enable_fp_fusion": False}
    _walk[(n_atoms,)](*arguments, counts, nothing, nothing, nothing, WRITE=False, **options)
    offsets = torch.zeros(n_atoms + 1, dtype=torch.int64, device=device)
    torch.cumsum(counts, 0, out=offsets[1:])
    n_edges, free = int(offsets[-1]), free_memory(device)
    if n_edges * BYTES_PER_EDGE > free:
        raise_too_much("edges", n_edges, BYTES_PER_EDGE, free, request.cutoff)
    edge_index = torch.empty(2, n_edges, dtype=torch.int64, device=device)
    edge_shift = torch.empty(n_edges, 3, dtype=torch.int32, device=device)
    if n_edges:
        receiver, sender = edge_index
        _walk[(n_atoms,)](*arguments, offsets, receiver, sender, edge_shift, WRITE=True, **options)
    return NeighborList(edge_index, edge_shift, offsets)


@triton.jit
def _walk(
    given,
    wrapping,
    cell,
    system,
    sender_positions,
    entry_atom,
    entry_shift,
    n_entries,
    begin,
    end,
    n_runs,
    cutoff_squared,
    counts_or_offsets,
    receiver_out,
    sender_out,
    shift_out,
    WRITE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Counts (WRITE=False) or writes the edges of the receiver with the number of this program."""
    i = tl.program_id(0).to(tl.int64)
    lane = tl.arange(0, BLOCK)
    x = tl.load(given + 3 * i)
    y = tl.load(given + 3 * i + 1)
    z = tl.load(given + 3 * i + 2)
    w0 = tl.load(wrapping + 3 * i)
    w1 = tl.load(wrapping + 3 * i + 1)
    w2 = tl.load(wrapping + 3 * i + 2)
    c = cell + 9 * tl.load(system + i)
    c00, c01, c02 = tl.load(c), tl.load(c + 1), tl.load(c + 2)
    c10, c11, c12 = tl.load(c + 3), tl.load(c + 4), tl.load(c + 5)
    c20, c21, c22 = tl.load(c + 6), tl.load(c + 7), tl.load(c + 8)
    limit = tl.load(cutoff_squared)
    total = tl.zeros((), dtype=tl.int64)
    if WRITE:
        total += tl.load(counts_or_offsets + i)
    for run in range(n_runs):
        first = tl.load(begin + i * n_runs + run)
        stop = tl.load(end + i * n_runs + run)
        while first < stop:
            entry = first + lane
            valid = entry < stop
            j = tl.load(entry_atom + entry, mask=valid, other=0)
            shift0 = tl.load(entry_shift + entry, mask=valid, other=0) - w0
            shift1 = tl.load(entry_shift + n_entries + entry, mask=valid, other=0) - w1
            shift2 = tl.load(entry_shift + 2 * n_entries + entry, mask=valid, other=0) - w2
            s0 = shift0.to(tl.float64)
            s1 = shift1.to(tl.float64)
            s2 = shift2.to(tl.float64)
            # the rule of ``lattice.is_edge``
            rx = tl.load(sender_positions + entry, mask=valid, other=0.0) - x
            ry = tl.load(sender_positions + n_entries + entry, mask=valid, other=0.0) - y
            rz = tl.load(sender_positions + 2 * n_entries + entry, mask=valid, other=0.0) - z
            rx = rx + ((s0 * c00 + s1 * c10) + s2 * c20)
            ry = ry + ((s0 * c01 + s1 * c11) + s2 * c21)
            rz = rz + ((s0 * c02 + s1 * c12) + s2 * c22)
            near = ((rx * rx + ry * ry) + rz * rz) < limit
            itself = (j == i) & (shift0 == 0) & (shift1 == 0) & (shift2 == 0)
            hit = valid & near & (itself == 0)
            if WRITE:
                place = total + tl.cumsum(hit.to(tl.int32), 0) - 1
                tl.store(receiver_out + place, tl.zeros_like(place) + i, mask=hit)
                tl.store(sender_out + place, j.to(tl.int64), mask=hit)
                tl.store(shift_out + 3 * place, shift0, mask=hit)
                tl.store(shift_out + 3 * place + 1, shift1, mask=hit)
                tl.store(shift_out + 3 * place + 2, shift2, mask=hit)
            total += tl.sum(hit.to(tl.int64), 0)
            first += BLOCK
    if not WRITE:
        tl.store(counts_or_offsets + i, total)
