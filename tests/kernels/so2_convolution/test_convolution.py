"""Equivariance, derivatives, every backend against the reference, edge cases and refusals; planted bugs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import grad, jacrev, vmap

from atomsym.core.errors import InputError
from atomsym.core.topology import EdgeTopology
from atomsym.kernels.so2_convolution import EdgeFrames, SO2Path, SO2Product, edge_frames, so2_convolution
from atomsym.kernels.so2_convolution.convolution import OPERATION
from atomsym.kernels.so2_convolution.product import so2_product_of
from atomsym.symmetry import Irreps, random_rotations, representation_matrix
from atomsym.testing.convolutions import deviation, random_topology
from atomsym.testing.tolerances import BACKEND_PARITY, EQUIVARIANCE

Case = Any
MakeCase = Callable[..., Any]
SH = Irreps.spherical_harmonics


def skip_unavailable(backend: str) -> None:
    if backend not in OPERATION.available(device=torch.device("cpu"), dtype=torch.float64):
        pytest.skip(f"{backend} is not available on this machine")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def turned(case: Case, rotation: Tensor, backend: str) -> float:
    """f(D x, R r) against D f(x, r)."""
    matrix_in = representation_matrix(case.product.irreps_in, rotation).to(case.features)
    matrix_out = representation_matrix(case.product.irreps_out, rotation).to(case.features)
    vectors = case.vectors @ rotation.T.to(case.vectors)
    found = case.convolve(backend, features=matrix_in @ case.features, vectors=vectors)
    return deviation(found, matrix_out @ case.convolve(backend))


def random_rotation(seed: int, improper: bool = False) -> Tensor:
    rotation = random_rotations(1, generator=generator(seed))[0]
    return -rotation if improper else rotation


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
def test_result_turns_with_features_and_edges(
    product: SO2Product, make_case: MakeCase, backend: str, dtype: torch.dtype
) -> None:
    case = make_case(product, n_edges=14, dtype=dtype)
    assert turned(case, random_rotation(1), backend) < EQUIVARIANCE.of(dtype)
    assert turned(case, random_rotation(2, improper=True), backend) < EQUIVARIANCE.of(dtype) or not product.mirror


def test_without_mirror_the_inversion_is_broken(make_case: MakeCase) -> None:
    """And with the mirror, an odd path where an even one belongs is refused (see below): planted here by hand."""
    case = make_case(SO2Product.merged(SH(1), SH(1), mirror=False))
    assert turned(case, random_rotation(1), "reference") < EQUIVARIANCE.float64
    assert turned(case, random_rotation(1, improper=True), "reference") > 1e-3


def turn_about_edges(frames: EdgeFrames, angles: Tensor) -> EdgeFrames:
    """Another choice of the turn about each edge: rows m and −m of every degree are mixed."""
    blocks = []
    for block in frames.blocks:
        orders = torch.arange(block.shape[1], dtype=angles.dtype) - block.shape[1] // 2
        cosine, sine = torch.cos(orders * angles[:, None]), torch.sin(orders * angles[:, None])
        blocks.append((cosine[..., None] * block - sine[..., None] * block.flip(1)).flatten(1))
    return replace(frames, values=torch.cat(blocks, 1))


def test_result_does_not_depend_on_the_turn_about_the_edge(
    product: SO2Product, make_case: MakeCase, backend: str
) -> None:
    case = make_case(product)
    frames = edge_frames(case.vectors, product.max_degree, product.max_order)
    angles = torch.rand(9, generator=generator(), dtype=torch.float64) * 6
    other = turn_about_edges(frames, angles)
    assert deviation(other.values, frames.values) > 0.1 or product.max_order == 0
    results = [
        so2_convolution(case.features, f, case.weights, case.topology, product, backend=backend)
        for f in (frames, other)
    ]
    assert deviation(*results) < EQUIVARIANCE.float64


@pytest.mark.parametrize("bug", ["orders of one sign", "one order shifted"])
def test_a_mix_that_does_not_commute_with_turns_is_seen(make_case: MakeCase, bug: str) -> None:
    """Planted bugs in the frame: weights that differ for m and −m, and rows one place off."""
    product = SO2Product.merged(SH(2), SH(2))
    case = make_case(product)
    frames = edge_frames(case.vectors, 2)
    blocks = [block.clone() for block in frames.blocks]
    if bug == "orders of one sign":
        blocks[2][:, 3:] *= 1.5
    else:
        blocks[2] = blocks[2].roll(1, dims=1)
    wrong = replace(frames, values=torch.cat([block.flatten(1) for block in blocks], 1))
    rotation = random_rotation(3)
    matrix = representation_matrix(SH(2), rotation)

    def convolve(frames: EdgeFrames, features: Tensor) -> Tensor:
        return so2_convolution(features, frames, case.weights, case.topology, product, backend="reference")

    turned_frames = edge_frames(case.vectors @ rotation.T, 2)
    found = convolve(turned_frames, matrix @ case.features)
    assert deviation(found, matrix @ convolve(frames, case.features)) < EQUIVARIANCE.float64
    assert deviation(found, matrix @ convolve(wrong, case.features)) > 1e-2


def test_first_second_and_third_derivatives_match_finite_differences(backend: str, make_case: MakeCase) -> None:
    """In features, weights and edge vectors, ±y among the edges."""
    product = SO2Product.merged(SH(1), SH(2), max_order=1)
    case = make_case(product, n_nodes=2, n_edges=3, channels=1)
    inputs = [case.features.requires_grad_(), case.vectors.clone().requires_grad_(), case.weights.requires_grad_()]

    def convolve(features: Tensor, vectors: Tensor, weights: Tensor) -> Tensor:
        result: Tensor = case.convolve(backend, features=features, vectors=vectors, weights=weights)
        return result

    def gradients(*args: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad((convolve(*args) ** 3).sum(), args, create_graph=True)

    assert torch.autograd.gradcheck(convolve, inputs)
    assert torch.autograd.gradgradcheck(convolve, inputs)
    assert torch.autograd.gradgradcheck(gradients, inputs, fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("channels", [1, 3, 8, 17, 40, 128])
def test_cpp_agrees_with_the_reference_for_every_channel_count(
    make_case: MakeCase, channels: int, dtype: torch.dtype
) -> None:
    skip_unavailable("cpp")
    product = SO2Product.merged(SH(3), SH(4), max_order=2)
    make_case(product, n_nodes=7, n_edges=30, channels=channels, dtype=dtype).assert_same("cpp")


def test_cpp_agrees_with_the_reference_for_all_products(make_case: MakeCase, product: SO2Product) -> None:
    skip_unavailable("cpp")
    make_case(product, channels=5).assert_same("cpp")


def test_cpp_has_no_largest_degree(make_case: MakeCase) -> None:
    skip_unavailable("cpp")
    irreps = Irreps.parse("9o+1o")
    make_case(SO2Product.merged(irreps, irreps), channels=9).assert_same("cpp")


@pytest.mark.parametrize("backend", ["cpp", "triton"])
def test_a_wrong_sign_of_odd_paths_is_seen(make_case: MakeCase, backend: str) -> None:
    """A planted bug that equivariance cannot see: the comparison of values must."""
    skip_unavailable(backend)
    right = make_case(SO2Product.merged(Irreps.parse("1e"), Irreps.parse("1e"), mirror=False))
    paths = tuple(path._replace(coefficient=-path.coefficient) if path.odd else path for path in right.product.paths)
    wrong = replace(right, product=replace(right.product, paths=paths))
    assert deviation(wrong.convolve(backend), right.convolve("reference")) > 1e-2


def test_results_do_not_depend_on_the_number_of_threads(make_case: MakeCase) -> None:
    skip_unavailable("cpp")
    product = SO2Product.merged(SH(2), SH(2), max_order=1)
    case = make_case(product, n_nodes=60, n_edges=900, channels=24, dtype=torch.float32)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append(case.derivatives("cpp")[:4])
    finally:
        torch.set_num_threads(before)
    for place in (0, 1, 3):  # torch's own sums over an edge's frame may differ
        assert torch.equal(results[0][place], results[1][place])


def test_operands_need_not_be_contiguous(make_case: MakeCase) -> None:
    skip_unavailable("cpp")
    case = make_case(SO2Product.merged(SH(2), SH(2)), channels=5)
    strided = replace(
        case,
        features=case.features.mT.contiguous().mT,
        weights=case.weights.transpose(0, 2).contiguous().transpose(0, 2),
    )
    assert not strided.weights.is_contiguous()
    assert torch.equal(strided.convolve("cpp"), case.convolve("cpp"))


def test_raw_operators_keep_their_contract(make_case: MakeCase) -> None:
    """Schema, shapes without data, and dispatch, as torch's own checker sees them."""
    skip_unavailable("cpp")
    product = SO2Product.merged(SH(1), SH(1))
    case = make_case(product)
    wiring = tuple(
        getattr(case.topology, name)
        for name in ("receiver", "sender", "receiver_offsets", "sender_order", "sender_offsets")
    )
    frames = edge_frames(case.vectors, 1).values[None]
    operands = (case.features[None], frames, case.weights[None], frames)
    g = torch.randn(1, 4, product.out_dim, 3, generator=generator(), dtype=torch.float64)
    checks = ("test_schema", "test_faketensor")
    operators = torch.ops.atomsym
    torch.library.opcheck(operators.so2_forward_cpp.default, (*operands, *wiring, product.handle), test_utils=checks)
    for needs in ((True, True, True, True), (False, False, True, False)):
        torch.library.opcheck(
            operators.so2_gradients_cpp.default, (g, *operands, *wiring, product.handle, *needs), test_utils=checks
        )


