"""The compiled convolution with tabulated weights equals the ordinary one, forward and reverse."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from atomsym.core import BackendError, InputError
from atomsym.core.topology import EdgeTopology
from atomsym.kernels.spherical_harmonics import spherical_harmonics
from atomsym.kernels.tabulated_convolution import (
    RadialTable,
    native,
    tabulate,
    tabulated_convolution,
    tabulated_convolution_gradients,
)
from atomsym.kernels.tensor_product import ChannelwiseProduct, tensor_product_convolution
from atomsym.symmetry import Irreps
from atomsym.testing import tolerances
from atomsym.testing.convolutions import deviation

CUTOFF, N_NODES = 3.0, 7
SCALAR, VECTORS = Irreps.parse("0e"), Irreps.parse("0e+1o")
PRODUCTS = {
    "mace": (VECTORS, Irreps.spherical_harmonics(3), Irreps.spherical_harmonics(3)),
    "first": (SCALAR, Irreps.spherical_harmonics(3), Irreps.spherical_harmonics(3)),
    "degree 2": (Irreps.spherical_harmonics(2), Irreps.spherical_harmonics(2), None),
    "degree 4": (Irreps.spherical_harmonics(3), Irreps.spherical_harmonics(1), None),
    "parity": (Irreps.parse("0e+0o+1e+1o"), Irreps.parse("0e+1o"), None),
}


def table(n_paths: int, channels: int, seed: int, dtype: torch.dtype) -> RadialTable:
    generator = torch.Generator().manual_seed(seed)
    frequency, phase = (torch.rand(n_paths, channels, generator=generator, dtype=torch.float64) for _ in range(2))

    def function(distance: Tensor) -> Tensor:
        d = distance[:, None, None]
        return (CUTOFF - d) ** 2 * torch.sin(2 * frequency * d + 6 * phase)

    return tabulate(function, 0.0, CUTOFF, dtype=dtype)


class Case:
    """A small graph with edges of all lengths, some beyond the cutoff, and operands for it."""

    def __init__(
        self,
        product: str,
        channels: int,
        dtype: torch.dtype,
        *,
        n_edges: int = 60,
        kinds: int = 1,
        features: bool = True,
    ) -> None:
        generator = torch.Generator().manual_seed(channels + n_edges)
        self.product = ChannelwiseProduct.separate(*PRODUCTS[product])
        receiver = torch.randint(N_NODES, (n_edges,), generator=generator).sort().values
        receiver[receiver == 2] = 3  # a node without edges
        sender = torch.randint(N_NODES, (n_edges,), generator=generator)
        self.topology = EdgeTopology.from_edge_index(torch.stack([receiver, sender]), N_NODES)

        def draw(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

        self.x = draw(N_NODES, self.product.in_dim, channels) if features else None
        self.y = draw(n_edges, self.product.edge_dim)
        self.distance = (0.1 + 1.2 * CUTOFF * torch.rand(n_edges, generator=generator, dtype=torch.float64)).to(dtype)
        self.g = draw(N_NODES, self.product.out_dim, channels)
        self.tables = [table(self.product.n_paths, channels, seed, dtype) for seed in range(kinds)]
        self.kinds = None if kinds == 1 else torch.randint(kinds, (n_edges,), generator=generator)

    def call(self, **changed: Any) -> Tensor:
        given = {"kinds": self.kinds, **changed}
        return tabulated_convolution(self.x, self.y, self.distance, self.tables, self.topology, self.product, **given)

    def gradients(self, **changed: Any) -> Any:
        operands = (self.g, self.x, self.y, self.distance, self.tables, self.topology, self.product)
        return tabulated_convolution_gradients(*operands, **{"kinds": self.kinds, **changed})


def assert_agrees(case: Case) -> None:
    bound = tolerances.BACKEND_PARITY.of(case.y.dtype)
    assert deviation(case.call(backend="cpp"), case.call(backend="reference")) < bound
    found, expected = case.gradients(backend="cpp"), case.gradients(backend="reference")
    assert (found.node_features is None) == (case.x is None)
    for ours, wanted in zip(found, expected, strict=True):
        if wanted is not None:
            assert ours.shape == wanted.shape
            assert deviation(ours, wanted) < bound


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("product", list(PRODUCTS))
def test_compiled_equals_the_reference(product: str, dtype: torch.dtype) -> None:
    assert_agrees(Case(product, 32, dtype))


@pytest.mark.parametrize("channels", [1, 3, 16, 17, 40, 100])
def test_any_number_of_channels(channels: int) -> None:
    for dtype in (torch.float64, torch.float32):
        assert_agrees(Case("mace", channels, dtype))


@pytest.mark.parametrize("features", [True, False])
def test_tables_of_several_kinds(features: bool) -> None:
    case = Case("mace" if features else "first", 16, torch.float64, kinds=3, features=features)
    assert len({t.n_intervals for t in case.tables}) > 0
    assert_agrees(case)
    first = Case("mace" if features else "first", 16, torch.float64, kinds=3, features=features)
    first.kinds = None
    assert deviation(first.call(), case.call()) > 1e-3


def test_without_node_features_they_are_ones() -> None:
    case = Case("first", 20, torch.float64, features=False)
    assert_agrees(case)
    folded, found = case.call(), case.gradients()
    case.x = torch.ones(N_NODES, 1, 20, dtype=torch.float64)
    assert deviation(folded, case.call()) < tolerances.BACKEND_PARITY.float64
    assert deviation(found.distance, case.gradients().distance) < tolerances.BACKEND_PARITY.float64


def test_values_equal_the_ordinary_convolution_with_weights_of_the_function() -> None:
    """Independent of the tables' own evaluation: weights from the function itself."""
    case = Case("mace", 8, torch.float64)
    exact = table(case.product.n_paths, 8, 0, torch.float64)
    generator = torch.Generator().manual_seed(0)
    frequency, phase = (torch.rand(case.product.n_paths, 8, generator=generator, dtype=torch.float64) for _ in range(2))
    d = case.distance[:, None, None]
    weights = torch.where(d < CUTOFF, (CUTOFF - d) ** 2 * torch.sin(2 * frequency * d + 6 * phase), 0.0)
    expected = tensor_product_convolution(case.x, case.y, weights, case.topology, case.product)
    assert exact.error.value < 1e-7
    assert deviation(case.call(), expected) < 1e-6


