"""Cases that the tests of the convolution in edge frames share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from atomsym.core.topology import EdgeTopology
from atomsym.kernels.so2_convolution import SO2Product, edge_frames, so2_convolution
from atomsym.kernels.so2_convolution.convolution import OPERATION
from atomsym.symmetry import Irreps
from atomsym.testing.convolutions import deviation, random_topology
from atomsym.testing.tolerances import BACKEND_PARITY


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

    def derivatives(self, backend: str) -> list[Tensor]:
        """The value, the gradients of ⟨g, value⟩, and those of a random combination of them for g and all operands."""
        draw = generator(1)
        inputs = [operand.clone().requires_grad_() for operand in (self.features, self.vectors, self.weights)]
        out = self.convolve(backend, features=inputs[0], vectors=inputs[1], weights=inputs[2])
        g = torch.randn(out.shape, generator=draw, dtype=torch.float64).to(out).requires_grad_()
        first = torch.autograd.grad(out, inputs, g, create_graph=True)
        along = [torch.randn(f.shape, generator=draw, dtype=torch.float64).to(f) for f in first]
        second = torch.autograd.grad(first, [g, *inputs], along)
        return [out, *first, *second]

    def assert_same(self, backend: str) -> None:
        """All of them as the reference has them in double precision."""
        doubled = {name: getattr(self, name).double() for name in ("features", "vectors", "weights")}
        found, expected = self.derivatives(backend), replace(self, **doubled).derivatives("reference")
        for number, (a, b) in enumerate(zip(found, expected, strict=True)):
            assert a.dtype == self.features.dtype
            assert deviation(a, b) < BACKEND_PARITY.of(a.dtype), f"result {number}"


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
