"""One optimization: a structure, a calculator, an optimizer; measured, and recorded whatever happens."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, CalculatorError
from ase.optimize import BFGS, FIRE, LBFGS, BFGSLineSearch
from ase.optimize.optimize import Optimizer

from atomsym.calculators.ase.load import load_calculator
from atomsym.core import AtomsymError, ConfigError
from atomsym.workflows.benchmarks.geometry_optimization_counting import CountingCalculator
from atomsym.workflows.benchmarks.geometry_optimization_sets import Case
from atomsym.workflows.hessian_source import forces_of, hessian_of
from atomsym.workflows.optimizers import PRFO, RFO, Newton
from atomsym.workflows.optimizers.geometric_hessian import GeomeTRIC, require_geometric
from atomsym.workflows.vibrations.modes import normal_modes

Make = Callable[[Atoms, CountingCalculator], Optimizer]
FAILURES = (AtomsymError, CalculatorError, RuntimeError, ValueError, ArithmeticError)
IMAGINARY = 30.0  # 1/cm


def _second_order(kind: Any, every: int) -> Make:
    return lambda atoms, counter: kind(atoms, hessian_every=every, hessian=counter.hessian)


def _predicted(kind: Any) -> Make:
    return lambda atoms, counter: kind(atoms, hessian_every=1, hessian=counter.predicted_hessian)


def _first_order(kind: Any) -> Make:
    return lambda atoms, _: kind(atoms, logfile=None)


def _geometric(order: int) -> Make:
    return lambda atoms, counter: GeomeTRIC(atoms, order=order, hessian=counter.hessian, logfile=None)


OPTIMIZERS: dict[str, Make] = {
    "bfgs": _first_order(BFGS),
    "lbfgs": _first_order(LBFGS),
    "fire": _first_order(FIRE),
    "bfgs-linesearch": _first_order(BFGSLineSearch),
    "rfo": _second_order(RFO, 1),
    "rfo-5": _second_order(RFO, 5),
    "rfo-start": _second_order(RFO, 0),
    "rfo-predicted": _predicted(RFO),
    "newton": _second_order(Newton, 1),
    "newton-start": _second_order(Newton, 0),
    "newton-predicted": _predicted(Newton),
    "geometric": _geometric(0),
}
SADDLE_OPTIMIZERS: dict[str, Make] = {
    "prfo": _second_order(PRFO, 1),
    "prfo-5": _second_order(PRFO, 5),
    "prfo-start": _second_order(PRFO, 0),
    "prfo-predicted": _predicted(PRFO),
    "geometric-ts": _geometric(1),
}


@dataclass(frozen=True)
class Outcome:
    """What came of one optimization.

    Attributes:
        set_name, structure, target, calculator, optimizer: which one it was.
        n_atoms: number of atoms.
        converged: no force is larger than the bound.
        steps: of the optimizer.
        evaluations: structures whose energy and forces it asked for.
        hessians: computed.
        hessian_evaluations: structures evaluated for Hessians, 0 if the calculator has its own.
        wall_s: seconds, all of it.
        energy: at the end, eV.
        max_force: at the end, eV/Å.
        n_imaginary: modes beyond 30 1/cm at the end, not counted above; None if not converged.
        error: what went wrong; empty if nothing did.
        unsupported: the calculator cannot compute the start structure at all: an element that it does not know.
        cpu_s: processor seconds of this process, from the second energy on; None in cases kept from before it was
            measured.
    """

    set_name: str
    structure: str
    target: str
    calculator: str
    optimizer: str
    n_atoms: int
    converged: bool
    steps: int
    evaluations: int
    hessians: int
    hessian_evaluations: int
    wall_s: float
    energy: float | None
    max_force: float | None
    n_imaginary: int | None
    error: str
    unsupported: bool = False
    cpu_s: float | None = None

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.set_name, self.structure, self.calculator, self.optimizer

    @property
    def succeeded(self) -> bool:
        """Converged, and to a first-order saddle point where one was sought."""
        return self.converged and (self.target == "minimum" or self.n_imaginary == 1)

    @property
    def all_evaluations(self) -> int:
        """With those for Hessians."""
        return self.evaluations + self.hessian_evaluations


def optimizers_for(names: list[str], target: str) -> dict[str, Make]:
    """Those of the named optimizers that seek what is sought.

    Raises:
        ConfigError: if a name is not known.
        MissingDependencyError: if its package is missing.
    """
    known = {**OPTIMIZERS, **SADDLE_OPTIMIZERS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(f"there is no optimizer '{unknown[0]}'; known are {', '.join(known)}")
    if any(name.startswith("geometric") for name in names):
        require_geometric()
    kind = OPTIMIZERS if target == "minimum" else SADDLE_OPTIMIZERS
    return {name: kind[name] for name in names if name in kind}


def require_predictions(calculator: BaseCalculator, name: str, optimizers: Sequence[str]) -> None:
    """Check that a calculator can do what optimizers with predicted Hessians ask.

    Args:
        calculator: any.
        name: what it is called in the message.
        optimizers: names of all that are to run.

    Raises:
        ConfigError: if there are some and it has no Hessian head.
    """
    asking = [each for each in optimizers if each.endswith("-predicted")]
    if asking and not getattr(calculator, "predicts_hessians", False):
        raise ConfigError(f"{name} predicts no Hessians; leave out {', '.join(asking)}")


def measure(
    case: Case,
    calculator: str,
    kwargs: dict[str, Any],
    optimizer: str,
    fmax: float,
    max_steps: int,
    loaded: BaseCalculator | None = None,
) -> Outcome:
    """Run one optimization to its end; a failure is an outcome too.

    Args:
        case: the structure.
        calculator, kwargs: name of the calculator and arguments of its factory.
        optimizer: a name of ``OPTIMIZERS`` or ``SADDLE_OPTIMIZERS``.
        fmax, max_steps: see ``BenchmarkSettings``.
        loaded: that calculator, if it is there already and keeps nothing from one structure to the next.
    """
    make = {**OPTIMIZERS, **SADDLE_OPTIMIZERS}[optimizer]
    atoms = case.atoms()
    start, cpu, error, steps, converged = time.perf_counter(), time.process_time(), "", 0, False
    atoms.calc = loaded or load_calculator(calculator, kwargs)
    counter = CountingCalculator(atoms.calc)
    unsupported = True
    try:
        forces_of(atoms)  # tables of a model are made at the first call
        cpu = time.process_time()
        atoms.calc, unsupported = counter, False
        runner = make(atoms, counter)
        for done in runner.irun(fmax=fmax, steps=max_steps):
            steps, converged = runner.nsteps, bool(done)
    except FAILURES as problem:
        error, converged = f"{type(problem).__name__}: {problem}", False
    wall, spent = time.perf_counter() - start, time.process_time() - cpu
    outcome = partial(
        Outcome, case.set_name, case.name, case.target, calculator, optimizer, len(atoms), converged, steps,
        counter.evaluations, counter.hessians, counter.hessian_evaluations, wall,
    )  # fmt: skip
    return outcome(*_end(atoms, converged, error), unsupported, spent)


def _end(atoms: Atoms, converged: bool, error: str) -> tuple[float | None, float | None, int | None, str]:
    if error:
        return None, None, None, error
    try:
        energy, forces = float(atoms.get_potential_energy()), atoms.get_forces()
        imaginary = None
        if converged and not atoms.pbc.any():
            imaginary = int((normal_modes(atoms, hessian_of(atoms)).wavenumbers < -IMAGINARY).sum())
    except FAILURES as problem:
        return None, None, None, f"{type(problem).__name__}: {problem}"
    return energy, float(np.linalg.norm(forces, axis=1).max()), imaginary, ""
