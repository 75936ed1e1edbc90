"""How a run looks in a terminal while it goes, and in TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from atomsym.core import MissingDependencyError
from atomsym.training import Observer
from atomsym.training.logs import target_unit

_SHOWN = (
    ("loss", "validation_loss", "{:9.3e}"),
    ("energy", "validation_energy_mae_meV/atom", "{:7.2f} meV/atom"),
    ("forces", "validation_forces_mae_meV/A", "{:7.1f} meV/Å"),
    ("stress", "validation_stress_mae_meV/A^3", "{:6.3f} meV/Å³"),
)


class TerminalProgress(Observer):
    """A bar over the batches of an epoch, and a line for each epoch with its validation errors (mean absolute)."""

    def __init__(self, console: Console) -> None:
        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("batches"),
            TimeElapsedColumn(), TextColumn("elapsed,"), TimeRemainingColumn(), TextColumn("left"),
        )  # fmt: skip
        self.console = console
        self._bar = Progress(*columns, console=console, disable=console.quiet, transient=True)
        self._task: Any = None

    def on_step(self, epoch: int, n_epochs: int, position: int, n_batches: int, loss: float) -> None:
        if self._task is None:
            self._bar.start()
            self._task = self._bar.add_task("", total=n_epochs * n_batches)
        description = f"epoch {epoch + 1}/{n_epochs}, loss {loss:.2e}"
        self._bar.update(
            self._task, completed=epoch * n_batches + position, total=n_epochs * n_batches, description=description
        )

    def on_epoch(self, row: Mapping[str, float | int | str]) -> None:
        parts = [f"{name} {form.format(row[key])}" for name, key, form in _SHOWN if key in row]
        if unit := target_unit(row):
            parts.append(f"target {row[f'validation_target_mae_{unit}']:8.4f} {unit}")
        mark = "[green]best[/]" if row["best"] else ""
        self.console.print(f"epoch {row['epoch']:4}  {'  '.join(parts)}  {mark}", highlight=False, soft_wrap=True)

    def close(self) -> None:
        self._bar.stop()


class TensorBoardLog(Observer):
    """Rows of the epoch log as TensorBoard scalars.

    Raises:
        MissingDependencyError: if tensorboard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingDependencyError.for_package("tensorboard", "tensorboard", "output.tensorboard") from error
        self._writer: Any = SummaryWriter(str(folder / "tensorboard"))

    def on_epoch(self, row: Mapping[str, float | int | str]) -> None:
        for name, value in row.items():
            if name not in ("epoch", "step") and not isinstance(value, str):
                part, _, rest = name.partition("_")
                tag = f"{part}/{rest}" if part in ("train", "validation") else f"run/{name}"
                self._writer.add_scalar(tag, float(value), int(row["step"]))
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
