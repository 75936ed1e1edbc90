"""Operations on rows by order: every backend against the reference in values and derivatives; maps and gates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import grad, jacrev, vmap

from atomsym.core.errors import InputError
from atomsym.core.topology import EdgeTopology
from atomsym.kernels.so2_convolution import (
    EdgeFrames,
    GateShape,
    OrderLinear,
    degrees_by_order,
    edge_frames,
    gather_linear,
    n_order_factors,
    n_order_rows,
    order_linear,
    row_gate,
    sum_out_of_frames,
)
from atomsym.kernels.so2_convolution.rows import GATHER
from atomsym.testing.convolutions import deviation, random_topology
from atomsym.testing.tolerances import BACKEND_PARITY

NODES, EDGES = 4, 9
Function = Callable[..., Tensor]


@pytest.fixture(autouse=True)
def _compiled() -> None:
    if "cpp" not in GATHER.available(device=torch.device("cpu"), dtype=torch.float64):
        pytest.skip("the compiled kernels are not available on this machine")


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def topology_of(n_edges: int = EDGES, n_nodes: int = NODES) -> EdgeTopology:
    return random_topology(n_nodes, n_edges, torch.Generator().manual_seed(1))


def vectors_of(n_edges: int = EDGES) -> Tensor:
    """±y and 1e-9 beside it among them."""
    vectors = draw(n_edges, 3, seed=2)
    special = torch.tensor([[0, 1.0, 0], [0, -2.0, 0], [1e-9, -1.5, 1e-9], [1e-9, 1.0, 0]], dtype=torch.float64)
    vectors[: len(special)] = special[:n_edges]
    return vectors


def gather(linear: OrderLinear, topology: EdgeTopology) -> Function:
    def function(x: Tensor, vectors: Tensor, factors: Tensor, weights: Tensor, backend: str = "cpp") -> Tensor:
        frames = edge_frames(vectors, linear.max_degree, linear.max_order)
        return gather_linear(x, frames, factors, weights, topology, linear, backend=backend)

    return function


def summed(degree: int, order: int, topology: EdgeTopology) -> Function:
    def function(rows: Tensor, vectors: Tensor, weights: Tensor, backend: str = "cpp") -> Tensor:
        return sum_out_of_frames(rows, edge_frames(vectors, degree, order), weights, topology, backend=backend)

    return function


def case_of(
    name: str, degree: int, order: int, channels: int, n_edges: int = EDGES, n_nodes: int = NODES, kept: int = -1
) -> tuple[Function, tuple[Tensor, ...]]:
    """A function and its operands; ``kept``: order of the rows that are summed, if not all."""
    topology, vectors = topology_of(n_edges, n_nodes), vectors_of(n_edges)
    if name == "gather":
        linear = OrderLinear(degree, order, 2 * channels, 3, n_scalars=2, mirror=channels != 5)
        return gather(linear, topology), (
            draw(n_nodes, (degree + 1) ** 2, channels),
            vectors,
            draw(n_edges, n_order_factors(degree, order), 2 * channels, seed=3),
            draw(linear.n_weights, seed=4),
        )
    rows = n_order_rows(degree, order if kept < 0 else kept)
    return summed(degree, order, topology), (draw(n_edges, rows, channels), vectors, draw(n_edges, seed=3))


def derivatives(function: Function, operands: Sequence[Tensor], backend: str, depth: int = 3) -> list[Tensor]:
    """The value and the gradients of nested nonlinear functions of it, ``depth`` deep."""
    inputs = [operand.clone().requires_grad_() for operand in operands]
    results = [function(*inputs, backend=backend)]
    latest: Sequence[Tensor] = results
    for level in range(depth):
        # Sines of numbers up to 1: larger ones would magnify rounding from level to level.
        total = sum((part / part.detach().abs().amax().clamp(min=1)).sin().sum() for part in latest if part.numel())
        if not isinstance(total, Tensor):
            return results
        latest = torch.autograd.grad(total, inputs, create_graph=level + 1 < depth, materialize_grads=True)
        results += latest
    return [result.detach() for result in results]


SIZES = [(0, 0, 3), (1, 1, 16), (2, 2, 5), (2, 1, 40), (4, 2, 3), (3, 3, 17)]


@pytest.mark.parametrize("name", ["gather", "sum"])
@pytest.mark.parametrize("size", SIZES)
def test_values_and_three_derivatives_are_those_of_the_reference(name: str, size: tuple[int, int, int]) -> None:
    function, operands = case_of(name, *size)
    pairs = zip(*(derivatives(function, operands, backend) for backend in ("cpp", "reference")), strict=True)
    for found, expected in pairs:
        assert deviation(found, expected) < BACKEND_PARITY.float64


@pytest.mark.parametrize("name", ["gather", "sum"])
def test_single_precision_is_that_of_the_reference(name: str) -> None:
    function, operands = case_of(name, 2, 2, 32)
    single = [operand.float() for operand in operands]
    expected = derivatives(function, operands, "reference", depth=2)
    for found, exact in zip(derivatives(function, single, "cpp", depth=2), expected, strict=True):
        assert deviation(found, exact) < BACKEND_PARITY.float32


def test_sums_of_fewer_orders_are_those_of_the_reference() -> None:
    function, operands = case_of("sum", 3, 2, 4, kept=0)
    pairs = zip(*(derivatives(function, operands, backend, 2) for backend in ("cpp", "reference")), strict=True)
    assert all(deviation(*pair) < BACKEND_PARITY.float64 for pair in pairs)


@pytest.mark.parametrize("name", ["gather", "sum"])
@pytest.mark.parametrize(("n_edges", "n_nodes", "channels"), [(0, 3, 2), (1, 1, 2), (0, 0, 3), (5, 3, 0), (2, 9, 4)])
def test_small_and_empty_inputs(name: str, n_edges: int, n_nodes: int, channels: int) -> None:
    function, operands = case_of(name, 2, 1, channels, n_edges, n_nodes)
    pairs = zip(*(derivatives(function, operands, backend, 2) for backend in ("cpp", "reference")), strict=True)
    for found, expected in pairs:
        assert found.shape == expected.shape
        assert deviation(found, expected) < BACKEND_PARITY.float64


@pytest.mark.parametrize("name", ["gather", "sum"])
def test_derivatives_of_some_operands_alone_are_the_same(name: str) -> None:
    """Kernels leave out what nobody asked for."""
    function, operands = case_of(name, 2, 2, 4)
    whole = [operand.clone().requires_grad_() for operand in operands]

    def second(inputs: list[Tensor], first_of: int, then_of: int) -> Tensor:
        (found,) = torch.autograd.grad(function(*inputs).sin().sum(), inputs[first_of], create_graph=True)
        return torch.autograd.grad(found.sin().sum(), inputs[then_of])[0]

    for first_of in range(len(operands)):
        for then_of in range(len(operands)):
            some = [x.clone().requires_grad_(i in (first_of, then_of)) for i, x in enumerate(operands)]
            assert deviation(second(some, first_of, then_of), second(whole, first_of, then_of)) < 1e-14


@pytest.mark.parametrize("name", ["gather", "sum"])
def test_transforms_of_torch(name: str) -> None:
    function, operands = case_of(name, 1, 1, 2, n_edges=3, n_nodes=2)
    first, vectors, *others = operands

    def energy(first: Tensor, vectors: Tensor, backend: str) -> Tensor:
        return (function(first * vectors.sum(), vectors, *others, backend=backend) ** 3).sum()

    batch = torch.stack([first, first.sin(), 2 * first])
    results = []
    for backend in ("cpp", "reference"):
        hessian = jacrev(jacrev(lambda v, b=backend: energy(first, v, b)))(vectors)
        mapped = vmap(grad(lambda x, b=backend: energy(x, vectors, b)))(batch)
        outer = grad(lambda v, b=backend: vmap(lambda x: energy(x, v, b))(batch).sum())(vectors)
        results.append((hessian, mapped, outer))
    for found, expected in zip(*results, strict=True):
        assert deviation(found, expected) < BACKEND_PARITY.float64


@pytest.mark.parametrize("name", ["gather", "sum"])
def test_threads_do_not_change_a_bit(name: str) -> None:
    """Enough edges for several groups."""
    function, operands = case_of(name, 1, 1, 16, n_edges=4000, n_nodes=60)
    n_threads = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append(derivatives(function, operands, "cpp", 2))
    finally:
        torch.set_num_threads(n_threads)
    assert all(map(torch.equal, *results))


LINEARS = {
    "mirror": OrderLinear(3, 2, 5, 4, n_scalars=7),
    "without mirror": OrderLinear(2, 2, 3, 6, n_scalars=2, mirror=False),
    "no scalars": OrderLinear(2, 0, 20, 33),
    "wide": OrderLinear(2, 1, 100, 3),
    "degree 0": OrderLinear(0, 0, 4, 2, n_scalars=1),
}


@pytest.mark.parametrize("linear", LINEARS.values(), ids=list(LINEARS))
@pytest.mark.parametrize("n", [0, 1, 600])
def test_linear_maps_are_those_of_the_reference(linear: OrderLinear, n: int) -> None:
    operands = (draw(n, linear.in_width), draw(linear.n_weights, seed=1))

    def function(rows: Tensor, weights: Tensor, backend: str) -> Tensor:
        return order_linear(rows, weights, linear, backend=backend)

    pairs = zip(*(derivatives(function, operands, backend) for backend in ("cpp", "reference")), strict=True)
    assert all(deviation(*pair) < 10 * BACKEND_PARITY.float64 for pair in pairs)


GATES = [
    GateShape((0,), 3),
    GateShape(degrees_by_order(2, 2), 16),
    GateShape(degrees_by_order(3, 1), 5, 4),
    GateShape((0, 1, 1, 1, 2, 2, 2, 2, 2), 33, 1),
]


@pytest.mark.parametrize("shape", GATES)
@pytest.mark.parametrize("n", [0, 7])
def test_gates_are_those_of_the_reference(shape: GateShape, n: int) -> None:
    def function(rows: Tensor, backend: str) -> Tensor:
        return row_gate(rows, shape, 1.7, backend=backend)

    rows = draw(n, shape.width)
    pairs = zip(*(derivatives(function, [rows], backend, 4) for backend in ("cpp", "reference")), strict=True)
    assert all(deviation(*pair) < BACKEND_PARITY.float64 for pair in pairs)
    if n and shape.width < 60:
        single = derivatives(function, [rows.float()], "cpp", 2)
        exact = derivatives(function, [rows], "reference", 2)
        assert all(deviation(*pair) < BACKEND_PARITY.float32 for pair in zip(single, exact, strict=True))
        assert torch.autograd.gradgradcheck(lambda rows: function(rows, "cpp"), rows[:1].clone().requires_grad_())


def test_batches_of_maps_and_gates() -> None:
    linear, shape = LINEARS["mirror"], GateShape(degrees_by_order(2, 1), 3)
    rows, weights, gated = draw(3, 4, linear.in_width), draw(3, linear.n_weights, seed=1), draw(3, 4, shape.width)
    for backend in ("cpp", "reference"):
        found = vmap(lambda x, w, b=backend: order_linear(x, w, linear, backend=b))(rows, weights)
        shared = vmap(lambda x, b=backend: order_linear(x, weights[0], linear, backend=b))(rows)
        curved = vmap(grad(lambda x, b=backend: row_gate(x, shape, backend=b).sin().sum()))(gated)
        for member in range(3):
            one = order_linear(rows[member], weights[member], linear)
            assert deviation(found[member], one) < BACKEND_PARITY.float64
            assert deviation(shared[member], order_linear(rows[member], weights[0], linear)) < BACKEND_PARITY.float64
            alone = grad(lambda x: row_gate(x, shape).sin().sum())(gated[member])
            assert deviation(curved[member], alone) < BACKEND_PARITY.float64


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's own tracer
def test_all_of_them_compile_as_one_graph() -> None:
    topology, frames = topology_of(), edge_frames(vectors_of(), 1)
    linear, shape = OrderLinear(1, 1, 6, 3, n_scalars=3), GateShape(degrees_by_order(1, 1), 3)

    def layer(features: Tensor, values: Tensor, factors: Tensor, matrices: Tensor, weights: Tensor) -> Tensor:
        within = EdgeFrames(values, 1, 1)
        gated = row_gate(gather_linear(features, within, factors, matrices, topology, linear), shape)
        return sum_out_of_frames(gated.unflatten(1, (-1, 3)), within, weights, topology)

    operands = (draw(NODES, 4, 3), frames.values, draw(EDGES, 3, 6), draw(linear.n_weights), draw(EDGES))
    results = []
    for call in (torch.compile(layer, fullgraph=True, backend="aot_eager"), layer):
        inputs = [operand.clone().requires_grad_() for operand in operands]
        out = call(*inputs)
        results.append((out, *torch.autograd.grad(out.sin().sum(), inputs)))
    assert all(deviation(a, b) < BACKEND_PARITY.float64 for a, b in zip(*results, strict=True))


def gathered(features: Tensor, vectors: Tensor, factors: Tensor, degree: int = 1) -> Tensor:
    linear = OrderLinear(degree, 1, 4, 2)
    return gather_linear(features, edge_frames(vectors, 1), factors, draw(linear.n_weights), topology_of(), linear)


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: gathered(draw(NODES, 3, 2), vectors_of(), draw(EDGES, 3, 4)), r"features must have the shape \(4, 4, 2\)"),
    (lambda: gathered(draw(NODES, 4, 2), vectors_of(), draw(EDGES, 3, 2)), r"factors must have the shape \(9, 3, 4\)"),
    (lambda: gathered(draw(NODES, 4, 2), vectors_of().float(), draw(EDGES, 3, 4)), "all operands must be float32 or"),
    (lambda: gathered(draw(NODES, 4, 3), vectors_of(), draw(EDGES, 3, 4)), "does not fit frames of degree 1"),
    (lambda: gathered(draw(NODES, 4, 2), vectors_of(), draw(EDGES, 3, 4), 2), "map of degree 2"),
    (
        lambda: sum_out_of_frames(draw(EDGES, 3, 2), edge_frames(vectors_of(), 1), draw(EDGES), topology_of()),
        r"n one of \[2, 4\]",
    ),
    (
        lambda: sum_out_of_frames(draw(EDGES, 4, 2), edge_frames(vectors_of(), 1), draw(3), topology_of()),
        r"weights must have the shape \(9,\)",
    ),
    (
        lambda: sum_out_of_frames(draw(EDGES, 4, 2), edge_frames(vectors_of(4), 1), draw(EDGES), topology_of()),
        "frames.values must have the shape",
    ),
    (lambda: order_linear(draw(2, 3), draw(5), OrderLinear(1, 1, 1, 1)), r"rows must have the shape \(n, 4\)"),
    (lambda: order_linear(draw(2, 4), draw(5).float(), OrderLinear(1, 1, 1, 1)), "rows are torch.float64"),
    (lambda: OrderLinear(1, 2, 1, 1), "max_order must be 0 to max_degree"),
    (lambda: row_gate(draw(2, 4), GateShape(degrees_by_order(1, 1), 1)), r"of shape \(n, 5\)"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_what_does_not_fit_is_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
