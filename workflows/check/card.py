"""The report card: all results of a run, and what was run on what."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from atomsym.testing.outcome import CheckResult, Verdict

FORMAT_VERSION = 1


@dataclass(frozen=True)
class ReportCard:
    """Results of the checks on one calculator.

    Attributes:
        name: of the calculator.
        command: the command line that reproduces the card.
        results: one for each check, in order.
        conditions: precision and how it was found, structures, temperature, seed, …: label to text.
        versions: package to version.
        seconds: wall time.
    """

    name: str
    command: str
    results: tuple[CheckResult, ...]
    conditions: dict[str, str]
    versions: dict[str, str]
    seconds: float

    @property
    def counts(self) -> dict[Verdict, int]:
        """Number of checks by verdict."""
        found = Counter(result.verdict for result in self.results)
        return {verdict: found.get(verdict, 0) for verdict in Verdict}

    @property
    def passed(self) -> bool:
        """Whether no check failed or broke."""
        return self.counts[Verdict.FAIL] == 0 and self.counts[Verdict.ERROR] == 0

    @property
    def exit_code(self) -> int:
        return 0 if self.passed else 1

    @property
    def summary(self) -> str:
        """One line, for example '12 passed, 1 failed, 3 not applicable'."""
        words = {
            Verdict.PASS: "passed", Verdict.FAIL: "failed", Verdict.ERROR: "broke",
            Verdict.WARN: "with a warning", Verdict.NOT_APPLICABLE: "not applicable",
        }  # fmt: skip
        return ", ".join(f"{self.counts[verdict]} {word}" for verdict, word in words.items() if self.counts[verdict])

    def to_json(self) -> str:
        """Everything as JSON text; numbers that are not finite become null."""
        content = {
            "format_version": FORMAT_VERSION,
            "name": self.name,
            "command": self.command,
            "passed": self.passed,
            "summary": self.summary,
            "conditions": self.conditions,
            "versions": self.versions,
            "seconds": self.seconds,
            "results": [_result(result) for result in self.results],
        }
        return json.dumps(_finite(content), indent=2, ensure_ascii=False) + "\n"


def _result(result: CheckResult) -> dict[str, Any]:
    described = asdict(result)
    described["verdict"] = str(result.verdict)
    described["measurements"] = [{**asdict(m), "passed": m.passed} for m in result.measurements]
    return {**described, "value": result.value, "bound": result.bound, "unit": result.unit}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
