"""Products by rows: every backend against the reference, derivatives, edge cases, transforms of torch; planted bugs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from itertools import combinations

import pytest
import torch
from torch import Tensor
from torch.func import grad, jacrev, vmap

from atomsym.core.topology import EdgeTopology
from atomsym.kernels.backends import Operation
from atomsym.kernels.cp_product import CPProduct, cp_convolution, cp_product
from atomsym.kernels.cp_product import product as cp
from atomsym.kernels.gaunt_product import GauntConvolution, GauntProduct, gaunt_convolution, gaunt_product
from atomsym.kernels.gaunt_product import convolution as gaunt_edges
from atomsym.kernels.gaunt_product import native as gaunt_native
from atomsym.kernels.gaunt_product import product as gaunt
from atomsym.kernels.matrix_coupling import MatrixCoupling, matrix_coupling
from atomsym.kernels.matrix_coupling import coupling as matrices
from atomsym.kernels.matrix_coupling import native as matrix_native
from atomsym.kernels.matrix_coupling.description import operators
from atomsym.kernels.pointwise import ProductTables, Sampling, pointwise_product, tables
from atomsym.symmetry import Irrep, Irreps
from atomsym.testing.convolutions import deviation, random_topology
from atomsym.testing.tolerances import ALGEBRA, BACKEND_PARITY

SH = Irreps.spherical_harmonics
Call = Callable[..., Tensor]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pseudo(max_degree: int) -> Irreps:
    """The parities −(−1)^l."""
    return Irreps(tuple(Irrep(degree, -((-1) ** degree)) for degree in range(max_degree + 1)))


@dataclass(frozen=True)
class Case:
    """A function of a topology (looked at by convolutions only), operands and a backend, with shapes of operands.

    ``n``, ``e`` and ``c`` in a shape are nodes, edges and channels.
    """

    operation: Operation
    function: Callable[..., Tensor]
    shapes: tuple[tuple[int | str, ...], ...]

    def operands(self, dtype: torch.dtype = torch.float64, **sizes: int) -> list[Tensor]:
        draw = generator()
        shapes = [tuple(sizes[part] if isinstance(part, str) else part for part in shape) for shape in self.shapes]
        return [torch.randn(shape, generator=draw, dtype=torch.float64).to(dtype) for shape in shapes]

    def on(self, backend: str, topology: EdgeTopology) -> Call:
        if backend not in self.operation.available(device=torch.device("cpu"), dtype=torch.float64):
            pytest.skip(f"{backend} is not available on this machine")
        return lambda *operands: self.function(operands, topology, backend)


def gaunt_case(product: GauntProduct) -> Case:
    shapes = tuple(("n", irreps.dim, "c") for irreps in product.factors)
    return Case(gaunt.OPERATION, lambda x, topology, backend: gaunt_product(x, product, backend=backend), shapes)


def gaunt_edges_case(*irreps: Irreps) -> Case:
    convolution = GauntConvolution(*irreps)
    shapes = (("n", irreps[0].dim, "c"), ("e", irreps[1].dim), ("e", convolution.n_weights, "c"))
    return Case(
        gaunt_edges.OPERATION,
        lambda x, topology, backend: gaunt_convolution(*x, topology, convolution, backend=backend),
        shapes,
    )


def cp_case(product: CPProduct, wide: bool = True) -> Case:
    dims = [(degree + 1) ** 2 for degree in (product.degree_first, product.degree_second)]
    shapes = (("n", dims[0], "c"), ("n", dims[1], "c" if wide else 1))
    return Case(cp.PRODUCT, lambda x, topology, backend: cp_product(*x, product, backend=backend), shapes)


def matrix_case(coupling: MatrixCoupling, wide: bool = True) -> Case:
    dims = [(degree + 1) ** 2 for degree in coupling.degrees]
    return Case(
        matrices.OPERATION,
        lambda x, topology, backend: matrix_coupling(*x, coupling, backend=backend),
        (("n", dims[0], "c"), ("n", dims[1], "c" if wide else 1)),
    )


def cp_edges_case(product: CPProduct) -> Case:
    dims = [(degree + 1) ** 2 for degree in (product.degree_first, product.degree_second)]
    return Case(
        cp.CONVOLUTION,
        lambda x, topology, backend: cp_convolution(*x, topology, product, backend=backend),
        (("n", dims[0], "c"), ("e", dims[1]), ("e", "c")),
    )


ROUGH = CPProduct.of(2, 2, 2, precision="quadratic", mirror=False)
CONVOLUTIONS = {
    "gaunt convolution": gaunt_edges_case(SH(2), SH(3), SH(2)),
    "gaunt convolution of many weights": gaunt_edges_case(SH(1), SH(4), Irreps.parse("2e+0e")),
    "cp convolution": cp_edges_case(CPProduct.of(1, 2, 3)),
    "cp convolution, rough": cp_edges_case(ROUGH),
}
PRODUCTS = {
    "gaunt": gaunt_case(GauntProduct((SH(2), SH(2)), SH(2))),  # by couplings
    "gaunt on the grid": gaunt_case(GauntProduct((SH(3), SH(2), SH(3)), SH(3))),
    "gaunt of four": gaunt_case(GauntProduct((SH(1), pseudo(1), SH(1), SH(2)), pseudo(2))),
    "gaunt of six": gaunt_case(GauntProduct((SH(1), SH(1), pseudo(1), SH(1), SH(1), SH(2)), pseudo(1))),
    "gaunt, few degrees": gaunt_case(GauntProduct((Irreps.parse("2e+0e"), Irreps.parse("1o")), Irreps.parse("3o"))),
    "gaunt, vectors": gaunt_case(GauntProduct((SH(3), SH(2)), pseudo(2), "vector")),
    "cp": cp_case(CPProduct.of(2, 1, 2)),
    "cp, rough": cp_case(ROUGH),
    "cp, shared channels": cp_case(ROUGH, wide=False),
    "matrices": matrix_case(MatrixCoupling(4, 4, 4)),  # by entries
    "matrices, odd": matrix_case(MatrixCoupling(5, 4, 6, part="odd")),  # by entries
    "matrices, few degrees": matrix_case(MatrixCoupling(2, 1, 2, part="odd")),  # by couplings
    "matrices, large spin": matrix_case(MatrixCoupling(3, 4, 3, spin=5), wide=False),
}
HIGH = {"gaunt convolution of high degrees": gaunt_edges_case(SH(2), SH(6), SH(6))}
"""Gradients of edges by components."""

CASES = PRODUCTS | CONVOLUTIONS | HIGH


def derivatives(call: Call, operands: Sequence[Tensor]) -> list[Tensor]:
    """Value, first and second derivatives, each mixed by a non-linear function."""
    inputs = [operand.clone().requires_grad_() for operand in operands]
    value = call(*inputs)
    first = torch.autograd.grad((value + value**3 / 9).sum(), inputs, create_graph=True)
    second = torch.autograd.grad(sum(((part + part**2) * (1 + part)).sum() for part in first), inputs)
    return [value, *first, *second]


def assert_same(case: Case, backend: str, dtype: torch.dtype = torch.float64, **sizes: int) -> None:
    topology = random_topology(sizes["n"], sizes["e"], generator(1))
    operands = case.operands(dtype, **sizes)
    found = derivatives(case.on(backend, topology), operands)
    expected = derivatives(case.on("reference", topology), [operand.double() for operand in operands])
    for number, (a, b) in enumerate(zip(found, expected, strict=True)):
        assert a.dtype == dtype
        assert deviation(a, b) < BACKEND_PARITY.of(dtype), f"result {number}"


@pytest.mark.parametrize("channels", [1, 3, 17, 72])
@pytest.mark.parametrize("name", CASES)
def test_cpp_agrees_with_the_reference_for_every_channel_count(name: str, channels: int) -> None:
    assert_same(CASES[name], "cpp", n=5, e=14, c=channels)


@pytest.mark.parametrize("name", CASES)
def test_cpp_agrees_with_the_reference_in_single_precision(name: str) -> None:
    assert_same(CASES[name], "cpp", torch.float32, n=5, e=14, c=39)


TRITON = {
    "gaunt": gaunt_case(GauntProduct((SH(1), SH(1)), SH(1))),
    "gaunt of three": gaunt_case(GauntProduct((SH(1), pseudo(1), Irreps.parse("0e")), pseudo(1))),
    "gaunt, vectors": gaunt_case(GauntProduct((SH(1), SH(2)), pseudo(1), "vector")),
    "cp, shared channels": cp_case(CPProduct.of(1, 1, 1, precision="quadratic", mirror=False), wide=False),
    "matrices": matrix_case(MatrixCoupling(1, 2, 1)),
    "matrices, odd": matrix_case(MatrixCoupling(1, 1, 1, spin=2, part="odd"), wide=False),
    "gaunt convolution": gaunt_edges_case(SH(1), SH(1), SH(1)),
    "cp convolution": cp_edges_case(CPProduct.of(1, 2, 1)),
}
"""The interpreter is slow."""


@pytest.mark.parametrize("name", TRITON)
def test_triton_agrees_with_the_reference(name: str) -> None:
    assert_same(TRITON[name], "triton", n=2, e=3, c=2)


def test_triton_agrees_with_the_reference_in_single_precision() -> None:
    assert_same(TRITON["gaunt convolution"], "triton", torch.float32, n=2, e=2, c=3)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CONVOLUTIONS, "gaunt, few degrees", "cp", "matrices"])
def test_triton_agrees_with_the_reference_in_larger_blocks(name: str) -> None:
    assert_same(CASES[name], "triton", n=3, e=4, c=3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", CASES)
def test_triton_on_a_gpu_agrees_with_the_reference(name: str) -> None:
    case, device = CASES[name], torch.device("cuda")
    wiring = random_topology(40, 600, generator(1))
    topology = EdgeTopology(**{field.name: getattr(wiring, field.name).to(device) for field in fields(wiring)})
    operands = [operand.to(device) for operand in case.operands(n=40, e=600, c=100)]
    calls = [partial(case.function, topology=topology, backend=backend) for backend in ("triton", "reference")]
    found, expected = (derivatives(lambda *x, call=call: call(x), operands) for call in calls)
    assert all(deviation(a, b) < BACKEND_PARITY.float64 for a, b in zip(found, expected, strict=True))


SIZES = {
    "no edges": (4, 0, 3),
    "self edge": (1, 1, 3),
    "no nodes": (0, 0, 4),
    "no channels": (3, 5, 0),
    "nodes without edges": (6, 2, 1),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", CASES)
def test_small_and_empty_inputs(name: str, size: str) -> None:
    n, e, c = SIZES[size]
    assert_same(CASES[name], "cpp", n=n, e=e, c=c)


@pytest.mark.parametrize("size", ["no edges", "no nodes", "no channels"])
@pytest.mark.parametrize("name", TRITON)
def test_small_and_empty_inputs_with_triton(name: str, size: str) -> None:
    n, e, c = SIZES[size]
    assert_same(TRITON[name], "triton", n=n, e=e, c=c)


@pytest.mark.parametrize(
    "name", ["gaunt", "gaunt on the grid", "cp, rough", "matrices", "gaunt convolution", "cp convolution"]
)
def test_cpp_derivatives_match_finite_differences(name: str) -> None:
    topology = random_topology(2, 3, generator(1))
    operands = [operand.requires_grad_() for operand in CASES[name].operands(n=2, e=3, c=1)]
    call = CASES[name].on("cpp", topology)
    assert torch.autograd.gradcheck(call, operands)
    assert torch.autograd.gradgradcheck(call, operands)


@pytest.mark.parametrize("name", CASES)
def test_operands_need_not_be_contiguous(name: str) -> None:
    topology = random_topology(4, 9, generator(1))
    operands = CASES[name].operands(n=4, e=9, c=5)
    scattered = [operand.mT.contiguous().mT for operand in operands]
    apart = [torch.cat([operand, operand], 1)[:, : operand.shape[1]] for operand in operands]
    assert not any(operand.is_contiguous() for operand in apart)
    call = CASES[name].on("cpp", topology)
    for other in (scattered, apart):
        assert torch.equal(call(*other), call(*operands))


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    topology = random_topology(60, 900, generator(1))
    before = torch.get_num_threads()
    try:
        for case in CASES.values():
            operands, results = case.operands(torch.float32, n=60, e=900, c=24), []
            for threads in (1, 3):
                torch.set_num_threads(threads)
                results.append(derivatives(case.on("cpp", topology), operands)[: 1 + len(operands)])
            if len(case.shapes) == 3 or case.shapes[1][-1] != 1:  # torch sums shared channels in its own way
                assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("name", ["gaunt", "cp, rough", "matrices, odd", "gaunt convolution", "cp convolution"])
def test_transforms_of_torch(name: str) -> None:
    """A Hessian by jacrev twice, a batch by vmap, and a gradient through the batch."""
    topology = random_topology(2, 3, generator(1))
    first, *others = CASES[name].operands(n=2, e=3, c=2)
    batch = torch.stack([first, 2 * first.sin(), first.cos()])
    results = []
    for backend in ("cpp", "reference"):
        call = CASES[name].on(backend, topology)

        def energy(x: Tensor, second: Tensor, call: Call = call) -> Tensor:
            return (call(x, second * x.sum(), *others[1:]) ** 3).sum()

        hessian = jacrev(jacrev(energy))(first, others[0])
        mapped = vmap(grad(energy), in_dims=(0, None))(batch, others[0])
        outer = grad(lambda y, energy=energy: vmap(energy, in_dims=(0, None))(batch, y).sum())(others[0])
        results.append((hessian, mapped, outer))
    for found, expected in zip(*results, strict=True):
        assert deviation(found, expected) < BACKEND_PARITY.float64


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's own tracer
@pytest.mark.parametrize("name", ["gaunt of four", "cp", "matrices", "gaunt convolution", "cp convolution"])
def test_compiles_as_one_graph_with_gradients(name: str) -> None:
    topology = random_topology(3, 5, generator(1))
    call = CASES[name].on("cpp", topology)

    def layer(*operands: Tensor) -> Tensor:
        return call(*(operand.sin() for operand in operands)).cos()

    results = []
    for function in (torch.compile(layer, fullgraph=True, backend="aot_eager"), layer):
        inputs = [operand.requires_grad_() for operand in CASES[name].operands(n=3, e=5, c=2)]
        out = function(*inputs)
        results.append((out, *torch.autograd.grad(out.sum(), inputs)))
    assert all(deviation(a, b) < BACKEND_PARITY.float64 for a, b in zip(*results, strict=True))


def test_raw_operators_keep_their_contract() -> None:
    """Schema, shapes without data, and dispatch, as torch's own checker sees them."""
    checks = ("test_schema", "test_faketensor")
    operators, topology = torch.ops.atomsym, random_topology(3, 5, generator(1))
    convolution = GauntConvolution(SH(1), SH(1), SH(1))
    operands = gaunt_edges_case(SH(1), SH(1), SH(1)).operands(n=3, e=5, c=2)
    arguments = (*operands, *topology.wiring, convolution.handle)
    torch.library.opcheck(operators.pointwise_forward_cpp.default, arguments, test_utils=checks)
    for needs in ((True, True, True), (False, True, False)):
        gradients = (operands[0], *arguments, *needs)
        torch.library.opcheck(operators.pointwise_gradients_cpp.default, gradients, test_utils=checks)
    handle = f"gaunt_product {GauntProduct((SH(1), SH(2)), SH(3)).handle}"
    x, y = torch.randn(2, 9, 3, generator=generator()), torch.randn(2, 16, 3, generator=generator())
    torch.library.opcheck(operators.pointwise_product2_forward_cpp.default, (x, y, handle), test_utils=checks)
    g = torch.randn(2, 16, 3, generator=generator())
    for needs in ((True, True), (False, True)):
        gradients = (g, x, y, handle, *needs)
        torch.library.opcheck(operators.pointwise_product2_gradients_cpp.default, gradients, test_utils=checks)


