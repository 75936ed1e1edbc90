"""Exact on its grid, equal to couplings with Gaunt's coefficients, equivariant; what it lacks, and what vectors add."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from atomsym.core.errors import BackendError, InputError
from atomsym.kernels.gaunt_product import GauntProduct, gaunt_coefficients, gaunt_product, quadrature
from atomsym.kernels.gaunt_product import product as module
from atomsym.kernels.spherical_harmonics.reference import reference_spherical_harmonics
from atomsym.symmetry import Irrep, Irreps, random_rotations, representation_matrix, wigner_3j
from atomsym.testing.convolutions import deviation
from atomsym.testing.tolerances import ALGEBRA, EQUIVARIANCE

SH = Irreps.spherical_harmonics


def pseudo(max_degree: int) -> Irreps:
    """The parities −(−1)^l."""
    return Irreps(tuple(Irrep(degree, -((-1) ** degree)) for degree in range(max_degree + 1)))


PRODUCTS = {
    "scalar": GauntProduct((SH(3), SH(2)), SH(4)),
    "pseudo": GauntProduct((SH(2), pseudo(2)), pseudo(3)),
    "three": GauntProduct((SH(2), SH(1), SH(2)), SH(2)),
    "few degrees": GauntProduct((Irreps.parse("2e+0e"), Irreps.parse("1o")), Irreps.parse("3o")),
    "vector": GauntProduct((SH(3), SH(2)), pseudo(4), "vector"),
    "vector of pseudo": GauntProduct((SH(2), pseudo(2)), SH(2), "vector"),
}

PRODUCTS_OF_TWO = GauntProduct((SH(2), SH(2)), SH(2))


def operands(product: GauntProduct, n: int = 4, channels: int = 3, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(n, f.dim, channels, generator=draw, dtype=torch.float64).to(dtype) for f in product.factors]


def by_couplings(factors: list[Tensor], product: GauntProduct) -> Tensor:
    out = factors[0].new_zeros(factors[0].shape[0], product.irreps_out.dim, factors[0].shape[2])
    parts = [
        {irrep.degree: part for irrep, part in zip(irreps, irreps.slices, strict=True)}
        for irreps in (*product.factors, product.irreps_out)
    ]
    for degrees, value in gaunt_coefficients(product).items():
        a, b, c = (part[degree] for part, degree in zip(parts, degrees, strict=True))
        term = torch.einsum("ijk,nic,njc->nkc", value * wigner_3j(*degrees), factors[0][:, a], factors[1][:, b])
        out[:, c] += term
    return out


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("improper", [False, True], ids=["rotation", "with inversion"])
def test_product_turns_with_its_factors(name: str, dtype: torch.dtype, improper: bool) -> None:
    product = PRODUCTS[name]
    rotation = random_rotations(1, generator=torch.Generator().manual_seed(1))[0] * (-1 if improper else 1)
    factors = operands(product, dtype=dtype)
    turned = [
        representation_matrix(irreps, rotation).to(dtype) @ factor
        for irreps, factor in zip(product.factors, factors, strict=True)
    ]
    expected = representation_matrix(product.irreps_out, rotation).to(dtype) @ gaunt_product(factors, product)
    assert expected.abs().max() > 0.05
    assert deviation(gaunt_product(turned, product), expected) < EQUIVARIANCE.of(dtype)


def test_a_grid_one_degree_too_small_breaks_equivariance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted bug: sized for the factors alone, so that the product is aliased."""
    product = PRODUCTS["scalar"]
    factors = operands(product)
    exact = gaunt_product(factors, product)
    monkeypatch.setattr(GauntProduct, "grid_degree", property(lambda self: 3 + 2))
    assert deviation(module.reference(factors, product), exact) > 1e-2


@pytest.mark.parametrize("name", ["scalar", "pseudo", "few degrees", "vector", "vector of pseudo"])
def test_product_is_a_sum_of_couplings_with_fixed_coefficients(name: str) -> None:
    product = PRODUCTS[name]
    factors = operands(product)
    assert deviation(by_couplings(factors, product), gaunt_product(factors, product)) < ALGEBRA.float64


def test_coefficients_are_those_of_gaunt_and_even_paths_only() -> None:
    """|c| = √((2l1+1)(2l2+1)(2l3+1)/4π) |3j(l1 l2 l3; 0 0 0)|, the last read off the real symbol at order 0."""
    product = GauntProduct((SH(4), SH(4)), SH(4))
    found = gaunt_coefficients(product)
    for (a, b, c), value in found.items():
        size = math.sqrt((2 * a + 1) * (2 * b + 1) * (2 * c + 1) / (4 * math.pi))
        assert value == pytest.approx(size * float(wigner_3j(a, b, c)[a, b, c]), abs=ALGEBRA.float64)
    every = {(a, b, c) for a in range(5) for b in range(5) for c in range(abs(a - b), min(a + b, 4) + 1)}
    assert len(every) == 65
    assert set(found) == {degrees for degrees in every if sum(degrees) % 2 == 0}
    assert len(found) == 42


