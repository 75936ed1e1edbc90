"""Errors of a model on labelled structures, read a few at a time so that a set of any size can be evaluated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atomsym.core import InputError, LabelledStructure
from atomsym.models import Potential
from atomsym.training import Batch, EdgeBatcher, ErrorSums, Predictions, Samples, predict, quantities_of

CHUNK = 64  # structures that are in memory at a time
PLOTTED = ("energy", "forces", "stress", "target")
MAX_POINTS = 1_000_000  # of a quantity that are kept for plots


@dataclass
class Parity:
    """Reference and predicted values of one quantity, for plots: the first ``MAX_POINTS``.

    Attributes:
        reference, predicted: in ``Quantity.unit``, batch by batch.
    """

    reference: list[NDArray[np.float64]] = field(default_factory=list)
    predicted: list[NDArray[np.float64]] = field(default_factory=list)

    def add(self, reference: Tensor, predicted: Tensor) -> None:
        """Add the pairs whose reference is known."""
        known = ~reference.isnan()
        if sum(len(part) for part in self.reference) < MAX_POINTS:
            self.reference.append(reference[known].cpu().numpy())
            self.predicted.append(predicted[known].cpu().numpy())

    def values(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Both as flat arrays."""
        if not self.reference:
            return np.zeros(0), np.zeros(0)
        return np.concatenate(self.reference), np.concatenate(self.predicted)


@dataclass(frozen=True)
class StructureErrors:
    """Errors on one structure.

    Attributes:
        source, group: which one.
        n_atoms: its size.
        energy, predicted_energy: eV; None without a label.
        energy_error: predicted - reference, eV/atom.
        forces_mae, forces_largest: of the components, eV/Å.
        stress_mae: of the components, eV/Å³.
    """

    source: str
    group: str
    n_atoms: int
    energy: float | None
    predicted_energy: float
    energy_error: float | None
    forces_mae: float | None
    forces_largest: float | None
    stress_mae: float | None


@dataclass(frozen=True)
class TargetErrors:
    """The error of a model that gives a property instead of energies, on one structure.

    Attributes:
        source, group: which one.
        n_atoms: its size.
        target, predicted_target: in the unit of the model; the former None without a label.
        target_error: predicted - reference.
    """

    source: str
    group: str
    n_atoms: int
    target: float | None
    predicted_target: float
    target_error: float | None


@dataclass(frozen=True)
class EvaluationResult:
    """Errors of a model on a data set.

    Attributes:
        errors: sums of errors overall, by group and by element.
        parity: values by quantity.
        n_structures, n_atoms: evaluated.
        structures: errors of each structure, if they were asked for.
    """

    errors: ErrorSums
    parity: dict[str, Parity]
    n_structures: int
    n_atoms: int
    structures: list[StructureErrors | TargetErrors]


def evaluate_structures(
    potential: Potential,
    structures: Sequence[LabelledStructure],
    *,
    max_edges: int = 200_000,
    each: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> EvaluationResult:
    """Compare a model with the labels of structures; properties are computed where there are labels.

    Args:
        potential: the model; evaluated in its own dtype on its own device.
        structures: any sequence, a lazy one stays lazy.
        max_edges: most edges in a batch; limits memory.
        each: keep the errors of every structure.
        on_progress: is told how many structures are done.

    Raises:
        InputError: if there are no structures, or one of them cannot be evaluated.
        CalculationError: if a prediction is not finite.
    """
    if not len(structures):
        raise InputError("there are no structures to evaluate")
    errors, parity = ErrorSums(quantities_of(potential)), {name: Parity() for name in PLOTTED}
    rows: list[StructureErrors | TargetErrors] = []
    done = n_atoms = 0
    for batch in _batches(potential, structures, max_edges):
        predictions = predict(potential, batch)
        errors.add(batch, predictions)
        _collect(parity, batch, predictions)
        if each:
            rows += _structure_errors(batch, predictions, [structures[index] for index in batch.indices])
        done += batch.graph.n_systems
        n_atoms += batch.graph.n_atoms
        if on_progress is not None:
            on_progress(done)
    return EvaluationResult(errors, parity, done, n_atoms, rows)


def _batches(potential: Potential, structures: Sequence[LabelledStructure], max_edges: int) -> Iterator[Batch]:
    """All structures in their order; ``indices`` count in the whole set."""
    weight = next(potential.parameters(), torch.zeros(0, dtype=torch.float64))
    for start in range(0, len(structures), CHUNK):
        chunk = [structures[index] for index in range(start, min(start + CHUNK, len(structures)))]
        samples = Samples(chunk, potential.cutoff, weight.dtype, weight.device)
        batcher = EdgeBatcher(samples.n_edges(), structures=CHUNK, edges=max_edges, seed=0)
        for indices in batcher.in_order():
            batch = samples.batch(indices)
            yield replace(batch, indices=tuple(start + index for index in indices))


def _collect(parity: dict[str, Parity], batch: Batch, predictions: Predictions) -> None:
    n_atoms = batch.graph.atoms_per_system.clamp_min(1)
    if predictions.energy is not None:
        parity["energy"].add(batch.energy / n_atoms, predictions.energy / n_atoms)
    if predictions.target is not None:
        parity["target"].add(batch.target, predictions.target)
    if predictions.forces is not None:
        parity["forces"].add(batch.forces, predictions.forces)
    if predictions.stress is not None:
        parity["stress"].add(batch.stress, predictions.stress)


def _structure_errors(
    batch: Batch, predictions: Predictions, structures: list[LabelledStructure]
) -> Sequence[StructureErrors | TargetErrors]:
    if predictions.target is not None:
        return [_target_error(s, value) for s, value in zip(structures, predictions.target.tolist(), strict=True)]
    energies = [] if predictions.energy is None else predictions.energy.tolist()
    rows, start = [], 0
    for number, (structure, predicted) in enumerate(zip(structures, energies, strict=True)):
        stop = start + structure.n_atoms
        forces = None if predictions.forces is None else predictions.forces[start:stop] - batch.forces[start:stop]
        stress = None if predictions.stress is None else predictions.stress[number] - batch.stress[number]
        error = None if structure.energy is None else (predicted - structure.energy) / max(structure.n_atoms, 1)
        rows.append(
            StructureErrors(
                source=structure.source, group=structure.group, n_atoms=structure.n_atoms, energy=structure.energy,
                predicted_energy=predicted, energy_error=error, forces_mae=_mean(forces),
                forces_largest=_largest(forces), stress_mae=_mean(stress),
            )
        )  # fmt: skip
        start = stop
    return rows


def _target_error(structure: LabelledStructure, predicted: float) -> TargetErrors:
    error = None if structure.target is None else predicted - structure.target
    return TargetErrors(structure.source, structure.group, structure.n_atoms, structure.target, predicted, error)


def _mean(errors: Tensor | None) -> float | None:
    known = _known(errors)
    return None if known is None else float(known.mean())


def _largest(errors: Tensor | None) -> float | None:
    known = _known(errors)
    return None if known is None else float(known.max())


def _known(errors: Tensor | None) -> Tensor | None:
    if errors is None:
        return None
    known = errors[~errors.isnan()].abs()
    return known if known.numel() else None
