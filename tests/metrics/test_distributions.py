"""Distances between distributions: values worked out by hand, and their limits."""

from __future__ import annotations

import math

import numpy as np
import pytest

from atomsym.core import InputError
from atomsym.metrics import (
    chi_squared,
    effective_number,
    frequencies,
    jensen_shannon_divergence,
    share_outside,
    wasserstein_distance,
)
from atomsym.testing.tolerances import ALGEBRA

HALF = {"a": 0.5, "b": 0.5}


def test_frequencies_are_shares() -> None:
    assert frequencies("aab") == {"a": 2 / 3, "b": 1 / 3}
    with pytest.raises(InputError, match="at least one"):
        frequencies([])


def test_divergence_of_equal_distributions_is_zero_and_of_disjoint_ones_one_bit() -> None:
    assert jensen_shannon_divergence(HALF, dict(reversed(HALF.items()))) == 0
    assert jensen_shannon_divergence({"a": 1.0}, {"b": 1.0}) == 1


def test_divergence_by_hand_and_its_symmetry() -> None:
    """p = (1, 0), q = (1/2, 1/2): m = (3/4, 1/4)."""
    by_hand = 0.5 * math.log2(4 / 3) + 0.5 * (0.5 * math.log2(2 / 3) + 0.5 * math.log2(2))
    assert jensen_shannon_divergence({"a": 1.0}, HALF) == pytest.approx(by_hand, abs=ALGEBRA.float64)
    assert jensen_shannon_divergence(HALF, {"a": 1.0}) == pytest.approx(by_hand, abs=ALGEBRA.float64)


def test_chi_squared_by_hand() -> None:
    """p = (0.8, 0.2) after the class outside is left out: (0.3² + 0.3²) / 0.5."""
    generated = {"a": 0.4, "b": 0.1, "outside": 0.5}
    assert chi_squared(generated, HALF) == pytest.approx(2 * 0.3**2 / 0.5, abs=ALGEBRA.float64)
    assert share_outside(generated, HALF) == 0.5
    assert chi_squared(HALF, HALF) == 0
    assert chi_squared({"outside": 1.0}, HALF) == math.inf


def test_chi_squared_counts_classes_that_were_never_generated() -> None:
    assert chi_squared({"a": 1.0}, HALF) == pytest.approx(1.0, abs=ALGEBRA.float64)


def test_effective_number_of_classes() -> None:
    assert effective_number({"a": 1.0, "b": 0.0}) == 1
    assert effective_number(dict.fromkeys(range(7), 1 / 7)) == pytest.approx(7, abs=ALGEBRA.float64)


def test_wasserstein_distance_by_hand_and_by_sorting() -> None:
    """For samples of equal size it is the mean distance of sorted values; repeating a sample changes nothing."""
    assert wasserstein_distance([0.0, 1.0], [3.0, 4.0]) == 3
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=30), generator.normal(1.0, 2.0, size=30)
    expected = np.abs(np.sort(a) - np.sort(b)).mean()
    assert wasserstein_distance(a, b) == pytest.approx(expected, abs=ALGEBRA.float64)
    assert wasserstein_distance(np.tile(a, 3), b) == pytest.approx(expected, abs=ALGEBRA.float64)
    with pytest.raises(InputError, match="finite"):
        wasserstein_distance([math.nan], [1.0])