def test_vector_signals_have_every_odd_path() -> None:
    found = gaunt_coefficients(GauntProduct((SH(4), SH(4)), pseudo(4), "vector"))
    every = {(a, b, c) for a in range(5) for b in range(5) for c in range(abs(a - b), min(a + b, 4) + 1)}
    assert set(found) == {degrees for degrees in every if sum(degrees) % 2 == 1}
    assert min(abs(value) for value in found.values()) > 1e-3


def test_vector_signals_give_the_cross_product_of_vectors() -> None:
    draw = torch.Generator().manual_seed(3)
    x, y = torch.randn(2, 5, 3, 1, generator=draw, dtype=torch.float64)
    one = Irreps.parse("1o")
    found = gaunt_product((x, y), GauntProduct((one, one), Irreps.parse("1e"), "vector"))
    assert deviation(found * math.sqrt(4 * math.pi), torch.linalg.cross(x, y, dim=1)) < ALGEBRA.float64


def test_many_factors_are_products_in_turn_if_nothing_is_cut() -> None:
    three = PRODUCTS["three"]
    x, y, z = operands(three)
    whole = GauntProduct((SH(2), SH(1)), SH(3))
    inner = gaunt_product((x, y), whole)
    nested = gaunt_product((inner, z), GauntProduct((SH(3), SH(2)), SH(2)))
    assert deviation(gaunt_product((x, y, z), three), nested) < ALGEBRA.float64
    cut = gaunt_product((gaunt_product((x, y), GauntProduct((SH(2), SH(1)), SH(2))), z), PRODUCTS_OF_TWO)
    assert deviation(cut, nested) > 1e-2


@pytest.mark.parametrize("name", ["scalar", "three", "vector"])
def test_first_and_second_derivatives_match_finite_differences(name: str) -> None:
    product = PRODUCTS[name]
    factors = [f.requires_grad_() for f in operands(product, n=1, channels=1)]

    def call(*factors: Tensor) -> Tensor:
        return gaunt_product(factors, product)

    assert torch.autograd.gradcheck(call, factors)
    assert torch.autograd.gradgradcheck(call, factors)


@pytest.mark.parametrize("degree", [0, 1, 5, 12])
def test_quadrature_integrates_products_of_harmonics_exactly(degree: int) -> None:
    points, weights = quadrature(degree)
    half = degree // 2
    harmonics = reference_spherical_harmonics(points, half, False, "integral")
    gram = harmonics.T @ (weights[:, None] * harmonics)
    assert (gram - torch.eye((half + 1) ** 2, dtype=torch.float64)).abs().max() < ALGEBRA.float64
    assert len(points) == (degree // 2 + 1) * (degree + 1)


def test_shared_and_empty_operands() -> None:
    product = PRODUCTS["scalar"]
    x, y = operands(product)
    shared = gaunt_product((x, y[:1, :, :1]), product)
    assert deviation(shared, gaunt_product((x, y[:1, :, :1].expand_as(y)), product)) < ALGEBRA.float64
    assert gaunt_product((x[:0], y[:0]), product).shape == (0, 25, 3)
    vector = PRODUCTS["vector"]
    assert gaunt_product((x[:0], y[:0]), vector).shape == (0, 25, 3)
    assert gaunt_product((x, y[..., :1]), vector).shape == (4, 25, 3)


def test_what_does_not_fit_is_refused() -> None:
    product = PRODUCTS["scalar"]
    x, y = operands(product)
    with pytest.raises(InputError, match="1 factors for a product of 2"):
        gaunt_product((x,), product)
    with pytest.raises(InputError, match=r"factors\[1\] must have the shape \(n, 9, channels\)"):
        gaunt_product((x, x), product)
    with pytest.raises(InputError, match="n and channels of the others"):
        gaunt_product((x, y[:2]), product)
    with pytest.raises(InputError, match="all be float32 or all float64"):
        gaunt_product((x, y.float()), product)
    with pytest.raises(BackendError, match="no backend 'fft'"):
        gaunt_product((x, y), product, backend="fft")
    with pytest.raises(InputError, match="each degree once"):
        GauntProduct((Irreps.parse("1o+1o"), SH(1)), SH(1))
    with pytest.raises(InputError, match="each degree once"):
        GauntProduct((Irreps.parse("0e+1e"), SH(1)), SH(1))
    with pytest.raises(InputError, match="the inversion wants natural"):
        GauntProduct((SH(1), SH(1)), pseudo(1))
    with pytest.raises(InputError, match=r"the inversion wants the parities -\(-1\)"):
        GauntProduct((SH(1), SH(1)), SH(1), "vector")
    with pytest.raises(InputError, match="product of 3 factors"):
        GauntProduct((SH(1), SH(1), SH(1)), pseudo(1), "vector")
    with pytest.raises(InputError, match="two factors"):
        gaunt_coefficients(PRODUCTS["three"])
