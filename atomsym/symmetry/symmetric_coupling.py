"""Couplings of ν identical factors to an irrep: the tensors U of the symmetric contraction (MACE's product basis).

A feature vector A over a list of irreps spans V = ⊕ V_r. The couplings of A ⊗ … ⊗ A (ν times) to an irrep L that
survive the symmetry under exchange of the factors are the maps Sym^ν(V) → L. They are built block by block: Sym^ν(V)
is the direct sum, over all ways to draw ν of the irreps with repetition, of ⊗_r Sym^{n_r}(V_r). Distinct irreps
couple without redundancy, so that only the powers Sym^n of one irrep have to be reduced to an independent set.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections import Counter
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.symmetry.irreps import Irrep, Irreps
from atomsym.symmetry.wigner_3j import wigner_3j

_DROPPED = 1e-12  # coefficients below are rounding errors of zeros
_DEPENDENT = 1e-6  # norm of what is left of a unit vector that depends on the vectors before it

# Degree λ → couplings to it: (n_couplings, 2λ + 1, n_monomials), orthonormal rows for each component.
_Couplings = dict[int, np.ndarray]


@dataclass(frozen=True, eq=False)
class SymmetricCoupling:
    """All couplings of one order to one irrep, as polynomials in the components of the features.

    Path p sends A to the vector Σ_t coefficient_t · Π_j A[monomial_tj] over the terms t with path_t = p and
    component_t = M. Equal and hashable by content. Couplings to nothing (no terms, no paths) are allowed.

    Attributes:
        order: number of factors ν ≥ 1.
        dim_in: number of components of A.
        dim_out: number of components of the result, 2L + 1.
        n_paths: number of couplings; a path may have no terms (an all-zero coupling tensor).
        path, component: shape (n_terms,), int64.
        monomial: component indices of A in increasing order, shape (n_terms, order), int64.
        coefficient: shape (n_terms,), float64.
    """

    order: int
    dim_in: int
    dim_out: int
    n_paths: int
    path: np.ndarray
    component: np.ndarray
    monomial: np.ndarray
    coefficient: np.ndarray
    digest: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        content = hashlib.sha256(repr((self.order, self.dim_in, self.dim_out, self.n_paths)).encode())
        for array in (self.path, self.component, self.monomial, self.coefficient):
            content.update(np.ascontiguousarray(array).tobytes())
        object.__setattr__(self, "digest", content.hexdigest())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SymmetricCoupling) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def tensors(self) -> Tensor:
        """The coupling tensors U, symmetric in their last ν indices.

        Returns:
            Shape (n_paths, dim_out, dim_in, …, dim_in), float64.
        """
        dense = np.zeros((self.n_paths, self.dim_out) + (self.dim_in,) * self.order)
        value = self.coefficient / _permutations(self.monomial)
        for order in set(itertools.permutations(range(self.order))):
            dense[(self.path, self.component, *self.monomial[:, order].T)] = value
        return torch.from_numpy(dense)

    @classmethod
    def from_tensors(cls, tensors: Tensor) -> SymmetricCoupling:
        """Couplings given as dense tensors; they need not be symmetric.

        Σ U[i1 … iν] A[i1] … A[iν] sees only the symmetric part of U, so collecting equal products loses nothing.

        Args:
            tensors: shape (n_paths, dim_out, dim_in, …, dim_in) with ν ≥ 1 equal last dimensions.

        Raises:
            InputError: if the shape is not of this form or a value is not finite.
        """
        values = tensors.detach().to(device="cpu", dtype=torch.float64).numpy()
        if values.ndim < 3 or len(set(values.shape[2:])) != 1:
            raise InputError(
                f"coupling tensors need the shape (n_paths, dim_out, dim_in, ..., dim_in); found {tuple(tensors.shape)}"
            )
        if not np.isfinite(values).all():
            raise InputError("coupling tensors contain values that are not finite")
        order = values.ndim - 2
        nonzero = np.nonzero(np.abs(values) > _DROPPED)
        keys = np.column_stack([nonzero[0], nonzero[1], np.sort(np.column_stack(nonzero[2:]), axis=1)])
        unique, inverse = np.unique(keys, axis=0, return_inverse=True)
        coefficient = np.bincount(inverse.ravel(), weights=values[nonzero], minlength=len(unique))
        return cls._build(order, values.shape[2], values.shape[1], values.shape[0], unique, coefficient)

    @classmethod
    def _build(
        cls, order: int, dim_in: int, dim_out: int, n_paths: int, keys: np.ndarray, coefficient: np.ndarray
    ) -> SymmetricCoupling:
        """From rows (path, component, monomial …), sorted, without the terms that vanish."""
        kept = np.abs(coefficient) > _DROPPED
        keys, coefficient = keys[kept].reshape(-1, 2 + order).astype(np.int64), coefficient[kept].astype(np.float64)
        return cls(order, dim_in, dim_out, n_paths, keys[:, 0], keys[:, 1], keys[:, 2:], coefficient)


@cache
def symmetric_coupling(irreps_in: Irreps, irrep_out: Irrep, order: int) -> SymmetricCoupling:
    """An orthonormal basis of the couplings of ``order`` identical factors to an irrep.

    Every path is an equivariant polynomial B_M(A), homogeneous of degree ν. Its symmetric tensor U[M, i1 … iν] has
    Σ_i U[M, i] U[M', i] = δ_MM', and tensors of different paths are orthogonal. Hence ν = 1 copies an input irrep, and
    the number of paths is the multiplicity of the irrep in Sym^ν of the input.

    Order of the paths: by the drawn input irreps (lexicographic in their positions), then by the degrees of the
    intermediate couplings, which go from left to right through the powers Sym^n of the drawn irreps. The power of one
    irrep is coupled from the power below it, in the order of its degrees, and what depends on earlier couplings is
    dropped (Gram–Schmidt); signs follow the coupling coefficients. The choice is thus the same on every machine.

    Args:
        irreps_in: irreps of A; any list, repeated irreps count as different.
        irrep_out: the irrep coupled to, with its parity.
        order: number of factors ν ≥ 1.

    Returns:
        The couplings; no paths if none exists. One shared object per argument.

    Raises:
        InputError: if ``order < 1``.

    Source: own construction; the product basis is that of MACE (Batatia et al. 2022), which couples recursively
    without the reduction, so that its paths are linearly dependent for ν ≥ 3.

    Example:
        >>> coupling = symmetric_coupling(Irreps.parse("1o"), Irrep.parse("0e"), 2)
        >>> (coupling.tensors().squeeze() * 3**0.5).round(decimals=9)
        tensor([[1., 0., 0.],
                [0., 1., 0.],
                [0., 0., 1.]], dtype=torch.float64)
    """
    if order < 1:
        raise InputError(f"a coupling needs order >= 1; found {order}")
    keys: list[np.ndarray] = []
    coefficients: list[np.ndarray] = []
    n_paths = 0
    for drawn in itertools.combinations_with_replacement(range(len(irreps_in)), order):
        if math.prod(irreps_in[position].parity for position in drawn) != irrep_out.parity:
            continue
        monomial, values = _block(irreps_in, drawn, irrep_out.degree)
        path, component, product = np.nonzero(np.abs(values) > _DROPPED)
        keys.append(np.column_stack([path + n_paths, component, monomial[product]]))
        coefficients.append(values[path, component, product] * np.sqrt(_permutations(monomial[product])))
        n_paths += len(values)
    if not keys:
        keys, coefficients = [np.zeros((0, 2 + order))], [np.zeros(0)]
    return SymmetricCoupling._build(
        order, irreps_in.dim, irrep_out.dim, n_paths, np.concatenate(keys), np.concatenate(coefficients)
    )


def _block(irreps_in: Irreps, drawn: tuple[int, ...], degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Couplings of the powers of the drawn irreps to one degree: monomials (n, ν) and values (paths, 2L + 1, n)."""
    powers = sorted(Counter(drawn).items())
    monomial = np.zeros((1, 0), dtype=np.int64)
    couplings: _Couplings = {0: np.ones((1, 1, 1))}
    for index, (position, power) in enumerate(powers):
        factor = _monomials(irreps_in[position].dim, power) + irreps_in.slices[position].start
        n, n_factor = len(monomial), len(factor)
        monomial = np.concatenate([np.repeat(monomial, n_factor, axis=0), np.tile(factor, (n, 1))], axis=1)
        # What later factors add at most bounds the intermediate degrees that can still reach the result.
        reach = sum(irreps_in[later].degree * times for later, times in powers[index + 1 :])
        couplings = _couple(couplings, _power(irreps_in[position].degree, power), degree - reach, degree + reach)
    return monomial, couplings.get(degree, np.zeros((0, 2 * degree + 1, len(monomial))))


def _couple(left: _Couplings, right: _Couplings, lowest: int, highest: int) -> _Couplings:
    """Every coupling of two sets over different variables to the degrees from ``lowest`` to ``highest``."""
    found: dict[int, list[np.ndarray]] = {}
    for (l1, a), (l2, b) in itertools.product(sorted(left.items()), sorted(right.items())):
        for l3 in range(max(abs(l1 - l2), lowest), min(l1 + l2, highest) + 1):
            isometry = wigner_3j(l1, l2, l3).numpy() * math.sqrt(2 * l3 + 1)
            product = np.einsum("pai,qbj,abm->pqmij", a, b, isometry, optimize=True)
            found.setdefault(l3, []).append(product.reshape(len(a) * len(b), 2 * l3 + 1, -1))
    return {degree: np.concatenate(parts) for degree, parts in sorted(found.items())}


@cache
def _power(degree: int, power: int) -> _Couplings:
    """Orthonormal couplings in Sym^power of one irrep, over the monomials of ``_monomials``."""
    if power == 1:
        return {degree: np.eye(2 * degree + 1)[None]}
    below, single = _monomials(2 * degree + 1, power - 1), np.arange(2 * degree + 1)
    all_monomials = {tuple(row): index for index, row in enumerate(_monomials(2 * degree + 1, power).tolist())}
    merged = [all_monomials[tuple(sorted([*row, i]))] for row in below.tolist() for i in single]
    collect = np.zeros((len(merged), len(all_monomials)))
    collect[np.arange(len(merged)), merged] = 1.0
    # Symmetrising is collecting equal products: coefficient of a monomial = √permutations × orthonormal coordinate.
    scale_below = np.sqrt(_permutations(below))
    scale = 1 / np.sqrt(_permutations(_monomials(2 * degree + 1, power)))
    candidates = _couple(_power(degree, power - 1), _power(degree, 1), 0, power * degree)
    result: _Couplings = {}
    for result_degree, vectors in candidates.items():
        products = vectors.reshape(*vectors.shape[:2], len(below), len(single)) * scale_below[:, None]
        symmetric = products.reshape(*vectors.shape[:2], len(merged)) @ collect
        independent = _orthonormal(symmetric * scale)
        if len(independent):
            result[result_degree] = independent
    return result


def _orthonormal(vectors: np.ndarray) -> np.ndarray:
    """Gram–Schmidt over the first axis; dependent ones are left out. Norm: that of each component M is 1."""
    kept: list[np.ndarray] = []
    for vector in vectors:
        start = np.linalg.norm(vector)
        for _ in range(2):  # once more removes the rounding errors of the first pass
            for other in kept:
                vector = vector - other * (np.vdot(other, vector) / len(vector))
        norm = np.linalg.norm(vector)
        if norm > _DEPENDENT * max(float(start), 1.0):
            kept.append(vector * (math.sqrt(len(vector)) / norm))
    return np.array(kept) if kept else vectors[:0]


@cache
def _monomials(dim: int, order: int) -> np.ndarray:
    """All products of ``order`` out of ``dim`` variables as sorted index tuples, shape (n, order)."""
    return np.array(list(itertools.combinations_with_replacement(range(dim), order)), dtype=np.int64)


def _permutations(monomial: np.ndarray) -> np.ndarray:
    """Number of distinct orders of each (sorted) index tuple, shape (n,)."""
    count = np.full(len(monomial), float(math.factorial(monomial.shape[1])))
    run = np.ones(len(monomial))
    for j in range(1, monomial.shape[1]):
        run = np.where(monomial[:, j] == monomial[:, j - 1], run + 1, 1.0)
        count /= run
    return count
