"""The Triton backend (in the interpreter where there is no GPU) against the reference; planted bugs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import grad, jacrev, vmap

from atomsym.core.errors import BackendError
from atomsym.core.topology import EdgeTopology
from atomsym.kernels.so2_convolution import SO2Path, SO2Product, tables
from atomsym.kernels.so2_convolution.convolution import OPERATION
from atomsym.symmetry import Irreps
from atomsym.testing.convolutions import deviation
from atomsym.testing.tolerances import BACKEND_PARITY

Case = Any
MakeCase = Callable[..., Any]
SH = Irreps.spherical_harmonics
INTERPRETED = "triton" in OPERATION.available(device=torch.device("cpu"), dtype=torch.float64)
interpreted = pytest.mark.skipif(not INTERPRETED, reason="needs Triton's interpreter")

TWICE = (SO2Path(0, 0, True, 0.5), SO2Path(0, 0, False, 1.5), SO2Path(0, 0, True, -2.0), SO2Path(1, 0, True, 1.0))
SMALL = {
    "natural": SO2Product.merged(SH(2), SH(2)),
    "cut at order 1": SO2Product.merged(SH(1), SH(3), max_order=1),
    "scalars only": SO2Product.merged(SH(2), SH(1), max_order=0),
    "both parities": SO2Product.separate(Irreps.parse("1o+1e"), Irreps.parse("0e+1e+2o")),
    "several paths between two slots": SO2Product(Irreps.parse("1e+2e"), Irreps.parse("2e+1e"), 2, TWICE, mirror=False),
    "repeated slots": SO2Product.merged(Irreps.parse("1o+0e+1o"), Irreps.parse("1o+1o"), max_order=1),
}
"""The interpreter is slow."""


@interpreted
@pytest.mark.parametrize("name", SMALL)
def test_agrees_with_the_reference(make_case: MakeCase, name: str) -> None:
    make_case(SMALL[name], n_nodes=2, n_edges=3, channels=3).assert_same("triton")


@interpreted
@pytest.mark.parametrize(
    ("channels", "dtype"), [(1, torch.float64), (5, torch.float32), (130, torch.float64), (130, torch.float32)]
)
def test_agrees_with_the_reference_for_any_channel_count(
    make_case: MakeCase, channels: int, dtype: torch.dtype
) -> None:
    """130: several blocks of channels, the last of them nearly empty."""
    product = SO2Product.merged(SH(1), SH(1))
    make_case(product, n_nodes=2, n_edges=2, channels=channels, dtype=dtype).assert_same("triton")


@pytest.mark.slow
@interpreted
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
def test_agrees_with_the_reference_for_larger_products(
    make_case: MakeCase, product: SO2Product, dtype: torch.dtype
) -> None:
    """Edges along the polar axis among them."""
    make_case(product, n_nodes=3, n_edges=6, channels=3, dtype=dtype).assert_same("triton")


@pytest.mark.slow
@interpreted
def test_agrees_with_the_reference_up_to_its_largest_degree(make_case: MakeCase) -> None:
    product = SO2Product.merged(Irreps.parse("6e+1o"), Irreps.parse("6e+5o"), max_order=4)
    make_case(product, n_nodes=2, n_edges=2, channels=2).assert_same("triton")


@interpreted
def test_a_degree_above_the_largest_is_refused(make_case: MakeCase) -> None:
    case = make_case(SO2Product.merged(Irreps.parse("7o"), Irreps.parse("0e")), n_edges=1)
    with pytest.raises(BackendError, match="degree 6, not 7"):
        case.convolve("triton")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])
@pytest.mark.parametrize("channels", [3, 64, 200])
def test_on_a_gpu_agrees_with_the_reference(
    make_case: MakeCase, product: SO2Product, channels: int, dtype: torch.dtype
) -> None:
    case = make_case(product, n_nodes=20, n_edges=300, channels=channels, dtype=dtype)
    moved = {field.name: getattr(case.topology, field.name).cuda() for field in fields(case.topology)}
    operands = {name: getattr(case, name).cuda() for name in ("features", "vectors", "weights")}
    doubled = {name: getattr(case, name).double() for name in operands}
    found = replace(case, topology=EdgeTopology(**moved), **operands).derivatives("triton")
    for a, b in zip(found, replace(case, **doubled).derivatives("reference"), strict=True):
        assert deviation(a.cpu(), b) < BACKEND_PARITY.of(dtype)


@interpreted
@pytest.mark.parametrize(
    ("n_nodes", "n_edges", "channels"),
    [(4, 0, 3), (1, 1, 3), (0, 0, 4), (3, 4, 0), (5, 1, 2)],
    ids=["no edges", "self edge", "no nodes", "no channels", "nodes without edges"],
)
def test_small_and_empty_inputs(make_case: MakeCase, n_nodes: int, n_edges: int, channels: int) -> None:
    product = SO2Product.merged(SH(1), SH(1))
    make_case(product, n_nodes=n_nodes, n_edges=n_edges, channels=channels).assert_same("triton")


@interpreted
def test_slots_without_paths_are_zero(make_case: MakeCase) -> None:
    for irreps_out, shape in ((Irreps(), (4, 0, 3)), (Irreps.parse("0o+0e"), (4, 2, 3))):
        out = make_case(SO2Product.merged(SH(1), irreps_out), n_edges=3).convolve("triton")
        assert out.shape == shape
        assert not out[:, :1].any()


@interpreted
def test_a_product_in_parts_is_the_whole(make_case: MakeCase, monkeypatch: pytest.MonkeyPatch) -> None:
    from atomsym.kernels.so2_convolution import triton_backend

    product = SO2Product.merged(Irreps.parse("1o+0e+1o"), SH(2), max_order=1)
    assert len(triton_backend._parts(product.handle, False, 32)) == 1
    assert [part.components for part in triton_backend._parts(product.handle, False, 4)] == [4, 5]
    assert [part.components for part in triton_backend._parts(product.handle, True, 4)] == [4, 3]
    monkeypatch.setattr(triton_backend, "_LARGEST_PART", 8)  # 4 in double precision
    make_case(product, n_nodes=2, n_edges=2, channels=2).assert_same("triton")


@interpreted
def test_equal_calls_give_equal_bits_from_strided_operands_too(make_case: MakeCase) -> None:
    case = make_case(SO2Product.merged(SH(1), SH(1)), n_edges=4, channels=5, dtype=torch.float32)
    strided = replace(
        case,
        features=case.features.mT.contiguous().mT,
        weights=case.weights.transpose(0, 2).contiguous().transpose(0, 2),
    )
    assert not strided.weights.is_contiguous()
    pairs = zip(case.derivatives("triton")[:4], strided.derivatives("triton")[:4], strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@interpreted
def test_transforms_of_torch(make_case: MakeCase) -> None:
    """Hessian in the edge vectors by jacrev twice, a batch by vmap, and a gradient through the batch."""
    case = make_case(SO2Product.merged(SH(1), Irreps.parse("1o")), n_nodes=2, n_edges=2, channels=2)

    def energy(vectors: Tensor, features: Tensor, name: str) -> Tensor:
        return (case.convolve(name, vectors=vectors, features=features * vectors.sum()) ** 3).sum()

    batch = torch.stack([case.features, 2 * case.features.sin(), case.features.cos()])
    results = []
    for name in ("triton", "reference"):
        hessian = jacrev(jacrev(lambda v, name=name: energy(v, case.features, name)))(case.vectors)
        mapped = vmap(grad(lambda f, name=name: energy(case.vectors, f, name)))(batch)
        outer = grad(lambda v, name=name: vmap(lambda f: energy(v, f, name))(batch).sum())(case.vectors)
        results.append((hessian, mapped, outer))
    assert results[0][0].shape == (2, 3, 2, 3)
    for found, expected in zip(*results, strict=True):
        assert deviation(found, expected) < BACKEND_PARITY.float64


@interpreted
def test_every_operand_may_have_a_batch_axis(make_case: MakeCase) -> None:
    """Batches of frames, weights and features, all alone and together, with gradients of each."""
    case = make_case(SO2Product.merged(SH(1), SH(1)), n_nodes=2, n_edges=2, channels=2)
    scales = torch.tensor([0.5, -1.0], dtype=torch.float64)
    for batched in ({"weights"}, {"vectors"}, {"features", "weights"}):

        def gradients(scale: Tensor, name: str, batched: set[str] = batched) -> tuple[Tensor, ...]:
            def energy(*operands: Tensor) -> Tensor:
                named = dict(zip(("features", "vectors", "weights"), operands, strict=True))
                changed = {key: (x * scale).sin() if key in batched else x for key, x in named.items()}
                return (case.convolve(name, **changed) ** 2).sum()

            result: tuple[Tensor, ...] = grad(energy, argnums=(0, 1, 2))(case.features, case.vectors, case.weights)
            return result

        found, expected = (vmap(lambda s, name=name: gradients(s, name))(scales) for name in ("triton", "reference"))
        assert all(deviation(a, b) < BACKEND_PARITY.float64 for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("name", SMALL)
def test_tables_transposed_twice_are_the_same(name: str) -> None:
    made = tables.mix_tables(SMALL[name].handle)
    again = made.transposed().transposed()
    assert (again.sources, again.targets) == (made.sources, made.targets)
    for group, other in zip(made.groups, again.groups, strict=True):
        assert group[:2] == other[:2]
        assert sorted(group.entries) == sorted(other.entries)


@interpreted
@pytest.mark.parametrize("bug", ["signs as forward", "orders of one weight"])
def test_wrong_tables_are_seen(make_case: MakeCase, bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted bugs in what the gradient of the features is made from."""
    right = tables.MixTables.transposed

    def wrong(self: tables.MixTables) -> tables.MixTables:
        made = right(self)
        groups = []
        for group in made.groups:
            entries = [
                entry._replace(coefficient=entry.sign * entry.coefficient)
                if bug == "signs as forward"
                else entry._replace(weight=entry.weight - (1 if group.order == 1 else 0))
                for entry in group.entries
            ]
            groups.append(group._replace(entries=tuple(entries)))
        return replace(made, groups=tuple(groups))

    monkeypatch.setattr(tables.MixTables, "transposed", wrong)
    # A product that no other test has: tables are kept.
    factor = {"signs as forward": 0.875, "orders of one weight": 1.125}[bug]
    paths = (SO2Path(0, 0, False, 1.0), SO2Path(0, 0, True, factor))
    case = make_case(SO2Product(SH(1)[1:], SH(1)[1:], 1, paths, mirror=False), n_nodes=2, n_edges=2, channels=2)
    with pytest.raises(AssertionError, match="result 1"):
        case.assert_same("triton")
