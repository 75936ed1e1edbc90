"""Optimizers beside each other on sets of molecules, with any ASE calculator; every finished case is kept.

A folder holds ``settings.json``, ``cases.jsonl`` (a line a case, appended as it finishes), and the tables and plots of
``geometry_optimization_tables`` and ``geometry_optimization_plots``. The same command goes on where it was stopped, and
with more sets, calculators or optimizers adds to what is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atomsym.calculators.ase import AtomsymCalculator
from atomsym.calculators.ase.load import is_other_package, load_calculator
from atomsym.core import ConfigError
from atomsym.workflows.benchmarks.case_log import append_case, read_cases, require_same_settings
from atomsym.workflows.benchmarks.geometry_optimization_case import (
    Outcome,
    measure,
    optimizers_for,
    require_predictions,
)
from atomsym.workflows.benchmarks.geometry_optimization_sets import Case, cases_of
from atomsym.workflows.paths import make_folder
from atomsym.workflows.run_settings import require_positive
from atomsym.workflows.stopping import Stop

Progress = Callable[[int, int, str], None]
_FIXED = ("fmax", "max_steps", "kwargs")  # a folder's cases are comparable only if these are the same


@dataclass(frozen=True)
class BenchmarkSettings:
    """What is compared.

    Attributes:
        calculators: model names or files, or ``module:factory``.
        sets: see ``cases_of``.
        optimizers: names from ``OPTIMIZERS`` and ``SADDLE_OPTIMIZERS``; each meets the sets that it is for.
        kwargs: of the factories of other packages' calculators; if there are none, of ``AtomsymCalculator``.
        fmax: converged when no force is larger, eV/Å.
        max_steps: of every optimizer.
        data: the data folder; None: ATOMSYM_DATA.
    """

    calculators: tuple[str, ...]
    sets: tuple[str, ...]
    optimizers: tuple[str, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    fmax: float = 0.01
    max_steps: int = 300
    data: Path | None = None

    def __post_init__(self) -> None:
        require_positive(self, "fmax", "max_steps")
        for name in ("calculators", "sets", "optimizers"):
            if not getattr(self, name):
                raise ConfigError(f"name one or more {name}")

    def arguments_for(self, calculator: str) -> dict[str, Any]:
        """Those of a calculator: where packages stand beside each other, ``kwargs`` are those of the others."""
        others = [name for name in self.calculators if is_other_package(name)]
        return self.kwargs if not others or calculator in others else {}


@dataclass(frozen=True)
class _Job:
    case: Case
    calculator: str
    optimizer: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.case.set_name, self.case.name, self.calculator, self.optimizer


def run_benchmark(
    settings: BenchmarkSettings, folder: Path, progress: Progress | None = None, should_stop: Stop | None = None
) -> tuple[list[Outcome], bool]:
    """Measure every case that the folder does not hold yet.

    Args:
        settings: what to compare.
        folder: created; may hold cases of the same settings.
        progress: called with the number of finished cases, of all, and the next one.
        should_stop: asked before every case.

    Returns:
        The outcomes of all cases of the settings that are finished, and whether these are all.

    Raises:
        ConfigError: if a set, calculator or optimizer is not known, an optimizer needs predicted Hessians that a
            calculator does not have, or the folder was begun with another bound.
        MissingDependencyError: if the package of an optimizer is missing.
        InputError: if a set or the folder's file of cases cannot be read.
    """
    jobs = list(_jobs(settings))
    if not jobs:
        raise ConfigError("none of the optimizers is for these sets: prfo … seeks saddle points, the others minima")
    own: dict[str, AtomsymCalculator] = {}  # keep nothing of a structure and need not be made anew for the next
    for name in settings.calculators:
        calculator = load_calculator(name, settings.arguments_for(name))  # wrong names end here
        require_predictions(calculator, name, settings.optimizers)
        if isinstance(calculator, AtomsymCalculator):
            own[name] = calculator
    make_folder(folder)
    require_same_settings(folder, {name: getattr(settings, name) for name in _FIXED})
    done = read_outcomes(folder)
    finished = True
    for number, job in enumerate(jobs):
        if job.key in done:
            continue
        if should_stop is not None and should_stop():
            finished = False
            break
        if progress is not None:
            progress(number, len(jobs), f"{job.case.name}, {job.optimizer}")
        outcome = measure(
            job.case, job.calculator, settings.arguments_for(job.calculator), job.optimizer, settings.fmax,
            settings.max_steps, own.get(job.calculator),
        )  # fmt: skip
        append_case(folder, outcome)
        done[job.key] = outcome
    return [done[job.key] for job in jobs if job.key in done], finished


def read_outcomes(folder: Path) -> dict[tuple[str, str, str, str], Outcome]:
    """The finished cases of a folder by their key; see ``read_cases``."""
    return {outcome.key: outcome for outcome in read_cases(folder, Outcome)}


def _jobs(settings: BenchmarkSettings) -> Iterator[_Job]:
    """Structure by structure, so that what is finished early compares all optimizers."""
    for set_name in settings.sets:
        for case in cases_of(set_name, settings.data):
            for calculator in settings.calculators:
                for optimizer in optimizers_for(list(settings.optimizers), case.target):
                    yield _Job(case, calculator, optimizer)
