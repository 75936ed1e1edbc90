"""Rotations: every conversion returns where it came from, also at half turns, at the identity and on the poles."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from atomsym.core import InputError
from atomsym.symmetry import (
    euler_to_matrix,
    matrix_to_euler,
    matrix_to_quaternion,
    matrix_to_rotation_vector,
    quaternion_to_matrix,
    random_rotations,
    rotation_vector_to_matrix,
)
from atomsym.symmetry.rotations import cross_product_matrix
from atomsym.testing import tolerances

BOUND = tolerances.ALGEBRA.float64


def rotations() -> Tensor:
    """Random ones, the identity, half turns about axes and diagonals, and turns about the polar axis."""
    axes = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [-1, 0, 1], [1, 1, 1]], dtype=torch.float64)
    half_turns = rotation_vector_to_matrix(math.pi * axes / axes.norm(dim=1, keepdim=True))
    polar = rotation_vector_to_matrix(torch.tensor([[0, 0.3, 0], [0, -2.0, 0], [0, 1e-9, 0]], dtype=torch.float64))
    drawn = random_rotations(50, generator=torch.Generator().manual_seed(0))
    return torch.cat([drawn, torch.eye(3, dtype=torch.float64)[None], half_turns, polar, half_turns[0] @ polar])


def test_matrices_are_proper_rotations() -> None:
    r = rotations()
    assert (r @ r.mT - torch.eye(3, dtype=r.dtype)).abs().max() < BOUND
    assert (torch.linalg.det(r) - 1).abs().max() < BOUND


@pytest.mark.parametrize(
    "round_trip",
    [
        lambda r: quaternion_to_matrix(matrix_to_quaternion(r)),
        lambda r: rotation_vector_to_matrix(matrix_to_rotation_vector(r)),
        lambda r: euler_to_matrix(*matrix_to_euler(r)),
    ],
    ids=["quaternion", "rotation vector", "Euler angles"],
)
def test_conversions_return_the_matrix(round_trip: Callable[[Tensor], Tensor]) -> None:
    assert (round_trip(rotations()) - rotations()).abs().max() < BOUND


def test_rotation_vector_is_the_exponential_of_the_cross_product() -> None:
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(40, 3, generator=generator, dtype=torch.float64)
    lengths = torch.logspace(-12, 0.8, 40, dtype=torch.float64)[:, None]
    omega = lengths * directions / directions.norm(dim=1, keepdim=True)
    expected = torch.linalg.matrix_exp(cross_product_matrix(omega))
    assert (rotation_vector_to_matrix(omega) - expected).abs().max() < BOUND
    within = omega[lengths[:, 0] < math.pi]
    assert (matrix_to_rotation_vector(rotation_vector_to_matrix(within)) - within).abs().max() < BOUND


def test_rotation_vector_has_its_derivatives_at_zero_and_across_the_series_border() -> None:
    for length in (0.0, 1e-8, 0.4999, 0.5001, 2.0):
        omega = torch.tensor([0.6, 0.0, 0.8], dtype=torch.float64).mul(length).requires_grad_()
        assert torch.autograd.gradcheck(rotation_vector_to_matrix, omega)
        assert torch.autograd.gradgradcheck(rotation_vector_to_matrix, omega)
        jacobian = torch.autograd.functional.jacobian(
            lambda w: matrix_to_rotation_vector(rotation_vector_to_matrix(w)), omega
        )
        assert (jacobian - torch.eye(3, dtype=torch.float64)).abs().max() < BOUND


def test_random_rotations_follow_the_seed_and_are_uniform() -> None:
    first, second = (random_rotations(2000, generator=torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, second)
    # Uniform: every matrix element has mean 0 and mean square 1/3; 2000 draws leave 3 % noise at four sigma.
    assert first.mean(0).abs().max() < 4 * math.sqrt(1 / 3 / 2000)
    assert ((first**2).mean(0) - 1 / 3).abs().max() < 4 * math.sqrt(4 / 45 / 2000)
    mixed = torch.linalg.det(random_rotations(200, generator=torch.Generator().manual_seed(5), improper=True))
    assert 60 < int((mixed < 0).sum()) < 140


def test_wrong_shape_is_named() -> None:
    with pytest.raises(InputError, match=r"quaternion must be float of shape \(..., 4\)"):
        quaternion_to_matrix(torch.zeros(3))
    with pytest.raises(InputError, match=r"rotation must be float of shape \(..., 3, 3\)"):
        matrix_to_euler(torch.zeros(3))
