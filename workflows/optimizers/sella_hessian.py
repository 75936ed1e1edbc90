"""Sella's optimizer with our Hessians: internal coordinates and its constraints, without its own diagonalization."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from ase import Atoms
from ase.optimize.optimize import Optimizer

from atomsym.core import ConfigError, MissingDependencyError
from atomsym.workflows.hessian_source import FloatArray, hessian_of


def whole_hessian(atoms: Atoms) -> FloatArray:
    """The Hessian of all atoms, held or not, as Sella's ``hessian_function`` takes it; shape (3n, 3n), eV/Å²."""
    free = atoms.copy()
    free.set_constraint()
    free.calc = atoms.calc
    return hessian_of(free).hessian


def sella_optimizer(atoms: Atoms, *, order: int = 1, hessian_every: int = 1, **options: Any) -> Optimizer:
    """An optimizer of the package Sella that computes its Hessian by ``hessian_of`` at every so many steps.

    Args:
        atoms: with a calculator.
        order: 1 for a saddle point, 0 for a minimum.
        hessian_every: 1, 2, …
        **options: of ``sella.Sella``: ``internal``, ``constraints``, ``logfile``, …

    Raises:
        MissingDependencyError: if Sella is not installed.
        ConfigError: if ``order`` or ``hessian_every`` is out of range.

    Source: Hermes, Sargsyan, Najm and Zádor, J. Chem. Theory Comput. 18, 6974 (2022).
    """
    if order not in (0, 1) or hessian_every < 1:
        raise ConfigError(f"order must be 0 or 1 and hessian_every 1 or more; found {order} and {hessian_every}")
    if importlib.util.find_spec("sella") is None:
        raise MissingDependencyError.for_package("sella", "sella", "this optimizer")
    sella = importlib.import_module("sella")
    found: Optimizer = sella.Sella(
        atoms, order=order, hessian_function=whole_hessian, diag_every_n=hessian_every, **options
    )
    return found
