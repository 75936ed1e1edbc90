"""How long 10,000 crystals take: pytest -m slow --benchmark-enable tests/benchmarks/test_crystal_metrics.py"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from atomsym.core import ConfigError, DataError
from atomsym.datasets.crystals import CrystalRecord, read_crystals
from atomsym.metrics import composition_of, first_equivalents, reduced_formula, validity
from atomsym.workflows.evaluate_crystals.settings import EvaluationSettings
from atomsym.workflows.evaluate_crystals.structure_matching import CrystalMatcher

N, COPIES = 10_000, 400


def crystals_with_copies(n: int, copies: int) -> tuple[list[CrystalRecord], int]:
    """Crystals of MP-20 in a random order, among them strained and rattled copies of some."""
    try:
        real = read_crystals("mp_20_biternary_val") + read_crystals("mp_20_slices_mini")
    except (ConfigError, DataError) as error:
        pytest.skip(str(error))
    generator = np.random.default_rng(0)
    real = real[: n - copies]
    chosen = generator.permutation(len(real))[:copies]
    mixed = [*real, *(_noisy(real[i], generator) for i in chosen)]
    return [mixed[i] for i in generator.permutation(len(mixed))], len(chosen)


def _noisy(crystal: CrystalRecord, generator: np.random.Generator) -> CrystalRecord:
    cell = crystal.cell @ (np.eye(3) + 0.005 * generator.normal(size=(3, 3)))
    moved = crystal.fractional_positions + generator.normal(size=(len(crystal.numbers), 3)) * 0.02 @ np.linalg.inv(cell)
    order = generator.permutation(len(crystal.numbers))
    return CrystalRecord("copy", cell, (moved + generator.random(3))[order], crystal.numbers[order])


@pytest.mark.slow
def test_uniqueness(benchmark: Any) -> None:
    crystals, copies = crystals_with_copies(N, COPIES)
    keys = [reduced_formula(composition_of(crystal)) for crystal in crystals]

    def distinct() -> int:
        matcher = CrystalMatcher(crystals, crystals, EvaluationSettings())
        return int((first_equivalents(keys, matcher.same) == np.arange(len(keys))).sum())

    assert benchmark.pedantic(distinct, rounds=1) <= len(crystals) - copies


@pytest.mark.slow
def test_validity(benchmark: Any) -> None:
    crystals, _ = crystals_with_copies(N, 0)
    assert benchmark.pedantic(lambda: validity(crystals), rounds=1).distances.mean() > 0.99