# What the compiled kernels are given ---------------------------------------------------------------------------------
GRIDS = [
    GauntProduct((SH(2), SH(3)), SH(4)),
    GauntProduct((SH(2), SH(1), SH(2)), SH(3)),
    GauntProduct((Irreps.parse("4e+1o"), SH(2)), SH(3)),
    GauntProduct((SH(4), SH(3)), pseudo(3), "vector"),
]


def in_two_steps(made: ProductTables) -> list[Sampling]:
    found = [sampling for sampling in (*made.sample, *made.project) if sampling.second]
    assert found
    return found


def assert_steps_are_one(samplings: Sequence[Sampling]) -> None:
    for sampling in samplings:
        middle = torch.zeros(sampling.middle, sampling.matrix.shape[1], dtype=torch.float64)
        for targets, sources, matrix in sampling.first:
            middle[torch.tensor(targets)[:, None], torch.tensor(sources)[None]] += matrix
        rows = torch.zeros_like(sampling.matrix)
        for targets, sources, matrix in sampling.second:
            rows[targets] += matrix @ middle[sources]
        assert deviation(rows, sampling.matrix) < ALGEBRA.float64
        assert sampling.n_products < sampling.matrix.numel()


@pytest.mark.parametrize("product", GRIDS, ids=str)
def test_two_steps_to_the_grid_are_one(product: GauntProduct) -> None:
    assert_steps_are_one(in_two_steps(gaunt_native._tables(product.handle)))


