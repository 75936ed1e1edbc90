"""A search for a transition state from beginning to end, in a folder from which it can go on after any stop.

A folder holds ``settings.json``; between two minima ``path.extxyz``; of the search ``log.csv``, ``trajectory.extxyz``,
``restart.npz``; then ``saddle.extxyz``, ``mode.extxyz`` (the imaginary mode as a movie), ``minimum_minus.extxyz``,
``minimum_plus.extxyz``, ``descent_….extxyz``, ``stages.json``; and ``result.json``, ``report.png``.
"""

from __future__ import annotations

import dataclasses
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from ase import Atoms

from atomsym.artifacts import write_atomically
from atomsym.core import ConfigError, InputError
from atomsym.workflows.calculator import absolute
from atomsym.workflows.optimizers.geometric_hessian import require_geometric
from atomsym.workflows.paths import make_folder
from atomsym.workflows.run_folders import require_no_run
from atomsym.workflows.stopping import Stop, StoppedError
from atomsym.workflows.transition_states.bonds import changes
from atomsym.workflows.transition_states.descent import SIDES, Saddle, examine, minimum_beside, read_structure
from atomsym.workflows.transition_states.end_points import SAME, distance
from atomsym.workflows.transition_states.molecules import (
    Progress,
    Work,
    explained,
    load_molecule,
    make_work,
)
from atomsym.workflows.transition_states.path import band_between, load_ends, read_band
from atomsym.workflows.transition_states.result import Stationary, TransitionStateResult
from atomsym.workflows.transition_states.search import SaddleSearch
from atomsym.workflows.transition_states.settings import TransitionStateSettings

KEPT = "hessian.journal"
REACHED = 0.25  # Å, root mean square: a minimum so near to a given end is that end


def run_ts(
    settings: TransitionStateSettings,
    folder: Path,
    progress: Progress | None = None,
    should_stop: Stop | None = None,
) -> TransitionStateResult:
    """Find and verify a transition state in a new or empty folder.

    Args:
        settings: what to do.
        folder: created; must not hold another run.
        progress: called with the stage, its steps and a status line.
        should_stop: asked after every step; when it says yes, everything is saved and what was found is returned.

    Raises:
        InputError: if the folder holds a run, or the structures or the model cannot be used; the guess is a minimum;
            the ends are no reaction.
        CalculationError: if the calculator fails.
    """
    require_no_run(folder)
    files: dict[str, Any] = {}
    for name in ("guess", "reactant", "product", "model"):
        given = getattr(settings, name)
        files[name] = given if given is None else absolute(given)
    settings = dataclasses.replace(settings, **files)
    work = make_work(settings)
    _require_usable(work)  # bad input ends here, before anything is written
    make_folder(folder)
    write_atomically(folder / "settings.json", settings.to_json().encode())
    try:
        return _Run(work, folder, progress, should_stop).run()
    except (InputError, ConfigError):
        _discard(folder)
        raise


def resume_ts(
    folder: Path,
    progress: Progress | None = None,
    should_stop: Stop | None = None,
    *,
    max_steps: int | None = None,
) -> TransitionStateResult:
    """Go on where a run in ``folder`` was stopped: stages that are finished are not repeated.

    Args:
        folder: of the run.
        progress, should_stop: see ``run_ts``.
        max_steps: another limit than the one it began with.

    Raises:
        ConfigError, InputError: if the folder holds no such run.
    """
    settings = TransitionStateSettings.from_file(folder / "settings.json")
    if max_steps is not None:
        settings = dataclasses.replace(settings, max_steps=max_steps)
    return _Run(make_work(settings), folder, progress, should_stop).run()


def _require_usable(work: Work) -> None:
    settings = work.settings
    if settings.optimizer == "geometric":
        require_geometric()
    ends = load_ends(work) if settings.guess is None else (load_molecule(settings.guess, work.calculator),)
    for atoms in ends:
        with explained("the first evaluation"):
            atoms.get_potential_energy()


def _discard(folder: Path) -> None:
    """Remove a run that was refused at its first Hessian: nothing can be gone on with."""
    if (folder / "restart.npz").is_file() or (folder / "path.json").is_file():
        return
    for name in ("settings.json", KEPT):
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):  # it held something else before
        folder.rmdir()


