"""All checks in order, and how they are run: one that cannot be made or breaks never stops the others."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import numpy as np

from atomsym.core import ConfigError
from atomsym.testing.backends import check_backends, check_gradients
from atomsym.testing.continuity import check_neighbor_limit, check_shapes
from atomsym.testing.cutoff import check_cutoff
from atomsym.testing.derivatives import check_forces, check_jacobian, check_stress
from atomsym.testing.dimers import check_dimers
from atomsym.testing.dynamics import check_dynamics
from atomsym.testing.hessian import check_hessian
from atomsym.testing.outcome import (
    CheckResult,
    Finding,
    Measurement,
    NotApplicableError,
    NotFiniteError,
    Verdict,
    conclude,
)
from atomsym.testing.periodicity import check_extensivity, check_images
from atomsym.testing.settings import Samples, Settings
from atomsym.testing.state import check_state
from atomsym.testing.structure import BASIC, Evaluator, Result, Structure
from atomsym.testing.symmetry import check_permutation, check_rotation, check_translation

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Check:
    """One entry of the report card."""

    id: str
    title: str
    function: Callable[[Evaluator, Samples, Settings], Finding]


CHECKS: tuple[Check, ...] = (
    Check("F-1", "Translation leaves the energy unchanged", check_translation),
    Check("F-2", "Rotations and reflections turn forces and stress", check_rotation),
    Check("F-3", "Renumbering the atoms changes nothing", check_permutation),
    Check("F-4", "Periodic images are equal", check_images),
    Check("F-5", "Energy is extensive", check_extensivity),
    Check("F-6", "Results depend on the structure alone", check_state),
    Check("F-7", "Forces are the derivative of the energy", check_forces),
    Check("F-8", "Stress is the strain derivative of the energy", check_stress),
    Check("F-9", "Forces are conservative", check_jacobian),
    Check("F-10", "Hessian is symmetric and sums to zero", check_hessian),
    Check("F-11", "Smooth where a neighbor enters", check_cutoff),
    Check("F-12", "No neighbor is dropped in a crowd", check_neighbor_limit),
    Check("F-13", "Continuous through symmetric shapes", check_shapes),
    Check("F-14", "Automatic derivatives are right", check_gradients),
    Check("F-15", "Kernel backends agree", check_backends),
    Check("F-16", "Energy is conserved in dynamics", check_dynamics),
    Check("F-18", "Atoms repel at short distance", check_dimers),
)


class CountingEvaluator:
    """Counts the evaluated structures and insists on finite results; ``inner`` is what it wraps.

    Comparisons with numbers that are not finite are false, so that a check on them could pass by accident.
    """

    def __init__(self, inner: Evaluator) -> None:
        self.inner = inner
        self.name = inner.name
        self.properties = frozenset(inner.properties)
        self.cutoff = inner.cutoff
        self.elements = inner.elements
        self.count = 0

    def evaluate(self, structure: Structure, properties: Collection[str] = BASIC) -> Result:
        self.count += 1
        result = self.inner.evaluate(structure, properties)
        for name in ("energy", "forces", "stress", "energies", "hessian"):
            value = getattr(result, name)
            if value is not None and not np.isfinite(value).all():
                raise NotFiniteError(f"{name} of a structure with {structure.n_atoms} atoms is not finite")
        return result


def run_check(check: Check, evaluator: Evaluator, samples: Samples, settings: Settings) -> CheckResult:
    """One check; never raises for anything the calculator does."""
    counting = CountingEvaluator(evaluator)
    start = time.perf_counter()

    def done(verdict: Verdict, explanation: str) -> CheckResult:
        seconds = time.perf_counter() - start
        return CheckResult(check.id, check.title, verdict, explanation, seconds=seconds, evaluations=counting.count)

    try:
        finding = check.function(counting, samples, settings)
    except NotApplicableError as reason:
        return done(Verdict.NOT_APPLICABLE, _as_sentence(str(reason)))
    except NotFiniteError as reason:
        finding = Finding([Measurement("results that are not finite", 1, 0, "")], "", _as_sentence(str(reason)))
    except Exception as error:
        logger.debug("check %s broke", check.id, exc_info=True)
        return done(Verdict.ERROR, f"{type(error).__name__}: {error}")
    return conclude(check.id, check.title, finding, time.perf_counter() - start, counting.count)


def _as_sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def select_checks(only: Collection[str] | None = None) -> tuple[Check, ...]:
    """The checks with these ids, in order; all without ids.

    Raises:
        ConfigError: if an id is unknown.
    """
    if not only:
        return CHECKS
    known = {check.id for check in CHECKS}
    wanted = {identifier.upper() if "-" in identifier else f"F-{identifier}" for identifier in only}
    if wanted - known:
        raise ConfigError(f"no check {', '.join(sorted(wanted - known))}; there are {', '.join(c.id for c in CHECKS)}")
    return tuple(check for check in CHECKS if check.id in wanted)


def run_checks(
    evaluator: Evaluator,
    samples: Samples,
    settings: Settings | None = None,
    only: Collection[str] | None = None,
    on_start: Callable[[Check], None] | None = None,
) -> Iterator[CheckResult]:
    """Run the checks one after the other and yield each result.

    Args:
        evaluator: the calculator under test.
        samples: structures it supports.
        settings: precision, seed, effort.
        only: ids to run; default all.
        on_start: called before each check, for progress displays.

    Raises:
        ConfigError: if an id in ``only`` is unknown.
    """
    for check in select_checks(only):
        if on_start is not None:
            on_start(check)
        yield run_check(check, evaluator, samples, settings or Settings())
