"""The activation agrees with torch's, and its derivatives with each other."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from atomsym.kernels.native import cpu_reason
from atomsym.kernels.silu import silu
from atomsym.testing.convolutions import deviation
from atomsym.testing.tolerances import BACKEND_PARITY

pytestmark = pytest.mark.skipif(cpu_reason() is not None, reason=str(cpu_reason()))


def orders(x: Tensor, g: Tensor, u: Tensor, v: Tensor, backend: str) -> list[Tensor]:
    """Value, first, second and third derivatives."""
    x, g = x.clone().requires_grad_(), g.clone().requires_grad_()
    value = silu(x, backend=backend)
    (first,) = torch.autograd.grad(value, x, g, create_graph=True)
    second = torch.autograd.grad(first, (x, g), u, create_graph=True)
    third = torch.autograd.grad(second, (x, g), (v, v))
    return [value, first, *second, *third]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])
@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (7, 5), (40, 33)])
def test_derivatives_to_third_order_equal_those_of_torch(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(1)
    operands = [torch.randn(shape, generator=draw, dtype=dtype) for _ in range(4)]
    operands[0] = 4 * operands[0]
    tolerance = BACKEND_PARITY.float32 if dtype == torch.float32 else BACKEND_PARITY.float64
    exact = orders(*(operand.double() for operand in operands), "reference")
    for found, expected in zip(orders(*operands, "cpp"), exact, strict=True):
        assert found.shape == shape
        assert found.dtype == dtype
        assert not found.numel() or deviation(found.double(), expected) < tolerance


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["single", "double"])
def test_large_arguments_and_values_that_are_not_numbers(dtype: torch.dtype) -> None:
    x = torch.tensor([-1e6, -750, -100, -89, -50, -20, 0, 20, 50, 89, 100, 750, 1e6], dtype=dtype)
    torch.testing.assert_close(silu(x, backend="cpp"), silu(x, backend="reference"))
    assert silu(torch.full((20,), torch.nan, dtype=dtype), backend="cpp").isnan().all()
    x = x.requires_grad_()
    (slope,) = torch.autograd.grad(silu(x, backend="cpp").sum(), x, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), x)
    ends = torch.tensor([0, 0, 0, 0, 0, 0, 0.5, 1, 1, 1, 1, 1, 1], dtype=dtype)
    torch.testing.assert_close(slope, ends, atol=1e-6, rtol=0)
    assert curvature.isfinite().all()


def test_transforms_map_it() -> None:
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    results = []
    for backend in ("cpp", "reference"):
        hessian = torch.func.jacrev(torch.func.grad(lambda x, backend=backend: silu(x, backend=backend).sum()))
        results.append(torch.func.vmap(hessian, in_dims=1)(x))
    assert deviation(*results) < BACKEND_PARITY.float64
