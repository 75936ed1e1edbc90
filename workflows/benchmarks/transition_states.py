"""Searches for transition states from the guesses of a published set, each proved or not; every finished one is kept.

A folder holds ``settings.json``, ``cases.jsonl``, and for each structure the folder of its search (see ``atomsym ts``).
The same command goes on where it was stopped, also in the middle of a search.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from atomsym.calculators.ase.load import load_calculator
from atomsym.core import AtomsymError, ConfigError, UnsupportedElementError
from atomsym.workflows.benchmarks.case_log import append_case, read_cases, require_same_settings
from atomsym.workflows.benchmarks.geometry_optimization_sets import Case, cases_of
from atomsym.workflows.optimizers.geometric_hessian import require_geometric
from atomsym.workflows.paths import make_folder
from atomsym.workflows.stopping import Stop
from atomsym.workflows.transition_states import TransitionStateResult, TransitionStateSettings, resume_ts, run_ts

Progress = Callable[[int, int, str], None]
_FIXED = ("calculator", "kwargs", "optimizer", "hessian_every", "fmax", "max_steps")


@dataclass(frozen=True)
class SearchBenchmarkSettings:
    """What is searched for, and with what.

    Attributes:
        calculator: model name or file, or ``module:factory``.
        kwargs: of the factory.
        set_name: a set of guesses of saddle points; see ``cases_of``.
        names: only structures whose names begin with one of these; empty: all.
        optimizer, hessian_every, fmax, max_steps: see ``TransitionStateSettings``.
        data: the data folder; None: ATOMSYM_DATA.
    """

    calculator: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    set_name: str = "baker-ts"
    names: tuple[str, ...] = ()
    optimizer: str = "prfo"
    hessian_every: int = 1
    fmax: float = 0.01
    max_steps: int = 200
    data: Path | None = None

    def search(self, guess: Path) -> TransitionStateSettings:
        """The settings of one search."""
        return TransitionStateSettings(
            self.calculator,
            guess=str(guess),
            kwargs=self.kwargs,
            optimizer=self.optimizer,
            hessian_every=self.hessian_every,
            fmax=self.fmax,
            max_steps=self.max_steps,
        )


@dataclass(frozen=True)
class SearchOutcome:
    """What came of one search.

    Attributes:
        set_name, structure, formula, n_atoms: which one.
        verified: at rest, one imaginary mode, two different minima on its sides.
        steps, hessians: of the search, and computed in all.
        imaginary: lowest wavenumber, negative if it is imaginary, 1/cm; None if no point was reached.
        barrier, barrier_backward: above the lower and the higher minimum, eV, without zero-point energy.
        bonds_broken, bonds_formed: from the lower minimum to the higher.
        findings: what keeps it from being verified.
        wall_s: seconds, of the last part if it was stopped in between.
        error: what went wrong; empty if nothing did.
        unsupported: the model does not know an element.
    """

    set_name: str
    structure: str
    formula: str
    n_atoms: int
    verified: bool = False
    steps: int = 0
    hessians: int = 0
    imaginary: float | None = None
    barrier: float | None = None
    barrier_backward: float | None = None
    bonds_broken: Sequence[str] = ()
    bonds_formed: Sequence[str] = ()
    findings: Sequence[str] = ()
    wall_s: float = 0.0
    error: str = ""
    unsupported: bool = False

    @property
    def status(self) -> str:
        """In a word."""
        if self.verified:
            return "verified"
        return "unsupported" if self.unsupported else "failed" if self.error else "not verified"


def run_search_benchmark(
    settings: SearchBenchmarkSettings, folder: Path, progress: Progress | None = None, should_stop: Stop | None = None
) -> tuple[list[SearchOutcome], bool]:
    """Search for every transition state that the folder does not hold yet.

    Args:
        settings: what to search for.
        folder: created; may hold searches of the same settings.
        progress: called with the number of finished searches, of all, and what is being done.
        should_stop: asked after every step of a search.

    Returns:
        The finished searches in the order of the set, and whether these are all.

    Raises:
        ConfigError: if the set or calculator is not known, the set is none of saddle points, no structure has one of
            the names, or the folder was begun with other settings.
        InputError: if the set or the folder's file of cases cannot be read.
        MissingDependencyError: if the package of the optimizer is missing.
    """
    cases = _chosen(settings)
    load_calculator(settings.calculator, settings.kwargs)  # wrong names end here
    settings.search(Path("guess.xyz"))
    if settings.optimizer == "geometric":
        require_geometric()
    make_folder(folder)
    require_same_settings(folder, {name: getattr(settings, name) for name in _FIXED})
    done = {(outcome.set_name, outcome.structure): outcome for outcome in read_cases(folder, SearchOutcome)}
    finished = True
    for number, case in enumerate(cases):
        if (case.set_name, case.name) in done:
            continue

        def report(stage: str, step: int, status: str, number: int = number, name: str = case.name) -> None:
            if progress is not None:
                progress(number, len(cases), f"{name}: {stage}, step {step}")

        stopped = should_stop is not None and should_stop()
        outcome = None if stopped else _search(case, settings, folder, report, should_stop)
        if outcome is None:
            finished = False
            break
        append_case(folder, outcome)
        done[case.set_name, case.name] = outcome
    return [done[case.set_name, case.name] for case in cases if (case.set_name, case.name) in done], finished


def to_csv(outcomes: Sequence[SearchOutcome]) -> str:
    """A table with a header; lists are joined by semicolons, None becomes an empty field."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(SearchOutcome)], lineterminator="\n")
    writer.writeheader()
    for outcome in outcomes:
        row = asdict(outcome)
        writer.writerow({name: "; ".join(v) if isinstance(v, list | tuple) else v for name, v in row.items()})
    return text.getvalue()


