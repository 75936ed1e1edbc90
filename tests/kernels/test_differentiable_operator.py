"""Derivatives that nobody asked for are not computed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from atomsym.kernels.differentiable_operator import DifferentiableOperator

ASKED: list[tuple[bool, ...]] = []


def _backward(needs: tuple[bool, ...], inputs: Any, grads: tuple[Tensor | None, ...]) -> list[Tensor | None]:
    ASKED.append(needs)
    grad, places = grads[0], range(3)
    assert grad is not None
    others = [[inputs[other] for other in places if other != place] for place in places]
    return [grad * a * b if need else None for need, (a, b) in zip(needs, others, strict=True)]


SCALED = DifferentiableOperator(
    "test_scaled_product",
    "(Tensor x, Tensor y, Tensor w) -> Tensor",
    {"CPU": lambda x, y, w: x * y * w},
    shapes=lambda x, y, w: torch.empty_like(x),
    backward=_backward,
    batching=lambda call, size, axes, inputs: (call(*inputs), 0),
)


@pytest.fixture(autouse=True)
def _forget() -> None:
    ASKED.clear()


def leaves(seed: int = 0) -> list[Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(4, generator=draw, dtype=torch.float64, requires_grad=True) for _ in range(3)]


@pytest.mark.parametrize("wanted", [(0,), (1,), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("derived", [False, True], ids=["leaves", "results"])
def test_only_the_inputs_of_a_gradient_are_differentiated(wanted: tuple[int, ...], derived: bool) -> None:
    inputs = leaves()
    operands = [2 * tensor for tensor in inputs] if derived else inputs
    loss = SCALED(*operands).sum()
    found = torch.autograd.grad(loss, [inputs[place] for place in wanted])
    assert [place in wanted for place in range(3)] == list(ASKED[0])
    for place, gradient in zip(wanted, found, strict=True):
        rest = [operands[other] for other in range(3) if other != place]
        torch.testing.assert_close(gradient, (2 if derived else 1) * rest[0] * rest[1])


def test_an_intermediate_result_can_be_asked_about() -> None:
    x, y, w = leaves()
    middle = x * y
    loss = SCALED(middle, y, 3 * w).sum()
    (found,) = torch.autograd.grad(loss, middle)
    assert ASKED == [(True, False, False)]
    torch.testing.assert_close(found, 3 * w * y)


def test_a_backward_pass_fills_all_leaves_and_a_restricted_one_those_named() -> None:
    x, y, w = leaves()
    SCALED(x, y, w).sum().backward()
    assert ASKED == [(True, True, True)]
    assert all(leaf.grad is not None for leaf in (x, y, w))
    ASKED.clear()
    x, y, w = leaves()
    SCALED(x, y, w).sum().backward(inputs=[y])
    assert ASKED == [(False, True, False)]
    assert x.grad is None
    assert y.grad is not None


def test_derivatives_left_out_of_a_first_pass_are_there_in_the_second() -> None:
    x, y, w = leaves()
    (force,) = torch.autograd.grad(SCALED(x, y, w).square().sum(), x, create_graph=True)
    assert ASKED == [(True, False, False)]
    found = torch.autograd.grad(force.square().sum(), (x, y, w))
    (expected_force,) = torch.autograd.grad((x * y * w).square().sum(), x, create_graph=True)
    for a, b in zip(found, torch.autograd.grad(expected_force.square().sum(), (x, y, w)), strict=True):
        torch.testing.assert_close(a, b)


def test_transforms_ask_for_what_they_differentiate() -> None:
    x, y, w = (leaf.detach() for leaf in leaves())
    first = torch.func.grad(lambda y: SCALED(x, y, w).square().sum())
    torch.testing.assert_close(first(y), 2 * y * (x * w).square())
    torch.testing.assert_close(torch.func.jacrev(first)(y), torch.diag(2 * (x * w).square()))
    assert all(needs == (False, True, False) for needs in ASKED[:1])
