"""What the cases of a benchmark come to: a row an optimizer, and performance profiles."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
from numpy.typing import NDArray

from atomsym.workflows.benchmarks.geometry_optimization_case import Outcome

FloatArray = NDArray[np.float64]

SAME_ENERGY = 0.01
"""eV (1 kJ/mol): a minimum that lies higher than the best by more is another one, or none."""


SMALLEST_COST = {"steps": 1.0, "all_evaluations": 1.0, "cpu_s": 1e-6}
"""What is compared in profiles; a ratio needs more than zero steps."""


@dataclass(frozen=True)
class Summary:
    """One optimizer on one set with one calculator.

    Attributes:
        set_name, calculator, optimizer: which.
        cases: how many were tried.
        unsupported: how many of these the calculator cannot compute at all; fractions are of the others, and None if
            there are none.
        succeeded: fraction that converged (to a first-order saddle point where one was sought).
        failed: fraction that ended in an error.
        best: fraction of minima within 0.01 eV of the lowest energy that any optimizer reached from the same start,
            None for saddle points.
        false_minima: fraction that converged to a point with imaginary modes, None for saddle points.
        median_steps, mean_steps: over the cases that succeeded; None if none did.
        mean_evaluations: structures evaluated, without those for Hessians; the same cases.
        mean_hessians: computed; the same cases.
        mean_all_evaluations: with the structures evaluated for Hessians by differences.
        total_wall_s: seconds, over all cases.
        mean_above_lowest: energy above the lowest that any optimizer reached from the same start, eV, over the minima
            that converged; None for saddle points or if none did.
        mean_cpu_s: processor seconds; None where they were not measured.
    """

    set_name: str
    calculator: str
    optimizer: str
    cases: int
    unsupported: int
    succeeded: float | None
    failed: float | None
    best: float | None
    false_minima: float | None
    median_steps: float | None
    mean_steps: float | None
    mean_evaluations: float | None
    mean_hessians: float | None
    mean_all_evaluations: float | None
    total_wall_s: float
    mean_above_lowest: float | None
    mean_cpu_s: float | None


def summaries(outcomes: Sequence[Outcome]) -> list[Summary]:
    """One row for each set, calculator and optimizer, in the order in which they first appear."""
    groups: dict[tuple[str, str, str], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.set_name, outcome.calculator, outcome.optimizer), []).append(outcome)
    lowest = lowest_energies(outcomes)
    return [_summary(key, members, lowest) for key, members in groups.items()]


def lowest_energies(outcomes: Sequence[Outcome]) -> dict[tuple[str, str, str], float]:
    """The lowest energy that any optimizer converged to, by set, structure and calculator, eV."""
    lowest: dict[tuple[str, str, str], float] = {}
    for outcome in outcomes:
        if outcome.converged and outcome.energy is not None:
            lowest[outcome.key[:3]] = min(outcome.energy, lowest.get(outcome.key[:3], np.inf))
    return lowest


def _summary(key: tuple[str, str, str], members: list[Outcome], lowest: dict[tuple[str, str, str], float]) -> Summary:
    supported = [outcome for outcome in members if not outcome.unsupported]
    good = [outcome for outcome in members if outcome.succeeded]
    minima = members[0].target == "minimum"
    above = [o.energy - lowest[o.key[:3]] for o in good if o.energy is not None]

    def mean(name: str) -> float | None:
        return float(np.mean([getattr(outcome, name) for outcome in good])) if good else None

    def fraction(number: int) -> float | None:
        return number / len(supported) if supported else None

    return Summary(
        *key,
        cases=len(members),
        unsupported=len(members) - len(supported),
        succeeded=fraction(len(good)),
        failed=fraction(sum(bool(outcome.error) for outcome in supported)),
        best=fraction(sum(energy < SAME_ENERGY for energy in above)) if minima else None,
        false_minima=fraction(sum(bool(o.n_imaginary) for o in good)) if minima else None,
        median_steps=float(np.median([outcome.steps for outcome in good])) if good else None,
        mean_steps=mean("steps"),
        mean_evaluations=mean("evaluations"),
        mean_hessians=mean("hessians"),
        mean_all_evaluations=mean("all_evaluations"),
        total_wall_s=sum(outcome.wall_s for outcome in members),
        mean_above_lowest=float(np.mean(above)) if minima and above else None,
        mean_cpu_s=mean("cpu_s") if all(outcome.cpu_s is not None for outcome in good) else None,
    )


def performance_profile(costs: FloatArray) -> list[tuple[FloatArray, FloatArray]]:
    """The fraction of problems that each solver solves within τ times the cost of the best solver of each.

    Args:
        costs: of each problem and solver, shape (n_problems, n_solvers), > 0; infinite where a solver failed.

    Returns:
        For each solver the ratios τ ≥ 1 at which its fraction rises, ascending, and the fractions there.

    Source: Dolan and Moré, Math. Program. 91, 201 (2002).

    Example:
        >>> (tau, fraction), _ = performance_profile(np.array([[2.0, 1.0], [3.0, np.inf]]))
        >>> tau, fraction
        (array([1., 2.]), array([0.5, 1. ]))
    """
    best = costs.min(axis=1, keepdims=True)
    ratios = np.where(np.isfinite(costs), costs / np.where(np.isfinite(best), best, 1.0), np.inf)
    profiles = []
    for column in ratios.T:
        tau, counts = np.unique(column[np.isfinite(column)], return_counts=True)
        profiles.append((tau, np.cumsum(counts) / len(costs)))
    return profiles


def costs_of(outcomes: Sequence[Outcome], optimizers: Sequence[str], quantity: str) -> FloatArray:
    """Costs of all problems that every optimizer has tried and the calculator supports.

    Args:
        outcomes: of one or more sets and calculators.
        optimizers: the columns.
        quantity: of ``SMALLEST_COST``; infinite where it did not succeed.

    Returns:
        Shape (n_problems, n_optimizers).
    """
    problems: dict[tuple[str, str, str], dict[str, float]] = {}
    for outcome in outcomes:
        if outcome.unsupported:
            continue
        cost = float(getattr(outcome, quantity)) if outcome.succeeded else np.inf
        problems.setdefault(outcome.key[:3], {})[outcome.optimizer] = max(cost, SMALLEST_COST[quantity])
    rows = [[row[name] for name in optimizers] for row in problems.values() if all(name in row for name in optimizers)]
    return np.array(rows).reshape(-1, len(optimizers))


def to_csv(rows: Sequence[Summary] | Sequence[Outcome]) -> str:
    """A table with a header; None becomes an empty field."""
    text = io.StringIO()
    names = [field.name for field in fields(rows[0])] if rows else []
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return text.getvalue()
