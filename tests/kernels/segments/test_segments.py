"""Segment reductions: every backend equals a loop, empty segments are defined, derivatives of every order."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from atomsym.core import BackendError, InputError
from atomsym.kernels.segments import (
    SEGMENT_ARGMAX,
    SEGMENT_SUM,
    segment_max,
    segment_mean,
    segment_softmax,
    segment_sum,
)
from atomsym.testing import tolerances

CPU = torch.device("cpu")
DTYPES = [torch.float64, torch.float32]
SUM_BACKENDS = SEGMENT_SUM.available(device=CPU, dtype=torch.float64)
ANY_ORDER = [b for b in SUM_BACKENDS if b != "triton"]
BACKENDS = SEGMENT_ARGMAX.available(device=CPU, dtype=torch.float64)
INDEX = torch.tensor([0, 0, 2, 2, 2, 3, 6, 6])  # segments 1, 4 and 5 are empty
SHUFFLED = INDEX[torch.tensor([3, 7, 0, 5, 1, 2, 6, 4])]
N_SEGMENTS = 7
FUNCTIONS = [segment_sum, segment_mean, segment_max, segment_softmax]


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def by_loop(function: Callable[..., Tensor], values: Tensor, index: Tensor, n_segments: int) -> Tensor:
    """The definition, one segment at a time."""
    if function is segment_softmax:
        result = torch.zeros_like(values)
        for segment in range(n_segments):
            result[index == segment] = torch.softmax(values[index == segment], 0)
        return result
    reduce = {segment_sum: lambda v: v.sum(0), segment_mean: lambda v: v.mean(0), segment_max: lambda v: v.amax(0)}
    zero = values.new_zeros(values.shape[1:])
    rows = [values[index == segment] for segment in range(n_segments)]
    return torch.stack([reduce[function](row) if len(row) else zero for row in rows])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 2), (3, 3), (5, 7), (3, 33)])
@pytest.mark.parametrize("index", [INDEX, SHUFFLED], ids=["sorted", "shuffled"])
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_equals_the_definition(
    backend: str, function: Callable[..., Tensor], index: Tensor, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    values = random(8, *shape, dtype=dtype)
    found = function(values, index, N_SEGMENTS, backend=backend)
    expected = by_loop(function, values, index, N_SEGMENTS)
    assert found.shape == expected.shape
    assert found.dtype == dtype
    assert (found - expected).abs().max() < tolerances.BACKEND_PARITY.of(dtype)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_no_rows_and_no_segments(backend: str, function: Callable[..., Tensor]) -> None:
    values, index = torch.zeros(0, 4, dtype=torch.float64), torch.zeros(0, dtype=torch.int64)
    for n_segments in (0, 3):
        found = function(values, index, n_segments, backend=backend)
        assert found.shape == ((0, 4) if function is segment_softmax else (n_segments, 4))
        assert (found == 0).all()
    assert function(torch.zeros(8, 0), INDEX, N_SEGMENTS, backend=backend).shape[1] == 0


@pytest.mark.parametrize("index", [INDEX, SHUFFLED], ids=["sorted", "shuffled"])
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_gradcheck_and_gradgradcheck(backend: str, function: Callable[..., Tensor], index: Tensor) -> None:
    values = random(8, 2).requires_grad_()
    reduce = partial(function, index=index, n_segments=N_SEGMENTS, backend=backend)
    assert torch.autograd.gradcheck(reduce, values)
    assert torch.autograd.gradgradcheck(lambda v: reduce(v) ** 2, values)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("backend", [b for b in BACKENDS if b != "torch_scatter"])
def test_function_transforms_and_vmap(backend: str, function: Callable[..., Tensor]) -> None:
    batch, batched_index = random(3, 8, 2), torch.stack([INDEX, SHUFFLED, INDEX.flip(0)])
    reduce = partial(function, n_segments=N_SEGMENTS, backend=backend)
    found = torch.vmap(lambda v: reduce(v, SHUFFLED), in_dims=1)(batch.movedim(0, 1))
    assert torch.allclose(found, torch.stack([reduce(v, SHUFFLED) for v in batch]), rtol=0, atol=1e-14)
    found = torch.vmap(reduce)(batch, batched_index)
    expected = torch.stack([reduce(v, i) for v, i in zip(batch, batched_index, strict=True)])
    assert torch.allclose(found, expected, rtol=0, atol=1e-14)

    def energy(v: Tensor, name: str) -> Tensor:
        return (function(v, SHUFFLED, N_SEGMENTS, backend=name) ** 3).sum()

    hessian = torch.func.jacrev(torch.func.jacrev(lambda v: energy(v, backend)))(batch[0])
    expected = torch.func.jacrev(torch.func.jacrev(lambda v: energy(v, "reference")))(batch[0])
    assert (hessian - expected).abs().max() < tolerances.BACKEND_PARITY.float64 * expected.abs().max()


def test_compiles_without_graph_breaks_and_trains_on_forces() -> None:
    def energy(values: Tensor) -> Tensor:
        return sum((function(values, SHUFFLED, N_SEGMENTS) ** 3).sum() for function in FUNCTIONS)

    def force_loss(values: Tensor) -> Tensor:
        return (torch.autograd.grad(energy(values), values, create_graph=True)[0] ** 2).sum()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, while compiling
        import torch._dynamo

        for function in (energy, force_loss):
            values = random(8, 2).requires_grad_()
            with torch._dynamo.config.patch(trace_autograd_ops=True):
                compiled = torch.compile(function, fullgraph=True, backend="aot_eager")(values)
            (found,) = torch.autograd.grad(compiled, values)
            (expected,) = torch.autograd.grad(function(values), values)
            assert (found - expected).abs().max() < tolerances.BACKEND_PARITY.float64 * expected.abs().max()


@pytest.mark.parametrize("backend", BACKENDS)
def test_max_takes_the_first_of_equal_values_and_lets_nan_and_infinity_through(backend: str) -> None:
    values = torch.tensor([2.0, 2.0, 1.0, torch.nan, 3.0, -torch.inf, torch.inf, 0.0], requires_grad=True)
    found = segment_max(values, INDEX, N_SEGMENTS, backend=backend)
    assert torch.equal(found[[0, 3, 6]], torch.tensor([2.0, -torch.inf, torch.inf]))
    assert found[2].isnan()
    (gradient,) = torch.autograd.grad(found[[0, 6]].sum(), values)
    assert torch.equal(gradient, torch.tensor([1.0, 0, 0, 0, 0, 0, 1.0, 0]))


@pytest.mark.parametrize("backend", BACKENDS)
def test_softmax_survives_large_values_and_segments_of_minus_infinity(backend: str) -> None:
    values = torch.tensor([1e4, 1e4 - 1, -torch.inf, -torch.inf, -torch.inf, 5.0, -1e4, -1e4])
    found = segment_softmax(values, INDEX, N_SEGMENTS, backend=backend)
    assert torch.isfinite(found).all()
    assert (found[2:5] == 0).all()
    assert abs(float(found[0] + found[1]) - 1) < tolerances.ALGEBRA.float32


def test_compiled_sum_of_many_energies_keeps_single_precision() -> None:
    values = torch.full((200_000,), 0.1)
    exact = 200_000 * float(values[0].double())
    total = segment_sum(values, torch.zeros(200_000, dtype=torch.int64), 1, backend="cpp")
    assert abs(float(total) - exact) / exact < 1e-7


def test_result_does_not_depend_on_the_number_of_threads() -> None:
    values, threads = random(4000, 20), torch.get_num_threads()
    index = torch.randint(0, 100, (4000,), generator=torch.Generator().manual_seed(0))
    try:
        results = []
        for n in (1, 2):
            torch.set_num_threads(n)
            results.append([f(values, index, 100, backend="cpp") for f in FUNCTIONS])
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.skipif("triton" not in SUM_BACKENDS, reason="triton is not installed")
@pytest.mark.parametrize("dtype", DTYPES)
def test_triton_sum_of_a_sorted_index_equals_the_reference(dtype: torch.dtype) -> None:
    for shape in ((), (3,), (2, 70)):
        values = random(8, *shape, dtype=dtype).requires_grad_()
        found, expected = (segment_sum(values, INDEX, N_SEGMENTS, backend=b) for b in ("triton", "reference"))
        assert (found - expected).abs().max() < tolerances.BACKEND_PARITY.of(dtype)
        gradients = [torch.autograd.grad((result**2).sum(), values)[0] for result in (found, expected)]
        assert (gradients[0] - gradients[1]).abs().max() < 10 * tolerances.BACKEND_PARITY.of(dtype)
    with pytest.raises(InputError, match="needs a sorted index"):
        segment_sum(values, SHUFFLED, N_SEGMENTS, backend="triton")


def test_absent_torch_scatter_is_refused_with_the_install_line() -> None:
    if importlib.util.find_spec("torch_scatter") is not None:
        pytest.skip("torch-scatter is installed")
    with pytest.raises(BackendError, match=r"pip install 'atomsym\[pyg\]'"):
        segment_sum(random(8), INDEX, N_SEGMENTS, backend="torch_scatter")


@pytest.mark.parametrize("function", [segment_sum, segment_max])
def test_wrong_input_is_named(function: Callable[..., Tensor]) -> None:
    with pytest.raises(InputError, match="index must be int64"):
        function(random(8), INDEX.int(), N_SEGMENTS)
    with pytest.raises(InputError, match=r"index must be int64 of shape \(7,\)"):
        function(random(7), INDEX, N_SEGMENTS)
    with pytest.raises(InputError, match="values must be float"):
        function(INDEX, INDEX, N_SEGMENTS)
    with pytest.raises(InputError, match="index has the segment 6; allowed are 0 to 5"):
        function(random(8), INDEX, 6, backend="cpp")
    with pytest.raises(InputError, match="index has the segment -1"):
        function(random(8), INDEX - 1, N_SEGMENTS, backend="cpp")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_gradients_do_not_depend_on_the_number_of_threads(function: Callable[..., Tensor]) -> None:
    draw = torch.Generator().manual_seed(0)
    index = torch.randint(40, (50_000,), generator=draw)
    values, before = random(50_000, 4, dtype=torch.float32), torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            leaf = values.clone().requires_grad_()
            reduced = function(leaf, index, 40)
            found.append(torch.autograd.grad(reduced, leaf, random(*reduced.shape, seed=1, dtype=torch.float32))[0])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
