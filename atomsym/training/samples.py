"""Labelled structures as tensors: graphs with edges, made once, and batches with their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atomsym.core import AtomGraph, AtomsymError, InputError, LabelledStructure
from atomsym.kernels.neighbors import connect


@dataclass(frozen=True, eq=False)
class Batch:
    """Some structures and their labels; a label that is missing is NaN. All labels are float64.

    Attributes:
        graph: with edges.
        energy: shape (n_systems,), eV.
        forces: shape (n_atoms, 3), eV/Å.
        stress: shape (n_systems, 3, 3), eV/Å³.
        hessians: one an structure, shape (3 n, 3 n), eV/Å², or None.
        target: property of the structures, shape (n_systems,).
        weight: of the structures, shape (n_systems,).
        indices: of the structures in the data set.
        groups: of the structures.
    """

    graph: AtomGraph
    energy: Tensor
    forces: Tensor
    stress: Tensor
    hessians: tuple[Tensor | None, ...]
    target: Tensor
    weight: Tensor
    indices: tuple[int, ...]
    groups: tuple[str, ...]


@dataclass(frozen=True)
class LabelCounts:
    """How many labels a set of structures has; the loss is divided by these.

    Attributes:
        energy: structures with an energy.
        forces: known force components.
        stress: known stress components.
        hessian: for each structure with a Hessian its number of rows.
        target: structures with a target.
    """

    energy: int
    forces: int
    stress: int
    hessian: tuple[int, ...]
    target: int

    def hessian_entries(self, rows: int) -> int:
        """Entries that are compared when this many rows (0: all) of each Hessian are."""
        return sum(size * (min(rows, size) if rows else size) for size in self.hessian)


class Samples:
    """A data set ready for a model: edges are found at the first use of a structure and kept.

    Args:
        structures: any sequence of labelled structures; read one at a time.
        cutoff: of the model, Å.
        dtype: of the graphs.
        device: where batches are put; graphs are kept in main memory.
        keep: keep the graphs; switch off for one pass over a large set.
    """

    def __init__(
        self,
        structures: Sequence[LabelledStructure],
        cutoff: float,
        dtype: torch.dtype,
        device: torch.device | str = "cpu",
        *,
        keep: bool = True,
    ) -> None:
        self.structures = structures
        self.cutoff = cutoff
        self.dtype = dtype
        self.device = torch.device(device)
        self._keep = keep
        self._graphs: dict[int, AtomGraph] = {}
        self._counts: dict[int, LabelCounts] = {}

    def __len__(self) -> int:
        return len(self.structures)

    def graph(self, index: int) -> AtomGraph:
        """The structure as a graph with edges, on the CPU.

        Raises:
            InputError: if a graph cannot be made of it; the message names the structure.
        """
        if index in self._graphs:
            return self._graphs[index]
        structure = self.structures[index]
        try:
            graph = AtomGraph.from_arrays(
                structure.positions, structure.numbers, structure.cell, structure.pbc, dtype=torch.float64
            )
            connected = connect(graph, self.cutoff).to(dtype=self.dtype)
        except AtomsymError as error:
            raise InputError(f"{structure.source or f'structure {index}'}: {error}") from error
        if self._keep:
            self._graphs[index] = connected
        return connected

    def n_edges(self) -> NDArray[np.int64]:
        """Number of edges of every structure; makes all graphs."""
        return np.array([self.graph(index).n_edges for index in range(len(self))], dtype=np.int64)

    def counts(self, indices: Sequence[int]) -> LabelCounts:
        """How many labels these structures have together."""
        each = [self._counts.get(index) or self._count(index) for index in indices]
        return LabelCounts(
            sum(c.energy for c in each),
            sum(c.forces for c in each),
            sum(c.stress for c in each),
            tuple(size for c in each for size in c.hessian),
            sum(c.target for c in each),
        )

    def _count(self, index: int) -> LabelCounts:
        structure = self.structures[index]
        energy, target = (int(v is not None and not np.isnan(v)) for v in (structure.energy, structure.target))
        forces = 0 if structure.forces is None else int((~np.isnan(structure.forces)).sum())
        stress = 0 if structure.stress is None else int((~np.isnan(structure.stress)).sum())
        sizes = () if structure.hessian is None else (3 * structure.n_atoms,)
        found = LabelCounts(energy, forces, stress, sizes, target)
        self._counts[index] = found
        return found

    def batch(self, indices: Sequence[int]) -> Batch:
        """These structures as one batch on the device, in this order.

        Raises:
            InputError: if there are none, or one of them cannot be a graph.
        """
        structures = [self.structures[index] for index in indices]
        graph = AtomGraph.batch([self.graph(index) for index in indices]).to(self.device)
        energy = [np.nan if s.energy is None else s.energy for s in structures]
        target = [np.nan if s.target is None else s.target for s in structures]
        forces = [np.full((s.n_atoms, 3), np.nan) if s.forces is None else s.forces for s in structures]
        stress = [np.full((3, 3), np.nan) if s.stress is None else s.stress for s in structures]
        return Batch(
            graph=graph,
            energy=self._tensor(np.array(energy)),
            forces=self._tensor(np.concatenate(forces)),
            stress=self._tensor(np.stack(stress)),
            hessians=tuple(None if s.hessian is None else self._tensor(s.hessian) for s in structures),
            target=self._tensor(np.array(target)),
            weight=self._tensor(np.array([s.weight for s in structures])),
            indices=tuple(int(index) for index in indices),
            groups=tuple(s.group for s in structures),
        )

    def _tensor(self, values: NDArray[np.float64]) -> Tensor:
        return torch.from_numpy(np.array(values, dtype=np.float64)).to(self.device)
