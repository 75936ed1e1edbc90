"""Losses of predicted Hessians: entries, and the subspace of the softest modes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from atomsym.core import AtomGraph
from atomsym.heads import HessianBlocks, HessianPotential
from atomsym.training.config import LossSection
from atomsym.training.samples import Batch

MODES = 8
"""Softest modes of the reference whose subspace the subspace loss looks at."""


class WithHessians:
    """An energy function that keeps the Hessians its potential predicts in the same pass.

    Args:
        potential: the model.
        systems: numbers of the systems whose Hessians are wanted.

    Attributes:
        found: of the last pass.
    """

    def __init__(self, potential: HessianPotential, systems: Tensor) -> None:
        self.potential, self.systems = potential, systems
        self.found: HessianBlocks | None = None

    def __call__(self, graph: AtomGraph) -> Mapping[str, Tensor]:
        """Energies of the atoms."""
        energies, self.found = self.potential.with_hessians(graph, self.systems)
        return {"energies": energies}

    def matrices(self) -> list[Tensor]:
        """Predicted Hessians of the wanted systems, float64, eV/Å²."""
        return [] if self.found is None else [matrix.to(torch.float64) for matrix in self.found.matrices()]


def labelled_systems(batch: Batch) -> Tensor:
    """Numbers of the systems whose Hessian is known, int64."""
    known = [number for number, hessian in enumerate(batch.hessians) if hessian is not None]
    return torch.tensor(known, dtype=torch.int64, device=batch.graph.device)


def predicted_hessian_sums(predicted: list[Tensor], batch: Batch, loss: LossSection) -> dict[str, Tensor]:
    """Σ v |residual| of the two terms, those with a weight.

    Residuals of ``predicted_hessian`` are the entries of H' - H. Those of ``hessian_subspace`` are the entries of
    Vᵀ H' V - Λ, with Λ the lowest eigenvalues of the reference H and V their eigenvectors: what saddle points and
    softest modes are made of, at no differentiation of eigenvectors.

    Source: Burger et al. 2025 (arXiv 2509.21624) for both.
    """
    pairs = zip(predicted, labelled_systems(batch).tolist(), strict=True)
    entries = subspace = torch.zeros((), dtype=torch.float64, device=batch.graph.device)
    for matrix, system in pairs:
        reference, weight = batch.hessians[system], batch.weight[system]
        if reference is None:
            continue
        if loss.predicted_hessian > 0:
            entries = entries + weight * (matrix - reference).abs().sum()
        if loss.hessian_subspace > 0:
            values, vectors = torch.linalg.eigh(0.5 * (reference + reference.T))
            soft = vectors[:, :MODES]
            subspace = subspace + weight * (soft.T @ matrix @ soft - torch.diag(values[:MODES])).abs().sum()
    sums = {"predicted_hessian": entries, "hessian_subspace": subspace}
    return {name: value for name, value in sums.items() if loss.weights[name] > 0}


def subspace_entries(sizes: tuple[int, ...]) -> int:
    """Entries that the subspace loss compares for Hessians with these numbers of rows."""
    return sum(min(MODES, size) ** 2 for size in sizes)
