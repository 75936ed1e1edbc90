"""Radial functions: the formulas, their derivatives at distance 0 and at the cutoff, and their errors."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from atomsym.core import InputError
from atomsym.nn import (
    bessel_basis,
    cutoff_switch,
    edge_lengths,
    gaussian_basis,
    held_distance,
    polynomial_cutoff,
    polynomial_envelope,
)
from atomsym.testing import tolerances

CUTOFF = 5.0
EXACT = tolerances.ALGEBRA.float64


def derivatives(function: Callable[[Tensor], Tensor], x: float, orders: int) -> list[float]:
    """Value and derivatives of a scalar function by autograd."""
    point = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    values = [function(point)]
    for _ in range(orders):
        last = values[-1]
        values.append(torch.autograd.grad(last, point, create_graph=True)[0] if last.requires_grad else 0 * point)
    return [float(value.detach()) for value in values]


def one_sided(function: Callable[[Tensor], Tensor], at: float, side: int, orders: int = 3) -> list[float]:
    """Derivatives extrapolated to a point from one side by Richardson's rule."""
    h = 1e-4
    a, b, c = (derivatives(function, at + side * h / k, orders) for k in (1, 2, 4))
    return [(8 * z - 6 * y + x) / 3 for x, y, z in zip(a, b, c, strict=True)]


def test_f11_the_envelope_of_order_four_has_three_continuous_derivatives() -> None:
    def envelope(distance: Tensor) -> Tensor:
        return polynomial_envelope(distance, CUTOFF)

    assert one_sided(envelope, CUTOFF, -1) == pytest.approx([0, 0, 0, 0], abs=1e-8)
    for distance in (CUTOFF, CUTOFF + 1e-9, 2 * CUTOFF, 1e6):
        assert derivatives(envelope, distance, 3) == [0.0] * 4
    assert derivatives(envelope, 0.0, 3) == pytest.approx([1, 0, -8 / CUTOFF**2, 0], abs=EXACT)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 6])
def test_f11_the_envelope_of_order_n_jumps_in_its_nth_derivative(order: int) -> None:
    found = one_sided(lambda d: polynomial_envelope(d, CUTOFF, order=order), CUTOFF, -1, order)
    assert found[:order] == pytest.approx([0.0] * order, abs=1e-6)
    assert found[order] == pytest.approx(math.factorial(order) * (-2 / CUTOFF) ** order, rel=1e-5)


def test_f11_the_switch_is_smooth_at_both_ends_and_exact_outside() -> None:
    def switch(distance: Tensor) -> Tensor:
        return cutoff_switch(distance, 3.0, CUTOFF)

    assert one_sided(switch, 3.0, +1) == pytest.approx([1, 0, 0, 0], abs=1e-6)
    assert one_sided(switch, CUTOFF, -1) == pytest.approx([0, 0, 0, 0], abs=1e-6)
    for distance in (0.0, 1.0, 3.0):
        assert derivatives(switch, distance, 3) == [1.0, 0.0, 0.0, 0.0]
    for distance in (CUTOFF, CUTOFF + 1e-6, 100.0):
        assert derivatives(switch, distance, 3) == [0.0] * 4
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    formula = 1 - t**4 * (35 - 84 * t + 70 * t**2 - 20 * t**3)
    torch.testing.assert_close(switch(3 + 2 * t), formula, rtol=0, atol=1e-12)


def test_f11_the_switch_has_as_many_continuous_derivatives_as_asked_for_at_an_onset_of_each_edge() -> None:
    onset, cutoff = torch.tensor([1.0, 3.0], dtype=torch.float64), torch.tensor([2.0, CUTOFF], dtype=torch.float64)

    def switch(distance: Tensor) -> Tensor:
        return cutoff_switch(distance, onset, cutoff, derivatives=5)[1]

    assert one_sided(switch, 3.0, +1, 5) == pytest.approx([1, 0, 0, 0, 0, 0], abs=1e-6)
    assert one_sided(switch, CUTOFF, -1, 5) == pytest.approx([0] * 6, abs=1e-6)
    assert abs(one_sided(switch, CUTOFF, -1, 6)[6]) > 1
    middle = cutoff_switch((onset + cutoff) / 2, onset, cutoff, derivatives=5)
    torch.testing.assert_close(middle, torch.full_like(middle, 0.5), rtol=0, atol=EXACT)