@pytest.mark.parametrize(
    ("n_nodes", "n_edges", "channels"),
    [(4, 0, 3), (1, 1, 3), (5, 1, 2), (0, 0, 4), (3, 7, 0), (8, 2, 3)],
    ids=["no edges", "self edge", "one edge", "no nodes", "no channels", "nodes without edges"],
)
def test_small_and_empty_inputs(make_case: MakeCase, backend: str, n_nodes: int, n_edges: int, channels: int) -> None:
    product = SO2Product.merged(SH(2), SH(1))
    make_case(product, n_nodes=n_nodes, n_edges=n_edges, channels=channels).assert_same(backend)


def test_slots_without_paths_are_zero(make_case: MakeCase, backend: str) -> None:
    for irreps_out, shape in ((Irreps(), (4, 0, 3)), (Irreps.parse("0o+0e"), (4, 2, 3))):
        case = make_case(SO2Product.merged(SH(1), irreps_out))
        out = case.convolve(backend)
        assert out.shape == shape
        assert not out[:, :1].any()


def test_equal_calls_give_equal_bits(make_case: MakeCase, backend: str) -> None:
    case = make_case(SO2Product.merged(SH(3), SH(3), max_order=2), n_edges=40, channels=8, dtype=torch.float32)
    assert all(torch.equal(a, b) for a, b in zip(*(case.derivatives(backend) for _ in range(2)), strict=True))


