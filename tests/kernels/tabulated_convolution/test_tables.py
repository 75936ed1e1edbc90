"""Tables of radial functions state an error that holds, and refuse what they cannot represent."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from atomsym.core import CalculationError, InputError
from atomsym.kernels.tabulated_convolution import RadialTable, tabulate
from atomsym.nn import bessel_basis, polynomial_cutoff

CUTOFF = 4.0


def radial(distance: Tensor) -> Tensor:
    """Three paths of 18 channels from a small network on Bessel functions, zero at the cutoff."""
    generator = torch.Generator().manual_seed(5)
    hidden, out = (torch.randn(8, n, generator=generator, dtype=torch.float64) for n in (8, 54))
    basis = bessel_basis(distance, CUTOFF, 8) * polynomial_cutoff(distance, CUTOFF).unsqueeze(-1)
    return (torch.nn.functional.silu(basis @ hidden) @ out).unflatten(1, (3, 18))


def deviations(table: object, dtype: torch.dtype) -> tuple[float, float]:
    """Largest deviations of value and derivative, on points that the builder has not looked at."""
    found = []
    for function in (table, radial):
        distance = torch.linspace(0.001, CUTOFF - 1e-9, 1999, dtype=torch.float64, requires_grad=True)
        values = function(distance)  # type: ignore[operator]
        direction = torch.zeros_like(values).requires_grad_()
        (gradient,) = torch.autograd.grad(values, distance, direction, create_graph=True)
        (slopes,) = torch.autograd.grad(gradient.sum(), direction)
        found.append((values.detach(), slopes))
    largest = [wanted.abs().amax((0, 2)) for wanted in found[1]]
    errors = [(a - b).abs().amax((0, 2)) / m for a, b, m in zip(found[0], found[1], largest, strict=True)]
    return float(errors[0].max()), float(errors[1].max())


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-7), (torch.float32, 1e-6)])
def test_value_and_derivative_keep_the_stated_error(dtype: torch.dtype, bound: float, smooth: bool) -> None:
    table = tabulate(radial, 0.0, CUTOFF, dtype=dtype, smooth=smooth)
    assert table.dtype == dtype
    assert max(deviations(lambda d: table(d), dtype)) <= 1.2 * table.error.largest
    assert table.error.largest < bound


def test_a_wrong_coefficient_is_seen_by_the_error_measure() -> None:
    table = tabulate(radial, 0.0, CUTOFF)
    table.coefficients[5, 1, 0, 1, 3] += 1e-4
    assert max(deviations(table, torch.float64)) > 1e-6


def test_tables_are_continuous_and_zero_from_the_cutoff_on() -> None:
    table = tabulate(radial, 0.0, CUTOFF)
    step = CUTOFF / table.n_intervals
    knots = step * torch.arange(1, table.n_intervals, dtype=torch.float64)
    jump = (table(knots + 1e-9) - table(knots - 1e-9)).abs().max()
    assert jump < 1e-6
    assert float(table(torch.tensor([CUTOFF - 1e-9], dtype=torch.float64)).abs().max()) < 1e-8
    beyond = torch.tensor([CUTOFF, CUTOFF + 1, math.inf], dtype=torch.float64)
    assert torch.equal(table(beyond), torch.zeros(3, 3, 18, dtype=torch.float64))


def derivatives_at_ends(table: RadialTable) -> list[tuple[Tensor, Tensor]]:
    """Of order 0 to 6, of the polynomials left and right of each inner knot, in units of the interval."""
    found = []
    for order in range(7):
        factors = torch.tensor([math.perm(k, order) for k in range(8)], dtype=torch.float64)[:, None]
        sign = torch.tensor([(-1.0) ** (k - order) for k in range(8)], dtype=torch.float64)[:, None]
        right = (table.coefficients * factors).sum(3)
        left = (table.coefficients * factors * sign).sum(3)
        found.append((right[:-1], left[1:]))
    return found


def test_six_derivatives_of_a_smooth_table_are_continuous_and_those_of_another_are_not() -> None:
    for smooth in (True, False):
        table = tabulate(radial, 0.0, CUTOFF, smooth=smooth)
        jumps = [float((a - b).abs().max() / a.abs().max()) for a, b in derivatives_at_ends(table)]
        assert (max(jumps) < 1e-7) == smooth
        assert jumps[0] < 1e-9


@pytest.mark.parametrize(("power", "contact"), [(4, 4), (3, 3)])
def test_smooth_tables_join_the_zero_beyond_the_cutoff(power: int, contact: int) -> None:
    table = tabulate(
        lambda d: ((1 - d / CUTOFF) ** power * torch.sin(3 * d))[:, None, None], 0.0, CUTOFF,
        contact=contact, smooth=True, tolerance=1e-9,
    )  # fmt: skip
    last = table.coefficients[-1, 0, 0, :, 0]
    step = CUTOFF / table.n_intervals / 2
    for order in range(contact):
        at_the_end = sum(math.perm(k, order) * float(last[k]) for k in range(8)) / step**order
        assert abs(at_the_end) < 1e-6


def test_a_tighter_tolerance_takes_more_intervals() -> None:
    loose, tight = (tabulate(radial, 0.0, CUTOFF, tolerance=tolerance) for tolerance in (1e-4, 1e-9))
    assert loose.n_intervals < tight.n_intervals
    assert tight.error.largest < 1e-9


def test_functions_that_are_not_smooth_or_not_finite_are_refused() -> None:
    with pytest.raises(CalculationError, match="not smooth"):
        tabulate(lambda d: (d - 1.2345).abs()[:, None, None] + 0 * d[:, None, None], 0.0, 2.0)
    with pytest.raises(CalculationError, match="not finite"):
        tabulate(lambda d: (1 / d)[:, None, None], 0.0, 2.0)
    with pytest.raises(InputError, match="start < stop"):
        tabulate(radial, 2.0, 2.0)
