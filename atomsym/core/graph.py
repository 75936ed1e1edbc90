"""The atom graph: one system or a batch of systems, with or without edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.core.topology import EdgeTopology


@dataclass(frozen=True, eq=False)
class AtomGraph:
    """Atoms of one system or of several, and the edges between them. Units: Å. Never changed in place.

    Edge e points from ``edge_index[1, e]`` (sender, the neighbor) to ``edge_index[0, e]`` (receiver, the centre) and
    has the vector r = x[sender] + shift @ cell − x[receiver], deformed as r (1 + ε) when a strain ε is present.

    Attributes:
        positions: shape (n_atoms, 3), float; not wrapped into the cell.
        numbers: atomic numbers, shape (n_atoms,), int64.
        cell: lattice vectors in rows, shape (n_systems, 3, 3); zero rows on directions without a lattice vector.
        pbc: periodic directions, shape (n_systems, 3), bool.
        system_index: system of each atom, shape (n_atoms,), int64, non-decreasing.
        edge_index: receiver and sender, shape (2, n_edges), int64, sorted by receiver.
        edge_shift: lattice translations of the sender, shape (n_edges, 3), int32.
        cutoff: the radius in Å that the edges were made with; None while there are no edges yet.
        strain: symmetric deformation ε, shape (n_systems, 3, 3); None means zero. Stress is dE/dε / volume.
    """

    positions: Tensor
    numbers: Tensor
    cell: Tensor
    pbc: Tensor
    system_index: Tensor
    edge_index: Tensor
    edge_shift: Tensor
    cutoff: float | None = None
    strain: Tensor | None = None

    @property
    def n_atoms(self) -> int:
        return self.positions.shape[0]

    @property
    def n_systems(self) -> int:
        return self.cell.shape[0]

    @property
    def n_edges(self) -> int:
        return self.edge_index.shape[1]

    @property
    def dtype(self) -> torch.dtype:
        return self.positions.dtype

    @property
    def device(self) -> torch.device:
        return self.positions.device

    @cached_property
    def topology(self) -> EdgeTopology:
        """Edges ordered by receiver and by sender; computed once, carried over by ``with_positions`` and ``to``.

        A function compiled with ``fullgraph=True`` can read it but not build it: touch it once before the first call.
        """
        return EdgeTopology.from_edge_index(self.edge_index, self.n_atoms)

    @cached_property
    def atoms_per_system(self) -> Tensor:
        """Number of atoms of each system, shape (n_systems,), int64."""
        return torch.bincount(self.system_index, minlength=self.n_systems)

    @property
    def volume(self) -> Tensor:
        """Absolute cell volume of each system, shape (n_systems,), Å³; zero without three lattice vectors."""
        return torch.linalg.det(self.cell).abs()

    @classmethod
    def without_edges(
        cls, positions: Tensor, numbers: Tensor, cell: Tensor | None = None, pbc: Tensor | None = None
    ) -> AtomGraph:
        """One system that has no edges yet; ``atomsym.kernels.neighbors.connect`` adds them.

        Args:
            positions: shape (n_atoms, 3), float32 or float64, Å.
            numbers: atomic numbers, shape (n_atoms,), any integer dtype.
            cell: lattice vectors in rows, shape (3, 3), Å; default: none.
            pbc: periodic directions, shape (3,), bool; default: none.

        Raises:
            InputError: if a shape or dtype is wrong. Values are checked by ``atomsym.core.validation``.
        """
        device, dtype = positions.device, positions.dtype
        cell = torch.zeros(3, 3, dtype=dtype, device=device) if cell is None else cell
        pbc = torch.zeros(3, dtype=torch.bool, device=device) if pbc is None else pbc
        if positions.ndim != 2 or positions.shape[1] != 3 or not positions.dtype.is_floating_point:
            raise InputError(f"positions must be float of shape (n_atoms, 3); found {dtype} {tuple(positions.shape)}")
        if numbers.shape != positions.shape[:1] or numbers.dtype.is_floating_point:
            raise InputError(
                f"numbers must be integers of shape ({positions.shape[0]},); "
                f"found {numbers.dtype} {tuple(numbers.shape)}"
            )
        if cell.shape != (3, 3) or pbc.shape != (3,):
            raise InputError(f"cell must be (3, 3) and pbc (3,); found {tuple(cell.shape)} and {tuple(pbc.shape)}")
        return cls(
            positions=positions.contiguous(),
            numbers=numbers.to(device=device, dtype=torch.int64),
            cell=cell.to(device=device, dtype=dtype).reshape(1, 3, 3),
            pbc=pbc.to(device=device, dtype=torch.bool).reshape(1, 3),
            system_index=torch.zeros(positions.shape[0], dtype=torch.int64, device=device),
            edge_index=torch.empty(2, 0, dtype=torch.int64, device=device),
            edge_shift=torch.empty(0, 3, dtype=torch.int32, device=device),
        )

    @classmethod
    def from_arrays(
        cls,
        positions: ArrayLike,
        numbers: ArrayLike,
        cell: ArrayLike | None = None,
        pbc: ArrayLike | None = None,
        *,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> AtomGraph:
        """One system without edges from arrays of any real dtype and memory layout, which are copied.

        Args:
            positions: shape (n_atoms, 3), Å.
            numbers: atomic numbers, shape (n_atoms,).
            cell: lattice vectors in rows, shape (3, 3), Å; default: none.
            pbc: periodic directions, shape (3,), or one bool for all; default: none.
            dtype: float32 or float64, of the graph.
            device: where the graph is put.

        Raises:
            InputError: if a shape is wrong. Values are checked by ``atomsym.core.validation``, which comes first.

        Example:
            >>> AtomGraph.from_arrays([[0, 0, 0], [0, 0, 1]], [1, 1]).positions.dtype
            torch.float64
        """

        def tensor(values: ArrayLike, kind: type, to: torch.dtype) -> Tensor:
            return torch.from_numpy(np.array(values, dtype=kind, order="C")).to(device=device, dtype=to)

        sites = tensor(positions, np.float64, dtype)
        periodic = None if pbc is None else tensor(np.broadcast_to(np.asarray(pbc), 3), np.bool_, torch.bool)
        return cls.without_edges(
            sites.reshape(0, 3) if sites.numel() == 0 else sites,
            tensor(numbers, np.int64, torch.int64),
            None if cell is None else tensor(cell, np.float64, dtype),
            periodic,
        )

    @classmethod
    def batch(cls, graphs: Sequence[AtomGraph]) -> AtomGraph:
        """Concatenate graphs; atoms, systems and edges keep their order.

        Raises:
            InputError: if the list is empty, or cutoffs, dtypes or devices differ, or only some graphs are strained.
        """
        if not graphs:
            raise InputError("a batch needs at least one graph")
        first = graphs[0]
        for number, graph in enumerate(graphs):
            if (graph.cutoff, graph.dtype, graph.device) != (first.cutoff, first.dtype, first.device):
                raise InputError(
                    f"graphs[{number}] has (cutoff, dtype, device) = {(graph.cutoff, graph.dtype, graph.device)}, "
                    f"graphs[0] has {(first.cutoff, first.dtype, first.device)}; a batch needs one of each"
                )
            if (graph.strain is None) != (first.strain is None):
                raise InputError(f"graphs[{number}] and graphs[0] must both have a strain, or neither")
        atom_starts = _starts([graph.n_atoms for graph in graphs])
        system_starts = _starts([graph.n_systems for graph in graphs])
        return cls(
            positions=torch.cat([graph.positions for graph in graphs]),
            numbers=torch.cat([graph.numbers for graph in graphs]),
            cell=torch.cat([graph.cell for graph in graphs]),
            pbc=torch.cat([graph.pbc for graph in graphs]),
            system_index=torch.cat([g.system_index + s for g, s in zip(graphs, system_starts, strict=True)]),
            edge_index=torch.cat([g.edge_index + s for g, s in zip(graphs, atom_starts, strict=True)], dim=1),
            edge_shift=torch.cat([graph.edge_shift for graph in graphs]),
            cutoff=first.cutoff,
            strain=None if first.strain is None else torch.cat([g.strain for g in graphs if g.strain is not None]),
        )

    def with_positions(self, positions: Tensor, strain: Tensor | None = None) -> AtomGraph:
        """The same wiring at other positions, shape (n_atoms, 3), and optionally under a strain, (n_systems, 3, 3).

        Edges and shifts stay, so atoms may move only as far as the list remains complete. This is how derivatives are
        taken: pass tensors that require gradients.
        """
        moved = replace(self, positions=positions, strain=self.strain if strain is None else strain)
        for name in ("topology", "atoms_per_system"):  # neither depends on positions
            if name in self.__dict__:
                moved.__dict__[name] = self.__dict__[name]
        return moved

    def with_edges(
        self, edge_index: Tensor, edge_shift: Tensor, cutoff: float, topology: EdgeTopology | None = None
    ) -> AtomGraph:
        """The same atoms with these edges, sorted by receiver; see the class for shapes.

        A neighbor search that knows the topology of its edges passes it on, so that it is not computed again.
        """
        connected = replace(self, edge_index=edge_index, edge_shift=edge_shift, cutoff=cutoff)
        if topology is not None:
            connected.__dict__["topology"] = topology
        return connected

    def subset(self, systems: Tensor) -> AtomGraph:
        """Some systems of a batch, without edges and strain.

        Args:
            systems: their numbers, increasing, int64.
        """
        chosen = torch.isin(self.system_index, systems)
        number = torch.zeros(self.n_systems, dtype=torch.int64, device=self.device)
        number[systems] = torch.arange(systems.shape[0], device=self.device)
        return AtomGraph(
            positions=self.positions[chosen],
            numbers=self.numbers[chosen],
            cell=self.cell[systems],
            pbc=self.pbc[systems],
            system_index=number[self.system_index[chosen]],
            edge_index=self.edge_index[:, :0],
            edge_shift=self.edge_shift[:0],
        )

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> AtomGraph:
        """The graph on another device or in another floating-point type; integers keep theirs."""
        changed: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                changed[field.name] = value.to(device=device, dtype=dtype if value.dtype.is_floating_point else None)
        moved = replace(self, **changed)
        if "topology" in self.__dict__:
            wiring = self.topology
            moved.__dict__["topology"] = EdgeTopology(
                **{field.name: getattr(wiring, field.name).to(device) for field in fields(wiring)}
            )
        if "atoms_per_system" in self.__dict__:
            moved.__dict__["atoms_per_system"] = self.atoms_per_system.to(device)
        return moved

    def edge_vectors(self) -> Tensor:
        """Vectors from receiver to sender, shape (n_edges, 3), Å; differentiable in positions, cell and strain."""
        receiver, sender = self.edge_index[0], self.edge_index[1]
        shift, apart = self.edge_shift.to(self.dtype), self.positions[sender] - self.positions[receiver]
        if self.n_systems == 1:
            vectors = apart + shift @ self.cell[0]
            return vectors if self.strain is None else vectors + vectors @ self.strain[0]
        system = self.system_index[receiver]
        vectors = apart + torch.einsum("ea,eab->eb", shift, self.cell[system])
        return vectors if self.strain is None else vectors + torch.einsum("ea,eab->eb", vectors, self.strain[system])


def _starts(counts: list[int]) -> list[int]:
    starts = [0]
    for count in counts[:-1]:
        starts.append(starts[-1] + count)
    return starts