MATRICES = [MatrixCoupling(4, 4, 4), MatrixCoupling(7, 6, 5, part="odd"), MatrixCoupling(2, 3, 4, spin=6)]


@pytest.mark.parametrize("coupling", MATRICES, ids=str)
def test_two_steps_to_the_entries_are_one(coupling: MatrixCoupling) -> None:
    """With the products that the arithmetic promises: about n³/3 for sums, four an entry for signs."""
    split = in_two_steps(matrix_native._tables(coupling.handle))
    assert_steps_are_one(split)
    for sampling in split:
        degree, n = math.isqrt(sampling.matrix.shape[1]) - 1, coupling.size
        assert sampling.n_products <= sum((n - m) * (degree + 1 - m) for m in range(degree + 1)) + 4 * n * n


def test_blocks_of_more_than_one_rank_are_seen() -> None:
    """A planted bug: the entries (±1, ±1) and (±2, ±2), which have other coefficients, in one block."""
    entries = operators(2, 4).movedim(0, -1).flatten(0, 1)
    blocks = {tuple(block): 18 in block or 24 in block for block in matrix_native._blocks(2)}
    merged = [entry for block, chosen in blocks.items() for entry in block if chosen]
    others = [list(block) for block, chosen in blocks.items() if not chosen]
    wrong = Sampling.in_blocks(entries, [merged, *others], matrix_native._classes(25))
    with pytest.raises(AssertionError):
        assert_steps_are_one([wrong])


