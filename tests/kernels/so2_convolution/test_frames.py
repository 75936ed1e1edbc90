"""Frames of edges: the compiled ones against the reference, in values and as functions of the edge vectors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.func import jacrev, vmap

from atomsym.kernels.so2_convolution import edge_frames, frames
from atomsym.testing.convolutions import deviation
from atomsym.testing.tolerances import ALGEBRA, BACKEND_PARITY

EDGES = 8


@pytest.fixture(autouse=True)
def _compiled() -> None:
    if "cpp" not in frames.OPERATION.available(device=torch.device("cpu"), dtype=torch.float64):
        pytest.skip("the compiled kernels are not available on this machine")


def vectors_of() -> Tensor:
    """±y, 1e-9 beside it, the equator from both sides, and a short edge among them."""
    vectors = torch.randn(EDGES, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    special = [
        [0, 1.3, 0],
        [0, -0.7, 0],
        [1e-9, -1, 0],
        [1e-9, 2.0, 1e-9],
        [0.5, 1e-9, -1],
        [0.5, -1e-9, 1],
        [1e-4, 0, 0],
    ]
    vectors[: len(special)] = torch.tensor(special, dtype=torch.float64)
    return vectors


@pytest.mark.parametrize(("degree", "order"), [(0, 0), (1, 1), (2, 1), (3, 3), (6, 2)])
def test_frames_and_their_derivatives_are_those_of_the_reference(degree: int, order: int) -> None:
    """The turn about the edge included: not only what does not depend on it."""
    results = []
    for backend in ("cpp", "reference"):
        vectors = vectors_of().requires_grad_()
        latest = edge_frames(vectors, degree, order, backend=backend).values
        found = [latest.detach()]
        weights = torch.linspace(-1, 1, latest.numel(), dtype=torch.float64).reshape(latest.shape)
        total = (latest * weights).sin().sum()
        for _ in range(3 if degree else 0):
            (latest,) = torch.autograd.grad(total, vectors, create_graph=True)
            found.append(latest.detach())
            total = (latest / latest.detach().abs().amax(1, keepdim=True)).sin().sum()
        results.append(found)
    for depth, (found_, expected) in enumerate(zip(*results, strict=True)):
        # Row by row: derivatives for a short edge are larger by powers of 1 / |r|.
        for row, right in zip(found_, expected, strict=True):
            assert deviation(row, right) < (ALGEBRA if depth == 0 else BACKEND_PARITY).float64


def test_single_precision() -> None:
    exact = edge_frames(vectors_of(), 4, 2, backend="reference").values
    assert deviation(edge_frames(vectors_of().float(), 4, 2).values, exact) < ALGEBRA.float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_lengths_do_not_matter_and_zero_ones_give_scalars_alone(dtype: torch.dtype) -> None:
    vectors = vectors_of().to(dtype)
    tiny = torch.finfo(dtype).tiny
    for factor in (1e-20, 1e20):
        assert deviation(edge_frames(factor * vectors, 2).values, edge_frames(vectors, 2).values) < 10 * ALGEBRA.of(
            dtype
        )
    assert torch.isfinite(edge_frames(torch.full((1, 3), tiny, dtype=dtype), 2).values).all()
    zero = torch.zeros(1, 3, dtype=dtype, requires_grad=True)
    found = edge_frames(zero, 2, zero_length="scalar").values
    assert found[0].tolist() == [1.0] + 34 * [0.0]
    (first,) = torch.autograd.grad(found.sin().sum(), zero, create_graph=True)
    (second,) = torch.autograd.grad(first.sin().sum(), zero)
    assert not first.any()
    assert not second.any()


def test_transforms_of_torch() -> None:
    def energy(vectors: Tensor, backend: str) -> Tensor:
        return edge_frames(vectors, 2, backend=backend).values.sin().square().sum()

    vectors = vectors_of()[:4]
    batch = torch.stack((vectors, vectors + 0.3))
    for transform in (
        lambda name: jacrev(jacrev(lambda v: energy(v, name)))(vectors),
        lambda name: vmap(jacrev(lambda v: energy(v, name)))(batch),
    ):
        assert deviation(transform("cpp"), transform("reference")) < BACKEND_PARITY.float64


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's own tracer
def test_frames_compile_as_one_graph_with_gradients() -> None:
    def energy(vectors: Tensor) -> Tensor:
        return edge_frames(vectors, 2).values.sin().sum()

    results = []
    for call in (torch.compile(energy, fullgraph=True, backend="aot_eager"), energy):
        vectors = vectors_of().requires_grad_()
        results.append(torch.autograd.grad(call(vectors), vectors)[0])
    assert deviation(*results) < BACKEND_PARITY.float64
