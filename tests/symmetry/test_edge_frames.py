"""Edge frames: gauge-invariant functions have the right derivatives everywhere, the poles included."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from atomsym.core import InputError
from atomsym.kernels.spherical_harmonics import spherical_harmonics
from atomsym.symmetry import euler_to_matrix, rotation_to_polar_axis, wigner_3j, wigner_d
from atomsym.testing import tolerances

POLAR = torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64)


def directions() -> Tensor:
    """The poles, 1e-9 … 1e-3 away from them, the equator and its sides, random vectors; of several lengths."""
    rows = [[0.0, 1.0, 0.0], [0.0, -1.0, 0.0], [0.0, -3.0, 0.0], [0.6, 0.0, 0.8], [0.6, 1e-9, 0.8], [0.6, -1e-9, 0.8]]
    for offset in (1e-9, 1e-6, 1e-3):
        rows += [[offset, y, -0.5 * offset] for y in (1.0, -1.0, 2.0)]
    random = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.cat([torch.tensor(rows, dtype=torch.float64), random])


def coupling(degrees: tuple[int, int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Coefficients C[i, j, k], input features x[i] and output weights w[k]."""
    generator = torch.Generator().manual_seed(sum(degrees))
    x, w = (
        torch.randn(2 * degree + 1, generator=generator, dtype=torch.float64) for degree in (degrees[0], degrees[2])
    )
    return wigner_3j(*degrees), x, w


def direct(degrees: tuple[int, int, int], vector: Tensor) -> Tensor:
    coefficients, x, w = coupling(degrees)
    harmonics = spherical_harmonics(vector[None], degrees[1], backend="reference")[0, degrees[1] ** 2 :]
    return torch.einsum("ijk,i,j,k->", coefficients, x, harmonics, w).sin()


def in_frame(degrees: tuple[int, int, int], vector: Tensor, frame: Callable[[Tensor], Tensor]) -> Tensor:
    coefficients, x, w = coupling(degrees)
    polar = spherical_harmonics(POLAR, degrees[1], backend="reference")[0, degrees[1] ** 2 :]
    blocks = wigner_d(max(degrees), frame(vector[None])[0])
    inner = torch.einsum("ijk,j,i->k", coefficients, polar, blocks[degrees[0]] @ x)
    return (w @ (blocks[degrees[2]].T @ inner)).sin()


DEGREES = [(1, 1, 0), (1, 2, 1), (2, 1, 2), (2, 3, 3)]
ORDERS = (torch.autograd.functional.jacobian, torch.autograd.functional.hessian)


def largest_error(degrees: tuple[int, int, int], vectors: Tensor, frame: Callable[[Tensor], Tensor]) -> float:
    """Of first and second derivatives against the direct expression, relative to 1 + their size; inf if not finite."""
    worst = 0.0
    for vector in vectors:
        for derivative in ORDERS:
            found = derivative(lambda v: in_frame(degrees, v, frame), vector)
            wanted = derivative(lambda v: direct(degrees, v), vector)
            error = float((found - wanted).abs().max() / (1 + wanted.abs().max()))
            worst = max(worst, error if error == error else float("inf"))
    return worst


@pytest.mark.parametrize("degrees", DEGREES)
def test_invariant_functions_have_the_right_first_and_second_derivatives(degrees: tuple[int, int, int]) -> None:
    for vector in directions():
        difference = in_frame(degrees, vector, rotation_to_polar_axis) - direct(degrees, vector)
        assert difference.abs() < tolerances.ALGEBRA.float64
    assert largest_error(degrees, directions(), rotation_to_polar_axis) < tolerances.BACKEND_PARITY.float64


def one_chart(vectors: Tensor) -> Tensor:
    """Planted bug: the shortest turn to +y for every vector."""
    x, y, z = (vectors / vectors.norm(dim=-1, keepdim=True)).unbind(-1)
    scale = 1 / (1 + y)
    rows = ((1 - x * x * scale, -x, -x * z * scale), (x, y, z), (-x * z * scale, -z, 1 - z * z * scale))
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def by_angles(vectors: Tensor) -> Tensor:
    """Planted bug: spherical angles."""
    x, y, z = (vectors / vectors.norm(dim=-1, keepdim=True)).unbind(-1)
    alpha, beta = torch.atan2(x, z), torch.acos(y)
    return euler_to_matrix(torch.zeros_like(alpha), -beta, -alpha)


@pytest.mark.parametrize("frame", [one_chart, by_angles])
def test_the_test_sees_frames_that_fail_at_the_poles(frame: Callable[[Tensor], Tensor]) -> None:
    ordinary, poles = directions()[-3:], directions()[:9]
    assert largest_error((1, 2, 1), ordinary, frame) < tolerances.BACKEND_PARITY.float64
    assert largest_error((1, 2, 1), poles, frame) > 1e4 * tolerances.BACKEND_PARITY.float64


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_takes_the_vector_to_the_polar_axis_by_a_proper_rotation(dtype: torch.dtype) -> None:
    vectors = directions().to(dtype)
    r = rotation_to_polar_axis(vectors)
    bound = tolerances.ALGEBRA.of(dtype)
    turned = (r @ (vectors / vectors.norm(dim=1, keepdim=True)).unsqueeze(-1)).squeeze(-1)
    assert (turned - POLAR.to(dtype)).abs().max() < bound
    assert (r @ r.mT - torch.eye(3, dtype=dtype)).abs().max() < bound
    assert (torch.linalg.det(r) - 1).abs().max() < bound


def test_zero_vector_gets_the_identity_and_no_derivatives() -> None:
    vector = torch.zeros(2, 3, dtype=torch.float64)
    assert torch.equal(rotation_to_polar_axis(vector), torch.eye(3, dtype=torch.float64).expand(2, 3, 3))
    for derivative in ORDERS:
        assert (derivative(lambda v: rotation_to_polar_axis(v).sum(), vector) == 0).all()


def test_batches_transforms_and_errors() -> None:
    vectors = directions()[:6]
    expected = rotation_to_polar_axis(vectors)
    assert torch.equal(torch.vmap(lambda v: rotation_to_polar_axis(v))(vectors), expected)
    assert torch.equal(rotation_to_polar_axis(vectors.reshape(2, 3, 3)).reshape(6, 3, 3), expected)
    assert rotation_to_polar_axis(vectors[:0]).shape == (0, 3, 3)
    with pytest.raises(InputError, match="vectors must be float"):
        rotation_to_polar_axis(torch.zeros(2))
