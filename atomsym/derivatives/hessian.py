"""Full and partial Hessians of an energy function of an atom graph."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from math import ceil
from typing import Literal, get_args

import torch
from torch import Tensor

from atomsym.core import AtomGraph, AtomsymWarning, InputError, OutOfMemoryError
from atomsym.derivatives.energies import EnergyFunction, differentiable, prepared
from atomsym.derivatives.hessian_operator import HessianOperator
from atomsym.derivatives.hessian_rows import RowFunction, rows_by_autograd, rows_by_finite_difference, rows_by_vmap
from atomsym.derivatives.memory import free_memory, in_words, is_small, kept_bytes
from atomsym.heads import HessianPotential

HessianMethod = Literal["auto", "rows", "vmap", "finite-difference", "predicted"]

_STEP = {torch.float32: 2e-2, torch.float64: 2e-3}  # Å; truncation ~ step⁴ against rounding ~ eps / step
_ASYMMETRY_WARNING = {torch.float32: 1e-3, torch.float64: 1e-6}
_USABLE = 0.8  # of the free memory
_WORKING_SET = {"cpu": 256e6, "cuda": 2e9}  # bytes of a vectorised chunk; larger ones are not faster
_MAX_CHUNK = {"cpu": 32, "cuda": 128}
_FIXED = 5  # peak of one backward pass through the gradient / what autograd keeps; measured for pair potentials
_COPY = 2  # the same for one plain force evaluation, with the copy of the graph
_ROW_GROUP = 64  # rows between writes into the matrix where a chunk has no cost


def hessian(
    potential: EnergyFunction,
    graph: AtomGraph,
    *,
    indices: Sequence[int] | Tensor | None = None,
    method: HessianMethod = "auto",
    chunk_size: int | None = None,
    step: float | None = None,
    symmetrize: bool = True,
) -> Tensor:
    """Second derivatives H = d²E/dx dx of one system, at its centre of the Brillouin zone if it is periodic.

    Rows and columns are ordered x1 y1 z1 x2 …. The matrix is returned as (H + Hᵀ) / 2; its relative asymmetry before
    that (``hessian_asymmetry``) is rounding, about 1e-15 in float64, and a warning is given when it is more than 1e-6.
    Use float64: in float32 soft modes drown in rounding.

    Methods: ``vmap`` differentiates the gradient for a chunk of rows at once, ``rows`` row by row with the least
    memory, ``finite-difference`` takes four-point differences of forces, for energies that can be differentiated only
    once (relative error below 1e-6 where the energy is smooth, up to 1e-5 where a step straddles the onset of a switch
    or the cutoff; edges are kept, so an energy has to fade out smoothly there). ``auto`` is ``vmap``, or ``rows`` where
    two rows at a time would be too large to fit or to gain anything. Memory is estimated before the work starts.
    ``predicted`` differentiates nothing: it is the answer of a Hessian head, for the price of little more than an
    energy and as accurate as the head is.

    Args:
        potential: a ``Potential`` or a function from a graph to the energies of its atoms.
        graph: one system with edges.
        indices: atoms that move, in the order wanted; the rows and columns of the others are missing. Default: all.
        method: see above.
        chunk_size: rows at a time for ``vmap`` and ``finite-difference``; default: what fits in memory and is fast.
        step: displacement for finite differences, Å; default: 2e-3 in float64, 2e-2 in float32.
        symmetrize: False returns the matrix as computed.

    Returns:
        Shape (3n, 3n) with n the number of atoms that move, eV/Å², dtype of the positions, detached.

    Raises:
        InputError: for several systems (use ``hessians``), wrong indices, or a graph that does not fit the potential.
        OutOfMemoryError: if the matrix or the derivatives would not fit; the message says what would.

    Example:
        >>> from atomsym.models import ARGON, LennardJones
        >>> graph = AtomGraph.from_arrays([[0, 0, 0], [0, 0, 4.0]], [18, 18])
        >>> edges, shifts = torch.tensor([[0, 1], [1, 0]]), torch.zeros(2, 3, dtype=torch.int32)
        >>> matrix = hessian(LennardJones(ARGON), graph.with_edges(edges, shifts, 8.5))
        >>> matrix.shape, bool(torch.equal(matrix, matrix.T))
        (torch.Size([6, 6]), True)
    """
    if graph.n_systems != 1:
        raise InputError(f"the graph holds {graph.n_systems} systems; hessians(...) gives the list of their Hessians")
    (matrix,) = hessians(
        potential,
        graph,
        indices=indices,
        method=method,
        chunk_size=chunk_size,
        step=step,
        symmetrize=symmetrize,
    )
    return matrix


def hessians(
    potential: EnergyFunction,
    graph: AtomGraph,
    *,
    indices: Sequence[int] | Tensor | None = None,
    method: HessianMethod = "auto",
    chunk_size: int | None = None,
    step: float | None = None,
    symmetrize: bool = True,
) -> list[Tensor]:
    """Hessians of all systems of a batch; takes as many passes as the largest system alone.

    Row k of every system is computed in the same pass, because the energy of one does not depend on another.

    Args, Raises: as ``hessian``; ``indices`` count through the batch.

    Returns:
        One matrix per system, shape (3n, 3n), eV/Å².
    """
    if method not in get_args(HessianMethod):
        raise InputError(f"no Hessian method '{method}'; known: {', '.join(get_args(HessianMethod))}")
    if chunk_size is not None and chunk_size < 1:
        raise InputError(f"chunk_size must be at least 1; found {chunk_size}")
    with differentiable(graph.device):
        graph = prepared(potential, graph)
        moving = _moving(graph, indices)
        if method == "predicted":
            return _predicted(potential, graph, moving)
        matrix_bytes = _matrix_bytes(graph, moving)
        rows, chunk = _plan(potential, graph, moving, matrix_bytes, method, chunk_size, step)
        matrices = _assembled(rows, graph, moving, chunk)
    for matrix in matrices:
        _warn_if_asymmetric(matrix)
    return [0.5 * (matrix + matrix.T) for matrix in matrices] if symmetrize else matrices


def _predicted(potential: EnergyFunction, graph: AtomGraph, moving: list[Tensor]) -> list[Tensor]:
    """The head's matrices, cut to the atoms that move; the sum rule holds for the whole ones."""
    if not isinstance(potential, HessianPotential):
        raise InputError(
            "this model predicts no Hessians; take another method, or a model of the architecture 'hessian'"
        )
    first = torch.cumsum(graph.atoms_per_system, 0) - graph.atoms_per_system
    rows = [chosen - 3 * start for chosen, start in zip(moving, first, strict=True)]
    matrices = potential.hessians(graph)
    return [matrix[chosen][:, chosen] for matrix, chosen in zip(matrices, rows, strict=True)]


