"""The Hessian of a structure with whatever calculator it has: the calculator's own, or differences of its forces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from numpy.typing import NDArray

from atomsym.core import AtomsymError, CalculationError, ConfigError, InputError, PropertyNotAvailableError
from atomsym.workflows.hessian_differences import Progress, central_differences
from atomsym.workflows.structures import held_atoms

FloatArray = NDArray[np.float64]
Source = Literal["auto", "analytic", "finite-difference", "predicted"]
Method = Literal["analytic", "finite-difference", "predicted"]

SOURCES = ("auto", "analytic", "finite-difference", "predicted")
STEP = 0.005
"""Å, of central differences: the error of a bond's force constant is near 1e-4 of it, forces in eV/Å need no more than
six good digits."""


@dataclass(frozen=True)
class HessianResult:
    """A Hessian and where it comes from.

    Attributes:
        hessian: second derivatives of the energy by the positions of ``indices`` in their order, shape (3m, 3m),
            x1 y1 z1 x2 …, eV/Å², float64, exactly symmetric.
        indices: the atoms that may move, shape (m,).
        method: ``analytic`` (the calculator's own ``get_hessian``), ``finite-difference`` (of its forces) or
            ``predicted`` (what the Hessian head of a model of this package says).
        asymmetry: largest |H − Hᵀ| / largest |H| before it was made symmetric: noise and, for differences, their error.
        step: displacement of the differences, Å; None if there were none.
        evaluations: how many times forces were computed for differences.
        dipole_derivatives: of the dipole moment by the positions of ``indices``, shape (3m, 3), e; None if not asked
            for, or without differences.
    """

    hessian: FloatArray
    indices: NDArray[np.int64]
    method: Method
    asymmetry: float
    step: float | None
    evaluations: int
    dipole_derivatives: FloatArray | None = None

    def __str__(self) -> str:
        origin = self.method if self.step is None else f"central differences of forces, ±{self.step:g} Å"
        return f"{origin}, asymmetry {self.asymmetry:.1e}"


def hessian_of(
    atoms: Atoms,
    *,
    source: Source = "auto",
    step: float = STEP,
    indices: Sequence[int] | NDArray[np.int64] | None = None,
    dipoles: bool = False,
    kept: Path | None = None,
    progress: Progress | None = None,
) -> HessianResult:
    """Second derivatives of the energy by the positions, with any ASE calculator.

    H[3i+a, 3j+b] = ∂²E/∂x_ia ∂x_jb; as differences −(F_jb(x_ia + h) − F_jb(x_ia − h)) / 2h with an error of order h².

    Args:
        atoms: with a calculator; not changed. Atoms that ``FixAtoms`` holds are left out of the Hessian.
        source: ``analytic`` needs ``calc.get_hessian(atoms)``; ``finite-difference`` needs forces; ``auto`` takes the
            first if the calculator has it. ``predicted`` needs a model of this package with a Hessian head. Which it
            was is in the result.
        step: displacement of the differences, Å.
        indices: atoms whose rows and columns are wanted, in that order; negative ones count from the end. Default:
            all that no constraint holds.
        dipoles: take dipole moments of the displaced structures too, which costs nothing where a calculator computes
            them along with forces; only of differences.
        kept: file of the finished differences, from which an interrupted calculation goes on.
        progress: called with the finished and the total number of displaced coordinates; what it raises ends the work.

    Raises:
        InputError: if there is no calculator, nothing moves, a constraint other than ``FixAtoms`` is set, or an index
            does not exist, is given twice or is held.
        ConfigError: if the source is unknown or the step is not a positive number.
        PropertyNotAvailableError: if the calculator cannot do what is asked.
        CalculationError: if the calculator fails or what it returns is not finite.

    Example:
        >>> from ase.build import molecule
        >>> from ase.calculators.emt import EMT
        >>> nitrogen = molecule("N2", calculator=EMT())
        >>> found = hessian_of(nitrogen)
        >>> found.method, found.hessian.shape, found.evaluations
        ('finite-difference', (6, 6), 12)
    """
    if atoms.calc is None:
        raise InputError("the structure has no calculator: set atoms.calc")
    if source not in SOURCES:
        raise ConfigError(f"the source of a Hessian must be one of {', '.join(SOURCES)}; found '{source}'")
    if not (np.isfinite(step) and step > 0):
        raise ConfigError(f"the step of finite differences must be a positive number of Å; found {step}")
    moving = moving_atoms(atoms, indices)
    if source == "predicted":
        return _result(_predicted(atoms, moving), moving, "predicted", None, 0)
    raw = None if source == "finite-difference" else _analytic(atoms, moving)
    if raw is not None:
        return _result(raw, moving, "analytic", None, 0)
    if source == "analytic":
        raise _no_hessian(atoms)
    rows = central_differences(_answer(moving, dipoles), atoms, moving, step, kept=kept, progress=progress)
    n = 3 * len(moving)
    slopes = rows[:, n:] if dipoles else None
    return _result(rows[:, :n], moving, "finite-difference", step, 2 * n, slopes)


def require_hessian(atoms: Atoms, source: Source = "analytic") -> None:
    """Check that the calculator says to have the Hessians that are asked for.

    Raises:
        PropertyNotAvailableError: if not.
    """
    if source == "analytic" and not hasattr(atoms.calc, "get_hessian"):
        raise _no_hessian(atoms)
    if source == "predicted" and not getattr(atoms.calc, "predicts_hessians", False):
        raise PropertyNotAvailableError(
            f"{type(atoms.calc).__name__} predicts no Hessians: that takes a model of this package with a Hessian "
            "head, such as organic"
        )


def _no_hessian(atoms: Atoms) -> PropertyNotAvailableError:
    name = type(atoms.calc).__name__
    return PropertyNotAvailableError(
        f"{name} has no analytic Hessian (get_hessian); take differences of forces instead"
    )


def moving_atoms(atoms: Atoms, indices: Sequence[int] | NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """The given atoms, or all that ``FixAtoms`` does not hold, checked; shape (m,).

    Raises:
        InputError: see ``hessian_of``.
    """
    held = held_atoms(atoms)
    if indices is None:
        moving = np.flatnonzero(~held)
    else:
        moving = np.asarray(indices)
        if moving.dtype.kind not in "iu" and moving.size:
            raise InputError(f"indices must be integers; found {moving.dtype}")
        moving = moving.astype(np.int64).ravel()
        outside = moving[(moving < -len(atoms)) | (moving >= len(atoms))]
        if outside.size:
            raise InputError(f"there is no atom {outside[0]} among {len(atoms)}")
        moving = moving % max(len(atoms), 1)
        if len(np.unique(moving)) < len(moving):
            raise InputError("an atom is named twice among the indices of a Hessian")
        if held[moving].any():
            raise InputError(f"atom {moving[held[moving]][0]} is asked for, but a constraint holds it fixed")
    if not moving.size:
        raise InputError("no atom may move: there is nothing to differentiate by")
    return moving


def forces_of(atoms: Atoms) -> FloatArray:
    """The calculator's forces, constraints left aside, shape (n_atoms, 3), eV/Å: a new array of finite numbers.

    Raises:
        PropertyNotAvailableError: if the calculator has no forces.
        CalculationError: if it fails, or the forces are not finite.
    """
    forces = np.array(_asked(atoms, "forces", lambda: atoms.get_forces(apply_constraint=False)), dtype=np.float64)
    if not np.isfinite(forces).all():
        raise CalculationError(f"the force on atom {_first_bad(forces)} that the calculator returns is not finite")
    return forces


def dipole_of(atoms: Atoms) -> FloatArray:
    """The calculator's dipole moment, shape (3,), e Å: a new array of finite numbers.

    Raises:
        PropertyNotAvailableError: if the calculator has no dipole moments.
        CalculationError: if it fails, or the dipole moment is not finite.
    """
    dipole = np.array(_asked(atoms, "a dipole moment", atoms.get_dipole_moment), dtype=np.float64)
    if not np.isfinite(dipole).all():
        raise CalculationError("the dipole moment that the calculator returns is not finite")
    return dipole


def _asked(atoms: Atoms, what: str, compute: Callable[[], Any]) -> Any:
    """What a calculator returns; whatever it raises becomes an error of this package that names it."""
    name = type(atoms.calc).__name__
    try:
        return compute()
    except AtomsymError:
        raise
    except PropertyNotImplementedError as error:
        raise PropertyNotAvailableError(f"{name} does not give {what} of this structure: {error}") from error
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise CalculationError(f"{name} could not compute {what} of {atoms.symbols}: {reason}") from error


def _analytic(atoms: Atoms, moving: NDArray[np.int64]) -> FloatArray | None:
    """The calculator's own Hessian of the moving atoms; None if it has none."""
    calculator = atoms.calc
    if not hasattr(calculator, "get_hessian"):
        return None
    try:
        # A calculator of this package takes the atoms, which saves time; others give the whole matrix, of any shape.
        if len(moving) < len(atoms) and getattr(calculator, "name", "") == "atomsym":
            return np.array(_asked(atoms, "a Hessian", lambda: calculator.get_hessian(atoms, indices=moving.tolist())))
        whole = np.asarray(_asked(atoms, "a Hessian", lambda: calculator.get_hessian(atoms)), dtype=np.float64)
    except PropertyNotAvailableError:
        return None
    if whole.size != (3 * len(atoms)) ** 2:
        name = type(calculator).__name__
        raise CalculationError(f"the Hessian of {name} has the shape {whole.shape} for {len(atoms)} atoms")
    rows = (3 * moving[:, None] + np.arange(3)).ravel()
    return whole.reshape(3 * len(atoms), 3 * len(atoms))[np.ix_(rows, rows)]


def _predicted(atoms: Atoms, moving: NDArray[np.int64]) -> FloatArray:
    """What the Hessian head of the model says of the moving atoms."""
    require_hessian(atoms, "predicted")
    indices, calculator = moving.tolist(), atoms.calc
    ask = lambda: calculator.get_hessian(atoms, method="predicted", indices=indices)  # noqa: E731
    return np.array(_asked(atoms, "a predicted Hessian", ask), dtype=np.float64)


def _answer(moving: NDArray[np.int64], dipoles: bool) -> Callable[[Atoms], FloatArray]:
    """What is differentiated: the gradient by the moving atoms, shape (3m,), and the dipole moment if asked, (3,)."""

    def answer(atoms: Atoms) -> FloatArray:
        gradient = -forces_of(atoms)[moving].ravel()
        return np.concatenate([gradient, dipole_of(atoms)]) if dipoles else gradient

    return answer


def _result(
    raw: FloatArray,
    moving: NDArray[np.int64],
    method: Method,
    step: float | None,
    evaluations: int,
    slopes: FloatArray | None = None,
) -> HessianResult:
    if not np.isfinite(raw).all():
        raise CalculationError(f"row {_first_bad(raw)} of the Hessian that the calculator returns is not finite")
    scale = max(float(np.abs(raw).max()), np.finfo(np.float64).tiny)
    asymmetry = float(np.abs(raw - raw.T).max()) / scale
    return HessianResult(0.5 * (raw + raw.T), moving, method, asymmetry, step, evaluations, slopes)


def _first_bad(values: FloatArray) -> int:
    return int(np.argmin(np.isfinite(values).all(axis=1)))
