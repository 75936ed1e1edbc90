"""Derivatives of the symmetric contraction: to third order, batched, transformed and compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from atomsym.core import BackendError
from atomsym.kernels.symmetric_contraction import OPERATION, symmetric_contraction
from atomsym.testing import tolerances

BACKENDS = [b for b in OPERATION.available(device=torch.device("cpu"), dtype=torch.float64) if b != "reference"]
PARITY = tolerances.BACKEND_PARITY
MakeCase = Callable[..., Any]


def derivatives(case: Any, backend: str, order: int) -> list[Tensor]:
    """All derivatives up to an order; each step differentiates a nonlinear function of the step before."""
    operands = list(case.differentiable())
    result = case.function(backend)(*operands)
    phase = torch.arange(result.numel(), dtype=result.dtype).reshape(result.shape).sin()
    scalar, collected = (result * phase).sum() + result.square().sum(), [result]
    for step in range(order):
        gradients = torch.autograd.grad(scalar, operands, create_graph=step + 1 < order)
        scalar = sum((g * (1 + g)).sum() for g in gradients)
        collected += gradients
    return [tensor.detach() for tensor in collected]


@pytest.mark.parametrize("correlation", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [2, 9])
def test_cpp_derivatives_to_third_order_equal_the_reference(
    make_case: MakeCase, deviation: Any, correlation: int, channels: int
) -> None:
    case = make_case("0e+1o+1e", "0e+1o+2o", correlation, channels=channels, n_nodes=13, n_species=2)
    for found, expected in zip(derivatives(case, "cpp", 3), derivatives(case, "reference", 3), strict=True):
        assert deviation(found, expected) < PARITY.float64


@pytest.mark.parametrize("correlation", [1, 3])
def test_triton_derivatives_to_second_order_equal_the_reference(
    make_case: MakeCase, deviation: Any, correlation: int
) -> None:
    if "triton" not in BACKENDS:
        pytest.skip("Triton needs a GPU or its interpreter")
    case = make_case("0e+1o", "0e+1o", correlation, n_nodes=3, channels=3, n_species=2)
    for found, expected in zip(derivatives(case, "triton", 2), derivatives(case, "reference", 2), strict=True):
        assert deviation(found, expected) < PARITY.float64


def test_single_precision_gradients(make_case: MakeCase, deviation: Any) -> None:
    single, double = (make_case("0e+1o+2e+3o", channels=20, dtype=t) for t in (torch.float32, torch.float64))
    for found, expected in zip(derivatives(single, "cpp", 1), derivatives(double, "reference", 1), strict=True):
        assert deviation(found, expected) < PARITY.float32


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradcheck_and_gradgradcheck(make_case: MakeCase, backend: str) -> None:
    case = make_case(
        "0e+1o" if backend == "cpp" else "1o", "0e+1o", 3 if backend == "cpp" else 2, n_nodes=2, channels=1
    )
    operands, function = case.differentiable(), case.function(backend)
    fast = backend == "triton"  # the interpreter is slow
    assert torch.autograd.gradcheck(function, operands, fast_mode=fast)
    assert torch.autograd.gradgradcheck(function, operands, fast_mode=fast)


@pytest.mark.parametrize(
    ("backend", "order", "message"), [("cpp", 4, "three times"), ("triton", 3, "differentiated twice")]
)
def test_too_many_derivatives_are_refused(make_case: MakeCase, backend: str, order: int, message: str) -> None:
    if backend not in BACKENDS:
        pytest.skip(f"{backend} cannot run here")
    case = make_case("0e", "0e", 2, n_nodes=1, channels=1)
    with pytest.raises(BackendError, match=message):
        derivatives(case, backend, order)


def test_only_the_weights_or_only_the_features(make_case: MakeCase, deviation: Any) -> None:
    case = make_case()
    for index in (0, 1):
        found, expected = [], []
        for backend, results in (("cpp", found), ("reference", expected)):
            operands = [case.features.clone(), case.weights.clone()]
            operands[index].requires_grad_()
            value = case.function(backend)(*operands)
            (first,) = torch.autograd.grad(value.pow(3).sum(), operands[index], create_graph=True)
            results += [first, *torch.autograd.grad(first.square().sum(), operands[index])]
        for a, b in zip(found, expected, strict=True):
            assert deviation(a.detach(), b.detach()) < PARITY.float64


def test_force_training_step_equals_the_reference(make_case: MakeCase, deviation: Any) -> None:
    """Gradient in the weights of a function of the gradient in the features: no direction in the weights."""
    case, results = make_case(n_nodes=20, channels=5), []
    for backend in ("cpp", "reference"):
        features, weights = case.differentiable()
        (forces,) = torch.autograd.grad(case.function(backend)(features, weights).sum(), features, create_graph=True)
        results.append(torch.autograd.grad(forces.square().sum(), [features, weights]))
    for found, expected in zip(*results, strict=True):
        assert deviation(found, expected) < PARITY.float64


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("in_dims", [(0, None, None), (None, 1, None), (2, 0, None), (0, None, 0), (0, 0, 1)])
def test_vmap_batches_any_operand(make_case: MakeCase, deviation: Any, backend: str, in_dims: tuple[Any, ...]) -> None:
    case = make_case("0e+1o", "0e", 2, n_nodes=3, channels=2)
    generator = torch.Generator().manual_seed(1)
    operands = []
    for tensor, dim in zip((case.features, case.weights, case.species), in_dims, strict=True):
        members = tensor
        if dim is not None:
            noise = [torch.randint(3, tensor.shape, generator=generator) for _ in range(3)]
            members = torch.stack([(n if tensor.dtype == torch.int64 else tensor * n) for n in noise], dim)
        operands.append(members)
    results = [
        torch.vmap(lambda a, w, s, b=name: symmetric_contraction(a, w, s, case.contraction, backend=b), in_dims)(
            *operands
        )
        for name in (backend, "reference")
    ]
    assert deviation(*results) < PARITY.float64


def test_nested_vmap(make_case: MakeCase, deviation: Any) -> None:
    case = make_case("0e+1o", "0e+1o", 3, n_nodes=3, channels=2)
    outer, inner = torch.linspace(-1, 1, 3, dtype=torch.float64), torch.linspace(1, 2, 4, dtype=torch.float64)
    results = []
    for backend in ("cpp", "reference"):
        function = case.function(backend)
        mixed = torch.vmap(
            lambda x, f=function: (
                torch.vmap(lambda y: f(y * case.features, x * case.weights))(inner)
                + torch.vmap(lambda y: f(x * y * case.features, case.weights))(inner)
            )
        )
        results.append(mixed(outer))
    assert deviation(*results) < PARITY.float64


@pytest.mark.parametrize("shared", ["features", "weights"])
def test_an_operand_that_a_batch_shares_gets_the_sum_of_its_gradients(
    make_case: MakeCase, deviation: Any, shared: str
) -> None:
    case, scales = make_case("0e+1o", "0e+1o", 3, n_nodes=3, channels=2), torch.tensor([0.5, -1.0, 2.0]).double()
    results = []
    for backend in ("cpp", "reference"):
        function = case.function(backend)

        def value(a: Tensor, w: Tensor, f: Any = function) -> Tensor:
            members = torch.vmap(lambda s: f(a, s * w) if shared == "features" else f(s * a, w))(scales)
            return (members**3).sum()

        def slope(a: Tensor, w: Tensor, value: Any = value) -> Tensor:
            return sum(g.square().sum() for g in torch.func.grad(value, (0, 1))(a, w))

        operands = (case.features, case.weights)
        results.append([*torch.func.grad(value, (0, 1))(*operands), *torch.func.grad(slope, (0, 1))(*operands)])
    for found, expected in zip(*results, strict=True):
        assert deviation(found, expected) < PARITY.float64


def test_batched_rows_are_one_call(make_case: MakeCase, deviation: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hessian rows through vmap of the backward: one kernel call for all rows, equal to the rows one by one."""
    from atomsym.kernels.symmetric_contraction import native

    case, calls = make_case("0e+1o", "0e", 3, n_nodes=2, channels=2), []
    original = native._call

    def counted(*arguments: Any) -> None:
        calls.append("value" if arguments[3] is None else "gradient")
        original(*arguments)

    monkeypatch.setattr(native, "_call", counted)
    features = case.features.clone().requires_grad_()
    energy = case.function("cpp")(features, case.weights).tanh().sum()
    (first,) = torch.autograd.grad(energy, features, create_graph=True)
    rows = torch.eye(first.numel(), dtype=first.dtype).reshape(-1, *first.shape)
    calls.clear()
    batched = torch.vmap(lambda row: torch.autograd.grad(first, features, row, retain_graph=True)[0])(rows)
    assert sorted(calls) == ["gradient", "gradient", "value"]
    single = torch.stack([torch.autograd.grad(first, features, row, retain_graph=True)[0] for row in rows])
    assert deviation(batched, single) < PARITY.float64