def _chosen(settings: SearchBenchmarkSettings) -> list[Case]:
    cases = cases_of(settings.set_name, settings.data)
    if any(case.target != "saddle" for case in cases):
        raise ConfigError(f"'{settings.set_name}' is a set of minima; name one of saddle points, such as baker-ts")
    if settings.names:
        cases = [case for case in cases if case.name.startswith(settings.names)]
    if not cases:
        raise ConfigError(f"no structure of '{settings.set_name}' begins with {', '.join(settings.names)}")
    return cases


def _search(
    case: Case,
    settings: SearchBenchmarkSettings,
    folder: Path,
    report: Callable[[str, int, str], None],
    should_stop: Stop | None,
) -> SearchOutcome | None:
    """One search; a failure is an outcome too, and None means that it was stopped."""
    atoms = case.atoms()
    outcome = SearchOutcome(case.set_name, case.name, atoms.get_chemical_formula(), len(atoms))
    place, start = folder / case.name, time.perf_counter()
    try:
        if (place / "settings.json").is_file():
            result = resume_ts(place, report, should_stop)
        else:
            result = run_ts(settings.search(case.file or Path(case.name)), place, report, should_stop)
    except AtomsymError as error:
        text = f"{type(error).__name__}: {error}"
        return replace(outcome, error=text, unsupported=isinstance(error, UnsupportedElementError))
    if result.stopped:
        return None
    return _filled(outcome, result, time.perf_counter() - start)


def _filled(outcome: SearchOutcome, result: TransitionStateResult, seconds: float) -> SearchOutcome:
    return replace(
        outcome,
        verified=result.verified,
        steps=result.steps,
        hessians=result.hessians,
        imaginary=None if result.saddle is None else result.saddle.wavenumbers[0],
        barrier=result.barrier,
        barrier_backward=result.barrier_backward,
        bonds_broken=result.bonds_broken,
        bonds_formed=result.bonds_formed,
        findings=result.findings,
        wall_s=seconds,
    )
