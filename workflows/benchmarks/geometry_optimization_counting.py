"""A calculator that counts: structures evaluated for the optimizer, and for Hessians by differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, PropertyNotImplementedError
from numpy.typing import NDArray

from atomsym.core import AtomsymError, CalculationError
from atomsym.workflows.hessian_source import Source, hessian_of


class CountingCalculator:
    """Passes everything on to another calculator and counts the structures that it sees.

    Several properties of the same positions are one evaluation.

    Attributes:
        evaluations: for the optimizer.
        hessian_evaluations: for finite differences of forces.
        hessians: computed, by either way.
    """

    def __init__(self, calculator: BaseCalculator) -> None:
        self._inner = calculator
        self._last = np.zeros((0, 3))
        self._in_hessian = False
        self.evaluations = self.hessian_evaluations = self.hessians = 0

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # copies and pickles look for these before there is an inner calculator
            raise AttributeError(name)
        return getattr(self._inner, name)

    def get_potential_energy(self, atoms: Atoms | None = None, **options: Any) -> float:
        return float(self._asked(atoms, lambda: self._inner.get_potential_energy(atoms, **options)))

    def get_forces(self, atoms: Atoms | None = None) -> NDArray[np.float64]:
        return np.asarray(self._asked(atoms, lambda: self._inner.get_forces(atoms)))

    def get_property(self, name: str, atoms: Atoms | None = None, **options: Any) -> Any:
        return self._asked(atoms, lambda: self._inner.get_property(name, atoms, **options))

    def hessian(self, atoms: Atoms) -> NDArray[np.float64]:
        """The Hessian of the atoms that move, counted; for the optimizers' argument ``hessian``."""
        return self._hessian(atoms, "auto")

    def predicted_hessian(self, atoms: Atoms) -> NDArray[np.float64]:
        """The same from the Hessian head of a model."""
        return self._hessian(atoms, "predicted")

    def _hessian(self, atoms: Atoms, source: Source) -> NDArray[np.float64]:
        self.hessians += 1
        self._in_hessian = True
        try:
            return hessian_of(atoms, source=source).hessian
        finally:
            self._in_hessian = False

    def _asked(self, atoms: Atoms | None, ask: Callable[[], Any]) -> Any:
        """The answer, counted; whatever a calculator raises becomes an error that a benchmark can record."""
        self._count(atoms)
        try:
            return ask()
        except (AtomsymError, PropertyNotImplementedError):
            raise
        except Exception as error:
            name = type(self._inner).__name__
            raise CalculationError(f"{name} failed: {type(error).__name__}: {error}") from error

    def _count(self, atoms: Atoms | None) -> None:
        if atoms is None or np.array_equal(atoms.positions, self._last):
            return
        self._last = atoms.positions.copy()
        if self._in_hessian:
            self.hessian_evaluations += 1
        else:
            self.evaluations += 1
