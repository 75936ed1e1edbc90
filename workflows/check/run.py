"""Run the checks on an ASE calculator."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from ase.calculators.calculator import BaseCalculator

from atomsym.calculators.ase import AtomsymCalculator
from atomsym.core import ConfigError
from atomsym.core.elements import format_elements
from atomsym.core.precision import dtype_named
from atomsym.testing.dimers import find_cutoff
from atomsym.testing.outcome import CheckResult
from atomsym.testing.precision import detect_precision
from atomsym.testing.settings import Samples, Settings
from atomsym.testing.structure import Evaluator
from atomsym.testing.suite import Check, run_checks, select_checks
from atomsym.workflows.check.ase_evaluator import AseEvaluator, declared_dtype
from atomsym.workflows.check.card import ReportCard
from atomsym.workflows.check.own_models import own_evaluator
from atomsym.workflows.check.samples import samples_for, start_temperature
from atomsym.workflows.run_settings import require_dtype


@dataclass(frozen=True)
class CheckOptions:
    """What a user can choose; None and empty mean: find out.

    Attributes:
        structure: file that ASE reads, in place of the automatic structures.
        elements: symbols for the automatic structures.
        only: ids of checks to run.
        dtype: "float32" or "float64", the level of the bounds.
        cutoff: interaction radius, Å.
        timestep: of the dynamics, fs.
        temperature: of the hot start, K.
        duration: of the dynamics, ps.
        thorough: full lengths and counts.
        seed: of all random choices.
    """

    structure: Path | None = None
    elements: Sequence[str] = ()
    only: Collection[str] = ()
    dtype: str | None = None
    cutoff: float | None = None
    timestep: float | None = None
    temperature: float | None = None
    duration: float | None = None
    thorough: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.dtype is not None:
            require_dtype(self.dtype)
        for name in ("cutoff", "timestep", "temperature", "duration"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name} must be positive; found {value}")
        select_checks(self.only)


def run_check(
    calculator: BaseCalculator,
    options: CheckOptions | None = None,
    *,
    name: str | None = None,
    command: str = "",
    on_start: Callable[[Check], None] | None = None,
    on_result: Callable[[CheckResult], None] | None = None,
) -> ReportCard:
    """Run the physics checks on a calculator.

    Args:
        calculator: any ASE calculator; one object is used for all checks.
        options: what to run and how.
        name: title of the card; default the class name.
        command: command line noted on the card.
        on_start: called before each check.
        on_result: called with each result.

    Raises:
        ConfigError: if no test structure can be made for the calculator, or an option is wrong.

    Example:
        >>> from ase.calculators.lj import LennardJones
        >>> card = run_check(LennardJones(), CheckOptions(only=("F-1",)))
        >>> card.summary
        '1 passed'
    """
    chosen = options or CheckOptions()
    start = time.perf_counter()
    evaluator = evaluator_for(calculator, name)
    samples = samples_for(evaluator, chosen.structure, chosen.elements, chosen.seed)
    dtype, reason = _precision(evaluator, samples, chosen)
    cutoff = chosen.cutoff or _cutoff(evaluator, samples)
    if cutoff is not None:
        evaluator.cutoff = cutoff
    settings = Settings(
        dtype=dtype, seed=chosen.seed, thorough=chosen.thorough, timestep=chosen.timestep,
        temperature=chosen.temperature or start_temperature(evaluator, samples),
        duration=chosen.duration, cutoff=chosen.cutoff,
    )  # fmt: skip
    results = []
    for result in run_checks(evaluator, samples, settings, chosen.only, on_start):
        results.append(result)
        if on_result is not None:
            on_result(result)
    conditions = _conditions(settings, samples, reason, cutoff)
    return ReportCard(
        evaluator.name, command, tuple(results), conditions, _versions(calculator), time.perf_counter() - start
    )


def evaluator_for(calculator: BaseCalculator, name: str | None = None) -> AseEvaluator:
    """The evaluator of a calculator; that of our own models can do more."""
    if isinstance(calculator, AtomsymCalculator):
        return own_evaluator(calculator, name)
    return AseEvaluator(calculator, name)


def _precision(evaluator: AseEvaluator, samples: Samples, options: CheckOptions) -> tuple[torch.dtype, str]:
    if options.dtype is not None:
        return dtype_named(options.dtype), "chosen by the user"
    declared = declared_dtype(evaluator.calculator)
    if declared is not None:
        return dtype_named(declared), "declared by the calculator"
    small = samples.small()
    if not small:
        return torch.float64, "assumed"
    return detect_precision(evaluator, small[0][1])


def _cutoff(evaluator: Evaluator, samples: Samples) -> float | None:
    if not samples.pairs:
        return evaluator.cutoff
    return find_cutoff(evaluator, samples.pairs[0][:2]) or evaluator.cutoff


def _conditions(settings: Settings, samples: Samples, reason: str, cutoff: float | None) -> dict[str, str]:
    dtype = str(settings.dtype).removeprefix("torch.")
    numbers = {z for _, structure in samples.small() for z in structure.numbers.tolist()}
    structures = [f"{structure.n_atoms}-atom {name}" for name, structure in samples.small()]
    if samples.dynamics is not None:
        structures.append(f"{samples.dynamics.n_atoms} atoms in dynamics")
    return {
        "precision": f"{dtype} ({reason})",
        "elements": format_elements(numbers),
        "structures": ", ".join(structures),
        "cutoff": "none found" if cutoff is None else f"{cutoff:.5g} Å",
        "dynamics start": f"{settings.temperature:.0f} K",
        "effort": "thorough" if settings.thorough else "quick",
        "seed": str(settings.seed),
    }


def _versions(calculator: BaseCalculator) -> dict[str, str]:
    names = {"atomsym", "ase", "numpy", "torch", type(calculator).__module__.split(".")[0]}
    found = {"python": platform.python_version()}
    for name in sorted(names):
        try:
            found[name] = version(name)
        except ModuleNotFoundError:
            found[name] = "unknown"
    return found
