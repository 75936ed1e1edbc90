"""The frame of every optimizer here: a Hessian, the space of internal motions, a trust radius, a restart file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.optimize.optimize import Optimizer, RestartError
from numpy.typing import NDArray

from atomsym.core import CalculationError, ConfigError, InputError, PropertyNotAvailableError
from atomsym.workflows.hessian_source import hessian_of
from atomsym.workflows.optimizers.rigid_motions import internal_space
from atomsym.workflows.optimizers.trust_region import ENERGY_NOISE, TrustRadius, predicted_change
from atomsym.workflows.structures import held_atoms

FloatArray = NDArray[np.float64]
HessianFunction = Callable[[Atoms], FloatArray]

TRUST_RADIUS = 0.1  # Å, root mean square over the free atoms
LARGEST_RADIUS = 0.3  # Å, the same


@dataclass(frozen=True)
class Point:
    """A point of the energy surface: free coordinates (3f,) in Å, energy in eV, gradient (3f,) in eV/Å."""

    coordinates: FloatArray
    energy: float
    gradient: FloatArray


@dataclass(frozen=True)
class LocalModel:
    """The quadratic model around a point, in the eigenvectors of the projected Hessian.

    Attributes:
        curvatures: ascending, shape (m,), eV/Å².
        modes: their directions among the free coordinates, in columns, shape (3f, m), orthonormal.
        gradient: components along them, shape (m,), eV/Å.
    """

    curvatures: FloatArray
    modes: FloatArray
    gradient: FloatArray


class SecondOrderOptimizer(Optimizer):
    """An ASE optimizer that steps on a quadratic model within a trust radius; subclasses choose the step.

    The Hessian is computed by ``hessian_of`` (the calculator's ``get_hessian``, or else differences of its forces) and
    updated from gradients between. Translations and rotations are projected out, as far as ``FixAtoms`` leaves any.

    Args:
        atoms: with a calculator; ``FixAtoms`` is the only constraint that is allowed. No cell filter.
        hessian_every: the Hessian is computed at every so many accepted steps; 0: at the first only.
        hessian: computes it instead of ``hessian_of``: from ``atoms`` to (3n, 3n), or (3f, 3f) of the free atoms,
            eV/Å².
        trust_radius: at the start, root mean square displacement of the free atoms, Å.
        largest_radius: to which it may grow, Å.
        restart: a JSON file; written after every step, and read if it exists. The optimizer goes on from it exactly,
            if ``atoms`` has the positions of the step that it was written after.
        **options: of ASE's ``Optimizer``: ``logfile``, ``trajectory``, ``append_trajectory``, …

    Raises:
        InputError: for a cell filter, another constraint, or if nothing can move.
        ConfigError: if a setting is out of range, or ``restart`` is of another method or system.
        PropertyNotAvailableError: if the calculator has no energy or forces.
        CalculationError: if energy, forces or Hessian are not finite.

    Attributes:
        hessian_calls: how often the Hessian was computed.
    """

    def __init__(
        self,
        atoms: Atoms,
        *,
        hessian_every: int = 1,
        hessian: HessianFunction | None = None,
        trust_radius: float = TRUST_RADIUS,
        largest_radius: float = LARGEST_RADIUS,
        restart: str | Path | None = None,
        **options: Any,
    ) -> None:
        _require_plain_atoms(atoms)
        if isinstance(hessian_every, bool) or not isinstance(hessian_every, int) or hessian_every < 0:
            raise ConfigError(f"hessian_every must be 0 (at the start only), 1, 2, …; found {hessian_every!r}")
        if not 0 < trust_radius <= largest_radius < float("inf"):
            raise ConfigError(
                f"trust radii must be 0 < first <= largest (Å); found {trust_radius:g} and {largest_radius:g}"
            )
        self._held = held_atoms(atoms)
        if self._held.all():
            raise InputError("every atom is held fixed; there is nothing to move")
        self.hessian_every, self._hessian_function = hessian_every, hessian
        self.trust = TrustRadius(trust_radius, largest_radius)
        self.hessian_calls = 0
        super().__init__(atoms, restart=None if restart is None else str(restart), **options)

    def initialize(self) -> None:
        self._hessian: FloatArray | None = None
        self._age = 0  # accepted steps since the Hessian was computed
        self._last: Point | None = None
        self._predicted, self._length = 0.0, 0.0  # of the step that led from there to here

    # What subclasses choose -------------------------------------------------------------------------------------------

    def choose_step(self, model: LocalModel, radius: float) -> FloatArray:
        """The step in the model's modes, shape (m,), not longer than ``radius`` in Å."""
        raise NotImplementedError

    def quality(self, ratio: float) -> float:
        """How good a prediction was, 1 for perfect, if the energy changed by ``ratio`` times the predicted change."""
        raise NotImplementedError

    def accepts(self, quality: float) -> bool:
        """Whether to go on from a point that was predicted with this quality, instead of going back."""
        raise NotImplementedError

    def updated(self, hessian: FloatArray, step: FloatArray, change: FloatArray) -> FloatArray:
        """The Hessian after a step along which the gradient changed."""
        raise NotImplementedError

    # A step -----------------------------------------------------------------------------------------------------------

    def step(self, gradient: FloatArray | None = None) -> None:
        """Judge the last step, bring the Hessian up to date, and move once. One evaluation beside the Hessian's."""
        here = self._judge(self._evaluate())
        if self._hessian is None or (self.hessian_every and self._age >= self.hessian_every):
            self._hessian = self._compute_hessian(here)
            self._age = 0
        model = self._model(here, self._hessian)
        step = self.choose_step(model, self.trust.radius * np.sqrt((~self._held).sum()))
        self._last = here
        self._predicted = predicted_change(model.curvatures, model.gradient, step)
        self._length = float(np.linalg.norm(step) / np.sqrt((~self._held).sum()))
        self._move(here.coordinates + model.modes @ step)
        if self.restart is not None:
            self.dump({name: value.tolist() for name, value in self.state().items()})

    def _judge(self, here: Point) -> Point:
        """The point to go on from: this one, or the one before if the step made things worse."""
        last = self._last
        if last is None:
            return here
        moved, change = here.coordinates - last.coordinates, here.gradient - last.gradient
        actual = here.energy - last.energy
        if abs(self._predicted) < ENERGY_NOISE:
            actual = 0.5 * float((here.gradient + last.gradient) @ moved)
        ratio = actual / self._predicted if self._predicted else 1.0
        quality = self.quality(ratio)
        accepted = self.accepts(quality) or self.trust.radius <= self.trust.smallest
        self.trust = self.trust.after(quality, self._length)
        if self._hessian is not None and not (self.hessian_every == 1 and not accepted):
            self._hessian = self.updated(self._hessian, moved, change)
        if not accepted:
            self._move(last.coordinates)
            return last
        self._age += 1
        return here

    def _evaluate(self) -> Point:
        try:
            energy, gradient = float(self.optimizable.get_value()), self.optimizable.get_gradient()
        except PropertyNotImplementedError as error:
            raise PropertyNotAvailableError(f"the calculator cannot be optimized with: {error}") from error
        if not (np.isfinite(energy) and np.isfinite(gradient).all()):
            raise CalculationError(f"step {self.nsteps}: the energy or the forces are not finite")
        free = np.repeat(~self._held, 3)
        return Point(self.optimizable.get_x()[free], energy, np.array(gradient, dtype=float)[free])

    def _move(self, coordinates: FloatArray) -> None:
        x = np.array(self.optimizable.get_x())
        x[np.repeat(~self._held, 3)] = coordinates
        self.optimizable.set_x(x)

    def _compute_hessian(self, here: Point) -> FloatArray:
        self._move(here.coordinates)
        self.hessian_calls += 1
        if self._hessian_function is None:
            return hessian_of(self.atoms).hessian
        found = np.asarray(self._hessian_function(self.atoms), dtype=float)
        free = np.repeat(~self._held, 3)
        if found.shape == (len(free), len(free)):
            found = found[np.ix_(free, free)]
        if found.shape != (free.sum(), free.sum()):
            raise InputError(
                f"the Hessian function gave the shape {found.shape}; ({len(free)}, {len(free)}) is needed, or "
                f"({free.sum()}, {free.sum()}) of the atoms that move"
            )
        if not np.isfinite(found).all():
            raise CalculationError(f"step {self.nsteps}: the Hessian is not finite")
        return 0.5 * (found + found.T)

    def _model(self, here: Point, hessian: FloatArray) -> LocalModel:
        positions = self.atoms.get_positions()
        positions[~self._held] = here.coordinates.reshape(-1, 3)
        basis = internal_space(positions, self._held, periodic=bool(self.atoms.pbc.any()))
        if basis.shape[1] == 0:
            raise InputError("nothing is left to optimize: the free atoms can only move as a rigid body")
        curvatures, inner = np.linalg.eigh(basis.T @ hessian @ basis)
        modes = basis @ inner
        largest = np.abs(modes).argmax(axis=0)
        modes = modes * np.sign(modes[largest, np.arange(modes.shape[1])])  # LAPACK's signs are arbitrary
        return LocalModel(curvatures, modes, modes.T @ here.gradient)

    # Going on ---------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, NDArray[Any]]:
        """All that determines the next steps, beside the positions, as arrays."""
        last, none = self._last, np.zeros(0)
        return {
            "method": np.array(type(self).__name__),
            "hessian": none if self._hessian is None else self._hessian,
            "age": np.array(self._age),
            "hessian_calls": np.array(self.hessian_calls),
            "radius": np.array(self.trust.radius),
            "step": np.array([self._predicted, self._length]),
            "last_coordinates": none if last is None else last.coordinates,
            "last_gradient": none if last is None else last.gradient,
            "last_energy": np.array(0.0 if last is None else last.energy),
        }

    def set_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Go on from what ``state`` gave; ``atoms`` must have the positions of that moment.

        Raises:
            ConfigError: if it is of another method or system, or incomplete.
        """
        size = 3 * int((~self._held).sum())
        try:
            method, hessian = str(state["method"]), np.asarray(state["hessian"], dtype=float)
            if method != type(self).__name__ or hessian.shape not in ((0,), (size, size)):
                raise ConfigError(
                    f"the saved state is of {method} with a Hessian of shape {hessian.shape}; "
                    f"{type(self).__name__} of {size} free coordinates cannot go on from it"
                )
            self._hessian = hessian if hessian.size else None
            self._age, self.hessian_calls = int(state["age"]), int(state["hessian_calls"])
            self.trust = TrustRadius(float(state["radius"]), self.trust.largest, self.trust.smallest)
            self._predicted, self._length = (float(value) for value in state["step"])
            last = [np.asarray(state[f"last_{name}"], dtype=float) for name in ("coordinates", "energy", "gradient")]
            self._last = Point(last[0], float(last[1]), last[2]) if last[0].size else None
        except KeyError as error:
            raise ConfigError(f"the saved state of the optimizer has no {error}") from error

    def read(self) -> None:
        """Go on from the restart file, as ASE's optimizers do."""
        self.initialize()
        try:
            self.set_state(self.load())
        except (RestartError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{self.restart}: not a usable restart file of {type(self).__name__} ({error})"
            ) from error

    def todict(self) -> dict[str, Any]:
        """For headers of trajectories."""
        return {**super().todict(), "hessian_every": self.hessian_every, "largest_radius": self.trust.largest}


def _require_plain_atoms(atoms: Atoms) -> None:
    if not isinstance(atoms, Atoms):
        raise InputError(
            f"optimizers with a Hessian move atoms, not cells; found a {type(atoms).__name__}. "
            "Relax the cell with BFGS, LBFGS or FIRE"
        )
    if atoms.calc is None:
        raise InputError("the structure has no calculator: set atoms.calc")
