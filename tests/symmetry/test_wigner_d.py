"""Wigner matrices: three independent routes agree, they turn spherical harmonics, and they represent O(3)."""

from __future__ import annotations

import warnings

import pytest
import torch

from atomsym.core import InputError
from atomsym.kernels.spherical_harmonics import spherical_harmonics
from atomsym.symmetry import (
    Irreps,
    block_diagonal,
    matrix_to_euler,
    matrix_to_rotation_vector,
    random_rotations,
    representation_matrix,
    rotation_generators,
    rotation_vector_to_matrix,
    wigner_d,
    wigner_d_from_euler,
    wigner_d_from_rotation_vector,
)
from atomsym.testing import tolerances

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # e3nn warns about torch's deprecated scripting
    o3 = pytest.importorskip("e3nn.o3")

BOUND = tolerances.ALGEBRA.float64
MAX_DEGREE = 8


def rotations(n: int = 20, seed: int = 0, **settings: bool) -> torch.Tensor:
    return random_rotations(n, generator=torch.Generator().manual_seed(seed), **settings)


def test_three_routes_agree() -> None:
    r = rotations()
    from_matrix = wigner_d(MAX_DEGREE, r)
    from_angles = wigner_d_from_euler(MAX_DEGREE, *matrix_to_euler(r))
    from_exponential = wigner_d_from_rotation_vector(MAX_DEGREE, matrix_to_rotation_vector(r))
    for a, b, c in zip(from_matrix, from_angles, from_exponential, strict=True):
        assert (a - b).abs().max() < BOUND
        assert (a - c).abs().max() < BOUND


def test_degree_one_is_the_rotation_itself() -> None:
    r = rotations()
    assert torch.equal(wigner_d(1, r)[1], r)
    assert torch.equal(wigner_d(0, r)[0], torch.ones(20, 1, 1, dtype=r.dtype))


@pytest.mark.parametrize("improper", [False, True])
def test_turns_spherical_harmonics(improper: bool) -> None:
    r = rotations(improper=improper)
    v = torch.randn(20, 3, generator=torch.Generator().manual_seed(1), dtype=r.dtype)
    before = spherical_harmonics(v, MAX_DEGREE).unsqueeze(-1)
    after = spherical_harmonics((r @ v.unsqueeze(-1)).squeeze(-1), MAX_DEGREE)
    assert ((block_diagonal(wigner_d(MAX_DEGREE, r)) @ before).squeeze(-1) - after).abs().max() < 10 * BOUND


def test_equals_e3nn() -> None:
    r = rotations()
    angles = matrix_to_euler(r)
    for degree, block in enumerate(wigner_d(6, r)):
        # e3nn keeps its constants in single precision
        assert (block - o3.wigner_D(degree, *angles)).abs().max() < tolerances.ALGEBRA.float32


def test_is_an_orthogonal_representation() -> None:
    a, b = rotations(seed=0), rotations(seed=1)
    for first, second, product in zip(*(wigner_d(MAX_DEGREE, r) for r in (a, b, a @ b)), strict=True):
        assert (first @ second - product).abs().max() < BOUND
        identity = torch.eye(first.shape[-1], dtype=first.dtype)
        assert (first @ first.mT - identity).abs().max() < BOUND


def test_generators_are_antisymmetric_and_close() -> None:
    for degree in range(MAX_DEGREE + 1):
        x, y, z = rotation_generators(degree)
        assert (x + x.T).abs().max() < BOUND
        assert (x @ y - y @ x - z).abs().max() < 10 * BOUND
        assert (y @ z - z @ y - x).abs().max() < 10 * BOUND


def test_derivatives_of_the_routes_agree() -> None:
    omega = torch.tensor([[0.3, -0.4, 0.9], [0.0, 0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    weights = [
        torch.randn(2, d, d, generator=torch.Generator().manual_seed(d), dtype=torch.float64) for d in (1, 3, 5, 7)
    ]

    def contracted(blocks: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return sum((w * b).sum() for w, b in zip(weights, blocks, strict=True))

    routes = (
        lambda w: contracted(wigner_d(3, rotation_vector_to_matrix(w))),
        lambda w: contracted(wigner_d_from_rotation_vector(3, w)),
    )
    for order in (torch.autograd.functional.jacobian, torch.autograd.functional.hessian):
        found, expected = (order(route, omega) for route in routes)
        assert (found - expected).abs().max() < tolerances.BACKEND_PARITY.float64 * expected.abs().max()


def test_gradcheck_of_each_route() -> None:
    r = rotations(2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: wigner_d(3, x), r)
    assert torch.autograd.gradgradcheck(lambda x: wigner_d(2, x), r)
    angles = [a.detach().requires_grad_() for a in matrix_to_euler(r)]
    assert torch.autograd.gradcheck(lambda a, b, c: wigner_d_from_euler(3, a, b, c), angles)


def test_representation_of_irreps_has_inversion_by_parity() -> None:
    irreps = Irreps.parse("0e+0o+1o+1e+2e+2o+3o")
    a, b = rotations(seed=2, improper=True), rotations(seed=3, improper=True)
    assert (torch.linalg.det(a) < 0).any()
    product = representation_matrix(irreps, a) @ representation_matrix(irreps, b)
    assert (product - representation_matrix(irreps, a @ b)).abs().max() < BOUND
    inversion = representation_matrix(irreps, -torch.eye(3, dtype=torch.float64))
    signs = [float(irrep.parity) for irrep in irreps for _ in range(irrep.dim)]
    assert (inversion - torch.diag(torch.tensor(signs, dtype=torch.float64))).abs().max() < BOUND
    for irrep, part in zip(irreps, irreps.slices, strict=True):
        expected = o3.Irrep(str(irrep)).D_from_matrix(a.float()).double()
        assert (
            representation_matrix(irreps, a)[:, part, part] - expected
        ).abs().max() < 10 * tolerances.ALGEBRA.float32


def test_batch_axes_empty_lists_and_errors() -> None:
    r = rotations(6).reshape(2, 3, 3, 3)
    assert torch.equal(wigner_d(3, r)[3][1, 2], wigner_d(3, r[1, 2])[3])
    assert representation_matrix(Irreps(), r).shape == (2, 3, 0, 0)
    assert wigner_d(2, r[:0])[2].shape == (0, 3, 5, 5)
    with pytest.raises(InputError, match="max_degree must be >= 0"):
        wigner_d(-1, r)
    with pytest.raises(InputError, match="rotation must be float"):
        wigner_d(1, r[..., :2])
