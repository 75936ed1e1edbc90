"""Counting with a comparison: only within buckets, and with the right numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from atomsym.core import InputError
from atomsym.metrics import first_equivalents, has_match, recovery


def test_equivalents_point_to_the_first_of_their_kind() -> None:
    values = [1.0, 5.0, 1.1, 5.2, 1.05, 9.0]
    found = first_equivalents([0] * 6, lambda i, j: abs(values[i] - values[j]) < 0.5)
    assert found.tolist() == [0, 1, 0, 1, 0, 5]


def test_buckets_are_never_compared_with_each_other_nor_are_unknown_keys() -> None:
    asked: list[tuple[int, int]] = []

    def same(i: int, j: int) -> bool:
        asked.append((i, j))
        return True

    found = first_equivalents(["a", "b", None, "a", None, "b"], same)
    assert found.tolist() == [0, 1, 2, 0, 4, 1]
    assert asked == [(0, 3), (1, 5)]


def test_every_planted_copy_is_found_with_few_comparisons() -> None:
    generator = np.random.default_rng(0)
    originals = generator.normal(size=600)
    values = np.concatenate([originals, originals[:40] + 1e-6])
    order = generator.permutation(640)
    keys = np.concatenate([np.arange(600) % 300, np.arange(40) % 300])[order]
    values = values[order]
    asked = 0

    def same(i: int, j: int) -> bool:
        nonlocal asked
        asked += 1
        return abs(values[i] - values[j]) < 1e-5

    found = first_equivalents(keys.tolist(), same)
    assert int((found != np.arange(640)).sum()) == 40
    assert asked < 640 * 2


def test_novelty_is_asked_within_the_bucket() -> None:
    known, values = [1.0, 2.0, 3.0], [1.01, 2.5, 3.01, 3.02]
    matched = has_match(["a", "a", "b", None], ["a", "a", "b"], lambda i, j: abs(values[i] - known[j]) < 0.1)
    assert matched.tolist() == [True, False, True, False]


def test_recovery_by_hand() -> None:
    """Three references: one met twice (0.3, 0.1), one of the right formula but no match, one never generated."""
    table = {(0, 0): 0.3, (0, 1): 0.1, (1, 2): None}
    found = recovery(["a", "b", "c"], ["a", "a", "b", None], lambda i, j: table[i, j])
    assert found.match_rate == pytest.approx(1 / 3)
    assert found.rmse == pytest.approx(0.1)
    assert found.corrected_rmse == pytest.approx((0.1 + 0.5 + 0.5) / 3)


def test_a_set_recovers_itself_and_nothing_recovers_nothing() -> None:
    itself = recovery([1, 2], [2, 1], lambda i, j: 0.0)
    assert (itself.match_rate, itself.rmse, itself.corrected_rmse) == (1, 0, 0)
    nothing = recovery([1, 2], [], lambda i, j: 0.0)
    assert (nothing.match_rate, nothing.corrected_rmse) == (0, 0.5)
    assert math.isnan(nothing.rmse)
    with pytest.raises(InputError, match="at least one reference"):
        recovery([], [1], lambda i, j: 0.0)
