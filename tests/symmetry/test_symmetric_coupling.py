"""Couplings of identical factors: symmetric, orthonormal, equivariant, and as many as characters count."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from torch import Tensor

from atomsym.core import InputError
from atomsym.symmetry import Irrep, Irreps, SymmetricCoupling, symmetric_coupling, wigner_3j
from atomsym.testing import tolerances

LISTS = ["0e", "1o", "2e", "1o+1o", "0e+1o+2e", "0o+1e+1o", "0e+0e+1o+2o"]
LIMIT = tolerances.ALGEBRA.float64


def multiplicity(irreps_in: Irreps, irrep: Irrep, order: int) -> int:
    """How often an irrep occurs in the symmetric power: number of products of weight m = l minus those of m = l + 1.

    The character of Sym^ν is a sum over products of ν weight vectors, each with its total m and parity.
    """
    vectors = [(m, r.parity) for r in irreps_in for m in range(-r.degree, r.degree + 1)]
    weights: Counter[tuple[int, int]] = Counter()
    for drawn in itertools.combinations_with_replacement(vectors, order):
        parity = 1
        for _, p in drawn:
            parity *= p
        weights[sum(m for m, _ in drawn), parity] += 1
    return weights[irrep.degree, irrep.parity] - weights[irrep.degree + 1, irrep.parity]


def representation(irreps: Irreps, axis: tuple[float, float, float], improper: bool) -> Tensor:
    """Block-diagonal matrix of a rotation, with an inversion after it if improper; degrees built up by coupling."""
    x, y, z = axis
    generator = torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]], dtype=torch.float64)
    matrices = [torch.ones(1, 1, dtype=torch.float64), torch.linalg.matrix_exp(generator)]
    for degree in range(2, irreps.max_degree + 1):
        isometry = wigner_3j(degree - 1, 1, degree) * (2 * degree + 1) ** 0.5
        matrices.append(torch.einsum("abi,ac,bd,cdj->ij", isometry, matrices[-1], matrices[1], isometry))
    return torch.block_diag(*(matrices[r.degree] * (r.parity if improper else 1) for r in irreps))


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("text", [*LISTS, "0e+1o+2e+3o"])
def test_number_of_paths_is_the_multiplicity_in_the_symmetric_power(text: str, order: int) -> None:
    irreps = Irreps.parse(text)
    found = {}
    for degree, parity in itertools.product(range(5), (1, -1)):
        irrep = Irrep(degree, parity)
        found[str(irrep)] = (symmetric_coupling(irreps, irrep, order).n_paths, multiplicity(irreps, irrep, order))
    assert all(own == counted for own, counted in found.values()), found
    assert any(counted for _, counted in found.values())


@pytest.mark.parametrize("order", [2, 3, 4])
def test_exchanging_identical_factors_changes_nothing(order: int) -> None:
    tensors = symmetric_coupling(Irreps.parse("0e+1o+2e"), Irrep(1, -1), order).tensors()
    for permutation in itertools.permutations(range(order)):
        assert torch.equal(tensors, tensors.permute(0, 1, *(2 + p for p in permutation)))


@pytest.mark.parametrize("text", LISTS)
@pytest.mark.parametrize("order", [1, 2, 3])
def test_paths_are_orthonormal(text: str, order: int) -> None:
    irreps = Irreps.parse(text)
    for irrep in (Irrep(0, 1), Irrep(1, -1), Irrep(2, 1), Irrep(1, 1)):
        tensors = symmetric_coupling(irreps, irrep, order).tensors()
        rows = tensors.reshape(len(tensors) * irrep.dim, irreps.dim**order)
        assert torch.allclose(rows @ rows.T, torch.eye(len(rows), dtype=torch.float64), rtol=0, atol=LIMIT)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_couplings_are_equivariant_under_rotation_and_inversion(order: int) -> None:
    irreps = Irreps.parse("0o+1o+2e" if order < 4 else "0e+1o")
    for irrep, improper in itertools.product((Irrep(0, 1), Irrep(1, 1), Irrep(1, -1), Irrep(2, -1)), (False, True)):
        d_in = representation(irreps, (0.3, 1.1, -2.0), improper)
        d_out = representation(Irreps((irrep,)), (0.3, 1.1, -2.0), improper)
        tensors = symmetric_coupling(irreps, irrep, order).tensors()
        rotated = torch.einsum("ij,pj...->pi...", d_out, tensors)
        for axis in range(2, 2 + order):
            tensors = torch.tensordot(tensors, d_in, dims=([axis], [0])).movedim(-1, axis)
        assert tensors.numel() == 0 or (tensors - rotated).abs().max() < tolerances.EQUIVARIANCE.float64


def test_first_order_copies_the_input() -> None:
    coupling = symmetric_coupling(Irreps.parse("1o+0e+1o"), Irrep(1, -1), 1)
    expected = torch.zeros(2, 3, 7, dtype=torch.float64)
    expected[0, :, :3] = expected[1, :, 4:] = torch.eye(3)
    assert (coupling.tensors() - expected).abs().max() < LIMIT


def test_given_tensors_keep_their_symmetric_part() -> None:
    generator = torch.Generator().manual_seed(0)
    given = torch.randn(3, 5, 4, 4, 4, generator=generator, dtype=torch.float64)
    symmetric = torch.stack([given.permute(0, 1, *(2 + p for p in q)) for q in itertools.permutations(range(3))]).mean(0)
    found = SymmetricCoupling.from_tensors(given)
    assert (found.tensors() - symmetric).abs().max() < LIMIT
    assert (found.n_paths, found.dim_out, found.dim_in, found.order) == (3, 5, 4, 3)


def test_round_trip_through_tensors_is_the_same_coupling() -> None:
    coupling = symmetric_coupling(Irreps.parse("0e+1o+2e"), Irrep(2, 1), 3)
    again = SymmetricCoupling.from_tensors(coupling.tensors())
    assert (again.tensors() - coupling.tensors()).abs().max() < LIMIT
    assert np.array_equal(again.monomial, coupling.monomial)


def test_all_zero_paths_are_kept() -> None:
    coupling = SymmetricCoupling.from_tensors(torch.zeros(2, 1, 3, 3))
    assert (coupling.n_paths, len(coupling.coefficient)) == (2, 0)
    assert coupling.tensors().shape == (2, 1, 3, 3)


def test_equal_couplings_hash_alike() -> None:
    first = symmetric_coupling(Irreps.parse("0e+1o"), Irrep(0, 1), 2)
    second = symmetric_coupling.__wrapped__(Irreps.parse("0e+1o"), Irrep(0, 1), 2)
    assert first is not second
    assert first == second
    assert hash(first) == hash(second)
    assert first != symmetric_coupling(Irreps.parse("0e+1o"), Irrep(0, 1), 3)


@pytest.mark.parametrize(
    "tensors", [torch.zeros(2, 3), torch.zeros(1, 1, 3, 4), torch.full((1, 1, 2), float("nan"))], ids=["2d", "3x4", "nan"]
)
def test_unusable_tensors_are_refused(tensors: torch.Tensor) -> None:
    with pytest.raises(InputError, match="coupling tensors"):
        SymmetricCoupling.from_tensors(tensors)


def test_order_zero_is_refused() -> None:
    with pytest.raises(InputError, match="order >= 1"):
        symmetric_coupling(Irreps.parse("0e"), Irrep(0, 1), 0)