def test_frames_of_a_larger_degree_serve_smaller_products(make_case: MakeCase, backend: str) -> None:
    case = make_case(SO2Product.merged(SH(1), SH(2), max_order=1))
    operands = (case.weights, case.topology, case.product)
    larger = so2_convolution(case.features, edge_frames(case.vectors, 4, 1), *operands, backend=backend)
    assert torch.equal(larger, case.convolve(backend))


def test_transforms_of_torch(make_case: MakeCase) -> None:
    """Hessian in the edge vectors by jacrev twice, a batch by vmap, and a gradient through the batch."""
    skip_unavailable("cpp")
    case = make_case(SO2Product.merged(SH(1), SH(1)), n_nodes=3, n_edges=4, channels=2)

    def energy(vectors: Tensor, features: Tensor, name: str) -> Tensor:
        return (case.convolve(name, vectors=vectors, features=features * vectors.sum()) ** 3).sum()

    batch = torch.stack([case.features, 2 * case.features.sin(), case.features.cos()])
    results = []
    for name in ("cpp", "reference"):
        hessian = jacrev(jacrev(lambda v, name=name: energy(v, case.features, name)))(case.vectors)
        mapped = vmap(grad(lambda f, name=name: energy(case.vectors, f, name)))(batch)
        outer = grad(lambda v, name=name: vmap(lambda f: energy(v, f, name))(batch).sum())(case.vectors)
        results.append((hessian, mapped, outer))
    assert results[0][0].shape == (4, 3, 4, 3)
    for found, expected in zip(*results, strict=True):
        assert deviation(found, expected) < BACKEND_PARITY.float64
    alone = [grad(lambda f: energy(case.vectors, f, "reference"))(features) for features in batch]
    assert deviation(results[0][1], torch.stack(alone)) < BACKEND_PARITY.float64


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's own tracer
@pytest.mark.parametrize("backend", ["cpp", "triton"])
def test_compiles_as_one_graph_with_gradients(make_case: MakeCase, backend: str) -> None:
    skip_unavailable(backend)
    case = make_case(SO2Product.merged(SH(1), SH(1)), n_edges=4)

    def layer(features: Tensor, vectors: Tensor, weights: Tensor) -> Tensor:
        out: Tensor = case.convolve(backend, features=features.sin(), vectors=vectors, weights=weights)
        return out.cos()

    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    results = []
    for call in (compiled, layer):
        inputs = [operand.clone().requires_grad_() for operand in (case.features, case.vectors, case.weights)]
        out = call(*inputs)
        results.append((out, *torch.autograd.grad(out.sum(), inputs)))
    assert all(deviation(a, b) < BACKEND_PARITY.float64 for a, b in zip(*results, strict=True))


