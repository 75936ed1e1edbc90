"""The shipped conformance suite: physics checks for any calculator, and the one tolerance table.

No host package is needed: checks work on plain structures and on anything with ``evaluate``. For ASE calculators use
``atomsym check`` or ``atomsym.workflows.check``.
"""

from atomsym.testing.dimers import find_cutoff
from atomsym.testing.geometry import samples_from_crystal, samples_from_molecules
from atomsym.testing.outcome import CheckResult, Finding, Measurement, NotApplicableError, Verdict
from atomsym.testing.precision import detect_precision
from atomsym.testing.settings import Samples, Settings
from atomsym.testing.structure import Evaluator, Result, Structure
from atomsym.testing.suite import CHECKS, Check, run_check, run_checks

__all__ = [
    "CHECKS",
    "Check",
    "CheckResult",
    "Evaluator",
    "Finding",
    "Measurement",
    "NotApplicableError",
    "Result",
    "Samples",
    "Settings",
    "Structure",
    "Verdict",
    "detect_precision",
    "find_cutoff",
    "run_check",
    "run_checks",
    "samples_from_crystal",
    "samples_from_molecules",
]