class _Run:
    def __init__(
        self,
        work: Work,
        folder: Path,
        progress: Progress | None,
        should_stop: Stop | None,
    ) -> None:
        self.work, self.folder = work, folder
        work.progress, work.should_stop, work.kept = progress, should_stop, folder / KEPT
        self.steps = 0
        self.saddle: Stationary | None = None
        self.sides: dict[str, Stationary] = {}

    def run(self) -> TransitionStateResult:
        """All stages; a stop ends them early."""
        stopped = ""
        try:
            search = self._search()
            self.steps = search.steps
            converged = search.run()
            self.steps = search.steps
            saddle = examine(self.work, self.folder, search.atoms, converged)
            self.saddle = saddle.point
            if converged and saddle.point.n_imaginary:
                self._descend(saddle)
        except StoppedError as stop:
            stopped = str(stop)
        result = self._result(stopped)
        write_atomically(self.folder / "result.json", result.to_json().encode())
        if not stopped:
            (self.folder / KEPT).unlink(missing_ok=True)
        return result

    def _search(self) -> SaddleSearch:
        if (self.folder / "restart.npz").is_file():
            return SaddleSearch(self.work, self.folder, None, None)
        if self.work.settings.guess is None:
            search = SaddleSearch(self.work, self.folder, *band_between(self.work, self.folder).guess())
        else:
            guess = load_molecule(self.work.settings.guess, self.work.calculator)
            search = SaddleSearch(self.work, self.folder, guess, None)
            search.check()
        search.start()
        return search

    def _descend(self, saddle: Saddle) -> None:
        file = self.folder / "stages.json"
        stages: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
        if stages.get("saddle_energy") != saddle.point.energy:
            stages = {"saddle_energy": saddle.point.energy}
        for side in SIDES:
            if side not in stages:
                point = minimum_beside(self.work, self.folder, saddle, side)
                stages[side] = {**dataclasses.asdict(point), "file": str(point.file)}
                write_atomically(file, json.dumps(stages).encode())
            self.sides[side] = Stationary.from_dict(stages[side])

    # The outcome ------------------------------------------------------------------------------------------------------

    def _result(self, stopped: str) -> TransitionStateResult:
        reactant, product, connects = self._assigned()
        before, after = _structure(reactant), _structure(product)
        broken, formed = changes(before, after) if before is not None and after is not None else ((), ())
        same = before is not None and after is not None and distance(before, after) < SAME
        return TransitionStateResult(
            folder=self.folder,
            formula=self._formula(),
            stopped=stopped,
            steps=self.steps,
            hessians=self.work.hessians,
            saddle=self.saddle,
            reactant=reactant,
            product=product,
            bonds_broken=broken,
            bonds_formed=formed,
            connects_ends=connects,
            findings=() if stopped else tuple(self._findings(same, connects)),
        )

    def _formula(self) -> str:
        settings = self.work.settings
        return load_molecule(settings.guess or settings.reactant or "", self.work.calculator).get_chemical_formula()

    def _assigned(self) -> tuple[Stationary | None, Stationary | None, bool | None]:
        """Which side is the reactant, and whether both are the ends that were given."""
        if len(self.sides) < len(SIDES):
            return None, None, None
        minus, plus = self.sides["minus"], self.sides["plus"]
        if self.work.settings.guess is not None:
            low, high = sorted((minus, plus), key=lambda point: point.energy)
            return low, high, None
        band = read_band(self.folder)
        ends = band.images[0], band.images[-1]
        ways = {
            order: [distance(end, read_structure(point.file)) for end, point in zip(ends, order, strict=True)]
            for order in ((minus, plus), (plus, minus))
        }
        order = min(ways, key=lambda order: sum(ways[order]))
        return order[0], order[1], max(ways[order]) < REACHED

    def _findings(self, same: bool, connects: bool | None) -> list[str]:
        saddle, settings, found = self.saddle, self.work.settings, []
        if saddle is None:
            return ["no saddle point was reached"]
        if not saddle.converged:
            found.append(f"the search has not converged: largest force {saddle.max_force:.3g} eV/Å")
        if saddle.n_imaginary != 1:
            found.append(f"{saddle.n_imaginary} imaginary modes beyond {settings.imaginary:g} 1/cm instead of one")
        for side, point in self.sides.items():
            if not point.converged:
                found.append(f"the {side} side has not come to rest: largest force {point.max_force:.3g} eV/Å")
            elif point.n_imaginary:
                found.append(f"the {side} side is no minimum: {point.n_imaginary} imaginary modes")
        if same:
            found.append("both sides lead to the same minimum")
        if connects is False:
            found.append("the minima on its sides are not the two ends that were given")
        return found


def _structure(point: Stationary | None) -> Atoms | None:
    return None if point is None else read_structure(point.file)
