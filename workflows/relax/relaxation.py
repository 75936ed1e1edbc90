"""The relaxation itself: an optimizer of ASE, convergence in everything that is free to move, and its files.

A folder holds ``settings.json``, ``log.csv``, ``trajectory.extxyz`` (one frame a step), ``restart.npz``,
``relaxed.extxyz``, ``result.json`` and ``report.png``.
"""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.singlepoint import SinglePointCalculator
from ase.filters import FrechetCellFilter
from ase.io.extxyz import write_extxyz
from ase.optimize import BFGS, FIRE, LBFGS
from ase.optimize.optimize import Optimizer

from atomsym.artifacts import write_atomically
from atomsym.calculators.ase import FreeParameterFilter
from atomsym.core import CalculationError, InputError, PropertyNotAvailableError
from atomsym.symmetry.wyckoff import SymmetricCrystal
from atomsym.workflows.calculator import absolute, content_hash_of, make_calculator, require_known_charge
from atomsym.workflows.optimizers import RFO, Newton, SecondOrderOptimizer
from atomsym.workflows.optimizers.geometric_hessian import GeomeTRIC
from atomsym.workflows.paths import make_folder
from atomsym.workflows.relax.settings import RelaxSettings
from atomsym.workflows.relax.symmetry import SpaceGroup, find_space_group, in_standard_cell, keep_symmetry
from atomsym.workflows.run_files import RestartState, RunFiles
from atomsym.workflows.run_folders import require_no_run
from atomsym.workflows.stopping import Stop
from atomsym.workflows.structures import held_atoms, load_structure

LOG_COLUMNS = ("step", "energy_eV", "enthalpy_eV", "max_force_eV_A", "max_stress_GPa", "volume_A3")
SAVE_EVERY = 20  # steps
LARGEST_STEP = 0.1  # Å
_OPTIMIZERS = {"lbfgs": LBFGS, "bfgs": BFGS, "fire": FIRE}
_WITH_HESSIAN = {"rfo": RFO, "newton": Newton, "geometric": GeomeTRIC}
Progress = Callable[[int, str], None]


@dataclass(frozen=True)
class Point:
    """Where a relaxation stands.

    Attributes:
        energy: eV.
        enthalpy: energy + pressure · volume, eV.
        max_force: largest force on an atom that may move, eV/Å.
        max_stress: largest distance of a stress component from the pressure, GPa; None if the cell is kept.
        volume: Å³; None if the system is not periodic in three directions.
    """

    energy: float
    enthalpy: float
    max_force: float
    max_stress: float | None
    volume: float | None


@dataclass(frozen=True)
class RelaxResult:
    """What a relaxation reports.

    Attributes:
        folder: where everything is.
        converged: whether forces, and with a free cell stresses, are below their bounds.
        criterion: what was asked, in words.
        steps: of the optimizer, over all resumptions.
        n_atoms: number of atoms.
        start, end: first and last point.
        space_group_before, space_group_after: None without spglib, or if not periodic.
        structure: file of the last structure.
    """

    folder: Path
    converged: bool
    criterion: str
    steps: int
    n_atoms: int
    start: Point
    end: Point
    space_group_before: SpaceGroup | None
    space_group_after: SpaceGroup | None
    structure: Path

    def to_json(self) -> str:
        """All of it, as JSON."""
        plain = {**asdict(self), "folder": str(self.folder), "structure": str(self.structure)}
        return json.dumps(plain, indent=2) + "\n"


def run_relax(
    settings: RelaxSettings, folder: Path, progress: Progress | None = None, should_stop: Stop | None = None
) -> RelaxResult:
    """Relax a structure in a new or empty folder.

    Args:
        settings: what to do.
        folder: created; must not hold another relaxation.
        progress: called with the number of finished steps and a status line.
        should_stop: asked after every step; when it says yes the state is saved and the result returned.

    Raises:
        InputError: if the folder holds a run already, or the structure or model cannot be used.
        PropertyNotAvailableError: if the cell is to be relaxed, but there is no stress.
        CalculationError: if the model's answer cannot be used, or a step is too wild to keep the symmetry.
    """
    require_no_run(folder)
    settings = dataclasses.replace(settings, system=absolute(settings.system), model=absolute(settings.model))
    atoms = load_structure(settings.system)
    held_atoms(atoms)
    before = find_space_group(atoms, settings.symprec)
    relaxation = _Relaxation(settings, folder, atoms)
    relaxation.start_point = relaxation.point()  # bad input ends here, before anything is written
    make_folder(folder)
    write_atomically(folder / "settings.json", settings.to_json().encode())
    write_atomically(folder / "start.json", json.dumps(_start(relaxation.start_point, before)).encode())
    relaxation.space_group = before
    relaxation.files.start()
    relaxation.record()
    relaxation.save()
    return relaxation.run(progress, should_stop)


