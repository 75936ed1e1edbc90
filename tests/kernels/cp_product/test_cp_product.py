"""Exact ranks are exact, published ones as wrong as they say; equivariance, derivatives, convolutions, refusals."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import Tensor

from atomsym.core.errors import BackendError, InputError
from atomsym.kernels.cp_product import CPProduct, available_ranks, cp_convolution, cp_product
from atomsym.kernels.cp_product.cube import coupling_cube, relative_error
from atomsym.kernels.cp_product.factors import _shipped, factors_of
from atomsym.kernels.cp_product.solver import fit
from atomsym.kernels.spherical_harmonics import spherical_harmonics
from atomsym.kernels.tensor_product import ChannelwiseProduct, tensor_product_convolution
from atomsym.symmetry import random_rotations, representation_matrix
from atomsym.testing.convolutions import deviation, random_topology
from atomsym.testing.tolerances import ALGEBRA, BACKEND_PARITY, EQUIVARIANCE

EXACT = [
    CPProduct.of(*degrees, mirror=mirror)
    for degrees in ((1, 1, 1), (2, 2, 2), (3, 3, 3), (1, 3, 3), (0, 2, 1))
    for mirror in (True, False)
]
APPROXIMATE = [
    CPProduct.of(*(degree,) * 3, precision=precision, mirror=False)
    for degree in (1, 2, 3)
    for precision in ("quadratic", "linear")
]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def operands(product: CPProduct, n: int = 5, channels: int = 3, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    draw = generator()
    dims = [(degree + 1) ** 2 for degree in (product.degree_first, product.degree_second)]
    return [torch.randn(n, dim, channels, generator=draw, dtype=torch.float64).to(dtype) for dim in dims]


def turning_error(product: CPProduct, improper: bool, dtype: torch.dtype = torch.float64) -> float:
    rotation = random_rotations(1, generator=generator(1))[0] * (-1 if improper else 1)
    x, y = operands(product, dtype=dtype)
    first, second, last = (
        representation_matrix(product.irreps(degree), rotation).to(dtype)
        for degree in (product.degree_first, product.degree_second, product.degree_out)
    )
    return deviation(cp_product(first @ x, second @ y, product), last @ cp_product(x, y, product))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("product", EXACT, ids=str)
def test_exact_ranks_turn_with_their_factors(product: CPProduct, dtype: torch.dtype) -> None:
    """Improper rotations too: features without mirror do not feel the inversion."""
    for improper in (False, True):
        assert turning_error(product, improper, dtype) < EQUIVARIANCE.of(dtype)
    assert product.fit_error < ALGEBRA.float64


def test_all_couplings_break_the_inversion_of_natural_parities() -> None:
    """Planted bug: the cross product of two polar vectors, called polar."""
    without, with_mirror = CPProduct.of(1, 1, 1, mirror=False), CPProduct.of(1, 1, 1)
    x, y = operands(without)
    inversion = representation_matrix(with_mirror.irreps(1), -torch.eye(3, dtype=torch.float64))
    for product, broken in ((without, True), (with_mirror, False)):
        found = cp_product(inversion @ x, inversion @ y, product)
        error = deviation(found, inversion @ cp_product(x, y, product))
        assert (error > 1e-2) if broken else (error < EQUIVARIANCE.float64)


@pytest.mark.parametrize("product", APPROXIMATE, ids=str)
def test_published_ranks_turn_up_to_their_error(product: CPProduct) -> None:
    """The tensor of a product and that of the same after a turn differ by twice the error at most."""
    assert product.fit_error > 1e-3
    cube = torch.from_numpy(coupling_cube(product.degree, product.mirror))
    rotation = random_rotations(1, generator=generator(1))[0]
    matrix = representation_matrix(product.irreps(product.degree), rotation)
    found = torch.einsum("ir,jr,kr->ijk", *_shipped(product.degree, product.mirror, product.rank))
    turned = torch.einsum("ijk,iI,jJ,kK->IJK", found, matrix, matrix, matrix)
    assert (turned - found).norm() < 2 * product.fit_error * cube.norm() * (1 + ALGEBRA.float64)
    assert turning_error(product, False) > 1e-4


@pytest.mark.parametrize("product", EXACT, ids=str)
def test_exact_ranks_are_the_sum_of_all_couplings_with_one_weight(product: CPProduct) -> None:
    x, y = operands(product, channels=2)
    topology = random_topology(5, 20, generator())
    edges = torch.randn(20, (product.degree_second + 1) ** 2, generator=generator(), dtype=torch.float64)
    weights = torch.randn(20, 2, generator=generator(), dtype=torch.float64)
    couplings = ChannelwiseProduct.merged(
        *(product.irreps(d) for d in (product.degree_first, product.degree_second, product.degree_out))
    )
    shared = weights.unsqueeze(1).expand(-1, couplings.n_paths, -1)
    expected = tensor_product_convolution(x, edges, shared, topology, couplings, backend="reference")
    assert deviation(cp_convolution(x, edges, weights, topology, product), expected) < BACKEND_PARITY.float64
    assert y.shape[0] == 5


def test_convolution_is_the_sum_of_products_over_edges() -> None:
    product = CPProduct.of(1, 2, 2)
    topology = random_topology(4, 11, generator())
    x, _ = operands(product, n=4)
    vectors = torch.randn(11, 3, generator=generator(), dtype=torch.float64)
    harmonics = spherical_harmonics(vectors, 2)
    weights = torch.randn(11, 3, generator=generator(), dtype=torch.float64)
    messages = cp_product(x[topology.sender], harmonics.unsqueeze(2), product) * weights.unsqueeze(1)
    expected = torch.zeros(4, 9, 3, dtype=torch.float64).index_add(0, topology.receiver, messages)
    assert deviation(cp_convolution(x, harmonics, weights, topology, product), expected) < ALGEBRA.float64


def test_derivatives_match_finite_differences() -> None:
    product = CPProduct.of(1, 1, 1)
    topology = random_topology(2, 3, generator())
    pair = [operand.requires_grad_() for operand in operands(product, n=2, channels=1)]
    edges = torch.randn(3, 4, generator=generator(), dtype=torch.float64, requires_grad=True)
    weights = torch.randn(3, 1, generator=generator(), dtype=torch.float64, requires_grad=True)

    def convolve(x: Tensor, edges: Tensor, weights: Tensor) -> Tensor:
        return cp_convolution(x, edges, weights, topology, product)

    for check in (torch.autograd.gradcheck, torch.autograd.gradgradcheck):
        assert check(lambda x, y: cp_product(x, y, product), pair)
        assert check(convolve, (pair[0], edges, weights))


def test_components_of_unit_variance_give_such() -> None:
    product = CPProduct.of(2, 2, 2)
    x, y = operands(product, n=4000, channels=1)
    variance = cp_product(x, y, product).square().mean((0, 2))
    assert float(variance.min()) > 0.8
    assert float(variance.max()) < 1.2


def test_empty_inputs_and_edges() -> None:
    product = CPProduct.of(1, 1, 1)
    x, y = operands(product)
    assert cp_product(x[:0], y[:0], product).shape == (0, 4, 3)
    none = random_topology(5, 0, generator())
    out = cp_convolution(x, torch.zeros(0, 4).double(), torch.zeros(0, 3).double(), none, product)
    assert out.shape == (5, 4, 3)
    assert not out.any()


def test_the_solver_finds_the_shipped_factors_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    for mirror, rank in ((True, 6), (False, 8)):
        cube = coupling_cube(1, mirror)
        assert relative_error(cube, fit(cube, rank, restarts=3, sweeps=1500)) < ALGEBRA.float64
    cube = coupling_cube(1, True)
    assert relative_error(cube, fit(cube, 5, restarts=1, sweeps=300)) > 0.1


def test_what_does_not_fit_is_refused() -> None:
    product = CPProduct.of(1, 1, 1)
    x, y = operands(product)
    topology = random_topology(5, 4, generator())
    with pytest.raises(InputError, match=r"second must have the shape \(5, 4, 3\)"):
        cp_product(x, y[:, :3], product)
    with pytest.raises(InputError, match="all be float32 or all float64"):
        cp_product(x, y.float(), product)
    with pytest.raises(InputError, match="weights must have the shape"):
        cp_convolution(x, torch.zeros(4, 4).double(), torch.zeros(4, 2).double(), topology, product)
    with pytest.raises(InputError, match="edge_features is on meta"):
        cp_convolution(x, torch.zeros(4, 4, device="meta"), torch.zeros(4, 3), topology, product)
    with pytest.raises(BackendError, match="no backend 'fft'"):
        cp_product(x, y, product, backend="fft")
    with pytest.raises(InputError, match="allowed are 6"):
        CPProduct(1, 1, 1, 7)
    with pytest.raises(InputError, match="degrees 1 to 3"):
        CPProduct.of(4, 4, 4)
    with pytest.raises(InputError, match="allowed are"):
        CPProduct.of(2, 2, 2, precision="quadratic")
    with pytest.raises(InputError, match="must be >= 0"):
        CPProduct(-1, 1, 1, 6)
    with pytest.raises(InputError, match="exact, quadratic or linear"):
        CPProduct.of(1, 1, 1, precision="cubic")  # type: ignore[arg-type]
    assert available_ranks(2, mirror=False) == (14, 28, 34)
    assert all(factor.shape[1] == 6 for factor in factors_of(product))
