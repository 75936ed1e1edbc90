"""Structures as this program takes them, and calculations on them with errors that say what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.calculators.singlepoint import SinglePointCalculator
from numpy.typing import NDArray

from atomsym.core import AtomsymError, CalculationError, InputError
from atomsym.workflows.calculator import make_calculator, require_known_charge
from atomsym.workflows.hessian_source import HessianResult, hessian_of
from atomsym.workflows.stopping import StoppedError
from atomsym.workflows.structures import held_atoms, load_structure
from atomsym.workflows.transition_states.settings import TransitionStateSettings

FloatArray = NDArray[np.float64]
Progress = Callable[[str, int, str], None]


@dataclass
class Work:
    """What all stages share: the settings, one calculator, who is told, who may stop it.

    Attributes:
        kept: file of the differences of the present Hessian, from which an interrupted one goes on.
        hessians: how many were computed.
    """

    settings: TransitionStateSettings
    calculator: BaseCalculator
    progress: Progress | None = None
    should_stop: Callable[[], Any] | None = None
    kept: Path | None = None
    hessians: int = field(default=0)

    def report(self, stage: str, step: int, atoms: Atoms) -> None:
        """Tell how far a stage is, and stop if that is asked for.

        Raises:
            StoppedError: if so.
        """
        if self.progress is not None:
            self.progress(stage, step, f"{atoms.get_potential_energy():.4f} eV  {largest_force(atoms):.3g} eV/Å")
        self._stop_if_asked(stage)

    def hessian(self, atoms: Atoms) -> HessianResult:
        """The Hessian, counted."""
        self.hessians += 1
        return hessian_of(atoms, kept=self.kept, progress=self._report_displacement)

    def _report_displacement(self, done: int, of: int) -> None:
        if self.progress is not None:
            self.progress("Hessian", done, f"of {of} displacements")
        if done < of:
            self._stop_if_asked("Hessian")

    def _stop_if_asked(self, stage: str) -> None:
        if self.should_stop is not None and self.should_stop():
            raise StoppedError(stage)


def make_work(settings: TransitionStateSettings) -> Work:
    """The calculator of the settings, ready."""
    calculator = make_calculator(settings.model, settings.device, settings.dtype, kwargs=settings.kwargs)
    return Work(settings, calculator)


def load_molecule(name: str, calculator: BaseCalculator) -> Atoms:
    """A structure that can have a transition state, with its calculator.

    Raises:
        InputError: if it is periodic, a single atom, charged without the model's knowledge, or not readable.
    """
    atoms = load_structure(name)
    if len(atoms) < 2:
        raise InputError(f"{name} has one atom; a transition state needs two or more")
    if atoms.pbc.any():
        raise InputError(
            f"{name} is periodic; transition states are sought of molecules here. "
            "If it is one, take the periodicity out: atoms.pbc = False"
        )
    held_atoms(atoms)
    atoms.calc = calculator
    require_known_charge(atoms)
    _require_same_charge(atoms)
    return atoms


def _require_same_charge(atoms: Atoms) -> None:
    """Another package's calculator that takes a charge as an argument does not read the structure's."""
    parameters = getattr(atoms.calc, "parameters", None) or {}
    charge = atoms.info.get("charge", atoms.info.get("total_charge", 0))
    if "charge" in parameters and float(charge or 0) != float(parameters["charge"] or 0):
        raise InputError(
            f"the structure has charge = {charge:g}, but {type(atoms.calc).__name__} was made for "
            f"{parameters['charge'] or 0:g}; say so with --kwargs '{{\"charge\": {charge:g}}}'"
        )


def largest_force(atoms: Atoms) -> float:
    """Length of the largest force on an atom that may move, eV/Å."""
    return float(np.linalg.norm(atoms.get_forces(), axis=1).max())


def snapshot(atoms: Atoms, **info: Any) -> Atoms:
    """A copy with its energy and forces, for files."""
    frame = atoms.copy()
    frame.set_constraint()
    frame.info = {**frame.info, **info}
    frame.calc = SinglePointCalculator(
        frame, energy=float(atoms.get_potential_energy()), forces=atoms.get_forces(apply_constraint=False)
    )
    return frame


@contextmanager
def explained(stage: str) -> Iterator[None]:
    """Turn a calculator's failure into an error that names the stage.

    Raises:
        CalculationError: if the calculator fails inside the block.
    """
    try:
        yield
    except (AtomsymError, StoppedError):
        raise
    except Exception as error:  # calculators raise whatever they like
        raise CalculationError(f"{stage}: the calculator failed ({type(error).__name__}: {error})") from error
