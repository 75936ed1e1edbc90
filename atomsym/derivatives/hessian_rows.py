"""Three ways to multiply the Hessian with many displacements at once. All keep the systems of a batch apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, cast

import torch
from torch import Tensor

from atomsym.core import AtomGraph
from atomsym.derivatives.energies import EnergyFunction
from atomsym.derivatives.evaluate import evaluate
from atomsym.derivatives.hessian_operator import HessianOperator

RowFunction: TypeAlias = Callable[[Tensor], Tensor]
"""Displacements, shape (k, n_atoms, 3), to their Hessian products, same shape. Runs inside ``differentiable``."""

# E(x+2h) … in forces: F' = (F(-2h) - 8 F(-h) + 8 F(h) - F(2h)) / 12h; the Hessian is -F'.
_STENCIL = ((-2.0, -1 / 12), (-1.0, 2 / 3), (1.0, -2 / 3), (2.0, 1 / 12))


def rows_by_autograd(operator: HessianOperator) -> RowFunction:
    """One backward pass through the gradient for each displacement: least memory."""
    return lambda seeds: torch.stack([operator @ seed for seed in seeds])


def rows_by_vmap(operator: HessianOperator) -> RowFunction:
    """All displacements in one vectorised backward pass: fastest, memory grows with their number."""
    return operator.products


def rows_by_finite_difference(potential: EnergyFunction, graph: AtomGraph, step: float) -> RowFunction:
    """Four-point differences of forces, all displaced copies in one batch: for energies differentiable only once."""

    def rows(seeds: Tensor) -> Tensor:
        copies = [
            graph.with_positions(graph.positions.detach() + shift * step * seed)
            for seed in seeds
            for shift, _ in _STENCIL
        ]
        forces = cast(Tensor, evaluate(potential, AtomGraph.batch(copies), ("forces",)).forces)
        weights = torch.tensor([weight for _, weight in _STENCIL], dtype=graph.dtype, device=graph.device)
        stacked = forces.reshape(len(seeds), len(_STENCIL), graph.n_atoms, 3)
        return torch.einsum("w,kwna->kna", weights, stacked) / step

    return rows
