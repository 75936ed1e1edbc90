"""Logs of a run as CSV, one row an epoch or a step; after a crash they are cut back to the checkpoint."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from atomsym.core import InputError
from atomsym.training.config import TERMS
from atomsym.training.quantities import TARGET, Quantity

EPOCH_COLUMNS = (
    "epoch", "step", "seconds", "learning_rate", "train_loss", "validation_loss",
    "train_energy_mae_meV/atom", "train_forces_mae_meV/A",
    "validation_energy_mae_meV/atom", "validation_energy_rmse_meV/atom",
    "validation_forces_mae_meV/A", "validation_forces_rmse_meV/A",
    "validation_stress_mae_meV/A^3", "validation_stress_rmse_meV/A^3",
    "validation_hessian_mae_meV/A^2", "validation_hessian_rmse_meV/A^2", "best",
    "validation_direct_forces_mae_meV/A", "validation_direct_forces_rmse_meV/A",
)  # fmt: skip
STEP_COLUMNS = (
    "step", "epoch", "batch", "structures", "learning_rate", "gradient_norm", "loss",
    *(f"loss_{term}" for term in TERMS),
)  # fmt: skip
Value = float | int | str


def epoch_columns(quantities: Mapping[str, Quantity]) -> tuple[str, ...]:
    """Columns of the log of epochs, for the quantities of a model."""
    if TARGET not in quantities:
        return EPOCH_COLUMNS
    unit = quantities[TARGET].column_unit
    errors = (f"train_{TARGET}_mae_{unit}", f"validation_{TARGET}_mae_{unit}", f"validation_{TARGET}_rmse_{unit}")
    return (*EPOCH_COLUMNS[:6], *errors, "best")


def target_unit(columns: Iterable[str]) -> str:
    """Unit of the target's errors in such a log, "" for a log of energies."""
    prefix = f"validation_{TARGET}_mae_"
    return next((column.removeprefix(prefix) for column in columns if column.startswith(prefix)), "")


class CsvLog:
    """A CSV file that only grows, and whose length at a checkpoint is remembered by the checkpoint.

    Args:
        path: the file.
        columns: names with units; a file that is there keeps its own.
        length: bytes to keep of a file that is there; what is beyond was written after the checkpoint and will be
            written again.

    Raises:
        InputError: if the file is shorter than that.
    """

    def __init__(self, path: Path, columns: tuple[str, ...], length: int = 0) -> None:
        self.path = path
        self._columns = columns
        found = path.stat().st_size if path.exists() else 0
        if found < length:
            raise InputError(f"{path} has {found} bytes; the checkpoint was written when it had {length}")
        path.touch()
        os.truncate(path, length)
        self.length = length
        if length == 0:
            self._append(columns)
        else:
            with path.open(newline="") as file:
                self._columns = tuple(next(csv.reader(file)))

    def write(self, row: Mapping[str, Value]) -> None:
        """Append a row; a column that is missing stays empty. The row is in the file when this returns."""
        self._append([row.get(column, "") for column in self._columns])

    def _append(self, values: tuple[Value, ...] | list[Value]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow([_text(value) for value in values])
        line = text.getvalue().encode()
        with self.path.open("ab") as file:
            file.write(line)
        self.length += len(line)


def read_log(path: Path) -> list[dict[str, float]]:
    """Rows of a log as numbers; empty cells are left out.

    Raises:
        InputError: if the file cannot be read.
    """
    try:
        with path.open(newline="") as file:
            return [{key: float(text) for key, text in row.items() if text} for row in csv.DictReader(file)]
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not a log of a training run: {error}") from error


def _text(value: Value) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)
