"""Matrices of a spin: equivariance, fixed coefficients, both halves, derivatives, refusals."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from atomsym.core.errors import BackendError, InputError
from atomsym.kernels.gaunt_product import GauntProduct, gaunt_coefficients
from atomsym.kernels.matrix_coupling import MatrixCoupling, matrix_coefficients, matrix_coupling
from atomsym.symmetry import Irreps, random_rotations, representation_matrix, wigner_3j
from atomsym.testing.convolutions import deviation
from atomsym.testing.tolerances import ALGEBRA, EQUIVARIANCE

SH = Irreps.spherical_harmonics
COUPLINGS = [
    MatrixCoupling(2, 2, 2),
    MatrixCoupling(2, 2, 2, part="odd"),
    MatrixCoupling(3, 1, 4, spin=3),
    MatrixCoupling(3, 2, 3, spin=2, part="odd"),
]


def operands(coupling: MatrixCoupling, n: int = 4, channels: int = 3) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    dims = [(degree + 1) ** 2 for degree in (coupling.degree_first, coupling.degree_second)]
    first, second = (torch.randn(n, dim, channels, generator=draw, dtype=torch.float64) for dim in dims)
    return first, second


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("improper", [False, True], ids=["rotation", "with inversion"])
@pytest.mark.parametrize("coupling", COUPLINGS, ids=str)
def test_product_turns_with_its_factors(coupling: MatrixCoupling, improper: bool, dtype: torch.dtype) -> None:
    rotation = random_rotations(1, generator=torch.Generator().manual_seed(1))[0] * (-1 if improper else 1)
    x, y = (operand.to(dtype) for operand in operands(coupling))
    first, second, last = (
        representation_matrix(irreps, rotation).to(dtype)
        for irreps in (SH(coupling.degree_first), SH(coupling.degree_second), coupling.irreps_out)
    )
    expected = last @ matrix_coupling(x, y, coupling)
    assert expected.abs().max() > 0.1
    assert deviation(matrix_coupling(first @ x, second @ y, coupling), expected) < EQUIVARIANCE.of(dtype)


@pytest.mark.parametrize("coupling", COUPLINGS, ids=str)
def test_product_is_a_sum_of_couplings_with_fixed_coefficients(coupling: MatrixCoupling) -> None:
    x, y = operands(coupling)
    out = torch.zeros(4, (coupling.degree_out + 1) ** 2, 3, dtype=torch.float64)
    found = matrix_coefficients(coupling)
    assert all(sum(degrees) % 2 == (coupling.part == "odd") for degrees in found)
    for degrees, value in found.items():
        a, b, c = (slice(degree**2, (degree + 1) ** 2) for degree in degrees)
        out[:, c] += torch.einsum("ijk,nic,njc->nkc", value * wigner_3j(*degrees), x[:, a], y[:, b])
    assert deviation(matrix_coupling(x, y, coupling), out) < ALGEBRA.float64


def test_both_halves_together_have_every_path() -> None:
    even, odd = (matrix_coefficients(MatrixCoupling(3, 3, 3, spin=3, part=part)) for part in ("even", "odd"))
    assert (len(even), len(odd)) == (23, 11)


def test_large_spins_tend_to_the_gaunt_product() -> None:
    """Matrices of a large spin commute up to 1/spin; their product is that of functions, in another scale."""
    gaunt = gaunt_coefficients(GauntProduct((SH(2), SH(2)), SH(2)))
    errors = []
    for spin in (4, 8, 16):
        scale = math.sqrt((2 * spin + 1) / (4 * math.pi))
        found = matrix_coefficients(MatrixCoupling(2, 2, 2, spin=spin))
        errors.append(max(abs(abs(found[d]) * scale - abs(value)) for d, value in gaunt.items()))
    assert errors[2] < 0.4 * errors[1] < 0.2 * errors[0]


def test_a_product_of_transposed_matrices_is_seen() -> None:
    """Planted bug: X Yᵀ, which is another coupling of the same symmetry, and the parts exchanged."""
    coupling = COUPLINGS[0]
    x, y = operands(coupling)
    signs = torch.cat([torch.full((2 * degree + 1,), (-1.0) ** degree) for degree in range(3)]).double()
    assert deviation(matrix_coupling(x, signs[:, None] * y, coupling), matrix_coupling(x, y, coupling)) > 1e-2


def test_derivatives_match_finite_differences() -> None:
    coupling = MatrixCoupling(2, 1, 2)
    pair = [operand.requires_grad_() for operand in operands(coupling, n=1, channels=1)]
    for check in (torch.autograd.gradcheck, torch.autograd.gradgradcheck):
        assert check(lambda x, y: matrix_coupling(x, y, coupling), pair)


def test_empty_and_shared_operands_and_refusals() -> None:
    coupling = COUPLINGS[0]
    x, y = operands(coupling)
    assert matrix_coupling(x[:0], y[:0], coupling).shape == (0, 9, 3)
    assert matrix_coupling(x, y[..., :1], coupling).shape == (4, 9, 3)
    with pytest.raises(InputError, match="second must have the shape"):
        matrix_coupling(x, y[:, :4], coupling)
    with pytest.raises(InputError, match="3 channels, second 2"):
        matrix_coupling(x, y[..., :2], coupling)
    with pytest.raises(InputError, match="both float64"):
        matrix_coupling(x, y.float(), coupling)
    with pytest.raises(BackendError, match="no backend 'cuda'"):
        matrix_coupling(x, y, coupling, backend="cuda")
    with pytest.raises(InputError, match="spin 1 has degrees up to 2; 3 needs 2"):
        MatrixCoupling(3, 1, 1, spin=1)
    with pytest.raises(InputError, match="part must be"):
        MatrixCoupling(1, 1, 1, part="both")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="degrees must be"):
        MatrixCoupling(1, -1, 1)