def hessian_asymmetry(matrix: Tensor) -> float:
    """Largest |H - Hᵀ| over largest |H|; zero for an empty or zero matrix."""
    scale = float(matrix.abs().max()) if matrix.numel() else 0.0
    return float((matrix - matrix.T).abs().max()) / scale if scale > 0 else 0.0


def _moving(graph: AtomGraph, indices: Sequence[int] | Tensor | None) -> list[Tensor]:
    """Rows of the whole batch (3 × atom + axis) that each system moves along, each of shape (3 n_moving,)."""
    if indices is None:
        atoms = torch.arange(graph.n_atoms, device=graph.device)
    else:
        atoms = torch.as_tensor(indices, device=graph.device)
        if atoms.shape == (0,):
            atoms = atoms.to(torch.int64)
        if atoms.dtype.is_floating_point or atoms.dtype == torch.bool or atoms.ndim != 1:
            raise InputError(f"indices must be a list of atom numbers; found {atoms.dtype} {tuple(atoms.shape)}")
        atoms = atoms.to(torch.int64)
        outside = (atoms < 0) | (atoms >= graph.n_atoms)
        if outside.any():
            raise InputError(f"indices has {int(atoms[outside][0])}; atoms are numbered 0 to {graph.n_atoms - 1}")
        if len(atoms.unique()) != len(atoms):
            raise InputError("indices names an atom twice")
    degrees = (3 * atoms[:, None] + torch.arange(3, device=graph.device)).reshape(-1)
    system = graph.system_index[atoms].repeat_interleave(3)
    return [degrees[system == number] for number in range(graph.n_systems)]


def _matrix_bytes(graph: AtomGraph, moving: list[Tensor]) -> int:
    """Size of the results with the copy that symmetrising makes; refused here if that alone is too much."""
    itemsize = graph.positions.element_size()
    needed = 2 * itemsize * sum(len(degrees) ** 2 for degrees in moving)
    usable = _USABLE * free_memory(graph.device)
    if needed > usable:
        largest = int((max(usable, 0) / (2 * itemsize)) ** 0.5 / 3)
        raise OutOfMemoryError(
            f"the Hessian of {sum(map(len, moving)) // 3} atoms needs {in_words(needed)} of memory for the matrix, but "
            f"{in_words(usable)} can be used on {graph.device}: up to {largest} atoms fit. Choose atoms with "
            "indices=..., or use HessianOperator, which never forms the matrix"
        )
    return needed


