"""Values and first and second derivatives of every backend against the reference and against e3nn; edge cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import pytest
import torch
from torch import Tensor

from atomsym.core.errors import BackendError, InputError
from atomsym.core.topology import EdgeTopology
from atomsym.kernels.tensor_product import (
    ChannelwiseProduct,
    ProductPath,
    e3nn_instructions,
    from_e3nn,
    tensor_product_convolution,
    to_e3nn,
)
from atomsym.kernels.tensor_product.convolution import OPERATION
from atomsym.symmetry import Irrep, Irreps
from atomsym.testing.convolutions import ConvolutionCase, deviation, random_topology
from atomsym.testing.tolerances import BACKEND_PARITY

SH = Irreps.spherical_harmonics
BACKENDS = [name for name in ("cpp", "triton") if name in OPERATION.backend_names]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def skip_unavailable(backend: str) -> None:
    if backend not in OPERATION.available(device=torch.device("cpu"), dtype=torch.float64):
        pytest.skip(f"{backend} is not available on this machine")


def case_of(
    product: ChannelwiseProduct, channels: int, backend: str, dtype: torch.dtype = torch.float64
) -> ConvolutionCase:
    def convolve(x: Tensor, y: Tensor, w: Tensor, topology: EdgeTopology) -> Tensor:
        return tensor_product_convolution(x, y, w, topology, product, backend=backend)

    return ConvolutionCase(
        convolve,
        product.irreps_in,
        product.irreps_edge,
        product.irreps_out,
        (product.n_paths, channels),
        channels,
        dtype,
    )


def all_derivatives(
    convolve: Callable[..., Tensor], operands: tuple[Tensor, ...], topology: EdgeTopology
) -> list[Tensor]:
    """The value, the gradients of ⟨g, value⟩, and the gradients of a random combination of those for all operands."""
    draw = generator(1)
    inputs = [operand.clone().requires_grad_() for operand in operands]
    out = convolve(*inputs, topology)
    g = torch.randn(out.shape, generator=draw, dtype=torch.float64).to(out).requires_grad_()
    first = torch.autograd.grad(out, inputs, g, create_graph=True)
    along = [torch.randn(f.shape, generator=draw, dtype=torch.float64).to(f) for f in first]
    second = torch.autograd.grad(first, [g, *inputs], along)
    return [out, *first, *second]


def assert_same(case: ConvolutionCase, product: ChannelwiseProduct, topology: EdgeTopology, seed: int = 0) -> None:
    operands = case.operands(topology, generator(seed))
    reference = case_of(product, case.channels, "reference").convolve
    expected = all_derivatives(reference, tuple(operand.double() for operand in operands), topology)
    found = all_derivatives(case.convolve, operands, topology)
    for number, (a, b) in enumerate(zip(found, expected, strict=True)):
        assert a.dtype == case.dtype
        assert deviation(a, b) < BACKEND_PARITY.of(case.dtype), f"result {number}"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("channels", [1, 3, 8, 16, 17, 40, 128])
def test_cpp_agrees_with_the_reference_for_every_channel_count(channels: int, dtype: torch.dtype) -> None:
    skip_unavailable("cpp")
    product = ChannelwiseProduct.separate(SH(2), SH(3), SH(3))
    assert_same(case_of(product, channels, "cpp", dtype), product, random_topology(9, 70, generator()))


@pytest.mark.parametrize("seed", range(8))
def test_cpp_agrees_with_the_reference_for_random_irreps(seed: int) -> None:
    """Lists with repeats, any order and both parities, slots of their own or shared."""
    skip_unavailable("cpp")
    draw = generator(seed)

    def some(most: int) -> Irreps:
        numbers = torch.randint(8, (int(torch.randint(1, most + 1, (), generator=draw)),), generator=draw)
        return Irreps(tuple(Irrep(int(n) // 2, 1 - 2 * (int(n) % 2)) for n in numbers))

    irreps_in, irreps_edge, allowed = some(3), some(3), some(5)
    make = ChannelwiseProduct.merged if seed % 2 else ChannelwiseProduct.separate
    product = make(irreps_in, irreps_edge, allowed)
    assert_same(case_of(product, 5, "cpp"), product, random_topology(6, 40, draw), seed)


@pytest.mark.parametrize(
    ("irreps_in", "irreps_edge", "channels", "dtype"),
    [("0e+1o", "0e+1o+2e", 3, torch.float64), ("1o+1o", "1o", 5, torch.float32)],
)
def test_triton_agrees_with_the_reference(irreps_in: str, irreps_edge: str, channels: int, dtype: torch.dtype) -> None:
    skip_unavailable("triton")
    product = ChannelwiseProduct.separate(Irreps.parse(irreps_in), Irreps.parse(irreps_edge), SH(2))
    assert_same(case_of(product, channels, "triton", dtype), product, random_topology(3, 5, generator()))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("channels", [3, 64, 200])
def test_triton_on_a_gpu_agrees_with_the_reference(channels: int, dtype: torch.dtype) -> None:
    product = ChannelwiseProduct.separate(SH(2), SH(3), SH(3))
    topology = random_topology(20, 300, generator())
    on_gpu = EdgeTopology(**{field.name: getattr(topology, field.name).cuda() for field in fields(topology)})
    case = case_of(product, channels, "triton", dtype)
    operands = case.operands(topology, generator())
    reference = case_of(product, channels, "reference").convolve
    expected = all_derivatives(reference, tuple(operand.double() for operand in operands), topology)
    found = all_derivatives(case.convolve, tuple(operand.cuda() for operand in operands), on_gpu)
    for a, b in zip(found, expected, strict=True):
        assert deviation(a.cpu(), b) < BACKEND_PARITY.of(dtype)


@pytest.mark.parametrize("degree", [4, 5, 6])
def test_cpp_agrees_with_the_reference_up_to_its_largest_degree(degree: int) -> None:
    skip_unavailable("cpp")
    irreps = Irreps((Irrep(degree, 1), Irrep(1, -1)))
    product = ChannelwiseProduct.separate(irreps, irreps, irreps)
    assert_same(case_of(product, 19, "cpp"), product, random_topology(4, 20, generator()))


def test_a_degree_above_the_compiled_ones_is_refused_by_cpp_and_done_by_the_reference() -> None:
    skip_unavailable("cpp")
    irreps = Irreps((Irrep(7, -1),))
    product = ChannelwiseProduct.separate(irreps, Irreps.parse("0e"), irreps)
    topology = random_topology(3, 5, generator())
    operands = case_of(product, 2, "auto").operands(topology, generator())
    with pytest.raises(BackendError, match="degree 6, not 7"):
        tensor_product_convolution(*operands, topology, product, backend="cpp")
    assert tensor_product_convolution(*operands, topology, product).shape == (3, 15, 2)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("n_nodes", "n_edges", "channels"),
    [(4, 0, 3), (1, 1, 3), (5, 1, 2), (0, 0, 4), (3, 7, 0), (8, 2, 3)],
    ids=["no edges", "self edge", "one edge", "no nodes", "no channels", "nodes without edges"],
)
def test_small_and_empty_inputs(backend: str, n_nodes: int, n_edges: int, channels: int) -> None:
    skip_unavailable(backend)
    product = ChannelwiseProduct.separate(SH(1), SH(1))
    assert_same(case_of(product, channels, backend), product, random_topology(n_nodes, n_edges, generator()))


@pytest.mark.parametrize("backend", BACKENDS)
def test_products_without_paths_give_zeros_or_nothing(backend: str) -> None:
    skip_unavailable(backend)
    topology = random_topology(3, 6, generator())
    for irreps_out, shape in ((Irreps(), (3, 0, 2)), (Irreps.parse("5e"), (3, 11, 2))):
        product = ChannelwiseProduct.merged(SH(1), SH(1), irreps_out)
        operands = [o.requires_grad_() for o in case_of(product, 2, backend).operands(topology, generator())]
        out = tensor_product_convolution(*operands, topology, product, backend=backend)
        assert out.shape == shape
        gradients = torch.autograd.grad(out.sum(), operands)
        assert not out.any()
        assert not any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize("backend", BACKENDS)
def test_several_paths_add_to_one_slot(backend: str) -> None:
    skip_unavailable(backend)
    paths = (
        ProductPath(0, 0, 0, 0.7),
        ProductPath(0, 1, 0, -1.3),
        ProductPath(1, 0, 0, 0.2),
        ProductPath(0, 1, 1, 2.0),
    )
    product = ChannelwiseProduct(
        Irreps.parse("1o+1e"), Irreps.parse("0e+2e"), Irreps.parse("1o+3o"), paths[:2] + paths[3:]
    )
    assert_same(case_of(product, 3, backend), product, random_topology(4, 11, generator()))


def test_operands_need_not_be_contiguous() -> None:
    skip_unavailable("cpp")
    product = ChannelwiseProduct.separate(SH(1), SH(1))
    topology = random_topology(4, 9, generator())
    case = case_of(product, 5, "cpp")
    operands = case.operands(topology, generator())
    strided = [operand.transpose(0, -1).contiguous().transpose(0, -1) for operand in operands]
    assert not any(operand.is_contiguous() for operand in strided)
    assert torch.equal(case.convolve(*strided, topology), case.convolve(*operands, topology))


@pytest.mark.parametrize("batched", [(3, 1, 3), (0, 3, 0), (3, 3, 1), (1, 0, 0)], ids=str)
@pytest.mark.parametrize("backend", ["cpp", "reference"])
def test_a_batch_axis_of_any_operand_is_a_loop_over_it(backend: str, batched: tuple[int, ...]) -> None:
    """A size of 0 here: no batch axis."""
    skip_unavailable(backend)
    product = ChannelwiseProduct.separate(SH(1), SH(2), SH(2))
    topology = random_topology(5, 17, generator())
    case = case_of(product, 3, backend)
    singles = [case.operands(topology, generator(seed)) for seed in range(3)]
    stacked = [
        torch.stack([single[place] for single in singles[: size or 1]]) if size else singles[0][place]
        for place, size in enumerate(batched)
    ]
    inputs = [operand.clone().requires_grad_() for operand in stacked]
    out = case.convolve(*inputs, topology)
    leaves = [operand.clone().requires_grad_() for operand in stacked]
    rows = [
        [leaf[min(number, size - 1)] if size else leaf for leaf, size in zip(leaves, batched, strict=True)]
        for number in range(max(batched))
    ]
    looped = torch.stack([case.convolve(*row, topology) for row in rows])
    assert deviation(out, looped) < BACKEND_PARITY.float64
    g = torch.randn(out.shape, generator=generator(5), dtype=torch.float64)
    for a, b in zip(torch.autograd.grad(out, inputs, g), torch.autograd.grad(looped, leaves, g), strict=True):
        assert deviation(a, b) < BACKEND_PARITY.float64


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    skip_unavailable("cpp")
    product = ChannelwiseProduct.separate(SH(2), SH(2), SH(2))
    topology = random_topology(60, 1500, generator())
    case = case_of(product, 24, "cpp", torch.float32)
    operands = case.operands(topology, generator())
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(all_derivatives(case.convolve, operands, topology))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0][:4], other[:4], strict=True))


def test_weight_gradients_too_large_for_the_cache_are_those_of_the_parts() -> None:
    """Large results are written past the caches; the gradient of an edge's weights does not depend on the others."""
    skip_unavailable("cpp")
    product = ChannelwiseProduct.separate(SH(1), SH(1))
    edges, channels = 12_000, 128  # 36 MB
    topology = random_topology(50, edges, generator())
    case = case_of(product, channels, "cpp", torch.float32)
    x, y, w = case.operands(topology, generator())
    g = torch.randn(50, product.out_dim, channels, generator=generator(1))

    def weight_gradient(part: slice) -> Tensor:
        wiring = EdgeTopology.from_edge_index(torch.stack([topology.receiver[part], topology.sender[part]]), 50)
        leaf = w[part].clone().requires_grad_()
        return torch.autograd.grad(case.convolve(x, y[part], leaf, wiring), leaf, g)[0]

    whole = weight_gradient(slice(0, edges))
    parts = torch.cat([weight_gradient(slice(start, start + edges // 4)) for start in range(0, edges, edges // 4)])
    assert torch.equal(whole, parts)


@pytest.mark.parametrize("backend", ["cpp", "reference"])
@pytest.mark.parametrize(
    ("irreps_in", "irreps_edge", "allowed"),
    [("0e+1o+2e", "0e+1o+2e", None), ("0e+1o", "0e+1o+2e+3o", "0e+1o+2e+3o"), ("1e+1o+0o", "1o+2e", None)],
)
def test_agrees_with_e3nn(backend: str, irreps_in: str, irreps_edge: str, allowed: str | None) -> None:
    """Gather, e3nn's TensorProduct with per-edge weights, and a sum over the edges, through the layout map."""
    from e3nn import o3

    skip_unavailable(backend)
    channels = 4
    product = ChannelwiseProduct.separate(
        Irreps.parse(irreps_in), Irreps.parse(irreps_edge), None if allowed is None else Irreps.parse(allowed)
    )
    topology = random_topology(6, 25, generator())
    case = case_of(product, channels, backend)
    x, y, w = case.operands(topology, generator())

    def many(irreps: Irreps) -> o3.Irreps:
        return o3.Irreps([(channels, (irrep.degree, irrep.parity)) for irrep in irreps])

    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)  # e3nn makes its constants in the default type
        tensor_product = o3.TensorProduct(
            many(product.irreps_in),
            str(product.irreps_edge),
            many(product.irreps_out),
            e3nn_instructions(product),
            shared_weights=False,
            internal_weights=False,
        )
    finally:
        torch.set_default_dtype(before)
    messages = tensor_product(to_e3nn(x, product.irreps_in)[topology.sender], y, w.flatten(1))
    summed = messages.new_zeros(6, messages.shape[1]).index_add(0, topology.receiver, messages)
    expected = from_e3nn(summed, product.irreps_out, channels)
    assert deviation(case.convolve(x, y, w, topology), expected) < BACKEND_PARITY.float64


def test_e3nn_parity_notices_the_wrong_sign_of_one_path() -> None:
    """A planted bug that equivariance cannot see: the comparison of values must."""
    product = ChannelwiseProduct.separate(SH(2), SH(2), SH(2))
    last = product.paths[-1]
    mutant = ChannelwiseProduct(
        product.irreps_in,
        product.irreps_edge,
        product.irreps_out,
        (*product.paths[:-1], last._replace(coefficient=-last.coefficient)),
    )
    topology = random_topology(4, 10, generator())
    with pytest.raises(AssertionError, match="result 0"):
        assert_same(case_of(mutant, 3, "auto"), product, topology)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"node_features": torch.zeros(3, 4, 2)}, r"node_features must have the shape \(4, 4, 2\)"),
        ({"edge_features": torch.zeros(5, 3)}, r"edge_features must have the shape \(5, 4\)"),
        ({"weights": torch.zeros(5, 1, 2)}, "weights must have the shape"),
        ({"weights": torch.zeros(5, 6, 3)}, "weights must have the shape"),
        ({"weights": torch.zeros(5, 6, 2, dtype=torch.float64)}, "all be float32 or all float64"),
        ({"edge_features": torch.zeros(5, 4, dtype=torch.int64)}, "all be float32 or all float64"),
        ({"node_features": torch.zeros(2, 4, 4, 2), "weights": torch.zeros(3, 5, 6, 2)}, "batch axis"),
        ({"node_features": torch.zeros(4, 4, 2, device="meta")}, "node_features is on meta"),
    ],
)
def test_operands_that_do_not_fit_are_refused_by_name(change: dict[str, Tensor], message: str) -> None:
    product = ChannelwiseProduct.separate(SH(1), SH(1))
    assert product.n_paths == 6
    topology = random_topology(4, 5, generator())
    operands = {
        "node_features": torch.zeros(4, 4, 2),
        "edge_features": torch.zeros(5, 4),
        "weights": torch.zeros(5, 6, 2),
    } | change
    with pytest.raises(InputError, match=message):
        tensor_product_convolution(**operands, topology=topology, product=product)
