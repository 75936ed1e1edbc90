"""The fused second derivatives equal the composed ones and the reference, whatever is asked for and given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product as combinations

import pytest
import torch
from torch import Tensor

from atomsym.core.topology import EdgeTopology
from atomsym.kernels.tensor_product import ChannelwiseProduct, tensor_product_convolution
from atomsym.kernels.tensor_product.operators import CONVOLUTION
from atomsym.symmetry import Irreps
from atomsym.testing.convolutions import deviation, random_topology
from atomsym.testing.tolerances import BACKEND_PARITY

SH = Irreps.spherical_harmonics
SMALL = ChannelwiseProduct.separate(SH(1), Irreps.parse("0e+1o+1e"), Irreps.parse("0e+1o+1e"))
LARGE = ChannelwiseProduct.merged(SH(2), SH(3), SH(3))
ON, OFF = True, False


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def operands(product: ChannelwiseProduct, n: int, e: int, channels: int, seed: int = 0, batch: int = 1) -> list[Tensor]:
    """g, x, Y, w with a leading batch axis."""
    draw = draws(seed)
    shapes = (
        (batch, n, product.out_dim, channels),
        (batch, n, product.in_dim, channels),
        (batch, e, product.edge_dim),
        (batch, e, product.n_paths, channels),
    )
    return [torch.randn(shape, generator=draw, dtype=torch.float64) for shape in shapes]


def by_autograd(
    product: ChannelwiseProduct, topology: EdgeTopology, values: list[Tensor], along: list[Tensor | None], backend: str
) -> list[Tensor]:
    """Derivatives for g, x, Y, w of the first gradients along the directions."""
    g, x, y, w = (value.detach().clone().requires_grad_() for value in values)
    out = tensor_product_convolution(x, y, w, topology, product, backend=backend)
    first = torch.autograd.grad(out, (x, y, w), g, create_graph=True)
    chosen = [(gradient, direction) for gradient, direction in zip(first, along, strict=True) if direction is not None]
    gradients, directions = zip(*chosen, strict=True)
    found = torch.autograd.grad(gradients, (g, x, y, w), directions, allow_unused=True)
    return [torch.zeros_like(v) if f is None else f for f, v in zip(found, (g, x, y, w), strict=True)]


@contextmanager
def composed() -> Iterator[None]:
    """The C++ backend without its fused operator."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CONVOLUTION, "_second", {})
        yield


@pytest.mark.parametrize("channels", [1, 5, 16, 37, 64])
@pytest.mark.parametrize("product", [SMALL, LARGE], ids=["small", "large"])
def test_every_channel_count_agrees_with_the_reference(product: ChannelwiseProduct, channels: int) -> None:
    topology = random_topology(5, 23, draws(1))
    values = operands(product, 5, 23, channels)
    along: list[Tensor | None] = [*operands(product, 5, 23, channels, seed=9)[1:]]
    fused = by_autograd(product, topology, values, along, "cpp")
    with composed():
        parts = by_autograd(product, topology, values, along, "cpp")
    for found, expected, other in zip(
        fused, by_autograd(product, topology, values, along, "reference"), parts, strict=True
    ):
        assert deviation(found, expected) < BACKEND_PARITY.float64
        assert deviation(other, expected) < BACKEND_PARITY.float64


@pytest.mark.parametrize("given", [given for given in combinations((ON, OFF), repeat=3) if any(given)])
def test_missing_directions_count_as_zero(given: tuple[bool, ...]) -> None:
    topology = random_topology(4, 13, draws(2))
    values = operands(SMALL, 4, 13, 3)
    drawn = operands(SMALL, 4, 13, 3, seed=5)[1:]
    along = [direction if there else None for direction, there in zip(drawn, given, strict=True)]
    expected = by_autograd(SMALL, topology, values, along, "reference")
    for needs in combinations((ON, OFF), repeat=4):
        found = torch.ops.atomsym.channelwise_second_cpp(*values, *along, *topology.wiring, SMALL.handle, *needs)
        for result, need, right in zip(found, needs, expected, strict=True):
            assert result.numel() == (right.numel() if need else 0)
            if need:
                assert deviation(result, right) < BACKEND_PARITY.float64


