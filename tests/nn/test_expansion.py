"""Expansions of second order: values, slopes and curvatures are those of autograd, and rows of Hessians come out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from atomsym.core import BackendError
from atomsym.nn import Perceptron, bessel_basis, polynomial_envelope
from atomsym.nn.expansion import Expansion
from atomsym.testing import tolerances
from atomsym.testing.convolutions import deviation

EXACT = tolerances.ALGEBRA.float64
CUTOFF = 4.0


def distances() -> Tensor:
    """Inside the cutoff, at it and beyond."""
    return torch.tensor([0.7, 1.3, 2.9, 3.999, 4.0, 4.5], dtype=torch.float64)


def network(name: str) -> Perceptron:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Perceptron((5, 7, 6, 4), name).double()


def basis(d: Tensor) -> Tensor:
    return bessel_basis(d, CUTOFF, 5) * polynomial_envelope(d, CUTOFF).unsqueeze(1)


def by_autograd(function: Callable[[Tensor], Tensor]) -> tuple[Tensor, ...]:
    """Value and two derivatives, column by column."""
    d = distances().requires_grad_()
    value = function(d)
    slopes = [torch.autograd.grad(column.sum(), d, create_graph=True)[0] for column in value.T]
    curvatures = [torch.autograd.grad(slope.sum(), d, retain_graph=True)[0] for slope in slopes]
    return value.detach(), torch.stack(slopes, 1).detach(), torch.stack(curvatures, 1)


def assert_equal(found: Expansion, expected: tuple[Tensor, ...]) -> None:
    for own, other in zip((found.value, found.slope, found.curvature), expected, strict=True):
        assert deviation(own, other) < EXACT


@pytest.mark.parametrize("name", ["silu", "tanh"])
def test_networks_of_a_basis_are_expanded_as_autograd_does(name: str) -> None:
    perceptron, inner = network(name), Expansion.of(basis, distances())
    assert_equal(inner, by_autograd(basis))
    assert_equal(inner.through(perceptron), by_autograd(lambda d: perceptron(basis(d))))
    envelope = Expansion.of(lambda d: polynomial_envelope(d, CUTOFF).unsqueeze(1), distances())
    product = inner.through(perceptron).mapped(torch.sin).times(envelope).columns(slice(1, 3))
    expected = by_autograd(
        lambda d: (torch.sin(perceptron(basis(d))) * polynomial_envelope(d, CUTOFF).unsqueeze(1))[:, 1:3]
    )
    assert_equal(product, expected)


def energy(values: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Any function that is not linear in the values, nor in the distance beside them."""
    d = distances() + 0 * x + x - x.detach()
    return (values(d).sin() * values(d).roll(1, 0)).sum() + (values(d).sum(1) * d.square()).sum()


def rows(values: Callable[[Tensor], Tensor], *, together: bool) -> Tensor:
    x = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(energy(values, x), x, create_graph=True)

    def row(seed: Tensor) -> Tensor:
        return torch.autograd.grad(gradient, x, seed, retain_graph=True)[0]

    seeds = torch.eye(6, dtype=torch.float64)
    with torch.no_grad():
        return torch.func.vmap(row)(seeds) if together else torch.stack([row(seed) for seed in seeds])


@pytest.mark.parametrize("together", [False, True])
def test_second_derivatives_of_what_uses_them_are_exact(together: bool) -> None:
    perceptron = network("silu")
    expanded = Expansion.of(basis, distances()).through(perceptron)
    expected = rows(lambda d: perceptron(basis(d)), together=False)
    assert deviation(rows(expanded.at, together=together), expected) < EXACT
    flat = replace(expanded, curvature=0.999 * expanded.curvature)  # mutant
    assert deviation(rows(flat.at, together=together), expected) > tolerances.HESSIAN_VECTOR_PRODUCT.float64


def test_function_transforms_see_the_same() -> None:
    expanded = Expansion.of(basis, distances())
    x = torch.zeros(6, dtype=torch.float64)
    pullback = torch.func.vjp(torch.func.grad(lambda x: energy(expanded.at, x)), x)[1]
    with torch.no_grad():
        found = torch.func.vmap(lambda seed: pullback(seed)[0])(torch.eye(6, dtype=torch.float64))
    assert deviation(found, rows(basis, together=False)) < EXACT


def test_a_third_derivative_is_refused() -> None:
    expanded = Expansion.of(basis, distances())
    d = distances().requires_grad_()
    (slope,) = torch.autograd.grad(expanded.at(d).square().sum(), d, create_graph=True)
    with pytest.raises(BackendError, match="no third derivative"):
        torch.autograd.grad(slope.sum(), d, create_graph=True)


def test_constants_have_no_derivative() -> None:
    constant = Expansion.of(lambda d: torch.ones(6, 2, dtype=torch.float64), distances())
    linear = Expansion.of(lambda d: 2 * d.unsqueeze(1), distances())
    assert not constant.slope.any()
    assert not linear.curvature.any()
    assert torch.equal(linear.slope, torch.full((6, 1), 2.0, dtype=torch.float64))
