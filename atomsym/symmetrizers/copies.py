"""A batch of rotated copies of the systems of a graph, one for each frame."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from atomsym.core import AtomGraph
from atomsym.symmetry.frames import Frames, ragged_ranges


@dataclass(frozen=True, eq=False)
class RotatedCopies:
    """Copies of systems in other frames, and the way back.

    Attributes:
        graph: one system for each frame, in the order of the frames.
        atom: atom of the original graph of each copied atom, shape (n_copied,), int64.
        frame: frame of each copied atom, shape (n_copied,), int64.
        frames: weights and rotations.
    """

    graph: AtomGraph
    atom: Tensor
    frame: Tensor
    frames: Frames

    def mean_scalars(self, values: Tensor, n_atoms: int) -> Tensor:
        """Σ w v over the copies of each atom; from shape (n_copied,) to (n_atoms,)."""
        weights = self.frames.weights.to(values.dtype).index_select(0, self.frame)
        return values.new_zeros(n_atoms).index_add(0, self.atom, weights * values)

    def mean_vectors(self, values: Tensor, n_atoms: int) -> Tensor:
        """Σ w v Rᵀ over the copies of each atom, in the original axes; from shape (n_copied, 3) to (n_atoms, 3)."""
        return self.mean_tensors(values, n_atoms)

    def mean_tensors(self, values: Tensor, n: int, of_systems: bool = False) -> Tensor:
        """Σ w R … R v over the copies of each atom, or of each system, in the original axes.

        Args:
            values: Cartesian tensors of the copied atoms, shape (n_copied, 3, …, 3), or of the copies (of the frames),
                (n_frames, 3, …, 3).
            n: atoms, or systems, of the original graph.
            of_systems: which of the two.
        """
        owner = self.frames.system if of_systems else self.atom
        rotations, weights = self.frames.rotations.to(values.dtype), self.frames.weights.to(values.dtype)
        if not of_systems:
            rotations, weights = rotations.index_select(0, self.frame), weights.index_select(0, self.frame)
        turned = values * weights.reshape(-1, *(1 for _ in values.shape[1:]))
        for axis in range(1, values.ndim):
            turned = torch.einsum("n...b,nab->n...a", turned.movedim(axis, -1), rotations).movedim(-1, axis)
        return values.new_zeros(n, *values.shape[1:]).index_add(0, owner, turned)


def rotated_copies(graph: AtomGraph, frames: Frames) -> RotatedCopies:
    """Every system as often as it has frames, seen from each of them; edges are copied, not searched again.

    Positions and lattice vectors become x R and a R, a strain Rᵀ ε R, so that every edge vector becomes r R.

    Args:
        graph: one system or a batch, with edges.
        frames: of all its systems.
    """
    atoms, edges = graph.atoms_per_system, _edges_per_system(graph)
    system = frames.system
    atom_starts, edge_starts = torch.cumsum(atoms, 0) - atoms, torch.cumsum(edges, 0) - edges
    copied_atoms, copied_edges = atoms[system], edges[system]
    atom = ragged_ranges(atom_starts[system], copied_atoms)
    edge = ragged_ranges(edge_starts[system], copied_edges)
    numbers = torch.arange(frames.n_frames, device=graph.device)
    frame = torch.repeat_interleave(numbers, copied_atoms)
    rotations = frames.rotations.to(graph.dtype)
    moved = torch.cumsum(copied_atoms, 0) - copied_atoms - atom_starts[system]  # of an atom's number in each copy
    positions = torch.einsum("na,nab->nb", graph.positions.index_select(0, atom), rotations.index_select(0, frame))
    strain = graph.strain
    if strain is not None:
        strain = rotations.transpose(1, 2) @ strain.index_select(0, system) @ rotations
    copies = replace(
        graph,
        positions=positions,
        numbers=graph.numbers[atom],
        cell=graph.cell.index_select(0, system) @ rotations,
        pbc=graph.pbc[system],
        system_index=frame,
        edge_index=graph.edge_index[:, edge] + torch.repeat_interleave(moved, copied_edges),
        edge_shift=graph.edge_shift[edge],
        strain=strain,
    )
    return RotatedCopies(copies, atom, frame, frames)


def frame_blocks(graph: AtomGraph, frames: Frames, edges: int) -> list[tuple[int, int]]:
    """First and last number, the last one excluded, of frames whose copies have at most so many edges together.

    A copy with more edges is a block of its own. In order, without gaps; one empty block if there are no frames.
    """
    ends = torch.cumsum(_edges_per_system(graph)[frames.system], 0)
    starts, before = [0], 0
    while starts[-1] < frames.n_frames:
        stop = int(torch.searchsorted(ends, before + edges, right=True))
        starts.append(max(stop, starts[-1] + 1))
        before = int(ends[starts[-1] - 1])
    starts = starts if len(starts) > 1 else [0, 0]
    return list(itertools.pairwise(starts))


def _edges_per_system(graph: AtomGraph) -> Tensor:
    return torch.bincount(graph.system_index[graph.edge_index[0]], minlength=graph.n_systems)
