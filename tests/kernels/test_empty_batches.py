"""Batches and graphs of size zero go through every transform, as in plain torch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.func import grad, jacrev, vmap

from atomsym.core import EdgeTopology
from atomsym.kernels.symmetric_contraction import SymmetricContraction, symmetric_contraction
from atomsym.kernels.tensor_product import ChannelwiseProduct, tensor_product_convolution
from atomsym.symmetry import Irreps

BACKENDS = ("cpp", "reference")


@pytest.fixture
def product() -> ChannelwiseProduct:
    irreps = Irreps.spherical_harmonics(1)
    return ChannelwiseProduct.separate(irreps, irreps, irreps)


@pytest.fixture
def no_edges() -> EdgeTopology:
    return EdgeTopology.from_edge_index(torch.zeros(2, 0, dtype=torch.int64), 3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_second_derivatives_of_a_convolution_without_edges(
    product: ChannelwiseProduct, no_edges: EdgeTopology, backend: str
) -> None:
    def energy(y: Tensor) -> Tensor:
        x, w = torch.ones(3, product.in_dim, 8), torch.ones(0, product.n_paths, 8)
        return tensor_product_convolution(x, y, w, no_edges, product, backend=backend).square().sum()

    assert jacrev(grad(energy))(torch.ones(0, 4)).shape == (0, 4, 0, 4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_convolution_of_a_batch_without_members(
    product: ChannelwiseProduct, no_edges: EdgeTopology, backend: str
) -> None:
    y, w = torch.ones(0, 4), torch.ones(0, product.n_paths, 8)
    found = vmap(lambda x: tensor_product_convolution(x, y, w, no_edges, product, backend=backend))(
        torch.ones(0, 3, 4, 8)
    )
    assert found.shape == (0, 3, product.out_dim, 8)


@pytest.mark.parametrize("backend", BACKENDS)
def test_jacobian_of_a_contraction_without_nodes_inside_a_batch(backend: str) -> None:
    contraction = SymmetricContraction(Irreps.parse("0e+1o"), Irreps.parse("2e"), 2)
    species, weights = torch.zeros(0, dtype=torch.int64), torch.ones(2, contraction.n_paths, 1)

    def contract(features: Tensor) -> Tensor:
        return symmetric_contraction(features, weights, species, contraction, backend=backend)

    assert vmap(jacrev(contract))(torch.ones(2, 0, 4, 1)).shape == (2, 0, 5, 1, 0, 4, 1)
