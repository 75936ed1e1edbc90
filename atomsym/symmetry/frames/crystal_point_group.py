"""The point group of a crystal as it lies in space: the rotation parts of the operations that map it onto itself."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.core.graph import AtomGraph


def crystal_point_group(crystal: AtomGraph, tolerance: float = 1e-4) -> Tensor:
    """All rotations and reflections that map the crystal onto itself together with some translation.

    Candidates are the operations that map the lattice onto itself: the images of the three lattice vectors must be
    lattice vectors with the same lengths and angles. Each is tried with every translation that takes an atom of the
    rarest element to another one. Meant for cells of up to some hundred atoms.

    Args:
        crystal: one system that is periodic in three directions.
        tolerance: Å, by which lattice vectors and atoms may miss their images.

    Returns:
        Matrices M that act on column vectors, shape (n, 3, 3), float64, the identity first. They are orthogonal within
        the tolerance over the cell's size; average over them only if they are exactly (an ideal crystal).

    Raises:
        InputError: unless it is one system with three periodic directions.

    Example:
        >>> salt = AtomGraph.from_arrays([[0, 0, 0], [2, 2, 2]], [55, 17], [[4, 0, 0], [0, 4, 0], [0, 0, 4]], True)
        >>> len(crystal_point_group(salt))
        48
    """
    if crystal.n_systems != 1 or not bool(crystal.pbc.all()) or not float(crystal.volume[0]) > 0:
        raise InputError("a crystal's point group needs one system that is periodic in three directions")
    cell = crystal.cell[0].detach().to(torch.float64).cpu()
    fractional = crystal.positions.detach().to(torch.float64).cpu() @ torch.linalg.inv(cell)
    numbers = crystal.numbers.cpu()
    found = [m for m in _of_the_lattice(cell, tolerance) if _maps_atoms(m, cell, fractional, numbers, tolerance)]
    found.sort(key=lambda m: float((m - torch.eye(3, dtype=m.dtype)).abs().max()))
    return torch.stack(found)


def _of_the_lattice(cell: Tensor, tolerance: float) -> list[Tensor]:
    """Cartesian operations that map the lattice onto itself."""
    lengths = cell.norm(dim=1)
    # n · cell with |n · cell| ≤ L has |n_k| ≤ L |b_k| with the reciprocal vectors b_k.
    reach = ((lengths.max() + tolerance) * torch.linalg.inv(cell).norm(dim=0)).floor().int().tolist()
    integers = torch.tensor(list(itertools.product(*(range(-n, n + 1) for n in reach))), dtype=cell.dtype)
    vectors = integers @ cell
    inverse = torch.linalg.inv(cell)
    images = [vectors[(vectors.norm(dim=1) - length).abs() < tolerance] for length in lengths]
    metric = cell @ cell.T
    close = 4 * tolerance * float(lengths.max())
    found = []
    for a, b in itertools.product(images[0], images[1]):
        if abs(float(a @ b - metric[0, 1])) > close:
            continue
        for c in images[2]:
            image = torch.stack([a, b, c])
            if float((image @ image.T - metric).abs().max()) <= close:
                found.append((inverse @ image).T)
    return found


def _maps_atoms(operation: Tensor, cell: Tensor, fractional: Tensor, numbers: Tensor, tolerance: float) -> bool:
    """Whether some translation completes the operation to one of the crystal."""
    turned = fractional @ cell @ operation.T @ torch.linalg.inv(cell)
    rarest = min(numbers.tolist(), key=lambda z: int((numbers == z).sum()))
    of_kind = (numbers == rarest).nonzero().squeeze(1)
    same = numbers.unsqueeze(0) == numbers.unsqueeze(1)
    for target in of_kind.tolist():
        moved = turned + fractional[target] - turned[of_kind[0]]
        apart = moved.unsqueeze(1) - fractional.unsqueeze(0)
        apart = (apart - apart.round()) @ cell
        if bool(((apart.norm(dim=2) < tolerance) & same).any(dim=1).all()):
            return True
    return False
