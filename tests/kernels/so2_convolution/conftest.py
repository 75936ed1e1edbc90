"""Cases that the tests of the convolution in edge frames share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from atomsym.core.topology import EdgeTopology
from atomsym.kernels.so2_convolution import SO2Product, edge_frames, so2_convolution
from atomsym.kernels.so2_convolution.convolution import OPERATION
from atomsym.symmetry import Irreps
from atomsym.testing.convolutions import random_topology


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=["reference", "cpp"])
def backend(request: pytest.FixtureRequest) -> str:
    if request.param not in OPERATION.available(device=torch.device("cpu"), dtype=torch.float64):
        pytest.skip(f"{request.param} is not available on this machine")
    name: str = request.param
    return name


@dataclass(frozen=True)
class Case:
    """A product with operands: edge vectors along ±y and 1e-9 beside it among them."""

    product: SO2Product
    topology: EdgeTopology
    features: Tensor
    vectors: Tensor
    weights: Tensor

    def convolve(self, backend: str, **changed: Tensor) -> Tensor:
        vectors = changed.get("vectors", self.vectors)
        return so2_convolution(
            changed.get("features", self.features),
            edge_frames(vectors, self.product.max_degree, self.product.max_order),
            changed.get("weights", self.weights),
            self.topology,
            self.product,
            backend=backend,
        )


MakeCase = Callable[..., Case]


@pytest.fixture
def make_case() -> MakeCase:
    def make(
        product: SO2Product,
        *,
        n_nodes: int = 4,
        n_edges: int = 9,
        channels: int = 3,
        dtype: torch.dtype = torch.float64,
        seed: int = 0,
    ) -> Case:
        draw = generator(seed)
        topology = random_topology(n_nodes, n_edges, draw)
        vectors = torch.randn(n_edges, 3, generator=draw, dtype=torch.float64)
        special = [[0.0, 1.0, 0.0], [0.0, -2.0, 0.0], [1e-9, -1.5, 1e-9], [1e-9, 1.0, 0.0], [0.6, 0.0, 0.8]]
        vectors[: len(special)] = torch.tensor(special, dtype=torch.float64)[:n_edges]
        features = torch.randn(n_nodes, product.in_dim, channels, generator=draw, dtype=torch.float64)
        weights = torch.randn(n_edges, product.n_weights, channels, generator=draw, dtype=torch.float64)
        return Case(product, topology, features.to(dtype), vectors.to(dtype), weights.to(dtype))

    return make


NATURAL = Irreps.spherical_harmonics
PRODUCTS = {
    "natural": SO2Product.merged(NATURAL(3), NATURAL(3)),
    "cut at order 1": SO2Product.merged(NATURAL(3), NATURAL(3), max_order=1),
    "scalars only": SO2Product.merged(NATURAL(2), NATURAL(2), max_order=0),
    "both parities": SO2Product.separate(Irreps.parse("0e+1o+1e+2o"), Irreps.parse("0e+0o+1o+1e+2e+3o")),
    "without mirror": SO2Product.merged(Irreps.parse("0e+1e+2e"), Irreps.parse("0e+1e+2e+3e"), mirror=False),
    "repeated slots": SO2Product.separate(Irreps.parse("2e+1o+2e+0e"), NATURAL(2), max_order=1),
}


@pytest.fixture(params=list(PRODUCTS))
def product(request: pytest.FixtureRequest) -> SO2Product:
    return PRODUCTS[request.param]
