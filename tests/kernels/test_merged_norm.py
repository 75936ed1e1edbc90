"""The merged norm: the compiled one against the reference, in values and derivatives of every order."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.func import grad, vmap

from atomsym.core.errors import InputError
from atomsym.kernels.merged_norm import merged_norm
from atomsym.kernels.merged_norm.front import OPERATION
from atomsym.testing.convolutions import deviation
from atomsym.testing.tolerances import BACKEND_PARITY

SHARES = (0.5, 0.2, 0.3, 0.1)


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture(autouse=True)
def _compiled() -> None:
    if "cpp" not in OPERATION.available(device=torch.device("cpu"), dtype=torch.float64):
        pytest.skip("the compiled kernels are not available on this machine")


def derivatives(features: Tensor, backend: str, depth: int) -> list[Tensor]:
    x = features.clone().requires_grad_()
    latest = merged_norm(x, SHARES, 1e-2, backend=backend)
    results = [latest.detach()]
    for _ in range(depth):
        total = (latest / latest.detach().abs().amax().clamp(min=1)).sin().sum() if latest.numel() else latest.sum()
        (latest,) = torch.autograd.grad(total, x, create_graph=True)
        results.append(latest.detach())
    return results


@pytest.mark.parametrize("shape", [(6, 4, 1), (5, 4, 16), (3, 4, 37), (0, 4, 8), (2, 4, 0)])
def test_values_and_four_derivatives_are_those_of_the_reference(shape: tuple[int, int, int]) -> None:
    features = draw(*shape)
    if len(features):
        features[0] = 0
    for found, expected in zip(*(derivatives(features, name, 4) for name in ("cpp", "reference")), strict=True):
        assert deviation(found, expected) < BACKEND_PARITY.float64


def test_single_precision_is_close_to_double() -> None:
    features = draw(9, 4, 32)
    pairs = zip(derivatives(features.float(), "cpp", 2), derivatives(features, "reference", 2), strict=True)
    assert all(deviation(*pair) < BACKEND_PARITY.float32 for pair in pairs)


def test_derivatives_match_finite_differences_and_batches_their_members() -> None:
    x = draw(2, 4, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: merged_norm(x, SHARES, 1e-2), x)
    assert torch.autograd.gradgradcheck(lambda x: merged_norm(x, SHARES, 1e-2), x)
    batch = draw(3, 2, 4, 3)

    def slope(x: Tensor) -> Tensor:
        return grad(lambda x: merged_norm(x, SHARES, 1e-2).sin().sum())(x)  # type: ignore[no-any-return]

    for found, member in zip(vmap(slope)(batch), batch, strict=True):
        assert deviation(found, slope(member)) < BACKEND_PARITY.float64


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match=r"of shape \(n, 4, channels\)"):
        merged_norm(draw(2, 3, 4), SHARES, 1e-3)
    with pytest.raises(InputError, match="epsilon must be positive"):
        merged_norm(draw(2, 4, 4), SHARES, 0.0)
