"""FAENet trained under every symmetrizer with equal settings: errors, invariance, and time of the trained models."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from atomsym.artifacts import config_from_dict, load_model, write_atomically
from atomsym.core import ConfigError, InputError, LabelledStructure
from atomsym.heads import IntensiveProperty
from atomsym.models import Potential
from atomsym.symmetrizers import SymmetrizedPotential
from atomsym.training import Observer, TrainingData, read_log, resume, train
from atomsym.training.checkpoints import FILE_NAME, read_checkpoint
from atomsym.workflows.benchmarks.case_log import require_same_settings
from atomsym.workflows.benchmarks.symmetrizer_accuracy_cases import (
    AccuracyCase,
    AccuracySet,
    accuracy_cases,
    accuracy_set,
)
from atomsym.workflows.benchmarks.symmetrizer_accuracy_measures import (
    baseline_error,
    composition_error,
    errors_of,
    mean_frames,
    seconds_each,
    turned,
)
from atomsym.workflows.paths import make_folder
from atomsym.workflows.stopping import Stop
from atomsym.workflows.train.data import load_data

OUTCOME, CLOCK = "outcome.json", "core_seconds.json"


@dataclass(frozen=True)
class AccuracySettings:
    """What to compare.

    Attributes:
        set_name: of ``ACCURACY_SETS``.
        only: methods; empty: all.
        epochs: of each training; None: those of the recipe.
        seed: of the trainings and of the rotations of the test structures.
        changes: further entries of all training configs.
        timed: test structures that the trained models are timed on.
    """

    set_name: str
    only: tuple[str, ...] = ()
    epochs: int | None = None
    seed: int = 0
    changes: tuple[str, ...] = ()
    timed: int = 8

    def __post_init__(self) -> None:
        accuracy_set(self.set_name)
        if self.timed < 1:
            raise ConfigError(f"at least one structure has to be timed; found {self.timed}")


@dataclass(frozen=True)
class AccuracyOutcome:
    """A finished training and the errors of its model on the test set.

    Energies, or what stands in their place, in ``AccuracySet.unit``, forces in meV/Å; None where there are no labels.

    Attributes:
        method, part: see ``AccuracyCase``.
        architecture: of the network, without the symmetrizer.
        exact, continuous: what the model says of itself.
        weights: number of its parameters.
        epochs, best_epoch: trained, and which of them the model is of.
        core_seconds: process time of the training, validations included.
        energy_mae, energy_rmse, forces_mae, forces_rmse: of the test structures as they are.
        turned_energy_mae, turned_energy_rmse, turned_forces_mae, turned_forces_rmse: of the same, turned at random.
        turned_change: root mean square change of the energy by turning.
        curve: core seconds and validation error (mean absolute; forces where there are some, else energies in
            meV/atom, or the intensive property in its unit) after each epoch.
    """

    method: str
    part: str
    architecture: str
    exact: str
    continuous: bool
    weights: int
    epochs: int
    best_epoch: int
    core_seconds: float
    energy_mae: float
    energy_rmse: float
    forces_mae: float | None
    forces_rmse: float | None
    turned_energy_mae: float
    turned_energy_rmse: float
    turned_forces_mae: float | None
    turned_forces_rmse: float | None
    turned_change: float
    curve: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class AccuracyRow:
    """A method with the time of its model.

    Attributes:
        outcome: of its training.
        frames: of a structure, on average over those that are timed.
        milliseconds: of one structure that the model has not seen before: neighbor list, energy, and forces where the
            set has some.
        equal_time: validation error of the epoch that was done when the quickest training of the set ended; as in
            ``AccuracyOutcome.curve``. None if there was none.
        equal_error: core seconds until the validation error was first as small as the largest that a method of the
            part ends with: the time of the training at equal accuracy.
    """

    outcome: AccuracyOutcome
    frames: float
    milliseconds: float
    equal_time: float | None
    equal_error: float


@dataclass(frozen=True)
class AccuracyComparison:
    """Everything that is finished.

    Attributes:
        settings: what was asked for.
        rows: a method and part each.
        baseline: mean absolute error of the mean of the training structures by part, see ``baseline_error``; empty for
            sets of molecules.
        composition: likewise of a fitted value of each element, for intensive properties only.
        threads: of the timing.
        finished: whether nothing is left to train.
    """

    settings: AccuracySettings
    rows: tuple[AccuracyRow, ...]
    baseline: Mapping[str, float]
    composition: Mapping[str, float]
    threads: int
    finished: bool

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, allow_nan=False) + "\n"


def run_accuracy(
    settings: AccuracySettings,
    folder: Path,
    on_progress: Callable[[str], None] = lambda what: None,
    stop: Stop = lambda: False,
) -> AccuracyComparison:
    """Train what is not finished, then time all models of the folder one after the other.

    Each training has a folder of its own, with everything that ``atomsym train`` writes while it goes; one that was
    stopped goes on, a finished one is read.

    Args:
        settings: what to compare.
        folder: of the results, made if it is not there.
        on_progress: told what is being done.
        stop: asked between steps of the training.

    Raises:
        ConfigError: if the folder was begun with other settings, or the data folder is not known.
        DataError: if data are missing.
    """
    chosen = accuracy_set(settings.set_name)
    cases = accuracy_cases(chosen, settings.only, epochs=settings.epochs, seed=settings.seed, changes=settings.changes)
    make_folder(folder)
    fixed = {"set": chosen.name, "epochs": cases[0].config.epochs, "seed": settings.seed}
    require_same_settings(folder, {**fixed, "changes": list(settings.changes)})
    outcomes: list[AccuracyOutcome] = []
    baseline: dict[str, float] = {}
    composition: dict[str, float] = {}
    data: dict[str, TrainingData] = {}
    for case in cases:
        if case.part not in data:
            own = data[case.part] = load_data(case.config)
            if not chosen.forces:
                baseline[case.part] = baseline_error(own, chosen)
            if chosen.intensive:
                composition[case.part] = composition_error(own)
        found = _finished(folder / case.name) or _trained(
            case, data[case.part], chosen, folder / case.name, on_progress, stop
        )
        if found is None:
            break
        outcomes.append(found)
    tests = {part: own.tests["test"] for part, own in data.items()}
    rows = _timed(outcomes, tests, chosen, folder, settings, on_progress)
    finished = len(outcomes) == len(cases)
    return AccuracyComparison(settings, tuple(rows), baseline, composition, torch.get_num_threads(), finished)


# Training -----------------------------------------------------------------------------------------------------------


class CoreClock(Observer):
    """Process time at the end of each epoch, kept in a file so that it adds up over the sessions of a run.

    An epoch that was broken off counts from its beginning in the session that ends it.
    """

    def __init__(self, folder: Path, done: int) -> None:
        self._file = folder / CLOCK
        self._epochs: list[float] = json.loads(self._file.read_text())[:done] if self._file.is_file() else []
        self._before = self._epochs[-1] if self._epochs else 0.0
        self._start = time.process_time()

    def on_epoch(self, row: Mapping[str, float | int | str]) -> None:
        self._epochs.append(round(self._before + time.process_time() - self._start, 2))
        write_atomically(self._file, json.dumps(self._epochs).encode())


class _Progress(CoreClock):
    def __init__(self, folder: Path, done: int, name: str, say: Callable[[str], None]) -> None:
        super().__init__(folder, done)
        self._name, self._say = name, say

    def on_step(self, epoch: int, n_epochs: int, position: int, n_batches: int, loss: float) -> None:
        self._say(f"{self._name}, epoch {epoch + 1} of {n_epochs}")


def _finished(folder: Path) -> AccuracyOutcome | None:
    file = folder / OUTCOME
    if not file.is_file():
        return None
    try:
        return config_from_dict(AccuracyOutcome, json.loads(file.read_text()))
    except (ValueError, ConfigError) as error:
        raise InputError(f"{file}: not a finished case ({error})") from error


def _trained(
    case: AccuracyCase,
    data: TrainingData,
    chosen: AccuracySet,
    folder: Path,
    say: Callable[[str], None],
    stop: Stop,
) -> AccuracyOutcome | None:
    """Train to the end, or go on with it, and measure the errors; None if it was stopped."""

    def reason() -> str:
        asked = stop()
        return asked if isinstance(asked, str) else "stopped" if asked else ""

    if (folder / FILE_NAME).is_file():
        observer = _Progress(folder, read_checkpoint(folder).progress.epoch, case.name, say)
        result = resume(folder, data, observer=observer, stop=reason)
    else:
        make_folder(folder)
        result = train(case.config, data, folder, observer=_Progress(folder, 0, case.name, say), stop=reason)
    if not result.complete or result.model_file is None:
        return None
    say(f"{case.name}, errors")
    outcome = _outcome(case, chosen, load_model(result.model_file), data, folder, result.progress.best_epoch or 0)
    write_atomically(folder / OUTCOME, (json.dumps(asdict(outcome), indent=2) + "\n").encode())
    return outcome


def _outcome(
    case: AccuracyCase, chosen: AccuracySet, model: Potential, data: TrainingData, folder: Path, best_epoch: int
) -> AccuracyOutcome:
    test = data.tests["test"]
    wrapped = model if isinstance(model, SymmetrizedPotential) else None
    network = wrapped.model if wrapped else model
    network = network.model if isinstance(network, IntensiveProperty) else network
    invariant = "" if network.architecture == "faenet" else "E3"
    first, energies = errors_of(model, test, chosen)
    second, turned_energies = errors_of(model, turned(test, chosen.group, case.config.seed), chosen)
    key = "validation_forces_mae_meV/A" if chosen.forces else "validation_energy_mae_meV/atom"
    if chosen.intensive:
        key = f"validation_target_mae_{chosen.unit}"
    seconds = json.loads((folder / CLOCK).read_text())
    errors = [row[key] for row in read_log(folder / "log.csv")]
    return AccuracyOutcome(
        method=case.method,
        part=case.part,
        architecture=network.architecture,
        exact=wrapped.symmetrizer.exact if wrapped else invariant,
        continuous=model.continuous,
        weights=sum(weight.numel() for weight in model.parameters()),
        epochs=len(errors),
        best_epoch=best_epoch,
        core_seconds=seconds[-1],
        **first,
        **{f"turned_{name}": value for name, value in second.items()},
        turned_change=float(np.sqrt(np.mean((turned_energies - energies) ** 2))),
        curve=tuple(zip(seconds, errors, strict=True)),
    )


# Time ---------------------------------------------------------------------------------------------------------------


def _timed(
    outcomes: Sequence[AccuracyOutcome],
    tests: Mapping[str, Sequence[LabelledStructure]],
    chosen: AccuracySet,
    folder: Path,
    settings: AccuracySettings,
    say: Callable[[str], None],
) -> list[AccuracyRow]:
    quickest = min((outcome.core_seconds for outcome in outcomes), default=0.0)
    rows = []
    for outcome in outcomes:
        name = f"{outcome.method}-{outcome.part}" if outcome.part else outcome.method
        say(f"{name}, time")
        test = tests[outcome.part]
        step = max(len(test) // settings.timed, 1)
        structures = [test[index] for index in range(0, len(test), step)][: settings.timed]
        model = folder / name / "model.safetensors"
        reached = [error for seconds, error in outcome.curve if seconds <= quickest]
        largest = max(other.curve[-1][1] for other in outcomes if other.part == outcome.part)
        enough = next(seconds for seconds, error in outcome.curve if error <= largest)
        milliseconds = 1e3 * seconds_each(model, structures, ("energy", "forces") if chosen.forces else None)
        equal = reached[-1] if reached else None
        rows.append(AccuracyRow(outcome, mean_frames(model, structures), milliseconds, equal, enough))
    return rows