@pytest.mark.parametrize("name", CASES)
def test_derivatives_for_some_operands_are_those_for_all(name: str) -> None:
    """Kernels take other ways where not every derivative is wanted."""
    topology = random_topology(4, 9, generator(1))
    call, operands = CASES[name].on("cpp", topology), CASES[name].operands(n=4, e=9, c=5)

    def gradients(wanted: Sequence[int]) -> dict[int, Tensor]:
        inputs = [operand.clone().requires_grad_(place in wanted) for place, operand in enumerate(operands)]
        loss = call(*inputs).square().sum()
        return dict(zip(wanted, torch.autograd.grad(loss, [inputs[place] for place in wanted]), strict=True))

    expected = gradients(range(len(operands)))
    for n_wanted in range(1, len(operands)):
        for wanted in combinations(range(len(operands)), n_wanted):
            for place, found in gradients(wanted).items():
                assert deviation(found, expected[place]) < ALGEBRA.float64


def test_couplings_are_those_of_the_form() -> None:
    """The lists that the kernel walks, added up again, for each slot that is left out."""
    for made in (
        gaunt_native._tables(GauntProduct((SH(2), SH(1)), SH(3)).handle),
        gaunt_native._tables(GauntProduct((SH(2), SH(2)), pseudo(2), "vector").handle),
        matrix_native._tables(MatrixCoupling(2, 1, 2, part="odd").handle),
    ):
        for out, (start, first, term, second, values) in enumerate(made.table()[3]):
            cube = made.couplings().permute(out, (out + 1) % 3, (out + 2) % 3)
            found = torch.zeros_like(cube)
            for result in range(len(start) - 1):
                for pair in range(start[result], start[result + 1]):
                    assert term[pair] < term[pair + 1]
                    for t in range(term[pair], term[pair + 1]):
                        found[result, first[pair], second[t]] += values[t]
            assert torch.equal(found, cube)