def resume_relax(
    folder: Path,
    progress: Progress | None = None,
    should_stop: Stop | None = None,
    *,
    max_steps: int | None = None,
) -> RelaxResult:
    """Go on from the last saved structure of an interrupted relaxation.

    ``rfo`` and ``newton`` take the same steps as without the interruption; the others begin to learn anew.

    Args:
        folder: of the relaxation.
        progress, should_stop: see ``run_relax``.
        max_steps: another limit than the one it began with.

    Raises:
        InputError: if the folder holds no relaxation that can be continued.
        ArtifactError: if the model file has another content than the run began with.
    """
    settings = RelaxSettings.from_file(folder / "settings.json")
    if max_steps is not None:
        settings = dataclasses.replace(settings, max_steps=max_steps)
    state = RunFiles(folder, LOG_COLUMNS, with_momenta=False).load()
    relaxation = _Relaxation(settings, folder, state.atoms, state.model_hash or None)
    relaxation.step, relaxation.learnt = state.step, state.integrator
    try:
        start = json.loads((folder / "start.json").read_text())
        relaxation.start_point = Point(**start["point"])
        relaxation.space_group = SpaceGroup(**start["space_group"]) if start["space_group"] else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / 'start.json'}: not the start of a relaxation ({error})") from error
    return relaxation.run(progress, should_stop)


def _start(point: Point, group: SpaceGroup | None) -> dict[str, Any]:
    return {"point": asdict(point), "space_group": None if group is None else asdict(group)}


