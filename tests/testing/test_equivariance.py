"""The equivariance helper passes what turns with its input and catches what does not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from atomsym.core import InputError
from atomsym.kernels.spherical_harmonics import spherical_harmonics
from atomsym.symmetry import Irreps, wigner_3j
from atomsym.testing import tolerances
from atomsym.testing.equivariance import equivariance_error

VECTOR = Irreps.parse("1o")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator(7), dtype=torch.float64)


def test_spherical_harmonics_are_equivariant() -> None:
    error = equivariance_error(
        lambda v: spherical_harmonics(v, 4), VECTOR, Irreps.spherical_harmonics(4), random(9, 3), generator=generator()
    )
    assert error < tolerances.EQUIVARIANCE.float64


def test_wrong_component_order_is_caught() -> None:
    def mutant(v: Tensor) -> Tensor:
        values = spherical_harmonics(v, 2)
        return torch.cat([values[:, :4], values[:, 4:].flip(1)], dim=1)

    error = equivariance_error(mutant, VECTOR, Irreps.spherical_harmonics(2), random(9, 3), generator=generator())
    assert error > 0.1


def test_wrong_parity_is_caught_by_improper_rotations_only() -> None:
    def cross(a: Tensor, b: Tensor) -> Tensor:
        return torch.einsum("ijk,nic,njc->nkc", wigner_3j(1, 1, 1), a, b)

    inputs, lists = (random(4, 3, 5), random(4, 3, 5).flip(0)), (VECTOR, VECTOR)
    bound = tolerances.EQUIVARIANCE.float64
    assert equivariance_error(cross, lists, Irreps.parse("1e"), inputs, generator=generator()) < bound
    assert equivariance_error(cross, lists, VECTOR, inputs, generator=generator()) > 0.1
    assert equivariance_error(cross, lists, VECTOR, inputs, generator=generator(), improper=False) < bound


def test_not_a_number_is_not_equivariant() -> None:
    error = equivariance_error(lambda v: v * torch.nan, VECTOR, VECTOR, random(2, 3), generator=generator())
    assert error == float("inf")


def test_inputs_that_do_not_fit_are_named() -> None:
    with pytest.raises(InputError, match=r"inputs\[0\] has the shape \(2, 4\)"):
        equivariance_error(lambda v: v, VECTOR, VECTOR, random(2, 4), generator=generator())
    with pytest.raises(InputError, match="found 1 for 2 inputs"):
        equivariance_error(lambda v, w: v, VECTOR, VECTOR, (random(2, 3), random(2, 3)), generator=generator())
    with pytest.raises(InputError, match="the function returned the shape"):
        equivariance_error(lambda v: v[:, :2], VECTOR, VECTOR, random(2, 3), generator=generator())
