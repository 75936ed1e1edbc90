"""The description of a channel-wise product: selection rules, slots, normalisation, text form."""

from __future__ import annotations

import math
import pickle

import pytest
import torch

from atomsym.core.errors import InputError
from atomsym.kernels.tensor_product import ChannelwiseProduct, ProductPath, from_e3nn, to_e3nn
from atomsym.kernels.tensor_product.product import product_of
from atomsym.symmetry import Irreps
from atomsym.testing.convolutions import random_topology

SH = Irreps.spherical_harmonics


@pytest.mark.parametrize(
    ("edge", "allowed", "count"), [(2, 2, 11), (3, 3, 23), (4, 4, 42)], ids=["l<=2", "l<=3", "l<=4"]
)
def test_natural_parity_path_counts(edge: int, allowed: int, count: int) -> None:
    assert ChannelwiseProduct.separate(SH(edge), SH(edge), SH(allowed)).n_paths == count


def test_mace_layout_has_ten_paths_in_sorted_slots() -> None:
    product = ChannelwiseProduct.separate(SH(1), SH(3), SH(3))
    assert str(product.irreps_out) == "0e+0e+1o+1o+1o+2e+2e+2e+3o+3o"
    assert [path.index_out for path in product.paths] == list(range(10))
    assert (product.in_dim, product.edge_dim, product.out_dim, product.max_degree) == (4, 16, 40, 3)


def test_parity_odd_couplings_appear_when_allowed() -> None:
    vectors = Irreps.parse("1o")
    assert str(ChannelwiseProduct.separate(vectors, vectors).irreps_out) == "0e+1e+2e"
    assert ChannelwiseProduct.separate(vectors, vectors, SH(2)).n_paths == 2


def test_sorting_orders_slots_by_degree_and_even_before_odd() -> None:
    irreps = Irreps.parse("1o+0o")
    assert str(ChannelwiseProduct.separate(irreps, irreps).irreps_out) == "0e+0e+1e+1e+1e+2e"
    assert str(ChannelwiseProduct.separate(irreps, irreps, sort=False).irreps_out) == "0e+1e+2e+1e+1e+0e"


def test_merged_slots_share_the_variance() -> None:
    product = ChannelwiseProduct.merged(SH(1), SH(1), Irreps.parse("0e+1o+3o"))
    assert [(path.index_out, path.coefficient) for path in product.paths] == [
        (0, pytest.approx(math.sqrt(1 / 2))),
        (0, pytest.approx(math.sqrt(1 / 2))),
        (1, pytest.approx(math.sqrt(3 / 2))),
        (1, pytest.approx(math.sqrt(3 / 2))),
    ]


def test_handle_is_the_whole_description() -> None:
    product = ChannelwiseProduct.separate(SH(2), SH(3), SH(2))
    again = product_of(product.handle)
    assert again == product
    assert hash(again) == hash(product)
    assert product_of(product.handle) is again
    assert pickle.loads(pickle.dumps(product)) == product  # noqa: S301
    assert ChannelwiseProduct.separate(SH(2), SH(3), SH(1)).handle != product.handle


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ((1, 0, 0, 1.0), "index_in is 1; allowed are 0 to 0"),
        ((0, 2, 0, 1.0), "index_edge is 2"),
        ((0, 0, -1, 1.0), "index_out is -1"),
        ((0, 0, 1, 1.0), "couples 1o and 1o to 1o"),
        ((0, 1, 0, 1.0), "couples 1o and 3o to 0e"),
        ((0, 0, 0, math.nan), "coefficient is nan"),
    ],
)
def test_impossible_paths_are_refused_by_name(path: tuple[int, int, int, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ChannelwiseProduct(Irreps.parse("1o"), Irreps.parse("1o+3o"), Irreps.parse("0e+1o"), (ProductPath(*path),))


def test_e3nn_layout_goes_there_and_back() -> None:
    irreps = Irreps.parse("0e+1o+2e+1o")
    features = torch.arange(5 * irreps.dim * 3, dtype=torch.float64).reshape(5, irreps.dim, 3)
    flat = to_e3nn(features, irreps)
    assert torch.equal(flat[:, 3:6], features[:, 1:4, 0])  # channel 0 of the first vector lies together
    assert torch.equal(from_e3nn(flat, irreps, 3), features)


@pytest.mark.parametrize("irreps_in", ["0e+1o+2e", "0e+0o+1o+1e", "1o+1o"])
def test_unit_variance_goes_in_and_comes_out(irreps_in: str) -> None:
    """With component normalisation every output component has mean square 1 for one edge."""
    from atomsym.kernels.tensor_product import tensor_product_convolution

    generator = torch.Generator().manual_seed(0)
    product = ChannelwiseProduct.separate(Irreps.parse(irreps_in), SH(2))
    topology = random_topology(1, 1, generator)
    x = torch.randn(4000, 1, product.in_dim, 16, generator=generator)
    y = torch.randn(4000, 1, product.edge_dim, generator=generator)
    w = torch.randn(4000, 1, product.n_paths, 16, generator=generator)
    out = tensor_product_convolution(x, y, w, topology, product)
    assert (out.square().mean((0, 1, 3)) - 1).abs().max() < 0.1
