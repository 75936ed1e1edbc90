"""How far two distributions are apart, and how broad one is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from atomsym.core.errors import InputError

Class = TypeVar("Class", bound=Hashable)


def frequencies(values: Iterable[Class]) -> dict[Class, float]:
    """Share of each value; the shares add up to 1.

    Raises:
        InputError: if there are no values.
    """
    counts = Counter(values)
    if not counts:
        raise InputError("a distribution needs at least one value")
    total = sum(counts.values())
    return {value: count / total for value, count in counts.items()}


def jensen_shannon_divergence(first: Mapping[Class, float], second: Mapping[Class, float]) -> float:
    """Jensen–Shannon divergence in bits: 0 for equal distributions, 1 for disjoint ones.

    (D(p‖m) + D(q‖m)) / 2 with m = (p + q) / 2; its square root is the distance of the same name.

    Args:
        first, second: shares that add up to 1.

    Source: Lin, IEEE Trans. Inf. Theory 37, 145 (1991).

    Example:
        >>> jensen_shannon_divergence({"a": 1.0}, {"a": 0.5, "b": 0.5}).__round__(4)
        0.3113
    """
    classes = [*first, *(value for value in second if value not in first)]
    p, q = (np.array([shares.get(value, 0.0) for value in classes]) for shares in (first, second))
    middle = (p + q) / 2
    parts = [float((x[x > 0] * np.log2(x[x > 0] / middle[x > 0])).sum()) for x in (p, q)]
    return min(max(sum(parts) / 2, 0.0), 1.0)


def chi_squared(generated: Mapping[Class, float], reference: Mapping[Class, float]) -> float:
    """Σ (p − q)² / q over the classes that occur in the reference.

    p is normalised over these classes; what lies outside them is not seen (see ``share_outside``). Not multiplied by
    the number of samples. Infinite if nothing that was generated lies in them.

    Args:
        generated: p, shares that add up to 1.
        reference: q, likewise.

    Source: as in the evaluation of Kazeev et al., Wyckoff Transformer, ICML 2025.
    """
    inside = sum(generated.get(value, 0.0) for value in reference)
    if inside <= 0:
        return float("inf")
    return float(sum((generated.get(value, 0.0) / inside - q) ** 2 / q for value, q in reference.items()))


def share_outside(generated: Mapping[Class, float], reference: Mapping[Class, float]) -> float:
    """Share of what was generated whose class the reference does not have."""
    return float(sum(p for value, p in generated.items() if value not in reference))


def effective_number(shares: Mapping[Class, float]) -> float:
    """Effective number of classes, exp(−Σ p ln p): 1 if all are alike, n if n classes are equally frequent.

    Source: Hill, Ecology 54, 427 (1973), order 1.
    """
    p = np.array([value for value in shares.values() if value > 0])
    return float(np.exp(-(p * np.log(p)).sum()))


def wasserstein_distance(first: ArrayLike, second: ArrayLike) -> float:
    """Area between the cumulative distributions of two samples of numbers, in their unit.

    Raises:
        InputError: if a sample is empty or has values that are not finite.
    """
    a, b = (np.sort(np.asarray(values, dtype=np.float64).ravel()) for values in (first, second))
    if not (a.size and b.size and np.isfinite(a).all() and np.isfinite(b).all()):
        raise InputError("the Wasserstein distance needs two samples of finite numbers")
    points = np.sort(np.concatenate([a, b]))
    below_a, below_b = (np.searchsorted(values, points[:-1], side="right") / values.size for values in (a, b))
    return float((np.abs(below_a - below_b) * np.diff(points)).sum())