def test_handles_give_the_product_back(product: SO2Product) -> None:
    assert so2_product_of(product.handle) == product


def test_edges_without_direction_are_refused() -> None:
    for wrong in (0.0, float("nan"), float("inf")):
        vectors = torch.ones(3, 3)
        vectors[1] = wrong
        with pytest.raises(InputError, match=r"vectors\[1\] is .* no direction"):
            edge_frames(vectors, 1)
    with pytest.raises(InputError, match="must be float32 or float64"):
        edge_frames(torch.ones(3, 2), 1)
    with pytest.raises(InputError, match="must be >= 0"):
        edge_frames(torch.ones(3, 3), 1, -1)
    assert edge_frames(torch.ones(0, 3), 2).values.shape == (0, 35)


def test_edges_of_length_zero_can_couple_scalars_alone() -> None:
    vectors = torch.tensor([[0.0, 0.0, 0.0], [0.0, 2.0, 0.0]], dtype=torch.float64, requires_grad=True)
    frames = edge_frames(vectors, 2, zero_length="scalar").values
    assert frames[0].tolist() == [1.0] + 34 * [0.0]
    assert torch.equal(frames[1], edge_frames(vectors[1:], 2).values[0])
    (first,) = torch.autograd.grad(frames.sin().sum(), vectors, create_graph=True)
    (second,) = torch.autograd.grad(first.sin().sum(), vectors)
    assert not first[0].any()
    assert not second[0].any()
    assert torch.isfinite(second).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"node_features": torch.zeros(3, 4, 2)}, r"node_features must have the shape \(4, 4, 2\)"),
        ({"weights": torch.zeros(5, 1, 2)}, "weights must have the shape"),
        ({"weights": torch.zeros(5, 5, 2, dtype=torch.float64)}, "all be float32 or all float64"),
        ({"node_features": torch.zeros(4, 4, 2, device="meta")}, "node_features is on meta"),
        ({"frames": edge_frames(torch.ones(5, 3), 0)}, "do not fit a product of degree 1"),
        ({"frames": edge_frames(torch.ones(5, 3), 2, 0)}, r"edge_frames\(vectors, 1, 1\)"),
        ({"frames": edge_frames(torch.ones(4, 3), 1)}, "frames.values must have the shape"),
    ],
)
def test_operands_that_do_not_fit_are_refused_by_name(change: dict[str, Any], message: str) -> None:
    product = SO2Product.merged(SH(1), SH(1))
    assert product.n_weights == 5
    operands = {
        "node_features": torch.zeros(4, 4, 2),
        "frames": edge_frames(torch.ones(5, 3), 1),
        "weights": torch.zeros(5, 5, 2),
    } | change
    with pytest.raises(InputError, match=message):
        so2_convolution(**operands, topology=random_topology(4, 5, generator()), product=product)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (SO2Path(2, 0, False, 1.0), r"index_in is 2; allowed are 0 to 1"),
        (SO2Path(0, 0, True, 1.0), "share no order"),
        (SO2Path(1, 1, True, 1.0), "the inversion allows even only"),
        (SO2Path(1, 1, False, float("nan")), "a finite number"),
    ],
)
def test_paths_that_cannot_be_are_refused(path: SO2Path, message: str) -> None:
    with pytest.raises(InputError, match=message):
        SO2Product(SH(1), SH(1), 1, (path,))
    with pytest.raises(InputError, match="max_order must be >= 0"):
        SO2Product.merged(SH(1), SH(1), max_order=-1)


def test_an_edge_counts_for_its_receiver_alone(make_case: MakeCase, backend: str) -> None:
    """The result is the sum of what each edge alone gives."""
    case = make_case(SO2Product.merged(SH(2), SH(2)), n_edges=12)
    total = torch.zeros_like(case.convolve(backend))
    for edge in range(12):
        one = slice(edge, edge + 1)
        index = torch.stack([case.topology.receiver[one], case.topology.sender[one]])
        alone = replace(
            case,
            topology=EdgeTopology.from_edge_index(index, 4),
            vectors=case.vectors[one],
            weights=case.weights[one],
        )
        total = total + alone.convolve(backend)
    assert deviation(case.convolve(backend), total) < EQUIVARIANCE.float64
