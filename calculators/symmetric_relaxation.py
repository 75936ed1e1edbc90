"""Relaxation of a crystal in the parameters that its symmetry leaves free, with any ASE calculator."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.stress import voigt_6_to_full_3x3_stress
from numpy.typing import NDArray

from atomsym.core import ConfigError
from atomsym.generators.realisation import closest_contact
from atomsym.symmetry.wyckoff import SymmetricCrystal
from atomsym.symmetry.wyckoff.freedom import Freedom
from atomsym.symmetry.wyckoff.primitive import primitive_cell

Array = NDArray[np.float64]

CONTACT_FLOOR = 0.4
"""Of the sum of covalent radii: closer atoms have collapsed, and no potential knows them."""
LARGEST_GROWTH = 4.0
"""Of the volume, and its inverse: a crystal beyond has flown apart or collapsed."""
CURVATURE = 20.0  # eV/Å², the first guess of all second derivatives
LONGEST_STEP = 0.15  # Å per atom, the root mean square
MEMORY = 30
FIRST_STAGE = 5.0  # the cell is held until no force is larger than this times fmax


@dataclass(frozen=True, eq=False)
class SymmetricRelaxation:
    """What came of it.

    Attributes:
        crystal: the last one that was accepted; of exactly the symmetry of the start.
        energy: of its conventional cell, eV.
        forces: largest force on an atom, eV/Å.
        stress: largest component of the stress, eV/Å³.
        steps: evaluations of the calculator.
        converged: whether forces and stress are small enough.
        reason: why it ended, "" if it converged.
        seconds: that its evaluations took; in a batch, its share.
    """

    crystal: SymmetricCrystal
    energy: float
    forces: float
    stress: float
    steps: int
    converged: bool
    reason: str = ""
    seconds: float = 0.0


Evaluated = tuple[float, Array, Array]
"""Energy (eV), forces (eV/Å) and stress (eV/Å³, shape (3, 3)) of a structure."""
EvaluateMany = Callable[[Sequence[Atoms]], Sequence[Evaluated | Exception]]
"""Evaluates several structures together; what fails for one of them is its answer, and never raised."""


class _RefusedError(Exception):
    """A geometry that is not to be evaluated, or whose evaluation failed."""


@dataclass(frozen=True, eq=False)
class _Answer:
    result: Evaluated | Exception
    seconds: float  # that it took; in a batch, its share


@dataclass(frozen=True, eq=False)
class _Point:
    energy: float
    gradient: Array
    forces: float
    stress: float


def relax_symmetric(
    crystal: SymmetricCrystal,
    calculator: BaseCalculator,
    *,
    fmax: float = 0.05,
    smax: float = 0.005,
    max_steps: int = 200,
    time_limit: float = float("inf"),
    should_stop: Callable[[], object] = lambda: False,
) -> SymmetricRelaxation:
    """Relax lattice and coordinates by the chain rule from forces and stress; symmetry is exact at every step.

    Limited-memory BFGS over the vector of ``Freedom``, first with the cell held until the forces are moderate, then of
    everything. Steps that raise the energy, bring atoms together or make the calculator fail are halved. A failure ends
    the relaxation at the last good crystal and is never raised. The calculator sees the primitive cell.

    ``FreeParameterFilter`` puts the same variables under any optimizer of ASE. Those call the calculator themselves and
    stop at its first failure, so neither the guards nor the batches of ``relax_symmetric_many`` could be had with them.

    Args:
        crystal: to start from.
        calculator: gives energy, forces and stress of periodic systems.
        fmax: at rest when no atom has a larger force, eV/Å, …
        smax: … and no component of the stress is larger, eV/Å³.
        max_steps: evaluations at most.
        time_limit: s of evaluations, looked at between them.
        should_stop: asked between evaluations.

    Raises:
        ConfigError: if a limit is not positive.

    Example:
        >>> from ase.calculators.emt import EMT
        >>> from atomsym.symmetry.wyckoff import Protostructure
        >>> ordered = Protostructure(221, ((29, "c"), (79, "a")))
        >>> found = relax_symmetric(SymmetricCrystal(ordered, 3.9 * np.eye(3), np.zeros((2, 3))), EMT())
        >>> found.converged, round(float(found.crystal.cell[0, 0]), 2)
        (True, 3.71)
    """
    limits = _Limits(fmax, smax, max_steps, time_limit)
    relaxation = _relaxation(crystal, limits, should_stop)
    return _finish(relaxation, lambda structure: _evaluate(structure, calculator))


def relax_symmetric_many(
    crystals: Sequence[SymmetricCrystal],
    evaluate: EvaluateMany,
    *,
    fmax: float = 0.05,
    smax: float = 0.005,
    max_steps: int = 200,
    time_limit: float = float("inf"),
    should_stop: Callable[[], object] = lambda: False,
    together: int = 32,
) -> Iterator[tuple[int, SymmetricRelaxation]]:
    """The same for many crystals, whose structures are evaluated together: each goes the way that it goes alone.

    Args:
        crystals: to start from.
        evaluate: such as ``atomsym.calculators.batches.evaluate_many`` gives it for a calculator.
        fmax, smax, max_steps: see ``relax_symmetric``.
        time_limit: s for each crystal, of its share in the time of the evaluations.
        should_stop: asked between evaluations; then all that have begun end where they are, and no other begins.
        together: crystals at a time; when one ends, the next begins.

    Yields:
        The place of a crystal and what came of it, as each ends.

    Raises:
        ConfigError: if a limit is not positive.
    """
    limits = _Limits(fmax, smax, max_steps, time_limit)
    if together < 1:
        raise ConfigError(f"at least one crystal has to be relaxed at a time; found together = {together}")
    return _relax_many(crystals, evaluate, limits, should_stop, together)


def _relax_many(
    crystals: Sequence[SymmetricCrystal],
    evaluate: EvaluateMany,
    limits: _Limits,
    should_stop: Callable[[], object],
    together: int,
) -> Iterator[tuple[int, SymmetricRelaxation]]:
    waiting = deque(enumerate(crystals))
    running: dict[int, _Relaxation] = {}
    asked: dict[int, Atoms] = {}
    answers: dict[int, _Answer | None] = {}
    while waiting or running:
        while waiting and len(running) < together and not should_stop():
            place, crystal = waiting.popleft()
            running[place], answers[place] = _relaxation(crystal, limits, should_stop), None
        for place, answer in answers.items():
            try:
                asked[place] = running[place].send(answer)  # type: ignore[arg-type]
            except StopIteration as end:
                del running[place]
                asked.pop(place, None)
                yield place, end.value
        answers = {}
        if running:
            started = time.monotonic()
            found = evaluate([asked[place] for place in running])
            seconds = (time.monotonic() - started) / len(running)
            answers = {place: _Answer(one, seconds) for place, one in zip(running, found, strict=True)}
        elif waiting and should_stop():
            return


@dataclass(frozen=True)
class _Limits:
    fmax: float
    smax: float
    max_steps: int
    time_limit: float

    def __post_init__(self) -> None:
        if not (self.fmax > 0 and self.smax > 0 and self.max_steps >= 1 and self.time_limit > 0):
            found = f"{self.fmax}, {self.smax}, {self.max_steps}, {self.time_limit}"
            raise ConfigError(f"fmax, smax, max_steps and time_limit must be positive; found {found}")


_Relaxation = Generator[Atoms, _Answer, SymmetricRelaxation]
"""Yields structures that it wants to be evaluated, is sent the answers, and returns what came of it."""


def _finish(relaxation: _Relaxation, evaluate: Callable[[Atoms], Evaluated | Exception]) -> SymmetricRelaxation:
    """Carry out a relaxation alone."""
    try:
        structure = next(relaxation)
        while True:
            started = time.monotonic()
            result = evaluate(structure)
            structure = relaxation.send(_Answer(result, time.monotonic() - started))
    except StopIteration as end:
        found: SymmetricRelaxation = end.value
        return found


def _relaxation(crystal: SymmetricCrystal, limits: _Limits, should_stop: Callable[[], object]) -> _Relaxation:
    surface = _Surface(crystal)
    vector = np.zeros(surface.freedom.size)

    def ended() -> str:
        if surface.calls >= limits.max_steps:
            return f"{limits.max_steps} steps"
        return "time limit" if surface.seconds > limits.time_limit else "stopped" if should_stop() else ""

    try:
        point = yield from surface.at(vector)
    except _RefusedError as error:
        return SymmetricRelaxation(crystal, np.nan, np.nan, np.nan, surface.calls, False, str(error), surface.seconds)
    reason = ""
    for hold_cell in (True, False):
        limit = FIRST_STAGE * limits.fmax if hold_cell else limits.fmax
        if hold_cell and not surface.freedom.n_coordinates:
            continue
        vector, point, reason = yield from _minimise(surface, vector, point, limit, limits.smax, hold_cell, ended)
    converged = point.forces <= limits.fmax and point.stress <= limits.smax
    return SymmetricRelaxation(
        surface.freedom.crystal(vector), point.energy, point.forces, point.stress, surface.calls, converged,
        "" if converged else reason or "no lower energy along the forces", surface.seconds,
    )  # fmt: skip


class _Surface:
    """Energy and its gradient over the vector of free parameters."""

    def __init__(self, crystal: SymmetricCrystal) -> None:
        self.freedom = Freedom(crystal)
        self.n_atoms = crystal.n_atoms
        self.calls, self.seconds = 0, 0.0
        self._primitive = primitive_cell(crystal.protostructure)
        self._volume = abs(float(np.linalg.det(crystal.cell)))

    def at(self, vector: Array) -> Generator[Atoms, _Answer, _Point]:
        """The point of a vector; asks for the evaluation of its primitive cell.

        Raises:
            _RefusedError: if the geometry is not to be evaluated, or that fails.
        """
        crystal = self.freedom.crystal(vector)
        growth = abs(float(np.linalg.det(crystal.cell))) / self._volume
        if not 1 / LARGEST_GROWTH < growth < LARGEST_GROWTH:
            raise _RefusedError(f"the volume changed by a factor of {growth:.2g}")
        if (contact := closest_contact(crystal)) < CONTACT_FLOOR:
            raise _RefusedError(f"atoms came as close as {contact:.2f} of the sum of their radii")
        self.calls += 1
        answer = yield primitive_atoms(crystal)
        self.seconds += answer.seconds
        if isinstance(answer.result, Exception):
            error = answer.result
            raise _RefusedError(f"the calculator failed ({type(error).__name__}: {error})") from error
        energy, forces, stress = answer.result
        if not (np.isfinite(energy) and np.isfinite(forces).all() and np.isfinite(stress).all()):
            raise _RefusedError("the calculator gave values that are not finite")
        images, n_cells = self._primitive.images, self._primitive.n_cells
        gradient = self.freedom.gradient(vector, forces[images], stress)
        largest = float(np.linalg.norm(forces, axis=1).max())
        return _Point(energy * n_cells, gradient, largest, float(np.abs(stress).max()))


def primitive_atoms(crystal: SymmetricCrystal) -> Atoms:
    """The primitive cell of a crystal, as ASE has it; its atoms are in the order of ``primitive_cell``."""
    primitive = primitive_cell(crystal.protostructure)
    return Atoms(
        crystal.numbers[primitive.atoms],
        positions=crystal.positions[primitive.atoms],
        cell=primitive.basis @ crystal.cell,
        pbc=True,
    )


def _evaluate(atoms: Atoms, calculator: BaseCalculator) -> Evaluated | Exception:
    """One structure with a calculator; calculators raise anything."""
    atoms = atoms.copy()
    atoms.calc = calculator
    try:
        energy, forces = float(atoms.get_potential_energy()), np.asarray(atoms.get_forces(), dtype=np.float64)
        stress = voigt_6_to_full_3x3_stress(np.asarray(atoms.get_stress(), dtype=np.float64))
    except Exception as error:  # noqa: BLE001
        return error
    return energy, forces, np.asarray(stress)


def _minimise(
    surface: _Surface,
    vector: Array,
    point: _Point,
    fmax: float,
    smax: float,
    hold_cell: bool,
    ended: Callable[[], str],
) -> Generator[Atoms, _Answer, tuple[Array, _Point, str]]:
    """Go down until the forces (and, with the cell, the stress) are small; the reason if that was not reached."""
    active = np.ones(len(vector), dtype=bool)
    active[: surface.freedom.n_lattice] = not hold_cell
    pairs: deque[tuple[Array, Array]] = deque(maxlen=MEMORY)
    longest = LONGEST_STEP * surface.n_atoms**0.5
    while point.forces > fmax or (not hold_cell and point.stress > smax):
        if reason := ended():
            return vector, point, reason
        gradient = np.where(active, point.gradient, 0.0)
        step = -_inverse_times(pairs, gradient)
        if step @ gradient >= 0:
            pairs.clear()
            step = -gradient / CURVATURE
        step *= min(1.0, longest / max(float(np.linalg.norm(step)), 1e-12))
        problem = ""
        for _ in range(8):
            try:
                new = yield from surface.at(vector + step)
                if new.energy <= point.energy + 1e-8 * surface.n_atoms:
                    break
                problem = "no lower energy along the forces"
            except _RefusedError as error:
                problem = str(error)
            if reason := ended():
                return vector, point, reason
            step = 0.4 * step
        else:
            if not pairs:
                return vector, point, problem
            pairs.clear()  # try once more straight along the forces
            continue
        change = np.where(active, new.gradient, 0.0) - gradient
        if change @ step > 1e-12 * np.linalg.norm(change) * np.linalg.norm(step):
            pairs.append((step, change))
        vector, point = vector + step, new
    return vector, point, ""


def _inverse_times(pairs: deque[tuple[Array, Array]], gradient: Array) -> Array:
    """The approximate inverse Hessian times a gradient (Nocedal, Math. Comp. 35, 773 (1980))."""
    result = gradient.copy()
    weights = []
    for step, change in reversed(pairs):
        weight = (step @ result) / (change @ step)
        result -= weight * change
        weights.append(weight)
    if pairs:
        step, change = pairs[-1]
        result *= (step @ change) / (change @ change)
    else:
        result /= CURVATURE
    for (step, change), weight in zip(pairs, reversed(weights), strict=True):
        result += (weight - (change @ result) / (change @ step)) * step
    return result
