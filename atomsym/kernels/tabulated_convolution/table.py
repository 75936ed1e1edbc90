"""Functions of the distance as piecewise polynomials, with the error that was measured when they were made."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from scipy.interpolate import make_interp_spline
from torch import Tensor

from atomsym.core.errors import CalculationError, InputError

DEGREES = {torch.float32: 5, torch.float64: 7}
"""Of the polynomials, by precision: tables of other degrees are larger at the same error."""

CHANNEL_BLOCK = 16
"""Channels whose coefficients lie together: a cache line of single-precision numbers."""

MAX_CONTACT = 4
_FIRST, _LARGEST = 32, 4096
_AT_ONCE = 128  # distances, so that intermediates stay in the caches
# Places in an interval where the error is measured. That of the slope of a Chebyshev fit is largest at the ends, of the
# value beside them; of a spline at a quarter and in the middle, as in Bernoulli polynomials.
_CHECKED = (0.002, 0.035, 0.998)
_CHECKED_SMOOTH = (0.002, 0.24, 0.5)


@dataclass(frozen=True)
class TableError:
    """Largest deviation from the tabulated function, relative to its largest magnitude on the range.

    Each path has a scale of its own.

    Attributes:
        value: of the function.
        slope: of its derivative, relative to the largest derivative.
    """

    value: float
    slope: float

    @property
    def largest(self) -> float:
        return max(self.value, self.slope)


@dataclass(frozen=True, eq=False)
class RadialTable:
    """Weights w[path, channel](d) on start ≤ d < stop as polynomials; zero from ``stop`` on.

    Attributes:
        coefficients: shape (n_intervals, n_paths, channel blocks, degree + 1, 16), powers of u ∈ [−1, 1] over each of
            the equal intervals, channels in blocks of 16 filled up with zeros.
        start, stop: range, Å. Below ``start`` the first polynomial is continued.
        channels: number of channels.
        error: measured between the points that the polynomials were made from.
    """

    coefficients: Tensor
    start: float
    stop: float
    channels: int
    error: TableError

    @classmethod
    def from_powers(cls, powers: Tensor, start: float, stop: float, error: TableError) -> RadialTable:
        """The table of polynomials with these powers of u, shape (n_intervals, n_paths, degree + 1, channels)."""
        channels = powers.shape[-1]
        filled = torch.nn.functional.pad(powers, (0, -channels % CHANNEL_BLOCK))
        coefficients = filled.unflatten(3, (-1, CHANNEL_BLOCK)).transpose(2, 3).contiguous()
        return cls(coefficients, start, stop, channels, error)

    @property
    def n_intervals(self) -> int:
        return self.coefficients.shape[0]

    @property
    def n_paths(self) -> int:
        return self.coefficients.shape[1]

    @property
    def dtype(self) -> torch.dtype:
        return self.coefficients.dtype

    @property
    def nbytes(self) -> int:
        return self.coefficients.numel() * self.coefficients.element_size()

    def __call__(self, distance: Tensor) -> Tensor:
        """Weights at distances of shape (n,), shape (n, n_paths, channels); differentiable by autograd."""
        place = (distance - self.start) * (self.n_intervals / (self.stop - self.start))
        interval = place.detach().nan_to_num(0.0).floor().clamp(0, self.n_intervals - 1)
        u = (2 * (place - interval) - 1)[:, None, None, None]
        powers = self.coefficients[interval.long()].unbind(3)
        weights = powers[-1]
        for power in powers[-2::-1]:
            weights = weights * u + power
        weights = torch.where((distance >= self.stop)[:, None, None, None], torch.zeros_like(weights), weights)
        return weights.flatten(2)[..., : self.channels]


def tabulate(
    function: Callable[[Tensor], Tensor],
    start: float,
    stop: float,
    *,
    dtype: torch.dtype = torch.float64,
    tolerance: float | None = None,
    contact: int = 0,
    smooth: bool = False,
    degree: int | None = None,
) -> RadialTable:
    """Tabulate a function of the distance, with as many intervals as the tolerance takes.

    In each interval the polynomial goes through the function at the Chebyshev points with both ends, so the table is
    continuous. A smooth table is a spline: all derivatives but the last are continuous too, for some more intervals.
    Intervals are added until value and derivative, compared with the function's own (by autograd) between the points
    of the fit, deviate by less than the tolerance relative to their largest magnitude in each path.

    Args:
        function: distances (n,) in float64 to weights (n, n_paths, channels) in float64, smooth on the range.
        start, stop: range, Å.
        dtype: of the table; it is made in double precision and rounded.
        tolerance: default 1e-7 in double precision, 3e-7 in single.
        contact: order m of the zero that the function has at ``stop``, 0 to 4. The table then joins the zero beyond as
            smoothly as the function does, which no fit would: the last polynomial is t^m (a + b t) with t the distance
            from the end, and that of a spline has m - 1 derivatives of 0.
        smooth: fit a spline.
        degree: of the polynomials; default: that of ``DEGREES``, which the compiled kernels need.

    Returns:
        The table, with the error measured after rounding.

    Raises:
        InputError: if the range is empty.
        CalculationError: if some 4096 intervals do not reach the tolerance, so the function is not smooth there, or
            it is not finite.

    Example:
        >>> table = tabulate(lambda d: torch.sin(d)[:, None, None], 0.0, 3.0)
        >>> table.error.value < 1e-7, abs(float(table(torch.tensor([1.0], dtype=torch.float64))) - math.sin(1)) < 1e-7
        (True, True)
    """
    if not 0 <= start < stop < math.inf or not 0 <= contact <= MAX_CONTACT:
        raise InputError(
            f"a table needs 0 <= start < stop and contact from 0 to {MAX_CONTACT}; found {start}, {stop}, {contact}"
        )
    degree = DEGREES[dtype] if degree is None else degree
    allowed = tolerance or (1e-7 if dtype == torch.float64 else 3e-7)
    n_intervals = _FIRST
    while n_intervals <= _LARGEST:
        fit = _spline if smooth else _fit
        exact = fit(function, start, stop, n_intervals, contact, degree)
        error = _measure(exact, function, smooth)
        if not math.isfinite(error.value + error.slope):
            raise CalculationError(f"the radial weights are not finite everywhere between {start} and {stop} Å")
        if error.largest <= allowed:
            rounded = exact.coefficients.to(dtype)
            if dtype != torch.float64:
                error = _measure(replace(exact, coefficients=rounded.double()), function, smooth)
            return replace(exact, coefficients=rounded, error=error)
        # The derivative converges with this power of the interval; at most twice as many at a time.
        growth = 1.1 * (error.largest / allowed) ** (1 / degree)
        n_intervals = math.ceil(n_intervals * min(max(growth, 1.1), 2.0 if n_intervals > _FIRST else 8.0) / 8) * 8
    raise CalculationError(
        f"{_LARGEST} intervals do not give the radial weights between {start} and {stop} Å to {allowed:.0e} "
        f"(with the last: {error.value:.1e}, derivative {error.slope:.1e}); they are not smooth there"
    )


@cache
def _nodes(degree: int) -> tuple[Tensor, Tensor]:
    """Chebyshev points with ends on [−1, 1], and the matrix from values there to powers of u."""
    u = -torch.cos(math.pi * torch.arange(degree + 1, dtype=torch.float64) / degree)
    return u, torch.linalg.inv(torch.linalg.vander(u))


def _fit(
    function: Callable[[Tensor], Tensor], start: float, stop: float, n_intervals: int, contact: int, degree: int
) -> RadialTable:
    u, to_powers = _nodes(degree)
    step = (stop - start) / n_intervals
    # The last point of an interval is the first of the next: evaluated once, so the table is continuous.
    places = (torch.arange(n_intervals, dtype=torch.float64)[:, None] + (u[:-1] + 1) / 2).flatten()
    distances = start + step * torch.cat([places, places.new_tensor([n_intervals])])
    with torch.no_grad():
        values = torch.cat([function(part) for part in distances.clamp(max=stop).split(_AT_ONCE)])
    ends = values[:: len(u) - 1]
    inner = values[:-1].unflatten(0, (n_intervals, len(u) - 1))
    at_nodes = torch.cat([inner, ends[1:, None]], dim=1)
    powers = torch.einsum("un,inpc->ipuc", to_powers, at_nodes)
    if contact:
        powers[-1] = _vanishing(powers[-2], contact)
    return RadialTable.from_powers(powers, start, stop, TableError(math.inf, math.inf))


def _spline(
    function: Callable[[Tensor], Tensor], start: float, stop: float, n_intervals: int, contact: int, degree: int
) -> RadialTable:
    """The spline through the function at the ends of all intervals; "not a knot" where no derivative is known."""
    ends = torch.linspace(start, stop, n_intervals + 1, dtype=torch.float64)
    with torch.no_grad():
        values = torch.cat([function(part) for part in ends.split(_AT_ONCE)])
    x, flat = ends.numpy(), values.flatten(1).numpy()
    free = (degree + 1) // 2  # knots that a spline without conditions at an end must leave out there
    known = range(1, min(contact, free))
    knots = np.concatenate([[x[0]] * (degree + 1), x[free : len(known) - free], [x[-1]] * (degree + 1)])
    right = [(order, np.zeros(flat.shape[1])) for order in known]
    spline = make_interp_spline(x, flat, k=degree, t=knots, bc_type=(None, right) if right else None)
    middle, half = (x[1:] + x[:-1]) / 2, (stop - start) / n_intervals / 2
    powers = [spline(middle, nu=order) * (half**order / math.factorial(order)) for order in range(degree + 1)]
    by_path = torch.from_numpy(np.stack(powers, axis=1)).unflatten(2, values.shape[1:])
    return RadialTable.from_powers(by_path.transpose(1, 2), start, stop, TableError(math.inf, math.inf))


def _vanishing(before: Tensor, contact: int) -> Tensor:
    """Powers of u of t^m (a + b t), t = (1 - u) / 2, that goes on with the value and slope of the interval before.

    Args:
        before: powers of the interval before, shape (n_paths, degree + 1, channels).
        contact: m.
    """
    n_powers = before.shape[1]
    orders = torch.arange(n_powers, dtype=before.dtype)[:, None]
    value, slope = before.sum(1, keepdim=True), -2 * (orders * before).sum(1, keepdim=True)
    b = slope - contact * value
    fall = [torch.zeros(n_powers, dtype=before.dtype) for _ in range(2)]
    for row, order in zip(fall, (contact, contact + 1), strict=True):
        row[: order + 1] = torch.tensor([math.comb(order, k) * (-1.0) ** k / 2**order for k in range(order + 1)])
    return (value - b) * fall[0][:, None] + b * fall[1][:, None]


def _measure(table: RadialTable, function: Callable[[Tensor], Tensor], smooth: bool) -> TableError:
    """The error between the nodes. ``table`` is in double precision."""
    checked = torch.tensor(_CHECKED_SMOOTH if smooth else _CHECKED, dtype=torch.float64)
    step = (table.stop - table.start) / table.n_intervals
    places = torch.arange(table.n_intervals, dtype=torch.float64)[:, None] + checked
    largest = torch.zeros(4, table.n_paths, dtype=torch.float64)
    for distances in (table.start + step * places.flatten()).split(_AT_ONCE):
        found, wanted = _with_slope(table, distances), _with_slope(function, distances)
        rows = [found[0] - wanted[0], wanted[0], found[1] - wanted[1], wanted[1]]
        largest = torch.maximum(largest, torch.stack([values.abs().amax((0, 2)) for values in rows]))
    value, value_scale, slope, slope_scale = largest
    smallest = torch.finfo(torch.float64).tiny  # a path of zeros has no error
    return TableError(
        float((value / value_scale.clamp_min(smallest)).amax()),
        float((slope / slope_scale.clamp_min(smallest)).amax()),
    )


def _with_slope(function: Callable[[Tensor], Tensor], distances: Tensor) -> tuple[Tensor, Tensor]:
    """Values and derivatives of all outputs: the gradient is linear in its direction, so its derivative for the
    direction is the derivative of every output along the distance."""
    with torch.inference_mode(False), torch.enable_grad():
        inputs = distances.clone().requires_grad_()
        values = function(inputs)
        direction = torch.zeros_like(values).requires_grad_()
        # Of sums: for any other direction torch imports a computer algebra system, which takes longer than the table.
        (gradient,) = torch.autograd.grad((values * direction).sum(), inputs, create_graph=True)
        (slopes,) = torch.autograd.grad(gradient.sum(), direction)
    return values.detach(), slopes.detach()
