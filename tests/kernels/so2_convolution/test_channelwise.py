"""Nothing is lost: with all orders kept, the convolution in frames is the Clebsch–Gordan one in other weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.kernels.so2_convolution import (
    edge_frames,
    so2_convolution,
    so2_product_from_channelwise,
    so2_weight_map,
)
from atomsym.kernels.spherical_harmonics import spherical_harmonics
from atomsym.kernels.tensor_product import ChannelwiseProduct, tensor_product_convolution
from atomsym.symmetry import Irreps
from atomsym.testing.convolutions import deviation, random_topology
from atomsym.testing.tolerances import ALGEBRA, BACKEND_PARITY

SH = Irreps.spherical_harmonics
PRODUCTS = {
    "separate": ChannelwiseProduct.separate(SH(2), SH(4), SH(2)),
    "merged": ChannelwiseProduct.merged(SH(3), SH(6), SH(3)),
    "few harmonics": ChannelwiseProduct.separate(SH(1), SH(3), SH(3)),
    "both parities": ChannelwiseProduct.merged(Irreps.parse("0e+1o+1e"), SH(3), Irreps.parse("0e+0o+1o+1e+2e+2o")),
    "all even": ChannelwiseProduct.merged(Irreps.parse("0e+1e+2e"), SH(4, parity=1), Irreps.parse("0e+1e+2e")),
    "degree 6": ChannelwiseProduct.merged(SH(6), SH(6), SH(6)),
}


def both(product: ChannelwiseProduct, backend: str, matrix: Tensor | None = None) -> list[list[Tensor]]:
    """Values, then first and second derivatives in features, weights and edge vectors, of the two convolutions."""
    draw = torch.Generator().manual_seed(1)
    topology = random_topology(4, 12, draw)
    x = torch.randn(4, product.in_dim, 2, generator=draw, dtype=torch.float64)
    w = torch.randn(12, product.n_paths, 2, generator=draw, dtype=torch.float64)
    vectors = torch.randn(12, 3, generator=draw, dtype=torch.float64)
    vectors[:2] = torch.tensor([[0.0, 1.3, 0.0], [0.0, -0.7, 0.0]], dtype=torch.float64)
    target = so2_product_from_channelwise(product)
    matrix = so2_weight_map(product, target) if matrix is None else matrix

    def in_frames(x: Tensor, w: Tensor, vectors: Tensor) -> Tensor:
        mapped = torch.einsum("qp,epc->eqc", matrix, w)
        frames = edge_frames(vectors, target.max_degree)
        return so2_convolution(x, frames, mapped, topology, target, backend=backend)

    def by_paths(x: Tensor, w: Tensor, vectors: Tensor) -> Tensor:
        harmonics = spherical_harmonics(vectors, product.irreps_edge.max_degree)
        return tensor_product_convolution(x, harmonics, w, topology, product, backend="reference")

    results = []
    for convolve in (in_frames, by_paths):
        leaves = [operand.clone().requires_grad_() for operand in (x, w, vectors)]
        out = convolve(*leaves)
        g = torch.linspace(-1, 1, out.numel(), dtype=torch.float64).reshape(out.shape)
        first = torch.autograd.grad((out * g).sin().sum(), leaves, create_graph=True)
        second = torch.autograd.grad(sum(f.sin().sum() for f in first), leaves)
        results.append([out, *first, *second])
    return results


@pytest.mark.parametrize("name", PRODUCTS)
def test_same_values_and_derivatives_as_the_clebsch_gordan_convolution(name: str, backend: str) -> None:
    """Also for edges exactly along ±y."""
    for number, (found, expected) in enumerate(zip(*both(PRODUCTS[name], backend), strict=True)):
        assert deviation(found, expected) < BACKEND_PARITY.float64, f"result {number}"


@pytest.mark.parametrize("wrong", ["sign of odd paths", "factor of a degree"])
def test_a_wrong_map_is_seen(wrong: str) -> None:
    """Planted bugs that keep equivariance."""
    product = PRODUCTS["all even"]
    target = so2_product_from_channelwise(product)
    matrix = so2_weight_map(product, target).clone()
    if wrong == "sign of odd paths":
        for path, part in zip(target.paths, target.weight_slices, strict=True):
            matrix[part] *= -1 if path.odd else 1
    else:
        matrix[:, -1] *= 2
    found, expected = both(product, "reference", matrix)
    assert deviation(found[0], expected[0]) > 1e-3


def test_the_map_between_degrees_and_orders_is_orthogonal_up_to_the_weight_of_orders() -> None:
    """With √2 for each m > 0 (two components), for one pair of irreps with every degree of the harmonics."""
    product = ChannelwiseProduct.merged(Irreps.parse("2e"), SH(5, parity=1), Irreps.parse("3e"))
    target = so2_product_from_channelwise(product)
    matrix = so2_weight_map(product, target)
    matrix = matrix / torch.tensor([path.coefficient for path in product.paths], dtype=torch.float64)
    doubled = torch.cat(
        [
            torch.tensor([2.0 if m > 0 else 1.0 for m in target.orders(path)], dtype=torch.float64)
            for path in target.paths
        ]
    )
    gram = matrix.T @ (doubled[:, None] * matrix)
    assert matrix.shape == (5, 5)
    assert (gram - torch.eye(5, dtype=torch.float64)).abs().max() < ALGEBRA.float64


def test_cutting_orders_loses_paths_of_high_order_only() -> None:
    """Scalars in or out need the order 0 alone: those outputs are whole at every cut."""
    product = ChannelwiseProduct.merged(SH(2), SH(2), SH(2))
    draw = torch.Generator().manual_seed(2)
    topology = random_topology(3, 8, draw)
    x = torch.randn(3, 9, 2, generator=draw, dtype=torch.float64)
    w = torch.randn(8, product.n_paths, 2, generator=draw, dtype=torch.float64)
    vectors = torch.randn(8, 3, generator=draw, dtype=torch.float64)
    results = {}
    for order in (0, 1, 2):
        target = so2_product_from_channelwise(product, max_order=order)
        mapped = torch.einsum("qp,epc->eqc", so2_weight_map(product, target), w)
        results[order] = so2_convolution(x, edge_frames(vectors, 2, order), mapped, topology, target)
    assert deviation(results[0][:, :1], results[2][:, :1]) < ALGEBRA.float64
    assert deviation(results[0][:, 1:], results[2][:, 1:]) > 1e-2
    assert deviation(results[1][:, 1:4], results[2][:, 1:4]) < ALGEBRA.float64
    assert deviation(results[1][:, 4:], results[2][:, 4:]) > 1e-2


def test_edges_that_are_no_harmonics_and_targets_of_other_irreps_are_refused() -> None:
    with pytest.raises(InputError, match="not those of spherical harmonics"):
        so2_product_from_channelwise(ChannelwiseProduct.separate(SH(1), Irreps.parse("0e+1e+1o")))
    product = PRODUCTS["separate"]
    with pytest.raises(InputError, match="the target couples"):
        so2_weight_map(product, so2_product_from_channelwise(PRODUCTS["merged"]))
    target = so2_product_from_channelwise(product)
    fewer = type(target)(target.irreps_in, target.irreps_out, target.max_order, target.paths[1:])
    with pytest.raises(InputError, match="no path for"):
        so2_weight_map(product, fewer)
