"""The matrix product agrees with torch's in every shape, derivative and transform."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from atomsym.core.errors import BackendError, InputError
from atomsym.kernels.matrix_product import matrix_product
from atomsym.kernels.native import cpu_reason
from atomsym.testing.convolutions import deviation
from atomsym.testing.tolerances import BACKEND_PARITY

pytestmark = pytest.mark.skipif(cpu_reason() is not None, reason=str(cpu_reason()))


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


SIZES = [(1, 1, 1), (3, 5, 7), (14, 16, 32), (15, 33, 31), (29, 300, 17), (250, 8, 64), (233, 64, 40), (600, 3, 70)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])
@pytest.mark.parametrize(("m", "k", "n"), SIZES)
def test_products_and_gradients_of_every_size(m: int, k: int, n: int, dtype: torch.dtype) -> None:
    a, b = draw(m, k, dtype=dtype).requires_grad_(), draw(k, n, seed=1, dtype=dtype).requires_grad_()
    g = draw(m, n, seed=2, dtype=dtype)
    found = matrix_product(a, b, backend="cpp")
    results = (found, *torch.autograd.grad(found, (a, b), g))
    a64, b64, g64 = a.detach().double(), b.detach().double(), g.double()
    tolerance = BACKEND_PARITY.float32 if dtype == torch.float32 else BACKEND_PARITY.float64
    for result, expected in zip(results, (a64 @ b64, g64 @ b64.T, a64.T @ g64), strict=True):
        assert result.dtype == dtype
        assert deviation(result.double(), expected) < tolerance


@pytest.mark.parametrize("shape", [(0, 4), (5, 0), (2, 3, 4), (4,), (2, 0, 4)])
def test_leading_axes_and_empty_ones(shape: tuple[int, ...]) -> None:
    rows, matrix = draw(*shape), draw(shape[-1], 3, seed=1)
    found = matrix_product(rows, matrix, backend="cpp")
    torch.testing.assert_close(found, rows @ matrix)


def test_views_need_no_care() -> None:
    rows, matrix = draw(6, 5).T, draw(4, 6, seed=1).T
    torch.testing.assert_close(matrix_product(rows, matrix, backend="cpp"), rows @ matrix)


def test_derivatives_of_every_order() -> None:
    a, b = draw(3, 4).requires_grad_(), draw(4, 2, seed=1).requires_grad_()

    def gradients(a: Tensor, b: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad((matrix_product(a, b, backend="cpp") ** 3).sum(), (a, b), create_graph=True)

    assert torch.autograd.gradcheck(lambda a, b: matrix_product(a, b, backend="cpp"), (a, b))
    assert torch.autograd.gradgradcheck(lambda a, b: matrix_product(a, b, backend="cpp"), (a, b))
    assert torch.autograd.gradgradcheck(gradients, (a, b))


def test_transforms_map_either_operand_and_both() -> None:
    many_a, many_b = draw(5, 3, 4), draw(4, 5, 2, seed=1)
    expected = torch.einsum("sik,ksj->sij", many_a, many_b)
    product = torch.func.vmap(lambda a, b: matrix_product(a, b, backend="cpp"), (0, 1))
    assert deviation(product(many_a, many_b), expected) < BACKEND_PARITY.float64

    def energy(backend: str, a: Tensor, b: Tensor) -> Tensor:
        return (matrix_product(a, b, backend=backend) ** 3).sum()

    for wanted in (0, 1):
        results = []
        for backend in ("cpp", "reference"):
            hessian = torch.func.jacrev(
                torch.func.grad(lambda *ab, backend=backend: energy(backend, *ab), wanted), (0, 1)
            )
            mapped_a = torch.func.vmap(hessian, (0, None))(many_a, many_b[:, 0])
            mapped_b = torch.func.vmap(hessian, (None, 1))(many_a[0], many_b)
            results.append([*mapped_a, *mapped_b])
        assert all(deviation(x, y) < BACKEND_PARITY.float64 for x, y in zip(*results, strict=True))


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's own tracer
def test_compiles_as_one_graph_with_gradients() -> None:
    def layer(a: Tensor, b: Tensor) -> Tensor:
        return matrix_product(a.sin(), b).cos()

    results = []
    for call in (torch.compile(layer, fullgraph=True, backend="aot_eager"), layer):
        inputs = draw(2, 5, 4).requires_grad_(), draw(4, 3, seed=1).requires_grad_()
        out = call(*inputs)
        results.append((out, *torch.autograd.grad(out.sum(), inputs)))
    assert all(deviation(x, y) < BACKEND_PARITY.float64 for x, y in zip(*results, strict=True))


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    a, b, before = draw(500, 300), draw(300, 70, seed=1), torch.get_num_threads()
    results = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        results.append(matrix_product(a, b, backend="cpp"))
    torch.set_num_threads(before)
    assert torch.equal(*results)


def test_wrong_operands_are_refused() -> None:
    with pytest.raises(InputError, match=r"\(…, k\)"):
        matrix_product(draw(3, 4), draw(3, 4))
    with pytest.raises(InputError, match="float32"):
        matrix_product(draw(3, 4), draw(4, 3, dtype=torch.float32))
    with pytest.raises(BackendError):
        matrix_product(draw(3, 4), draw(4, 3), backend="none")