@pytest.mark.parametrize("edges", [0, 1])
def test_hardly_any_edges(edges: int) -> None:
    topology = random_topology(3, edges, draws(3))
    values = operands(SMALL, 3, edges, 4)
    along: list[Tensor | None] = [*operands(SMALL, 3, edges, 4, seed=6)[1:]]
    pairs = zip(
        by_autograd(SMALL, topology, values, along, "cpp"),
        by_autograd(SMALL, topology, values, along, "reference"),
        strict=True,
    )
    for found, expected in pairs:
        assert found.shape == expected.shape
        assert deviation(found, expected) < BACKEND_PARITY.float64 or not expected.numel()


@pytest.mark.parametrize("shared", [0, 1, 2, 3], ids=["g", "x", "Y", "w"])
def test_batches_share_operands(shared: int) -> None:
    topology = random_topology(3, 8, draws(4))
    values = operands(SMALL, 3, 8, 2, batch=3)
    along: list[Tensor | None] = [*operands(SMALL, 3, 8, 2, seed=7, batch=3)[1:]]
    values[shared] = values[shared][:1]
    if shared == 0:
        values[0] = values[0].expand(3, -1, -1, -1)  # what a sum hands back: a gradient without memory of its own
    else:
        along[shared - 1] = along[shared - 1][:1]  # type: ignore[index]
    pairs = zip(
        by_autograd(SMALL, topology, values, along, "cpp"),
        by_autograd(SMALL, topology, values, along, "reference"),
        strict=True,
    )
    assert all(deviation(found, expected) < BACKEND_PARITY.float64 for found, expected in pairs)


def test_fused_second_derivatives_can_be_differentiated_and_mapped() -> None:
    product = ChannelwiseProduct.separate(SH(1), Irreps.parse("0e+1o"), Irreps.parse("1o"))
    topology = random_topology(2, 3, draws(5))
    tensors = [*operands(product, 2, 3, 1), *operands(product, 2, 3, 1, seed=8)[1:]]
    inputs = [tensor.requires_grad_() for tensor in tensors]

    def second(*values: Tensor) -> tuple[Tensor, ...]:
        results: tuple[Tensor, ...] = CONVOLUTION._second["cpp"](
            *values, *topology.wiring, product.handle, ON, ON, ON, ON
        )
        return results

    assert torch.autograd.gradcheck(second, inputs)
    assert torch.autograd.gradgradcheck(second, inputs, fast_mode=True)
    fixed = [tensor.detach() for tensor in tensors]
    xs = torch.stack([fixed[1], 2 * fixed[1], fixed[4]])
    mapped = torch.func.vmap(lambda x: second(fixed[0], x, *fixed[2:]))(xs)
    for member, x in enumerate(xs):
        for found, expected in zip(mapped, second(fixed[0], x, *fixed[2:]), strict=True):
            assert deviation(found[member], expected) < BACKEND_PARITY.float64


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    topology = random_topology(40, 700, draws(6))
    values, along = operands(LARGE, 40, 700, 16), operands(LARGE, 40, 700, 16, seed=3)[1:]
    results = []
    before = torch.get_num_threads()
    for threads in (1, 3):
        torch.set_num_threads(threads)
        results.append(
            torch.ops.atomsym.channelwise_second_cpp(*values, *along, *topology.wiring, LARGE.handle, ON, ON, ON, ON)
        )
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_the_raw_operator_keeps_its_contract() -> None:
    topology = random_topology(3, 6, draws(7))
    values, along = operands(SMALL, 3, 6, 2), operands(SMALL, 3, 6, 2, seed=3)[1:]
    for directions, needs in (((*along,), (ON, ON, ON, ON)), ((None, along[1], None), (ON, OFF, OFF, ON))):
        torch.library.opcheck(
            torch.ops.atomsym.channelwise_second_cpp.default,
            (*values, *directions, *topology.wiring, SMALL.handle, *needs),
            test_utils=("test_schema", "test_faketensor"),
        )
