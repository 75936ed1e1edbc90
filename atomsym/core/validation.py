"""Checks of a structure before anything is computed from it: every fault ends in a typed error that names the atom.

``validate_structure`` works on the caller's arrays, before a tensor is made; ``validate_graph`` works on a graph, where
the edges show which atoms (or their periodic images) lie on top of each other. Nothing is changed, nothing is cached.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from atomsym.core.elements import MAX_ATOMIC_NUMBER, format_elements, symbol_of
from atomsym.core.errors import InputError, UnsupportedElementError
from atomsym.core.graph import AtomGraph

MIN_DISTANCE = 0.1
"""Å; atoms closer than this are an input error unless overlap is allowed. No two nuclei of matter are so close."""

_AXES = "xyz"
_DEPENDENT = 1e-6  # sine-like measure of unit lattice vectors; a cell with angles of 10° has 0.03
_PAIR_LIMIT = 20_000_000  # pairs compared along one line, about a second; what is beyond is left to the edges

FloatArray = NDArray[np.float64]


def validate_structure(
    positions: ArrayLike | Tensor,
    numbers: ArrayLike | Tensor,
    cell: ArrayLike | Tensor | None = None,
    pbc: ArrayLike | Tensor | None = None,
    *,
    elements: Iterable[int] | None = None,
    allow_overlap: bool = False,
    min_distance: float = MIN_DISTANCE,
) -> None:
    """Check one structure; returns nothing, raises at the first fault.

    Any real dtype, memory layout and writability is accepted, and tensors as well as arrays. A structure without atoms
    is valid: its energy is 0 and its per-atom arrays have shape (0, ...). An isolated atom is valid too. Periodic
    images are included in the distance check; self-images and gases of millions of atoms are left to
    ``validate_graph``.

    Args:
        positions: shape (n_atoms, 3), Å; need not be wrapped into the cell.
        numbers: atomic numbers, shape (n_atoms,), integer values.
        cell: lattice vectors in rows, shape (3, 3), Å; a row may be zero on a non-periodic axis. Default: none.
        pbc: periodic directions, shape (3,), or one bool for all. Default: none.
        elements: atomic numbers that the model knows; default: all 118.
        allow_overlap: accept atoms closer than ``min_distance``.
        min_distance: smallest distance between two atoms, Å.

    Raises:
        UnsupportedElementError: if an element is not among ``elements``.
        InputError: for a wrong shape or dtype, a value that is not finite, an impossible atomic number, a periodic
            direction without a lattice vector, dependent lattice vectors, or overlapping atoms.

    Example:
        >>> validate_structure([[0, 0, 0], [0, 0, 0.74]], [1, 1])
        >>> validate_structure([[0, 0, 0], [0, 0, float("nan")]], [1, 1])
        Traceback (most recent call last):
        ...
        atomsym.core.errors.InputError: positions of atoms[1] have z = nan; all coordinates must be finite numbers in Å
    """
    sites = _real_array(positions, "positions", (None, 3))
    _check_numbers(numbers, len(sites), elements)
    lattice = np.zeros((3, 3)) if cell is None else _real_array(cell, "cell", (3, 3))
    periodic = _periodic_directions(pbc)
    _check_finite(sites, lattice)
    _check_cell(lattice, periodic)
    if not allow_overlap and len(sites) > 1:
        _check_distances(sites, lattice, periodic, min_distance)


def validate_graph(
    graph: AtomGraph,
    elements: Iterable[int] | None = None,
    allow_overlap: bool = False,
    *,
    min_distance: float = MIN_DISTANCE,
) -> None:
    """Check a graph, single or batched, whose edges exist; returns nothing, raises at the first fault.

    The edges find atoms that overlap, periodic images and self-images included; without edges (``cutoff`` is None)
    distances are not checked.

    Args:
        graph: the graph; a strain on it is honoured.
        elements: atomic numbers that the model knows; default: all 118.
        allow_overlap: accept atoms closer than ``min_distance``.
        min_distance: smallest distance between two atoms, Å.

    Raises:
        UnsupportedElementError, InputError: as ``validate_structure``; atoms are counted within their system.
    """
    for name, values in (("positions", graph.positions), ("cell", graph.cell)):
        if values.isfinite().all():
            continue
        row, axis = (int(index) for index in (~values.isfinite()).reshape(-1, 3).nonzero()[0])
        value = float(values.reshape(-1, 3)[row, axis])
        where = _atom(graph, row) if name == "positions" else f"lattice vector {row % 3} of system {row // 3}"
        raise InputError(f"{name} of {where} have {_AXES[axis]} = {value}; all coordinates must be finite numbers in Å")
    check_elements(graph, elements)
    missing = graph.pbc & (graph.cell == 0).all(dim=2)
    if missing.any():
        system, axis = (int(index) for index in missing.nonzero()[0])
        raise InputError(_no_lattice_vector(axis, f" of system {system}"))
    if not allow_overlap:
        validate_distances(graph, min_distance=min_distance)


def validate_distances(graph: AtomGraph, *, min_distance: float = MIN_DISTANCE) -> None:
    """Check that no edge is too short; the part of ``validate_graph`` that ``validate_structure`` leaves to the edges.

    Args:
        graph: single or batched, with edges.
        min_distance: smallest distance between two atoms, Å.

    Raises:
        InputError: naming the two atoms that are closest; atoms are counted within their system.
    """
    if graph.n_edges == 0:
        return
    with torch.no_grad():
        distances = torch.linalg.vector_norm(graph.edge_vectors(), dim=1)
        distance = float(distances.min())
    if distance < min_distance:
        shortest = int(distances.argmin())
        receiver, sender = graph.edge_index[:, shortest].tolist()
        shift = tuple(graph.edge_shift[shortest].tolist())
        image = f" (its image at shift {shift})" if any(shift) else ""
        raise InputError(_too_close(_atom(graph, receiver), _atom(graph, sender) + image, distance, min_distance))


def check_elements(graph: AtomGraph, elements: Iterable[int] | None = None) -> None:
    """Check that a graph holds only elements that a model knows.

    Args:
        graph: single or batched graph.
        elements: atomic numbers that the model knows; default: all 118.

    Raises:
        UnsupportedElementError: naming the first atom of another element.
        InputError: if an atomic number is not in 1 … 118.
    """
    known = torch.zeros(MAX_ATOMIC_NUMBER + 1, dtype=torch.bool)
    allowed = list(range(1, MAX_ATOMIC_NUMBER + 1)) if elements is None else list(elements)
    known[allowed] = True
    numbers = graph.numbers
    inside = known.to(numbers.device)[numbers.clamp(0, MAX_ATOMIC_NUMBER)] & (numbers <= MAX_ATOMIC_NUMBER)
    if inside.all():
        return
    atom = int((~inside).nonzero()[0, 0])
    raise _element_error(_atom(graph, atom), int(numbers[atom]), allowed)


def _real_array(values: Any, name: str, shape: tuple[int | None, int]) -> FloatArray:
    array = _array(values, name)
    if array.size == 0 and shape[0] is None and array.ndim <= 2:
        array = array.reshape(0, 3)
    if array.ndim != 2 or array.shape[1] != shape[1] or shape[0] not in (None, array.shape[0]):
        wanted = f"({'n_atoms' if shape[0] is None else shape[0]}, {shape[1]})"
        raise InputError(f"{name} must have shape {wanted}; found {array.shape}")
    if array.dtype.kind not in "fiu":
        raise InputError(f"{name} must be real numbers; found dtype {array.dtype}")
    return array.astype(np.float64, copy=False)


def _array(values: Any, name: str) -> NDArray[Any]:
    if isinstance(values, Tensor):
        return values.detach().cpu().numpy()
    try:
        return np.asarray(values)
    except ValueError as error:  # ragged nested lists
        raise InputError(f"{name} cannot be read as an array: {error}") from error


def _check_numbers(numbers: Any, n_atoms: int, elements: Iterable[int] | None) -> None:
    array = _array(numbers, "numbers")
    if array.shape != (n_atoms,):
        raise InputError(f"numbers must have shape ({n_atoms},), one for each row of positions; found {array.shape}")
    if n_atoms == 0:
        return
    if array.dtype.kind not in "iu":
        fractional = array.dtype.kind != "f" or not np.isfinite(array).all() or (array != np.floor(array)).any()
        if fractional:
            raise InputError(f"numbers must be atomic numbers (integers); found dtype {array.dtype} with {array[:3]}")
    allowed = range(1, MAX_ATOMIC_NUMBER + 1) if elements is None else list(elements)
    known = np.zeros(MAX_ATOMIC_NUMBER + 2, dtype=bool)
    known[list(allowed)] = True
    unknown = ~known[np.clip(array, 0, MAX_ATOMIC_NUMBER + 1).astype(np.int64)]
    if unknown.any():
        atom = int(unknown.argmax())
        raise _element_error(f"atoms[{atom}]", int(array[atom]), allowed)


def _element_error(atom: str, number: int, allowed: Iterable[int]) -> InputError:
    if not 1 <= number <= MAX_ATOMIC_NUMBER:
        return InputError(f"{atom} has the atomic number {number}; allowed are 1 (H) to {MAX_ATOMIC_NUMBER} (Og)")
    return UnsupportedElementError(
        f"{atom} is {symbol_of(number)} (Z={number}); the model knows {format_elements(allowed)}. "
        f"Pick a model with: atomsym models --element {symbol_of(number)}"
    )


def _periodic_directions(pbc: Any) -> NDArray[np.bool_]:
    if pbc is None:
        return np.zeros(3, dtype=bool)
    array = _array(pbc, "pbc")
    if array.shape not in ((), (3,)) or array.dtype.kind not in "biu":
        raise InputError(f"pbc must be three bools, or one for all directions; found {array.dtype} {array.shape}")
    return np.broadcast_to(array.astype(bool), 3)


def _check_finite(positions: FloatArray, cell: FloatArray) -> None:
    for name, values in (("atoms", positions), ("cell", cell)):
        finite = np.isfinite(values)
        if not finite.all():
            row, axis = np.argwhere(~finite)[0]
            what = f"positions of atoms[{row}]" if name == "atoms" else f"components of cell[{row}]"
            raise InputError(
                f"{what} have {_AXES[axis]} = {values[row, axis]}; all coordinates must be finite numbers in Å"
            )


@np.errstate(
    over="ignore", invalid="ignore", divide="ignore"
)  # absurd but finite numbers: squares and quotients of them
def _check_cell(cell: FloatArray, periodic: NDArray[np.bool_]) -> None:
    lengths = np.linalg.norm(cell, axis=1)
    missing = periodic & (lengths == 0)
    if missing.any():
        raise InputError(_no_lattice_vector(int(missing.argmax())))
    units = cell[periodic] / lengths[periodic, None]
    if len(units) > 1 and np.linalg.det(units @ units.T) < _DEPENDENT**2:
        raise InputError(
            f"the lattice vectors of the periodic directions are linearly dependent: {cell[periodic].tolist()}; "
            "give independent vectors, or set pbc to False where the system is not periodic"
        )


def _no_lattice_vector(axis: int, system: str = "") -> str:
    return (
        f"pbc[{axis}]{system} is True but cell[{axis}] is a zero vector; "
        f"give the lattice vector, or set pbc[{axis}] to False"
    )


@np.errstate(over="ignore", invalid="ignore")
def _check_distances(positions: FloatArray, cell: FloatArray, periodic: NDArray[np.bool_], min_distance: float) -> None:
    """Compare only atoms that are neighbors on a line in a general direction: O(n log n) for ordinary structures."""
    points, atoms = _with_ghosts(positions, cell, periodic, min_distance)
    height = points @ np.array([0.5373, 0.6211, 0.5705])  # no longer than 1, normal to no common lattice plane
    order = np.argsort(height, kind="stable")
    points, atoms, height = points[order], atoms[order], height[order]
    seen = 0
    for step in range(1, len(points)):
        near = np.flatnonzero(height[step:] - height[:-step] <= min_distance)
        seen += len(near)
        if len(near) == 0 or seen > _PAIR_LIMIT:
            return
        separation = points[near + step] - points[near]
        squared = np.einsum("pa,pa->p", separation, separation)
        close = (squared < min_distance**2) & (atoms[near] != atoms[near + step])
        if close.any():
            pair = int(close.argmax())
            first, second = sorted((int(atoms[near[pair]]), int(atoms[near[pair] + step])))
            raise InputError(
                _too_close(f"atoms[{first}]", f"atoms[{second}]", float(squared[pair] ** 0.5), min_distance)
            )


def _with_ghosts(
    positions: FloatArray, cell: FloatArray, periodic: NDArray[np.bool_], margin: float
) -> tuple[FloatArray, NDArray[np.int64]]:
    """Atoms wrapped into the cell, and copies of those within ``margin`` of a lower face at the upper one."""
    atoms = np.arange(len(positions))
    if not periodic.any():
        return positions, atoms
    basis = _completed(cell, periodic)
    inverse = np.linalg.inv(basis)
    fractional = positions @ inverse
    fractional[:, periodic] -= np.floor(fractional[:, periodic])
    thickness = margin * np.linalg.norm(inverse, axis=0)  # the margin in fractional units along each axis
    for axis in np.flatnonzero(periodic):
        low = np.flatnonzero(fractional[:, axis] < thickness[axis])
        ghosts = fractional[low]
        ghosts[:, axis] += 1
        fractional, atoms = np.concatenate([fractional, ghosts]), np.concatenate([atoms, atoms[low]])
    return fractional @ basis, atoms


def _completed(cell: FloatArray, periodic: NDArray[np.bool_]) -> FloatArray:
    """Periodic lattice vectors, with unit vectors normal to them in place of the others."""
    basis = np.where(periodic[:, None], cell, 0.0)
    _, _, normals = np.linalg.svd(cell[periodic])
    basis[~periodic] = normals[int(periodic.sum()) :]
    return basis


def _atom(graph: AtomGraph, atom: int) -> str:
    """``atoms[i]``, counted within its system where there are several."""
    if graph.n_systems == 1:
        return f"atoms[{atom}]"
    system = int(graph.system_index[atom])
    first = int((graph.system_index == system).nonzero()[0, 0])
    return f"atoms[{atom - first}] of system {system}"


def _too_close(first: str, second: str, distance: float, min_distance: float) -> str:
    return (
        f"{first} and {second} are {distance:.3g} Å apart; at least {min_distance:g} Å is needed. "
        "Remove the duplicate, check the unit of length, or pass allow_overlap=True"
    )