class _Relaxation:
    start_point: Point
    space_group: SpaceGroup | None = None

    def __init__(self, settings: RelaxSettings, folder: Path, atoms: Atoms, content_hash: str | None = None) -> None:
        self.crystal: SymmetricCrystal | None = None
        if settings.free_parameters:
            atoms, self.crystal = in_standard_cell(atoms, settings.symprec)
        self.settings, self.folder, self.atoms = settings, folder, atoms
        self.files = RunFiles(folder, LOG_COLUMNS, with_momenta=False)
        self.pressure = settings.pressure * units.GPa
        self.step = 0
        self.learnt: dict[str, np.ndarray] = {}  # the state of an optimizer with a Hessian, to go on from exactly
        self._optimizer: Optimizer | None = None
        atoms.calc = make_calculator(
            settings.model, settings.device, settings.dtype, content_hash, kwargs=settings.kwargs
        )
        require_known_charge(atoms)
        if settings.cell and not atoms.pbc.all():
            raise InputError("--cell relaxes lattice vectors: the structure must be periodic in three directions")
        if settings.cell and atoms.constraints:
            raise InputError(
                "--cell moves every atom with the cell, but the structure holds some fixed; drop one of them"
            )
        if settings.fix_symmetry:
            keep_symmetry(atoms, settings.symprec)
        self._make_optimizer()  # refuses what it cannot move

    # where it stands -------------------------------------------------------------------------------------------------

    def point(self) -> Point:
        """Energy, forces and stress of the present structure, as far as they matter."""
        atoms, settings = self.atoms, self.settings
        try:
            energy = float(atoms.get_potential_energy())
            forces = atoms.get_forces()
            stress = atoms.get_stress(voigt=False) if settings.cell else None
        except PropertyNotImplementedError as error:
            raise PropertyNotAvailableError(f"the model cannot do this relaxation: {error}") from error
        if not (np.isfinite(energy) and np.isfinite(forces).all() and (stress is None or np.isfinite(stress).all())):
            raise CalculationError("the model's energy, forces or stress are not finite")
        volume = atoms.get_volume() if atoms.pbc.all() else None
        enthalpy = energy + (self.pressure * volume if settings.cell and volume is not None else 0.0)
        excess = None
        if stress is not None:
            excess = float(np.abs(stress + self.pressure * np.eye(3)).max()) / units.GPa
        return Point(energy, enthalpy, float(np.linalg.norm(forces, axis=1).max()), excess, volume)

    def is_converged(self, point: Point) -> bool:
        """Everything that is free to move counts."""
        settings = self.settings
        return point.max_force <= settings.fmax and (point.max_stress is None or point.max_stress <= settings.smax)

    @property
    def criterion(self) -> str:
        forces = f"largest force ≤ {self.settings.fmax:g} eV/Å"
        if not self.settings.cell:
            return forces
        return f"{forces} and stress within {self.settings.smax:g} GPa of a pressure of {self.settings.pressure:g} GPa"

    # running ---------------------------------------------------------------------------------------------------------

    def run(self, progress: Progress | None, should_stop: Stop | None) -> RelaxResult:
        """Steps until convergence, the last allowed step, or a request to stop."""
        point = self.point()
        for _ in self._steps(point):
            point = self.record()
            if self.step % SAVE_EVERY == 0:
                self.save()
            if progress is not None:
                progress(self.step, self._status(point))
            if should_stop is not None and should_stop():
                break
        self.save()
        return self._result(point)

    def _steps(self, point: Point) -> Iterator[None]:
        """Each yield is one step made; ends when the structure has converged or no step is left."""
        settings = self.settings
        with self._make_optimizer() as self._optimizer:
            optimizer = self._optimizer
            while not self.is_converged(point) and self.step < settings.max_steps:
                try:
                    optimizer.step()
                except RuntimeError as error:
                    if "FixSymmetry" not in str(error):
                        raise
                    raise CalculationError(
                        f"step {self.step + 1}: the cell changes too much to keep its symmetry ({error}). "
                        "Start nearer to the minimum, or relax without --fix-symmetry first"
                    ) from error
                self.step += 1
                yield
                point = self.point()

    def _make_optimizer(self) -> Optimizer:
        settings = self.settings
        if settings.optimizer in _WITH_HESSIAN:
            optimizer: Optimizer = _WITH_HESSIAN[settings.optimizer](self.atoms)
            if self.learnt and isinstance(optimizer, SecondOrderOptimizer):
                optimizer.set_state(self.learnt)
            return optimizer
        movable: Any = self.atoms
        if self.crystal is not None:
            movable = FreeParameterFilter(self.atoms, self.crystal, cell=settings.cell, scalar_pressure=self.pressure)
        elif settings.cell:
            movable = FrechetCellFilter(self.atoms, scalar_pressure=self.pressure)
        return _OPTIMIZERS[settings.optimizer](movable, logfile=None, maxstep=LARGEST_STEP)

    def _status(self, point: Point) -> str:
        stress = "" if point.max_stress is None else f"  {point.max_stress:.3g} GPa"
        return f"{point.energy:.4f} eV  {point.max_force:.3g} eV/Å{stress}"

    def record(self) -> Point:
        """Log row and frame of the present structure."""
        point = self.point()
        self.files.add_row((self.step, *dataclasses.astuple(point)[:4], point.volume))
        self.files.add_frame(self._frame(point))
        return point

    def save(self) -> None:
        atoms = self.atoms.copy()
        if self.settings.fix_symmetry:
            atoms.set_constraint()  # found again on resuming
        self.files.save(
            RestartState(
                step=self.step,
                atoms=atoms,
                generator={},
                integrator=self._optimizer.state() if isinstance(self._optimizer, SecondOrderOptimizer) else {},
                model_hash=content_hash_of(self.atoms.calc),
            )
        )

    def _frame(self, point: Point) -> Atoms:
        frame = self.atoms.copy()
        frame.set_constraint()
        frame.info = {**frame.info, "step": self.step}
        frame.calc = SinglePointCalculator(frame, energy=point.energy, forces=self.atoms.get_forces())
        return frame

    def _result(self, point: Point) -> RelaxResult:
        text = io.StringIO()
        write_extxyz(text, [self._frame(point)], columns=["symbols", "positions"])
        structure = self.folder / "relaxed.extxyz"
        write_atomically(structure, text.getvalue().encode())
        result = RelaxResult(
            folder=self.folder,
            converged=self.is_converged(point),
            criterion=self.criterion,
            steps=self.step,
            n_atoms=len(self.atoms),
            start=self.start_point,
            end=point,
            space_group_before=self.space_group,
            space_group_after=find_space_group(self.atoms, self.settings.symprec),
            structure=structure,
        )
        write_atomically(self.folder / "result.json", result.to_json().encode())
        return result
