"""Finite groups of rotations and reflections, by name or from given matrices."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.symmetry.rotations import rotation_vector_to_matrix

_GOLDEN = (1 + math.sqrt(5)) / 2
_CLOSE = 1e-8
_LARGEST = 120  # I_h

_INVERSION = ((-1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, -1.0))
_MIRROR_XY = ((0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0))
_Turn = tuple[int, tuple[float, float, float]]
_X, _Y, _Z, _DIAGONAL = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 1.0, 1.0)

_GENERATORS: dict[str, tuple[tuple[_Turn, ...], tuple[tuple[tuple[float, ...], ...], ...]]] = {
    "C1": ((), ()),
    "Ci": ((), (_INVERSION,)),
    "C2h": (((2, _Z),), (_INVERSION,)),
    "D2h": (((2, _Z), (2, _X)), (_INVERSION,)),
    "D3d": (((3, _Z), (2, _X)), (_INVERSION,)),
    "D4h": (((4, _Z), (2, _X)), (_INVERSION,)),
    "D6h": (((6, _Z), (2, _X)), (_INVERSION,)),
    "T": (((2, _Z), (3, _DIAGONAL)), ()),
    "Td": (((2, _Z), (3, _DIAGONAL)), (_MIRROR_XY,)),
    "Th": (((2, _Z), (3, _DIAGONAL)), (_INVERSION,)),
    "O": (((4, _Z), (3, _DIAGONAL)), ()),
    "Oh": (((4, _Z), (3, _DIAGONAL)), (_INVERSION,)),
    "I": (((2, _Z), (3, _DIAGONAL), (5, (0.0, 1.0, _GOLDEN))), ()),
    "Ih": (((2, _Z), (3, _DIAGONAL), (5, (0.0, 1.0, _GOLDEN))), (_INVERSION,)),
}
"""Rotations (order, axis) and reflections that make each group: the seven holohedries, cubic and icosahedral groups."""

POINT_GROUPS = tuple(_GENERATORS)


def point_group(name: str) -> Tensor:
    """All operations of a point group in its usual setting (main axis z), shape (n, 3, 3), float64, identity first.

    Raises:
        InputError: if there is no such group here.

    Example:
        >>> [len(point_group(name)) for name in ("C1", "D2h", "D6h", "Td", "Oh", "I")]
        [1, 8, 24, 24, 48, 60]
    """
    if name not in _GENERATORS:
        raise InputError(f"no point group '{name}'; known are {', '.join(POINT_GROUPS)}")
    turns, reflections = _GENERATORS[name]
    generators = [_turn(order, axis) for order, axis in turns]
    generators += [torch.tensor(matrix, dtype=torch.float64) for matrix in reflections]
    found = torch.eye(3, dtype=torch.float64).unsqueeze(0)
    while True:
        products = torch.cat([found, *(found @ generator for generator in generators)])
        larger = _different(products)
        if len(larger) == len(found):
            return found
        found = larger


def require_group(operations: Tensor) -> Tensor:
    """The operations, checked: orthogonal matrices, closed under products, the identity among them.

    Args:
        operations: shape (n, 3, 3).

    Raises:
        InputError: saying what is wrong.
    """
    if operations.ndim != 3 or operations.shape[1:] != (3, 3) or not len(operations):
        raise InputError(f"operations must have the shape (n, 3, 3), n >= 1; found {tuple(operations.shape)}")
    matrices = operations.to(torch.float64)
    identity = torch.eye(3, dtype=torch.float64, device=matrices.device)
    for number, error in enumerate((matrices @ matrices.transpose(1, 2) - identity).abs().amax((1, 2)).tolist()):
        if not error < _CLOSE:
            raise InputError(f"operations[{number}] is not orthogonal")
    if len(matrices) > _LARGEST or len(_different(matrices)) < len(matrices):
        raise InputError(f"operations must be different, and at most {_LARGEST}; found {len(matrices)}")
    for operation in matrices:
        if not bool(_equal(matrices @ operation, matrices).any(dim=1).all()):
            raise InputError("the product of two operations is not among the operations, so they are no group")
    return matrices  # closed, finite and invertible: the identity is among them


def _turn(order: int, axis: tuple[float, float, float]) -> Tensor:
    direction = torch.tensor(axis, dtype=torch.float64)
    return rotation_vector_to_matrix(2 * math.pi / order * direction / direction.norm())


def _different(matrices: Tensor) -> Tensor:
    """Without repetitions, the first of each kept, in order."""
    first = _equal(matrices, matrices).to(torch.int64).argmax(dim=1)
    return matrices[first == torch.arange(len(matrices), device=matrices.device)]


def _equal(a: Tensor, b: Tensor) -> Tensor:
    """Whether each of the one list is each of the other, shape (n_a, n_b)."""
    return (a.unsqueeze(1) - b.unsqueeze(0)).abs().amax((2, 3)) < _CLOSE
