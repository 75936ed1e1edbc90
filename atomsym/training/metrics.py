"""Errors of predictions: mean absolute and root mean square, overall, by group and by element."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from atomsym.core.elements import symbol_of
from atomsym.training.loss import Predictions
from atomsym.training.samples import Batch

QUANTITIES = ("energy", "forces", "stress", "hessian", "direct_forces")
UNITS = {
    "energy": "meV/atom", "forces": "meV/Å", "stress": "meV/Å³", "hessian": "meV/Å²", "direct_forces": "meV/Å",
}  # fmt: skip
ALL = "all"


@dataclass(frozen=True)
class Errors:
    """Errors of one quantity in one part of the data.

    Attributes:
        count: number of values compared.
        mae: mean absolute error, eV/atom, eV/Å, eV/Å³ or (entries of predicted Hessians) eV/Å²; NaN if nothing was
            compared.
        rmse: root mean square error, same unit.
        largest: largest absolute error, same unit.
    """

    count: int
    mae: float
    rmse: float
    largest: float


def _zeros() -> Tensor:
    return torch.zeros(len(QUANTITIES), 4, dtype=torch.float64)


class ErrorSums:
    """Sums of errors, added up batch by batch; those of several processes can be merged.

    Rows are named ``all``, ``group NAME`` and ``element SYMBOL``; elements have forces only. Every value counts once,
    whatever the weight of its structure.

    Attributes:
        rows: count, Σ|e|, Σe², max|e| of each quantity by row, shape (len(QUANTITIES), 4), float64.
    """

    def __init__(self) -> None:
        self.rows: dict[str, Tensor] = {ALL: _zeros()}

    def add(self, batch: Batch, predictions: Predictions) -> None:
        """Add the errors of a batch."""
        graph = batch.graph
        n_atoms = graph.atoms_per_system.to(torch.float64).clamp_min(1)
        systems = {ALL: torch.ones(graph.n_systems, dtype=torch.bool)}
        for group in sorted({name for name in batch.groups if name}):
            systems[f"group {group}"] = torch.tensor([name == group for name in batch.groups])
        energy = ((predictions.energy - batch.energy) / n_atoms).cpu()
        forces = None if predictions.forces is None else (predictions.forces - batch.forces).cpu()
        stress = None if predictions.stress is None else (predictions.stress - batch.stress).cpu()
        direct = None if predictions.direct_forces is None else (predictions.direct_forces - batch.forces).cpu()
        system_index = graph.system_index.cpu()
        for name, chosen in systems.items():
            self._add(name, 0, energy[chosen])
            if forces is not None:
                self._add(name, 1, forces[chosen[system_index]])
            if stress is not None:
                self._add(name, 2, stress[chosen])
            if direct is not None:
                self._add(name, QUANTITIES.index("direct_forces"), direct[chosen[system_index]])
        self._add_hessians(batch, predictions)
        if forces is not None:
            numbers = graph.numbers.cpu()
            for number in numbers.unique().tolist():
                self._add(f"element {symbol_of(number)}", 1, forces[numbers == number])

    def _add_hessians(self, batch: Batch, predictions: Predictions) -> None:
        if not predictions.hessians:
            return
        known = [(number, hessian) for number, hessian in enumerate(batch.hessians) if hessian is not None]
        for (number, reference), predicted in zip(known, predictions.hessians, strict=True):
            errors = (predicted - reference).flatten().cpu()
            for name in (ALL, f"group {batch.groups[number]}")[: 2 if batch.groups[number] else 1]:
                self._add(name, QUANTITIES.index("hessian"), errors)

    def _add(self, name: str, quantity: int, errors: Tensor) -> None:
        row = self.rows.setdefault(name, _zeros())[quantity]
        known = errors[~errors.isnan()]
        if known.numel():
            row[:3] += torch.stack([torch.tensor(float(known.numel())), known.abs().sum(), known.square().sum()])
            row[3] = torch.maximum(row[3], known.abs().max())

    def merge(self, others: Iterable[Mapping[str, Tensor]]) -> None:
        """Add the rows of other processes."""
        for rows in others:
            for name, values in rows.items():
                own = self.rows.setdefault(name, _zeros())
                own[:, :3] += values[:, :3]
                own[:, 3] = torch.maximum(own[:, 3], values[:, 3])

    def errors(self, row: str, quantity: str) -> Errors:
        """The errors of a quantity in a row; NaN where nothing was compared."""
        count, total, squares, largest = self.rows[row][QUANTITIES.index(quantity)].tolist()
        if count == 0:
            return Errors(0, math.nan, math.nan, math.nan)
        return Errors(int(count), total / count, math.sqrt(squares / count), largest)

    def table(self) -> dict[str, dict[str, Errors]]:
        """Errors by row and quantity; quantities that were not compared are left out. ``all`` comes first."""
        order = sorted(self.rows, key=lambda name: (name != ALL, name.startswith("element "), name))
        found = {name: {q: self.errors(name, q) for q in QUANTITIES} for name in order}
        return {name: {q: e for q, e in row.items() if e.count} for name, row in found.items()}
