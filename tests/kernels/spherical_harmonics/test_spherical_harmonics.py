"""Spherical harmonics: the convention, agreement of the backends with the reference, derivatives, edge cases."""

from __future__ import annotations

import itertools
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from atomsym.core import BackendError, InputError
from atomsym.kernels.spherical_harmonics import SPHERICAL_HARMONICS, spherical_harmonics
from atomsym.testing import tolerances

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # e3nn warns about torch's deprecated scripting
    o3 = pytest.importorskip("e3nn.o3")

CPU = torch.device("cpu")
DTYPES = [torch.float64, torch.float32]
NORMALIZATIONS = ["component", "norm", "integral"]
BACKENDS = [b for b in SPHERICAL_HARMONICS.available(device=CPU, dtype=torch.float64) if b != "triton"]
COMPILED = [b for b in BACKENDS if b != "reference"]


def vectors(n: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def deviation(found: Tensor, expected: Tensor) -> float:
    """Largest difference over the largest expected value (over 1 where only zeros are expected)."""
    if not expected.numel():
        return 0.0
    largest = float(expected.detach().abs().max())
    return float((found - expected).detach().abs().max()) / (largest or 1.0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("backend", BACKENDS)
def test_equals_e3nn(backend: str, normalize: bool, normalization: str, dtype: torch.dtype) -> None:
    v = vectors(37, dtype)
    for degree in range(9):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = o3.spherical_harmonics(list(range(degree + 1)), v, normalize, normalization)
        found = spherical_harmonics(v, degree, normalize=normalize, normalization=normalization, backend=backend)
        assert found.shape == (37, (degree + 1) ** 2)
        assert found.dtype == dtype
        assert deviation(found, expected) < tolerances.BACKEND_PARITY.of(dtype)


@pytest.mark.parametrize(("backend", "degree"), [*itertools.product(BACKENDS, [8]), ("reference", 20)])
def test_are_orthonormal_over_the_sphere(backend: str, degree: int) -> None:
    nodes, weights = np.polynomial.legendre.leggauss(degree + 1)
    angle = 2 * np.pi * np.arange(2 * degree + 1) / (2 * degree + 1)
    y, phi = (torch.from_numpy(a.ravel()) for a in np.meshgrid(nodes, angle, indexing="ij"))
    radius = (1 - y**2).sqrt()
    points = torch.stack([radius * phi.sin(), y, radius * phi.cos()], dim=1)
    measure = torch.from_numpy(np.repeat(weights, len(angle))) * 2 * np.pi / len(angle)
    values = spherical_harmonics(points, degree, normalization="integral", backend=backend)
    overlap = values.T @ (measure[:, None] * values)
    assert (overlap - torch.eye(len(overlap), dtype=overlap.dtype)).abs().max() < tolerances.ALGEBRA.float64


def derivatives(v: Tensor, degree: int, backend: str, **settings: object) -> list[Tensor]:
    """First, second and third derivatives contracted with fixed random tensors."""
    n, dtype = v.shape[0], v.dtype
    generator = torch.Generator().manual_seed(1)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    x, g, u = v.clone().requires_grad_(), random(n, (degree + 1) ** 2).requires_grad_(), random(n, 3).requires_grad_()
    options = {"create_graph": True, "allow_unused": True, "materialize_grads": True}
    values = spherical_harmonics(x, degree, backend=backend, **settings)
    first = torch.autograd.grad(values, x, g, **options)
    second = torch.autograd.grad(first, (g, x), u, **options)
    scalar = sum((a * random(*a.shape)).sum() for a in second)
    third = torch.autograd.grad(scalar, (g, x, u), **options) if scalar.requires_grad else ()
    return [*first, *second, *third]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("backend", COMPILED)
def test_derivatives_of_three_orders_equal_the_reference(backend: str, normalize: bool, dtype: torch.dtype) -> None:
    for degree, normalization in itertools.product([0, 1, 2, 3, 5, 8], NORMALIZATIONS):
        v = vectors(21, dtype, seed=degree)
        v = v / v.norm(dim=1, keepdim=True) * torch.linspace(0.5, 3.0, 21, dtype=dtype)[:, None] if normalize else v
        settings = {"normalize": normalize, "normalization": normalization}
        expected = derivatives(v, degree, "reference", **settings)
        for order, (found, wanted) in enumerate(
            zip(derivatives(v, degree, backend, **settings), expected, strict=False)
        ):
            assert deviation(found, wanted) < 10 * tolerances.BACKEND_PARITY.of(dtype), (degree, normalization, order)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("backend", BACKENDS)
def test_gradcheck_and_gradgradcheck(backend: str, normalize: bool) -> None:
    x = vectors(3).requires_grad_()
    for degree in (0, 1, 3):
        function = partial(spherical_harmonics, max_degree=degree, normalize=normalize, backend=backend)
        assert torch.autograd.gradcheck(function, x)
        assert torch.autograd.gradgradcheck(function, x)


def energy(x: Tensor, backend: str) -> Tensor:
    values = spherical_harmonics(x, 3, backend=backend)
    return (values * torch.linspace(-1, 1, 16, dtype=x.dtype)).sum(1).sin().sum()


@pytest.mark.parametrize("backend", COMPILED)
def test_function_transforms_equal_the_reference(backend: str) -> None:
    x = vectors(4)
    for transform in (
        torch.func.grad,
        lambda f: torch.func.jacrev(torch.func.jacrev(f)),
        lambda f: torch.func.jacrev(torch.func.jacrev(torch.func.jacrev(f))),
        lambda f: torch.vmap(lambda v: torch.func.grad(f)(v[None]) * v[0]),
    ):
        found = transform(lambda v: energy(v, backend))(x)
        assert deviation(found, transform(lambda v: energy(v, "reference"))(x)) < tolerances.BACKEND_PARITY.float64


@pytest.mark.parametrize("backend", COMPILED)
def test_vmap_over_any_axis(backend: str) -> None:
    batch = torch.stack([vectors(5, seed=s) for s in range(3)], dim=1)
    found = torch.vmap(lambda v: spherical_harmonics(v, 2, backend=backend), in_dims=1)(batch)
    expected = torch.stack([spherical_harmonics(batch[:, i], 2, backend=backend) for i in range(3)])
    assert torch.equal(found, expected)


def force_loss(x: Tensor) -> Tensor:
    (force,) = torch.autograd.grad(energy(x, "auto"), x, create_graph=True)
    return (force**2).sum()


def test_compiles_without_graph_breaks_and_trains_on_forces() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, while compiling
        import torch._dynamo

        for function in (lambda x: energy(x, "auto"), force_loss):
            x = vectors(4).requires_grad_()
            with torch._dynamo.config.patch(trace_autograd_ops=True):
                compiled = torch.compile(function, fullgraph=True)(x)
            (found,) = torch.autograd.grad(compiled, x)
            expected = function(x)
            assert deviation(compiled.detach(), expected.detach()) < tolerances.BACKEND_PARITY.float64
            assert deviation(found, torch.autograd.grad(expected, x)[0]) < tolerances.BACKEND_PARITY.float64


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_zero_vector_has_constant_degree_zero_and_zero_derivatives(backend: str, dtype: torch.dtype) -> None:
    v = vectors(19, dtype)
    v[[0, 7, 18]] = 0
    values = spherical_harmonics(v, 4, backend=backend)
    assert (values[[0, 7, 18], 0] == 1).all()
    assert (values[[0, 7, 18], 1:] == 0).all()
    first, second_g, second_v, *third = derivatives(v, 4, backend)
    for tensor in (first, second_g, second_v, *third):
        assert torch.isfinite(tensor).all()
        assert (tensor[[0, 7, 18]] == 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_very_long_and_very_short_vectors_keep_their_direction(backend: str, dtype: torch.dtype) -> None:
    v, information = vectors(9, dtype), torch.finfo(dtype)
    expected = spherical_harmonics(v, 3, backend=backend)
    for scale in (information.max / 4, information.tiny):
        found = spherical_harmonics(v * scale, 3, backend=backend)
        assert deviation(found, expected) < tolerances.BACKEND_PARITY.of(dtype)


@pytest.mark.parametrize("backend", BACKENDS)
def test_not_a_number_is_not_hidden(backend: str) -> None:
    v = vectors(3)
    v[1, 2] = torch.nan
    assert spherical_harmonics(v, 2, backend=backend)[1, 1:].isnan().all()
    assert spherical_harmonics(v, 2, backend=backend)[[0, 2]].isfinite().all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", COMPILED)
def test_any_number_of_vectors_and_any_strides(backend: str, dtype: torch.dtype) -> None:
    for n in (0, 1, 2, 15, 16, 17, 33):
        v = vectors(n, dtype)
        found, expected = (derivatives(v, 3, name)[:3] for name in (backend, "reference"))
        for a, b in zip(found, expected, strict=True):
            assert a.shape == b.shape
            assert deviation(a, b) < tolerances.BACKEND_PARITY.of(dtype)
    strided = vectors(12, dtype).T.contiguous().T[::2]
    assert torch.equal(
        spherical_harmonics(strided, 3, backend=backend), spherical_harmonics(strided.contiguous(), 3, backend=backend)
    )


def test_result_does_not_depend_on_the_number_of_threads() -> None:
    v, threads = vectors(5000), torch.get_num_threads()
    try:
        results = []
        for n in (1, 2):
            torch.set_num_threads(n)
            results.append(derivatives(v, 4, "auto")[:3])
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_high_degrees_go_to_the_reference_and_are_refused_by_name() -> None:
    v = vectors(2)
    assert torch.equal(spherical_harmonics(v, 9), spherical_harmonics(v, 9, backend="reference"))
    with pytest.raises(BackendError, match="goes up to degree 8, not 9"):
        spherical_harmonics(v, 9, backend="cpp")


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ((torch.zeros(3), 1), {}, r"shape \(n, 3\)"),
        ((torch.zeros(2, 3, dtype=torch.int64), 1), {}, "must be float"),
        ((torch.zeros(2, 3), -1), {}, "max_degree must be >= 0"),
        ((torch.zeros(2, 3), 1), {"normalization": "unit"}, "one of component, norm, integral"),
    ],
)
def test_wrong_input_is_named(arguments: tuple[Tensor, int], settings: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        spherical_harmonics(*arguments, **settings)
