"""``atomsym check`` tells symmetrizers that are continuous from those that are not."""

from __future__ import annotations

from typing import Any

import pytest
from unconstrained import symmetrized

from atomsym.calculators.ase import AtomsymCalculator
from atomsym.testing.outcome import CheckResult, Verdict
from atomsym.workflows.check.run import CheckOptions, run_check

CASES: list[tuple[dict[str, Any], bool]] = [
    ({"method": "weighted"}, True),
    ({"method": "weighted", "group": "E2"}, True),
    ({"method": "full"}, False),
    ({"method": "canonicalization"}, False),
]


def shapes(**settings: Any) -> CheckResult:
    """The row F-13: the energy of symmetric shapes is the limit from every direction."""
    calculator = AtomsymCalculator(symmetrized(**settings))
    (row,) = run_check(calculator, CheckOptions(elements=("H", "O"), only=("F-13",))).results
    return row


@pytest.mark.parametrize(("settings", "continuous"), CASES, ids=str)
def test_f13_says_whether_a_symmetrizer_is_continuous(settings: dict[str, Any], continuous: bool) -> None:
    assert symmetrized(**settings).continuous is continuous
    row = shapes(**settings)
    assert row.verdict is (Verdict.PASS if continuous else Verdict.FAIL), row
