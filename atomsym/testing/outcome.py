"""What a check says: measured values against bounds, a verdict, and one plain sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """Outcome of a check. ``WARN`` is something a user should know that breaks no rule."""

    PASS = "pass"
    FAIL = "fail"
    WARN = "warn"
    NOT_APPLICABLE = "not applicable"
    ERROR = "error"


@dataclass(frozen=True)
class Measurement:
    """One number and what it may be.

    Attributes:
        name: what was measured, in a few words.
        value: the measured number.
        bound: the largest (``at_least``: the smallest) number that passes.
        unit: unit of both.
        advisory: exceeding the bound only warns.
        at_least: the bound is a lower one.
        uncertainty: one standard deviation of the value, for statistical measurements.
    """

    name: str
    value: float
    bound: float
    unit: str
    advisory: bool = False
    at_least: bool = False
    uncertainty: float = 0.0

    @property
    def passed(self) -> bool:
        """Within the bound; a value that is not a number never is."""
        if not math.isfinite(self.value):
            return False
        if self.at_least:
            return self.value >= self.bound - 2 * self.uncertainty
        return self.value <= self.bound + 2 * self.uncertainty

    @property
    def badness(self) -> float:
        """How far towards (< 1) or beyond (> 1) the bound, to find the worst of several."""
        if not math.isfinite(self.value):
            return math.inf
        if self.at_least and self.passed:
            return 0.0
        top, bottom = (self.bound, self.value) if self.at_least else (self.value, self.bound)
        ratio = top / bottom if bottom > 0 else (0.0 if top <= 0 else math.inf)
        return ratio if self.passed else max(ratio, 1.0) + (0.0 if self.advisory else 1e-9)


@dataclass(frozen=True)
class CheckResult:
    """Verdict of one check with the numbers behind it.

    Attributes:
        id: stable name, "F-1" …
        title: what is promised.
        verdict: see ``Verdict``.
        explanation: one plain sentence.
        measurements: all numbers that were compared with a bound.
        data: plain lists and numbers for plots.
        seconds: wall time of the check.
        evaluations: calls of the calculator.
    """

    id: str
    title: str
    verdict: Verdict
    explanation: str
    measurements: tuple[Measurement, ...] = ()
    data: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    evaluations: int = 0

    @property
    def worst(self) -> Measurement | None:
        """The measurement that decides; None if nothing was measured."""
        failed = [m for m in self.measurements if not m.passed and not m.advisory]
        return max(failed or self.measurements, key=lambda m: m.badness, default=None)

    @property
    def value(self) -> float | None:
        return None if self.worst is None else self.worst.value

    @property
    def bound(self) -> float | None:
        return None if self.worst is None else self.worst.bound

    @property
    def unit(self) -> str:
        return "" if self.worst is None else self.worst.unit


@dataclass(frozen=True)
class Finding:
    """What a check function returns; the suite adds id, title and time and derives the verdict.

    Attributes:
        measurements: numbers against bounds.
        good: the sentence when all pass.
        bad: the sentence when one does not; default names the worst measurement.
        data: for plots.
        warning: a sentence that turns a pass into a warning.
    """

    measurements: Sequence[Measurement]
    good: str
    bad: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    warning: str = ""


class NotApplicableError(Exception):
    """Raised inside a check that cannot be made here; the message says why."""


class NotFiniteError(Exception):
    """Raised when the calculator returns an energy, force or stress that is not a finite number."""


def conclude(identifier: str, title: str, finding: Finding, seconds: float = 0.0, evaluations: int = 0) -> CheckResult:
    """Derive the verdict and the sentence of a finding."""
    measurements = tuple(finding.measurements)
    failed = [m for m in measurements if not m.passed]
    hard = [m for m in failed if not m.advisory]
    notable = Verdict.WARN if failed or finding.warning else Verdict.PASS
    verdict = Verdict.FAIL if hard else notable
    sentence = finding.good if not failed else (finding.bad or _sentence(max(hard or failed, key=lambda m: m.badness)))
    if finding.warning and not hard:
        sentence = f"{sentence} {finding.warning}"
    return CheckResult(identifier, title, verdict, sentence, measurements, finding.data, seconds, evaluations)


def _sentence(worst: Measurement) -> str:
    side = "at least" if worst.at_least else "at most"
    value = f"{worst.value:.2g} {worst.unit}".strip()
    return f"{worst.name[:1].upper()}{worst.name[1:]} is {value}, where {side} {worst.bound:.2g} is allowed."
