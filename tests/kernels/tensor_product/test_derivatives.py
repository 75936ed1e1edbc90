"""Derivatives of any order, function transforms, and the compiler."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.func import grad, jacrev, vmap

from atomsym.core.errors import InputError
from atomsym.core.topology import EdgeTopology
from atomsym.kernels.tensor_product import ChannelwiseProduct, tensor_product_convolution
from atomsym.symmetry import Irreps
from atomsym.testing.convolutions import deviation, random_topology
from atomsym.testing.tolerances import BACKEND_PARITY

SH = Irreps.spherical_harmonics
PRODUCT = ChannelwiseProduct.separate(SH(1), Irreps.parse("0e+1o+1e"), Irreps.parse("0e+1o+1e"))
N, E, C = 3, 6, 2


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def topology() -> EdgeTopology:
    return random_topology(N, E, generator())


def operands(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    draw = generator(seed)
    shapes = ((N, PRODUCT.in_dim, C), (E, PRODUCT.edge_dim), (E, PRODUCT.n_paths, C))
    x, y, w = (torch.randn(shape, generator=draw, dtype=torch.float64) for shape in shapes)
    return x, y, w


@pytest.mark.parametrize("backend", ["cpp", "reference"])
def test_first_second_and_third_derivatives_match_finite_differences(backend: str) -> None:
    product = ChannelwiseProduct.separate(SH(1), Irreps.parse("0e+1o"), Irreps.parse("1o"))
    few = random_topology(2, 3, generator())
    draw = generator(4)
    shapes = ((2, 4, 1), (3, 4), (3, product.n_paths, 1))
    inputs = [torch.randn(shape, generator=draw, dtype=torch.float64, requires_grad=True) for shape in shapes]

    def convolve(*args: Tensor) -> Tensor:
        return tensor_product_convolution(*args, few, product, backend=backend)

    def gradients(*args: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad((convolve(*args) ** 3).sum(), args, create_graph=True)

    assert torch.autograd.gradcheck(convolve, inputs)
    assert torch.autograd.gradgradcheck(convolve, inputs)
    assert torch.autograd.gradgradcheck(gradients, inputs, fast_mode=True)


@pytest.mark.parametrize("place", [0, 1, 2], ids=["x", "Y", "w"])
def test_one_operand_alone_can_be_differentiated(place: int, topology: EdgeTopology) -> None:
    results = []
    for backend in ("cpp", "reference"):
        inputs = list(operands())
        inputs[place].requires_grad_()
        out = tensor_product_convolution(*inputs, topology, PRODUCT, backend=backend)
        (first,) = torch.autograd.grad((out**2).sum(), inputs[place], create_graph=True)
        results.append((first, *torch.autograd.grad((first**2).sum(), inputs[place])))
    assert all(deviation(a, b) < BACKEND_PARITY.float64 for a, b in zip(*results, strict=True))


def energy(backend: str, topology: EdgeTopology, x: Tensor, w: Tensor, y: Tensor) -> Tensor:
    """A scalar that uses the operands non-linearly, as a network would."""
    out = tensor_product_convolution(
        x * y[:N, :1, None], y, torch.sin(w * y[:, :1, None]), topology, PRODUCT, backend=backend
    )
    return (out**3).sum()


def test_reverse_over_reverse_gives_the_hessian_and_beyond(topology: EdgeTopology) -> None:
    x, y, w = operands()
    orders = []
    for backend in ("cpp", "reference"):

        def of_edges(y: Tensor, backend: str = backend) -> Tensor:
            return energy(backend, topology, x, w, y)

        hessian = jacrev(jacrev(of_edges))
        orders.append((hessian(y), grad(lambda y, hessian=hessian: (hessian(y) ** 2).sum())(y)))
    for a, b in zip(*orders, strict=True):
        assert deviation(a, b) < BACKEND_PARITY.float64


def test_vmap_maps_any_operands_and_nests(topology: EdgeTopology) -> None:
    _, y, w = operands()
    xs = torch.stack([operands(seed)[0] for seed in range(4)])
    ws = torch.stack([operands(seed)[2] for seed in range(3)], 1)  # mapped axis 1

    def convolve(backend: str, x: Tensor, w: Tensor) -> Tensor:
        return tensor_product_convolution(x, y, w, topology, PRODUCT, backend=backend)

    nested = vmap(lambda w: vmap(lambda x: convolve("cpp", x, w))(xs), in_dims=1, out_dims=1)(ws)
    looped = torch.stack([torch.stack([convolve("reference", a, ws[:, n]) for n in range(3)]) for a in xs])
    assert deviation(nested, looped) < BACKEND_PARITY.float64

    def both(backend: str) -> list[Tensor]:
        inside = vmap(grad(lambda x, w: (convolve(backend, x, w) ** 2).sum(), (0, 1)), (0, None))(xs, w)
        outside = grad(lambda w, xs: (vmap(lambda x: convolve(backend, x, w))(xs) ** 2).sum(), (0, 1))(w, xs)
        return [*inside, *outside]

    for a, b in zip(both("cpp"), both("reference"), strict=True):
        assert deviation(a, b) < BACKEND_PARITY.float64


def test_rows_of_a_hessian_come_from_one_batched_gradient(topology: EdgeTopology) -> None:
    x, y, w = operands()
    rows = []
    for backend in ("cpp", "reference"):
        y_leaf = y.clone().requires_grad_()
        (first,) = torch.autograd.grad(energy(backend, topology, x, w, y_leaf), y_leaf, create_graph=True)
        directions = torch.eye(y.numel(), dtype=y.dtype).reshape(-1, *y.shape)
        rows.append(torch.autograd.grad(first, y_leaf, directions, is_grads_batched=True)[0])
    assert deviation(*rows) < BACKEND_PARITY.float64


def test_mapping_the_wiring_is_refused(topology: EdgeTopology) -> None:
    x, y, w = operands()

    def convolve(receiver: Tensor) -> Tensor:
        moved = EdgeTopology(
            receiver, topology.sender, topology.receiver_offsets, topology.sender_order, topology.sender_offsets
        )
        return tensor_product_convolution(x, y, w, moved, PRODUCT, backend="cpp")

    with pytest.raises(InputError, match=r"AtomGraph\.batch"):
        vmap(convolve)(topology.receiver.expand(2, -1))


class Layer(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.product = PRODUCT

    def forward(self, x: Tensor, y: Tensor, w: Tensor, topology: EdgeTopology) -> Tensor:
        return tensor_product_convolution(x.sin(), y, 2 * w, topology, self.product).cos()


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's own tracer
def test_compiles_as_one_graph_with_gradients(topology: EdgeTopology) -> None:
    layer = Layer()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    results = []
    for call in (compiled, layer):
        inputs = [operand.requires_grad_() for operand in operands()]
        out = call(*inputs, topology)
        results.append((out, *torch.autograd.grad(out.sum(), inputs)))
    assert all(deviation(a, b) < BACKEND_PARITY.float64 for a, b in zip(*results, strict=True))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiles_with_the_default_compiler(topology: EdgeTopology) -> None:
    layer = Layer()
    inputs = operands()
    out = torch.compile(layer, fullgraph=True)(*inputs, topology)
    assert deviation(out, layer(*inputs, topology)) < BACKEND_PARITY.float64


def test_raw_operators_keep_their_contract() -> None:
    """Schema, shapes without data, and dispatch, as torch's own checker sees them."""
    topology = random_topology(N, E, generator())
    x, y, w = (operand.unsqueeze(0) for operand in operands())
    checks = ("test_schema", "test_faketensor")
    tensor_product_convolution(x, y, w, topology, PRODUCT, backend="cpp")
    g = torch.randn(1, N, PRODUCT.out_dim, C, generator=generator(), dtype=torch.float64)
    torch.library.opcheck(
        torch.ops.atomsym.channelwise_forward_cpp.default,
        (x, y, w, *topology.wiring, PRODUCT.handle),
        test_utils=checks,
    )
    for needs in ((True, True, True), (False, True, False)):
        torch.library.opcheck(
            torch.ops.atomsym.channelwise_gradients_cpp.default,
            (g, x, y, w, *topology.wiring, PRODUCT.handle, *needs),
            test_utils=checks,
        )
