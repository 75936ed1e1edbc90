"""Coupling tensors of another product basis, expressed in our orthonormal one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from atomsym.core import InputError
from atomsym.symmetry import SymmetricCoupling

_RESIDUAL = {False: 1e-10, True: 1e-5}  # of tensors kept in double and in single precision


@dataclass(frozen=True, eq=False)
class ForeignCoupling:
    """Nonzero entries of a tensor U[M, i1, …, iν, path].

    Attributes:
        index: positions in the flattened tensor, shape (n_entries,), int64.
        value: shape (n_entries,), float64.
        shape: of the tensor.
    """

    index: np.ndarray
    value: np.ndarray
    shape: tuple[int, ...]

    @property
    def rounded(self) -> bool:
        """Whether the values were once kept in single precision."""
        return bool((self.value == self.value.astype(np.float32)).all())


def change_of_basis(foreign: ForeignCoupling, own: SymmetricCoupling, component_map: np.ndarray) -> Tensor:
    """The matrix T with Sym U_foreign[p] = Σ_q T[p, q] U_own[q].

    Only the symmetric part of a tensor acts on A ⊗ … ⊗ A. Our tensors are orthogonal, so T is a projection; what it
    leaves must be rounding errors.

    Args:
        foreign: couplings to the same irrep, of the same order.
        own: our basis.
        component_map: for each foreign component i its place among our components.

    Returns:
        Shape (n_foreign, n_own), float64.

    Raises:
        InputError: if the foreign tensors are not equivariant or not in the span of ours.
    """
    n_foreign = foreign.shape[-1]
    entries = np.unravel_index(foreign.index, foreign.shape)
    monomial = np.sort(component_map[np.stack(entries[1:-1], axis=-1)], axis=-1)
    keys, place = np.unique(
        np.concatenate([_keys(entries[0], monomial, own.dim_in), _keys(own.component, own.monomial, own.dim_in)]),
        return_inverse=True,
    )
    theirs, ours = np.zeros((n_foreign, len(keys))), np.zeros((own.n_paths, len(keys)))
    np.add.at(theirs, (entries[-1], place[: len(foreign.index)]), foreign.value)
    np.add.at(ours, (own.path, place[len(foreign.index) :]), own.coefficient)
    # A symmetric tensor with entries u has the monomial coefficient u * permutations, and the squared norm
    # u^2 * permutations: dual weights turn the sum over monomials into the product of tensors.
    weights = 1.0 / _permutations(keys, own.dim_in, own.order)
    matrix = (theirs * weights) @ ours.T / own.dim_out
    left = np.abs(theirs - matrix @ ours).max(initial=0.0)
    if left > _RESIDUAL[foreign.rounded] * np.abs(foreign.value).max(initial=0.0):
        raise InputError(
            f"coupling tensors of order {own.order} to degree {(own.dim_out - 1) // 2} are not in the span of the "
            f"symmetric couplings: {left:.1e} is left of them"
        )
    return torch.from_numpy(matrix)


def _keys(component: np.ndarray, monomial: np.ndarray, dim: int) -> np.ndarray:
    """One number for each (component, sorted monomial)."""
    key = component.astype(np.int64)
    for column in monomial.T:
        key = key * dim + column
    return key


def _permutations(keys: np.ndarray, dim: int, order: int) -> np.ndarray:
    """Distinct orders of the monomial of each key."""
    digits = np.stack([keys // dim**power % dim for power in range(order)], axis=-1)
    count, run = np.ones(len(keys)), np.ones(len(keys))
    for j in range(1, order):
        run = np.where(digits[:, j] == digits[:, j - 1], run + 1, 1.0)
        count *= (j + 1) / run
    return count
