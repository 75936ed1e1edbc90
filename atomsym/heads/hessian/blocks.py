"""Hessians as 3 × 3 blocks of atoms and pairs, and their assembly to matrices."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from atomsym.core import AtomGraph


@dataclass(frozen=True, eq=False)
class HessianBlocks:
    """The Hessians of all systems of a batch, at the centre of the Brillouin zone for periodic ones.

    H_ij = Σ_{pairs i ← j} B + Σ_{pairs j ← i} Bᵀ for i ≠ j, with the blocks of atoms added on the diagonal: symmetric
    whatever the blocks are. A pair of an atom and its own image adds to the diagonal.

    Attributes:
        atoms: symmetric blocks of atoms, shape (n_atoms, 3, 3), eV/Å².
        pairs: blocks B of directed pairs, shape (n_pairs, 3, 3), eV/Å².
        graph: the atoms, with the pairs as edges: rows belong to receivers, columns to senders.
    """

    atoms: Tensor
    pairs: Tensor
    graph: AtomGraph

    def matrices(self, *, sum_rule: bool = True) -> list[Tensor]:
        """One symmetric matrix for each system, shape (3n, 3n), eV/Å²; differentiable.

        Args:
            sum_rule: project on the matrices that a translation of all atoms does not feel, H ← P H P with
                P = 1 - 1/n Σ_ij |i⟩⟨j|, so that rows and columns of every axis sum to zero.
        """
        sizes = self._sizes()
        found = [m.view(size, size) for m, size in zip(self._flat().split([s * s for s in sizes]), sizes, strict=True)]
        return [without_translations(matrix) for matrix in found] if sum_rule else found

    def sparse(self) -> Tensor:
        """The matrix of the whole batch without the sum rule, coalesced COO, shape (3 n_atoms, 3 n_atoms), eV/Å².

        The projection of the sum rule would fill the matrix; ``sum_rule_violation`` says how much it is missed by.
        """
        receiver, sender = self.graph.edge_index
        atoms = torch.arange(self.graph.n_atoms, device=receiver.device)
        rows = torch.cat((atoms, receiver, sender))
        columns = torch.cat((atoms, sender, receiver))
        values = torch.cat((self.atoms, self.pairs, self.pairs.transpose(1, 2)))
        axis = torch.arange(3, device=receiver.device)
        row = (3 * rows[:, None, None] + axis[:, None]).expand(-1, 3, 3)
        column = (3 * columns[:, None, None] + axis).expand(-1, 3, 3)
        size = 3 * self.graph.n_atoms
        indices = torch.stack((row.reshape(-1), column.reshape(-1)))
        return torch.sparse_coo_tensor(indices, values.reshape(-1), (size, size), check_invariants=True).coalesce()

    def sum_rule_violation(self) -> float:
        """Largest entry of Σ_j H_ij over all atoms i, eV/Å²; zero for an empty batch."""
        receiver, sender = self.graph.edge_index
        sums = self.atoms.index_add(0, receiver, self.pairs).index_add(0, sender, self.pairs.transpose(1, 2))
        return float(sums.detach().abs().max()) if sums.numel() else 0.0

    def _sizes(self) -> list[int]:
        return [3 * n for n in self.graph.atoms_per_system.tolist()]

    def _flat(self) -> Tensor:
        """All matrices one after the other, row by row, shape (Σ (3n)²,)."""
        graph = self.graph
        width = 3 * graph.atoms_per_system
        start = torch.cumsum(width * width, 0) - width * width
        first = torch.cumsum(graph.atoms_per_system, 0) - graph.atoms_per_system
        local = torch.arange(graph.n_atoms, device=graph.device) - first[graph.system_index]
        axis = torch.arange(3, device=graph.device)

        def places(row: Tensor, column: Tensor) -> Tensor:
            system = graph.system_index[row]
            rows = (3 * local[row])[:, None, None] + axis[:, None]
            columns = (3 * local[column])[:, None, None] + axis
            return start[system][:, None, None] + rows * width[system][:, None, None] + columns

        everyone = torch.arange(graph.n_atoms, device=graph.device)
        receiver, sender = graph.edge_index
        index = torch.cat((places(everyone, everyone), places(receiver, sender), places(sender, receiver)))
        values = torch.cat((self.atoms, self.pairs, self.pairs.transpose(1, 2)))
        total = int((width * width).sum())
        return values.new_zeros(total).index_add(0, index.reshape(-1), values.reshape(-1))


def without_translations(matrix: Tensor) -> Tensor:
    """P H P, the part of a Hessian that a translation of all atoms does not feel, shape (3n, 3n)."""
    if not matrix.numel():
        return matrix
    n = matrix.shape[0] // 3
    blocks = matrix.view(n, 3, n, 3)
    rows, columns = blocks.mean(0, keepdim=True), blocks.mean(2, keepdim=True)
    return (blocks - rows - columns + rows.mean(2, keepdim=True)).reshape(3 * n, 3 * n)
