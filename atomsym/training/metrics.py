"""Errors of predictions: mean absolute and root mean square, overall, by group and by element."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from atomsym.core.elements import symbol_of
from atomsym.training.loss import Predictions
from atomsym.training.quantities import QUANTITIES, Quantity
from atomsym.training.samples import Batch

ALL = "all"


@dataclass(frozen=True)
class Errors:
    """Errors of one quantity in one part of the data.

    Attributes:
        count: number of values compared.
        mae: mean absolute error in ``Quantity.unit``; NaN if nothing was compared.
        rmse: root mean square error, same unit.
        largest: largest absolute error, same unit.
    """

    count: int
    mae: float
    rmse: float
    largest: float


class ErrorSums:
    """Sums of errors, added up batch by batch; those of several processes can be merged.

    Rows are named ``all``, ``group NAME`` and ``element SYMBOL``; elements have forces only. Every value counts once,
    whatever the weight of its structure.

    Args:
        quantities: of the model, see ``quantities_of``.

    Attributes:
        rows: count, Σ|e|, Σe², max|e| of each quantity by row, shape (len(quantities), 4), float64.
    """

    def __init__(self, quantities: Mapping[str, Quantity] = QUANTITIES) -> None:
        self.quantities = quantities
        self._places = {name: place for place, name in enumerate(quantities)}
        self.rows: dict[str, Tensor] = {ALL: self._zeros()}

    def _zeros(self) -> Tensor:
        return torch.zeros(len(self.quantities), 4, dtype=torch.float64)

    def add(self, batch: Batch, predictions: Predictions) -> None:
        """Add the errors of a batch."""
        graph = batch.graph
        chosen = {ALL: torch.ones(graph.n_systems, dtype=torch.bool)}
        for group in sorted({name for name in batch.groups if name}):
            chosen[f"group {group}"] = torch.tensor([name == group for name in batch.groups])
        n_atoms = graph.atoms_per_system.to(torch.float64).clamp_min(1)
        of_systems = {
            "energy": _difference(predictions.energy, batch.energy, n_atoms),
            "stress": _difference(predictions.stress, batch.stress),
            "target": _difference(predictions.target, batch.target),
        }
        of_atoms = {
            "forces": _difference(predictions.forces, batch.forces),
            "direct_forces": _difference(predictions.direct_forces, batch.forces),
        }
        system_index = graph.system_index.cpu()
        for name, systems in chosen.items():
            for quantity, errors in of_systems.items():
                self._add(name, quantity, None if errors is None else errors[systems])
            for quantity, errors in of_atoms.items():
                self._add(name, quantity, None if errors is None else errors[systems[system_index]])
        self._add_hessians(batch, predictions)
        forces, numbers = of_atoms["forces"], graph.numbers.cpu()
        if forces is not None:
            for number in numbers.unique().tolist():
                self._add(f"element {symbol_of(number)}", "forces", forces[numbers == number])

    def _add_hessians(self, batch: Batch, predictions: Predictions) -> None:
        if not predictions.hessians:
            return
        known = [(number, hessian) for number, hessian in enumerate(batch.hessians) if hessian is not None]
        for (number, reference), predicted in zip(known, predictions.hessians, strict=True):
            errors = (predicted - reference).flatten().cpu()
            for name in (ALL, f"group {batch.groups[number]}")[: 2 if batch.groups[number] else 1]:
                self._add(name, "hessian", errors)

    def _add(self, name: str, quantity: str, errors: Tensor | None) -> None:
        if errors is None:
            return
        row = self.rows.setdefault(name, self._zeros())[self._places[quantity]]
        known = errors[~errors.isnan()]
        if known.numel():
            row[:3] += torch.stack([torch.tensor(float(known.numel())), known.abs().sum(), known.square().sum()])
            row[3] = torch.maximum(row[3], known.abs().max())

    def merge(self, others: Iterable[Mapping[str, Tensor]]) -> None:
        """Add the rows of other processes."""
        for rows in others:
            for name, values in rows.items():
                own = self.rows.setdefault(name, self._zeros())
                own[:, :3] += values[:, :3]
                own[:, 3] = torch.maximum(own[:, 3], values[:, 3])

    def errors(self, row: str, quantity: str) -> Errors:
        """The errors of a quantity in a row; NaN where nothing was compared."""
        count, total, squares, largest = self.rows[row][self._places[quantity]].tolist()
        if count == 0:
            return Errors(0, math.nan, math.nan, math.nan)
        return Errors(int(count), total / count, math.sqrt(squares / count), largest)

    def table(self) -> dict[str, dict[str, Errors]]:
        """Errors by row and quantity; quantities that were not compared are left out. ``all`` comes first."""
        order = sorted(self.rows, key=lambda name: (name != ALL, name.startswith("element "), name))
        found = {name: {q: self.errors(name, q) for q in self.quantities} for name in order}
        return {name: {q: e for q, e in row.items() if e.count} for name, row in found.items()}


def _difference(predicted: Tensor | None, label: Tensor, n_atoms: Tensor | None = None) -> Tensor | None:
    """Predicted - label, by atom if asked for, on the CPU; None without a prediction."""
    if predicted is None:
        return None
    difference = predicted - label
    return (difference if n_atoms is None else difference / n_atoms).cpu()