def test_couplings_are_taken_where_they_are_fewer() -> None:
    """Few degrees: couplings. High degrees and decompositions that are not exact: rows."""
    for product, by_couplings in (
        (GauntProduct((SH(2), SH(2)), SH(2)), True),
        (GauntProduct((SH(6),) * 2, SH(6)), False),
    ):
        assert bool(gaunt_native._tables(product.handle).table()[3]) == by_couplings
    for rough, by_couplings in ((CPProduct.of(2, 2, 2), True), (ROUGH, False)):
        assert bool(cp._product_tables(rough.handle).table()[3]) == by_couplings
    for coupling, by_couplings in (
        (MatrixCoupling(3, 3, 3), True),
        (MatrixCoupling(4, 4, 4), False),
        (MatrixCoupling(5, 4, 6, part="odd"), False),
    ):
        assert bool(matrix_native._tables(coupling.handle).table()[3]) == by_couplings


@pytest.mark.parametrize("degree", [2, 6])
def test_a_projection_without_the_weights_of_the_grid_is_seen(degree: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted bug in what the kernel is given, by couplings and by rows."""
    product = GauntProduct((SH(degree), SH(degree)), SH(degree))
    right = gaunt_native._tables(product.handle)
    wrong = ProductTables(right.sample, right.sample)
    monkeypatch.setitem(tables._KINDS, "wrong", (lambda _: wrong, lambda _: 3 * ((degree + 1) ** 2,)))
    case = gaunt_case(product)
    x, y = case.operands(n=3, c=4)
    expected = case.on("cpp", random_topology(3, 0, generator()))(x, y)
    assert deviation(pointwise_product("cpp", (x, y), f"wrong {degree}"), expected) > 1e-2


def test_a_wrong_order_of_factors_is_seen_in_vector_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted bug: a cross product is not symmetric, and equivariance does not see its sign."""
    product = GauntProduct((SH(2), SH(2)), pseudo(2), "vector")
    x, y = gaunt_case(product).operands(n=3, c=4)
    found = gaunt_product((y, x), product, backend="cpp")
    assert deviation(found, -gaunt_product((x, y), product, backend="reference")) < BACKEND_PARITY.float64
    assert deviation(found, gaunt_product((x, y), product, backend="reference")) > 1


@pytest.mark.parametrize("degree", [2, 4])
def test_matrices_that_are_not_transposed_are_seen(degree: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted bug: tr Gᵀ (X Y + Y X) where tr G (X Y + Y X) is meant, by couplings and by entries."""
    coupling = MatrixCoupling(degree, degree, degree)
    right = matrix_native._tables(coupling.handle)
    wrong = ProductTables(right.project, right.project, right.join)
    monkeypatch.setitem(tables._KINDS, "wrong", (lambda _: wrong, lambda _: 3 * ((degree + 1) ** 2,)))
    x, y = matrix_case(coupling).operands(n=3, c=4)
    found = 4 * pointwise_product("cpp", (x, y), f"wrong {degree}")
    assert deviation(found, matrix_coupling(x, y, coupling, backend="reference")) > 1e-2


def test_a_sampling_in_one_step_is_its_matrix() -> None:
    matrix = torch.randn(5, 3, generator=generator(), dtype=torch.float64)
    dim, middle, rows, first, second = Sampling.dense(matrix).table()
    assert (dim, middle, rows, second) == (3, 0, 5, [])
    assert first == [([0, 1, 2, 3, 4], [0, 1, 2], matrix.flatten().tolist())]