def _plan(
    potential: EnergyFunction,
    graph: AtomGraph,
    moving: list[Tensor],
    matrix_bytes: int,
    method: HessianMethod,
    chunk_size: int | None,
    step: float | None,
) -> tuple[RowFunction, int]:
    """The row function and the number of rows at a time, after checking that they fit."""
    room = _USABLE * free_memory(graph.device) - matrix_bytes
    if method == "finite-difference":
        each = 4 * _COPY * kept_bytes(potential, graph, twice=False)
        chunk = _chunk(room, 0, each, chunk_size, graph)
        return rows_by_finite_difference(potential, graph, step or _STEP[graph.dtype]), chunk
    operator = HessianOperator(potential, graph) if is_small(graph) else None
    kept = kept_bytes(potential, graph, twice=True) if operator is None else operator.kept_bytes
    if method == "auto":
        method = "vmap" if room >= (_FIXED + 2) * kept and _useful(kept, graph) > 1 else "rows"
    if method == "rows":
        _chunk(room, (_FIXED - 1) * kept, kept, 1, graph)
        return rows_by_autograd(operator or HessianOperator(potential, graph)), _ROW_GROUP
    chunk = _chunk(room, _FIXED * kept, kept, chunk_size, graph)
    if chunk_size is None:
        chunk = _even(chunk, moving)
    return rows_by_vmap(operator or HessianOperator(potential, graph)), chunk


def _chunk(room: float, fixed: float, each: float, wanted: int | None, graph: AtomGraph) -> int:
    """Rows at a time: what was asked for if it fits, else as many as fit and are useful."""
    largest = int((room - fixed) // max(each, 1))
    if largest < (wanted or 1):
        advice = (
            f"chunk_size={largest} is the largest that fits"
            if largest >= 1
            else f"at one row a time up to about {max(int(graph.n_atoms * room / (fixed + each)), 0)} atoms would fit"
        )
        raise OutOfMemoryError(
            f"the Hessian of a graph of {graph.n_atoms} atoms and {graph.n_edges} edges needs about "
            f"{in_words(fixed + (wanted or 1) * each)} for {wanted or 1} row(s) at a time beside the matrix, but "
            f"{in_words(max(room, 0))} can be used on {graph.device}: {advice}"
        )
    if wanted is not None:
        return wanted
    return min(largest, _useful(each, graph))


def _useful(each: float, graph: AtomGraph) -> int:
    """Rows at a time beyond which a device gains nothing, measured for MACE on a CPU."""
    kind = "cpu" if graph.device.type == "cpu" else "cuda"
    return max(1, min(_MAX_CHUNK[kind], int(_WORKING_SET[kind] / max(each, 1))))


def _even(chunk: int, moving: list[Tensor]) -> int:
    """The smallest chunk that takes as many passes, since a short last one costs nearly what the others do."""
    n_rows = max((len(degrees) for degrees in moving), default=0)
    return max(1, ceil(n_rows / max(1, ceil(n_rows / chunk))))


def _assembled(rows: RowFunction, graph: AtomGraph, moving: list[Tensor], chunk: int) -> list[Tensor]:
    """The matrices, ``chunk`` rows of every system at a time."""
    matrices = [torch.zeros(len(d), len(d), dtype=graph.dtype, device=graph.device) for d in moving]
    n_rows = max((len(degrees) for degrees in moving), default=0)
    for start in range(0, n_rows, chunk):
        stop = min(start + chunk, n_rows)
        seeds = torch.zeros(stop - start, 3 * graph.n_atoms, dtype=graph.dtype, device=graph.device)
        for degrees in moving:
            present = degrees[start:stop]
            seeds[torch.arange(len(present), device=graph.device), present] = 1
        products = rows(seeds.reshape(-1, graph.n_atoms, 3)).reshape(stop - start, -1)
        for matrix, degrees in zip(matrices, moving, strict=True):
            filled = matrix[start:stop]
            filled.copy_(products[: len(filled), degrees])
    return matrices


def _warn_if_asymmetric(matrix: Tensor) -> None:
    asymmetry = hessian_asymmetry(matrix)
    if asymmetry > _ASYMMETRY_WARNING[matrix.dtype]:
        warnings.warn(
            f"the Hessian is asymmetric by {asymmetry:.1e} of its largest entry; the energy is not twice continuously "
            "differentiable here, or forces are not its gradient. Half the difference is a measure of the error",
            AtomsymWarning,
            stacklevel=4,
        )