def test_jacrev_of_jacrev_is_the_hessian(make_case: MakeCase, deviation: Any) -> None:
    case = make_case("0e+1o", "0e+1o", 3, n_nodes=2, channels=2)
    hessians = []
    for backend in ("cpp", "reference"):
        function = case.function(backend)

        def energy(a: Tensor, w: Tensor, f: Any = function) -> Tensor:
            return f(a, w).square().sum()

        hessian = torch.func.jacrev(torch.func.jacrev(energy, argnums=(0, 1)), argnums=(0, 1))
        hessians.append(hessian(case.features, case.weights))
    for found, expected in zip(*hessians, strict=True):
        for a, b in zip(found, expected, strict=True):
            assert deviation(a, b) < PARITY.float64


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the compiler's own use of old parts of torch
def test_compiles_into_one_graph_with_gradients(make_case: MakeCase, deviation: Any) -> None:
    case = make_case("0e+1o", "0e+1o", 3, n_nodes=5, channels=4)

    def energy(a: Tensor, w: Tensor) -> Tensor:
        return symmetric_contraction(a * 1.5, w, case.species, case.contraction, backend="cpp").square().sum()

    compiled = torch.compile(energy, fullgraph=True)
    results = []
    for function in (compiled, energy):
        operands = case.differentiable()
        value = function(*operands)
        results.append([value.detach(), *torch.autograd.grad(value, operands)])
    for found, expected in zip(*results, strict=True):
        assert deviation(found, expected) < PARITY.float64


def test_operators_pass_torch_checks(make_case: MakeCase) -> None:
    case = make_case("0e+1o", "0e+1o", 3, n_nodes=4, channels=3)
    contraction, species = case.contraction, case.species
    value = torch.ops.atomsym.symmetric_contraction_value_cpp.default
    gradient = torch.ops.atomsym.symmetric_contraction_gradient_cpp.default
    batched = torch.stack([case.features, case.features + 1])
    tests = ("test_schema", "test_faketensor")
    arguments = (contraction.key, contraction.irreps_out.dim, species, case.features, case.weights)
    torch.library.opcheck(value, (*arguments, batched, case.weights, None, None), test_utils=tests)
    cotangent = case.evaluate("cpp")
    for wanted in [(True, True), (True, False), (False, True)]:
        arguments = (contraction.key, *wanted, species, cotangent, batched, case.weights, None, None, None, None)
        torch.library.opcheck(gradient, arguments, test_utils=tests)