def test_f11_a_held_distance_is_smooth_where_it_begins_and_where_it_ends() -> None:
    onset, closest = torch.tensor([9.0, CUTOFF]).double(), torch.tensor([8.0, 3.0]).double()

    def held(distance: Tensor) -> Tensor:
        return held_distance(distance, closest, onset)[1]

    assert one_sided(held, 3.0, +1, 6) == pytest.approx([4, 0, 0, 0, 0, 0, 0], abs=1e-5)
    assert one_sided(held, CUTOFF, -1, 6) == pytest.approx([CUTOFF, 1, 0, 0, 0, 0, 0], abs=1e-5)
    for distance in (0.0, 1.0, 3.0):
        assert derivatives(held, distance, 3)[0] == pytest.approx(4.0, abs=EXACT)
        assert derivatives(held, distance, 3)[2:] == pytest.approx([0.0, 0.0], abs=1e-9)
    assert derivatives(held, CUTOFF + 1.0, 3) == [CUTOFF + 1.0, 1.0, 0.0, 0.0]
    # The slope is that of the formula: one less the switch.
    inside = torch.linspace(3.01, CUTOFF - 0.01, 50, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(held_distance(inside, 3.0, CUTOFF).sum(), inside)
    expected = 1 - cutoff_switch(inside.detach(), 3.0, CUTOFF, derivatives=5)
    torch.testing.assert_close(slope, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("power", [2, 5, 6])
def test_f11_the_polynomial_cutoff_is_smooth_to_the_second_derivative_and_no_further(power: int) -> None:
    def cutoff(distance: Tensor) -> Tensor:
        return polynomial_cutoff(distance, CUTOFF, power=power)

    found = one_sided(cutoff, CUTOFF, -1)
    assert found[:3] == pytest.approx([0, 0, 0], abs=1e-6)
    assert found[3] == pytest.approx(-power * (power + 1) * (power + 2) / CUTOFF**3, rel=1e-5)
    assert one_sided(cutoff, CUTOFF, +1) == [0.0] * 4
    assert derivatives(cutoff, 0.0, 1) == [1.0, 0.0]


def test_the_polynomial_cutoff_takes_a_radius_per_edge() -> None:
    distance = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    radii = torch.tensor([2.0, 2.0, 6.0], dtype=torch.float64)
    each = [polynomial_cutoff(d, float(r)) for d, r in zip(distance, radii, strict=True)]
    assert torch.equal(polynomial_cutoff(distance, radii), torch.stack(each))


def test_bessel_functions_equal_their_formula_and_are_orthonormal() -> None:
    nodes, weights = np.polynomial.legendre.leggauss(80)
    distance = torch.from_numpy((nodes + 1) * CUTOFF / 2)
    values = bessel_basis(distance, CUTOFF, 8)
    n = torch.arange(1, 9, dtype=torch.float64)
    formula = math.sqrt(2 / CUTOFF) * (n * math.pi * distance[:, None] / CUTOFF).sin() / distance[:, None]
    torch.testing.assert_close(values, formula, rtol=1e-12, atol=1e-13)
    measure = torch.from_numpy(weights * CUTOFF / 2) * distance**2
    overlap = torch.einsum("d,da,db->ab", measure, values, values)
    torch.testing.assert_close(overlap, torch.eye(8, dtype=torch.float64), rtol=0, atol=EXACT)


def test_bessel_functions_are_smooth_at_zero_and_where_the_series_ends() -> None:
    for n in (1, 3, 8):
        k = n * math.pi / CUTOFF

        def basis(distance: Tensor, n: int = n) -> Tensor:
            return bessel_basis(distance.reshape(1), CUTOFF, n)[0, -1]

        scale = math.sqrt(2 / CUTOFF) * k
        assert derivatives(basis, 0.0, 4) == pytest.approx(
            [scale, 0, -scale * k**2 / 3, 0, scale * k**4 / 5], rel=1e-12, abs=1e-12
        )
        for seam in (1 / k, 1e-8):
            below, above = derivatives(basis, seam * (1 - 1e-12), 4), derivatives(basis, seam * (1 + 1e-12), 4)
            assert above == pytest.approx(below, rel=1e-9, abs=1e-9)
        assert abs(derivatives(basis, CUTOFF, 0)[0]) < 1e-13


def test_f14_radial_functions_pass_gradcheck_twice() -> None:
    distance = torch.tensor([0.3, 1.7, 3.2, 4.4], dtype=torch.float64, requires_grad=True)
    functions: list[Callable[[Tensor], Tensor]] = [
        lambda d: polynomial_envelope(d, CUTOFF),
        lambda d: cutoff_switch(d, 3.0, CUTOFF),
        lambda d: polynomial_cutoff(d, CUTOFF),
        lambda d: bessel_basis(d, CUTOFF, 4),
        lambda d: gaussian_basis(d, CUTOFF, 7),
    ]
    for function in functions:
        assert torch.autograd.gradcheck(function, (distance,))
        assert torch.autograd.gradgradcheck(function, (distance,))
        assert torch.vmap(function)(distance.detach()[:, None]).shape[0] == 4


def test_trained_bessel_frequencies_replace_the_default_ones() -> None:
    distance = torch.tensor([0.5, 1.5], dtype=torch.float64)
    frequencies = torch.arange(1, 5, dtype=torch.float64) * math.pi / CUTOFF
    assert torch.equal(bessel_basis(distance, CUTOFF, 4, frequencies=frequencies), bessel_basis(distance, CUTOFF, 4))


def test_gaussians_equal_their_formula() -> None:
    distance = torch.linspace(0, 6, 13, dtype=torch.float64)
    centres = torch.linspace(1, CUTOFF, 9, dtype=torch.float64)
    expected = torch.exp(-((distance[:, None] - centres) ** 2) / (2 * 0.7**2))
    torch.testing.assert_close(gaussian_basis(distance, CUTOFF, 9, start=1.0, width=0.7), expected, rtol=1e-13, atol=0)
    neighbor = gaussian_basis(torch.tensor([CUTOFF / 4]), CUTOFF, 9)[0, 1]
    assert float(neighbor) == pytest.approx(math.exp(-0.5), rel=1e-6)


def test_i02_edge_lengths_are_exact_outside_the_core_and_differentiable_at_zero() -> None:
    vectors = torch.randn(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.equal(edge_lengths(vectors), vectors.square().sum(dim=1).sqrt())
    direction = torch.tensor([[0.48, 0.6, 0.64]], dtype=torch.float64)

    def length(distance: Tensor) -> Tensor:
        return edge_lengths(distance * direction)[0]

    assert derivatives(length, 0.0, 3) == pytest.approx([0.05, 0, 10, 0])
    assert derivatives(length, 0.1 - 1e-12, 1) == pytest.approx(derivatives(length, 0.1 + 1e-12, 1))
    assert derivatives(length, 2.0, 2) == pytest.approx([2, 1, 0], abs=1e-12)
    inside = (0.03 * vectors / vectors.norm(dim=1, keepdim=True)).requires_grad_()
    assert torch.autograd.gradcheck(edge_lengths, (inside,))
    assert torch.autograd.gradgradcheck(edge_lengths, (inside,))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_and_empty_inputs_are_kept(dtype: torch.dtype) -> None:
    for n_edges in (0, 1, 5):
        distance = torch.linspace(0, 6, n_edges, dtype=dtype)
        for weight in (
            polynomial_envelope(distance, CUTOFF),
            cutoff_switch(distance, 1.0, CUTOFF),
            polynomial_cutoff(distance, CUTOFF),
            edge_lengths(torch.zeros(n_edges, 3, dtype=dtype)),
        ):
            assert weight.shape == (n_edges,)
            assert weight.dtype == dtype
        for basis in (bessel_basis(distance, CUTOFF, 3), gaussian_basis(distance, CUTOFF, 3)):
            assert basis.shape == (n_edges, 3)
            assert basis.dtype == dtype


@pytest.mark.parametrize(
    "call",
    [
        lambda d: polynomial_envelope(d, 0.0),
        lambda d: polynomial_envelope(d, 5.0, order=0),
        lambda d: polynomial_envelope(d, float("nan")),
        lambda d: cutoff_switch(d, 5.0, 5.0),
        lambda d: cutoff_switch(d, -1.0, 5.0),
        lambda d: held_distance(d, 5.0, 5.0),
        lambda d: held_distance(d, 1.0, 5.0, derivatives=0),
        lambda d: polynomial_cutoff(d, -1.0),
        lambda d: polynomial_cutoff(d, 5.0, power=1),
        lambda d: bessel_basis(d, 0.0),
        lambda d: bessel_basis(d, 5.0, 0),
        lambda d: gaussian_basis(d, 5.0, 1),
        lambda d: gaussian_basis(d, 5.0, start=5.0),
        lambda d: gaussian_basis(d, 5.0, width=0.0),
        lambda d: edge_lengths(d.reshape(-1, 1), 0.0),
    ],
)
def test_settings_out_of_range_are_refused(call: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(InputError, match="need"):
        call(torch.ones(1))