def test_gradients_give_the_derivative_along_moving_edges() -> None:
    """Chain rule through harmonics and length, against differences of the compiled forward alone."""
    case = Case("mace", 8, torch.float64, n_edges=30)
    generator = torch.Generator().manual_seed(9)
    vectors, along = (torch.randn(30, 3, generator=generator, dtype=torch.float64) for _ in range(2))

    def energy(at: Tensor) -> Tensor:
        case.distance, case.y = at.norm(dim=1), spherical_harmonics(at, 3)
        return (case.g * case.call()).sum()

    step = 1e-4
    slope = (energy(vectors + step * along) - energy(vectors - step * along)) / (2 * step)
    energy(vectors)
    found = case.gradients()
    at = vectors.clone().requires_grad_()
    reached = [spherical_harmonics(at, 3), at.norm(dim=1)]
    (pulled,) = torch.autograd.grad(reached, at, [found.edge_features, found.distance])
    assert float((pulled * along).sum()) == pytest.approx(float(slope), rel=1e-5)


def test_edges_beyond_the_cutoff_carry_nothing() -> None:
    case = Case("mace", 16, torch.float32)
    beyond = case.distance >= CUTOFF
    assert 0 < int(beyond.sum()) < case.topology.n_edges
    before = case.call()
    case.y[beyond] = math.nan
    assert torch.equal(case.call(), before)
    found = case.gradients()
    assert not found.distance[beyond].any()
    assert not found.edge_features[beyond].any()


def test_a_distance_that_is_not_a_number_is_not_hidden() -> None:
    case = Case("mace", 16, torch.float64)
    case.distance[4] = math.nan
    assert case.call()[case.topology.receiver[4]].isnan().any()
    assert case.gradients().distance[4].isnan()


@pytest.mark.parametrize("n_edges", [0, 1])
def test_no_edges_and_one_edge(n_edges: int) -> None:
    assert_agrees(Case("mace", 16, torch.float64, n_edges=n_edges))
    assert_agrees(Case("first", 16, torch.float32, n_edges=n_edges, features=False))


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    case = Case("mace", 16, torch.float32, n_edges=900)
    former = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append((case.call(), *case.gradients()))
    finally:
        torch.set_num_threads(former)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_gradients_of_edges_can_be_added_to_others() -> None:
    case = Case("mace", 16, torch.float64)
    operands = (case.g, case.x, case.y, case.distance, case.tables, None, case.topology, case.product)
    _, grad_y, grad_d = native.gradients(*operands)
    into = torch.ones_like(grad_y), torch.full_like(grad_d, 2.0)
    _, summed_y, summed_d = native.gradients(*operands, add_to=into)
    assert summed_y is into[0]
    assert deviation(summed_y, 1 + grad_y) < tolerances.BACKEND_PARITY.float64
    assert deviation(summed_d, 2 + grad_d) < tolerances.BACKEND_PARITY.float64


def test_operands_that_do_not_fit_are_refused() -> None:
    case = Case("mace", 16, torch.float32)
    for name, wrong in {
        "x": torch.zeros(N_NODES, 3, 16),
        "y": case.y.double(),
        "distance": case.distance[1:],
        "kinds": torch.full((60,), 1),
        "tables": [],
        "g": case.g[:, 1:],
    }.items():
        changed = Case("mace", 16, torch.float32)
        setattr(changed, name, wrong)
        with pytest.raises(InputError):
            changed.gradients()
    other = table(case.product.n_paths, 16, 1, torch.float64)
    case.tables = [*case.tables, other]
    with pytest.raises(InputError, match="tables"):
        case.call()


def test_degrees_beyond_the_compiled_ones_are_refused_by_name() -> None:
    product = ChannelwiseProduct.separate(SCALAR, Irreps.spherical_harmonics(5))
    topology = EdgeTopology.from_edge_index(torch.zeros(2, 0, dtype=torch.int64), 1)
    tables = [table(product.n_paths, 4, 0, torch.float32)]
    operands = (None, torch.zeros(0, product.edge_dim), torch.zeros(0), tables, topology, product)
    with pytest.raises(BackendError, match="degree 4"):
        tabulated_convolution(*operands, backend="cpp")
    assert tabulated_convolution(*operands).shape == (1, product.out_dim, 4)
