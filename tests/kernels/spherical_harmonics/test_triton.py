"""Triton spherical harmonics (in the interpreter where there is no GPU) equal the reference, with derivatives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from atomsym.kernels.spherical_harmonics import SPHERICAL_HARMONICS, spherical_harmonics
from atomsym.testing import tolerances

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
if "triton" not in SPHERICAL_HARMONICS.available(device=DEVICE, dtype=torch.float64):
    pytest.skip("Triton kernels cannot run here", allow_module_level=True)


def derivatives(v: Tensor, degree: int, normalize: bool, normalization: str, backend: str) -> list[Tensor]:
    """Value, first and second derivatives contracted with fixed tensors."""
    generator = torch.Generator().manual_seed(1)
    size = (degree + 1) ** 2
    g = torch.randn(len(v), size, generator=generator, dtype=torch.float64).to(v).requires_grad_()
    u = torch.randn(len(v), 3, generator=generator, dtype=torch.float64).to(v)
    x = v.clone().requires_grad_()
    values = spherical_harmonics(x, degree, normalize=normalize, normalization=normalization, backend=backend)
    first = torch.autograd.grad(values, x, g, create_graph=True)
    second = torch.autograd.grad(first, (g, x), u, allow_unused=True, materialize_grads=True)
    return [values, *first, *second]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ("degree", "normalize", "normalization"),
    [(0, True, "component"), (1, True, "norm"), (2, False, "component"), (4, True, "integral"), (8, True, "component")],
)
def test_equals_the_reference(degree: int, normalize: bool, normalization: str, dtype: torch.dtype) -> None:
    v = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(DEVICE, dtype)
    v[3] = 0
    found, expected = (derivatives(v, degree, normalize, normalization, b) for b in ("triton", "reference"))
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == dtype
        bound = tolerances.BACKEND_PARITY.of(dtype) * max(1.0, float(b.detach().abs().max()))
        assert float((a - b).detach().abs().max()) < bound


def test_no_vectors_and_more_than_one_block() -> None:
    empty = torch.zeros(0, 3, device=DEVICE)
    assert spherical_harmonics(empty, 2, backend="triton").shape == (0, 9)
    v = torch.randn(131, 3, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    found, expected = (derivatives(v, 1, True, "component", b)[:2] for b in ("triton", "reference"))
    for a, b in zip(found, expected, strict=True):
        assert float((a - b).detach().abs().max()) < tolerances.BACKEND_PARITY.float32 * float(b.detach().abs().max())
