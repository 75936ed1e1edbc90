"""Hessians from central differences of an inference engine's forces, many displacements at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from atomsym.core import AtomGraph, InputError
from atomsym.heads.hessian import without_translations
from atomsym.inference.engine import Engine
from atomsym.inference.evaluation import evaluate_with_engine

STEP = 2e-5
"""Displacement, Å. Truncation (~ step²) and rounding of the forces (~ 1 / step) are both below 1e-6 of the largest
entry in double precision; the engine's tables are smooth, so that their error does not grow as noise would.
"""

_EDGES = 15_000  # of displaced copies in one evaluation; more of them do not make an edge cheaper


def hessian_with_engine(engine: Engine, graph: AtomGraph, atoms: Tensor) -> Tensor:
    """Second derivatives of the energy of one system, H[k] = -(F(x + h e_k) - F(x - h e_k)) / 2h, symmetrised.

    Args:
        engine: in double precision.
        graph: one system with edges; they stay the same for all displacements.
        atoms: those that move, shape (n,), int64.

    Returns:
        Shape (3n, 3n), eV/Å², float64. Within 1e-6 of the largest entry of the derivatives by autograd where the energy
        is smooth. If all atoms move (in their order), rows and columns of each axis sum to zero.

    Raises:
        InputError: if the engine is in single precision, whose rounding would be all that is seen.
        NotCoveredError: if the engine does not cover the structure.
    """
    if engine.dtype != torch.float64:
        raise InputError("Hessians by differences need an engine in double precision")
    columns = (3 * atoms[:, None] + torch.arange(3)).reshape(-1)
    n, width = columns.shape[0], 3 * graph.n_atoms
    matrix = graph.positions.new_zeros(n, n)
    copies = max(1, min(n, _EDGES // max(1, 2 * graph.n_edges)))
    batch: AtomGraph | None = None
    for start in range(0, n, copies):
        rows = columns[start : start + copies]
        if batch is None or batch.n_systems != 2 * len(rows):
            batch = AtomGraph.batch([graph] * (2 * len(rows)))
        steps = graph.positions.new_zeros(2, len(rows), width)
        number = torch.arange(len(rows))
        steps[0, number, rows], steps[1, number, rows] = STEP, -STEP
        positions = (graph.positions.reshape(-1) + steps).reshape(-1, 3)
        found = evaluate_with_engine(engine, batch.with_positions(positions), ("forces",)).forces
        if found is not None:
            plus, minus = found.reshape(2, len(rows), width)
            matrix[start : start + copies] = ((minus - plus) / (2 * STEP))[:, columns]
    symmetric = 0.5 * (matrix + matrix.T)
    # Rows sum to zero as forces do, columns within the error of the differences only: the projection removes it.
    return without_translations(symmetric) if torch.equal(atoms, torch.arange(graph.n_atoms)) else symmetric
