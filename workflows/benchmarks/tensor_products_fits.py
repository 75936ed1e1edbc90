"""What the measured times amount to: powers of degree, channels and edges, and where one product overtakes another."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from atomsym.workflows.benchmarks.tensor_products_cases import ProductBenchmark, ProductRow
from atomsym.workflows.benchmarks.tensor_products_kinds import BASELINE, KINDS
from atomsym.workflows.benchmarks.tensor_products_peers import PEERS

ASYMPTOTIC_DEGREE = 3
"""Powers of the degree are fitted from this one on."""


@dataclass(frozen=True)
class Slope:
    """Power of a straight line through logarithms.

    Attributes:
        power: its slope.
        error: standard error of the slope; not a number with two points.
        points: how many were fitted.
    """

    power: float
    error: float
    points: int

    def __str__(self) -> str:
        """As 3.1 ± 0.2."""
        return f"{self.power:.1f}" + ("" if math.isnan(self.error) else f" ± {self.error:.1f}")


def fit_slope(x: Sequence[float], y: Sequence[float]) -> Slope | None:
    """Least squares of log y over log x; None with fewer than two different x.

    Example:
        >>> fit_slope([1, 2, 4], [3, 12, 48]).power
        2.0
    """
    if len(set(x)) < 2:
        return None
    points = [(math.log(a), math.log(b)) for a, b in zip(x, y, strict=True)]
    n = len(points)
    middle_x, middle_y = (sum(values) / n for values in zip(*points, strict=True))
    spread = sum((a - middle_x) ** 2 for a, _ in points)
    power = sum((a - middle_x) * (b - middle_y) for a, b in points) / spread
    rest = sum((b - middle_y - power * (a - middle_x)) ** 2 for a, b in points)
    error = math.sqrt(rest / (n - 2) / spread) if n > 2 else math.nan
    return Slope(round(power, 12), error, n)


def curve(result: ProductBenchmark, place: str, product: str, backend: str, quantity: str) -> dict[int, float]:
    """A time of ``Times`` by degree, at the first number of channels and size."""
    return {
        row.key.degree: value
        for row in result.rows
        if _is(row, place, product, backend)
        and _at_first(result, row)
        and (value := (row.times or {}).get(quantity)) is not None
    }


def backends_of(result: ProductBenchmark, place: str, product: str) -> tuple[str, ...]:
    """Those with rows, in their order."""
    found = (row.key for row in result.rows)
    return tuple(dict.fromkeys(key.backend for key in found if (key.place, key.product) == (place, product)))


def slopes(result: ProductBenchmark, place: str, product: str, backend: str, quantity: str) -> dict[str, Slope | None]:
    """Powers with which a time grows with degree + 1 (from ``ASYMPTOTIC_DEGREE`` on), channels and size."""
    by_degree = curve(result, place, product, backend, quantity)
    fitted = {degree: value for degree, value in by_degree.items() if degree >= ASYMPTOTIC_DEGREE}
    found = {"degree": fit_slope([degree + 1 for degree in fitted], list(fitted.values()))}
    settings = result.settings
    for name, fixed, wanted in (("channels", "size", settings.sizes[0]), ("size", "channels", settings.channels[0])):
        points = {
            row.case[name]: row.times[quantity]
            for row in result.rows
            if _is(row, place, product, backend)
            and row.times is not None
            and row.case["degree"] == settings.sweep_degree
            and row.case[fixed] == wanted
        }
        kept = {key: value for key, value in points.items() if value is not None}
        found[name] = fit_slope(list(kept), list(kept.values())) if len(kept) > 1 else None
    return found


def best_curve(result: ProductBenchmark, place: str, product: str, quantity: str) -> dict[int, float]:
    """The time of the fastest of our backends by degree."""
    best: dict[int, float] = {}
    for backend in backends_of(result, place, product):
        if backend not in PEERS:
            for degree, value in curve(result, place, product, backend, quantity).items():
                best[degree] = min(value, best.get(degree, math.inf))
    return best


def dimensions(result: ProductBenchmark, place: str, product: str) -> dict[int, int]:
    """Of the family of maps, by degree."""
    return {
        found.degree: found.reach.dimension
        for found in result.abilities
        if (found.place, found.product) == (place, product)
    }


def per_dimension(times: dict[int, float], dimensions: dict[int, int]) -> dict[int, float]:
    """Times over the dimension of what is reached: the price of a number that can be learned on its own."""
    return {degree: ms / dimensions[degree] for degree, ms in times.items() if dimensions.get(degree)}


@dataclass(frozen=True)
class Crossover:
    """From which degree on a product, with its fastest backend here, is faster than Clebsch–Gordan.

    Attributes:
        degree: the smallest one from which on it is faster at all measured degrees; None: at none.
        compared: degrees at which both were measured.
        ratios: time of Clebsch–Gordan over that of the product, by degree.
    """

    degree: int | None
    compared: tuple[int, ...]
    ratios: dict[int, float]

    def __str__(self) -> str:
        if not self.compared:
            return "–"
        return f"none to {self.compared[-1]}" if self.degree is None else f"{self.degree}"


def crossover(result: ProductBenchmark, place: str, product: str, quantity: str, *, weighed: bool = False) -> Crossover:
    """Compare a product with Clebsch–Gordan at all degrees, or (``weighed``) the price per dimension of both.

    Clebsch–Gordan is that of its best backend here, and degrees that this one does not have are not compared.
    """
    own = best_curve(result, place, product, quantity)
    best = next((name for name in backends_of(result, place, BASELINE) if name not in PEERS), "")
    base = curve(result, place, BASELINE, best, quantity)
    if weighed:
        own = per_dimension(own, dimensions(result, place, product))
        base = per_dimension(base, dimensions(result, place, BASELINE))
    compared = tuple(sorted(set(own) & set(base)))
    ratios = {degree: base[degree] / own[degree] for degree in compared}
    faster = None
    for degree in reversed(compared):
        if ratios[degree] <= 1:
            break
        faster = degree
    return Crossover(faster, compared, ratios)


def products_of(result: ProductBenchmark, place: str) -> Iterable[str]:
    """Those with rows at a place, in the order of ``KINDS``."""
    there = {row.key.product for row in result.rows if row.key.place == place}
    return [name for name in KINDS if name in there]


def _is(row: ProductRow, place: str, product: str, backend: str) -> bool:
    return (row.case["place"], row.case["product"], row.case["backend"]) == (place, product, backend)


def _at_first(result: ProductBenchmark, row: ProductRow) -> bool:
    """In the sweep over degrees."""
    settings = result.settings
    return (
        row.case["channels"] == settings.channels[0]
        and row.case["size"] == settings.sizes[0]
        and row.case["degree"] in settings.degrees
    )
