"""``atomsym benchmark symmetrizer-accuracy``: what each symmetrizer is worth after training, on real data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from atomsym.artifacts import write_atomically
from atomsym.workflows.benchmarks import options
from atomsym.workflows.benchmarks.symmetrizer_accuracy import (
    AccuracyComparison,
    AccuracyRow,
    AccuracySettings,
    run_accuracy,
)
from atomsym.workflows.benchmarks.symmetrizer_accuracy_cases import ACCURACY_SETS, accuracy_set
from atomsym.workflows.status_line import status_line
from atomsym.workflows.stopping import exit_stopped, stoppable
from atomsym.workflows.train.options import overrides


def symmetrizer_accuracy_command(
    set_name: Annotated[str, typer.Argument(metavar="SET", help=f"One of {', '.join(ACCURACY_SETS)}.")],
    only: Annotated[
        list[str] | None, typer.Option(help="Only this method, e.g. weighted; repeatable.", show_default="all")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Of each training.", show_default="those of the recipe")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of trainings and rotations.")] = 0,
    changes: Annotated[list[str] | None, overrides("batch.structures=8")] = None,
    timed: Annotated[int, typer.Option(min=1, help="Test structures that trained models are timed on.")] = 8,
    threads: Annotated[int, typer.Option(min=1, help="Threads of trainings and timings.")] = 1,
    output: options.Folder = Path("atomsym-symmetrizer-accuracy"),
    max_minutes: options.MaxMinutes = None,
    as_json: options.AsJson = False,
) -> None:
    """Train FAENet under every symmetrizer, and MACE and NequIP beside it, with equal settings and epochs.

    Errors are those of the test structures as they are and turned at random; all trained models are timed in one
    go. Every training has a folder of its own, which the same command goes on with; finished ones are read. Data are
    looked for below the folder in `ATOMSYM_DATA`.

    Example: `atomsym benchmark symmetrizer-accuracy adsorption --epochs 40 --only weighted --only mace`
    """
    console = Console(stderr=True, quiet=as_json)
    settings = AccuracySettings(
        set_name, tuple(only or ()), epochs=epochs, seed=seed, changes=tuple(changes or ()), timed=timed
    )
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with stoppable(console, "the same command", max_minutes) as stop, status_line(console) as say:
            result = run_accuracy(settings, output, say, stop)
    finally:
        torch.set_num_threads(before)
    write_atomically(output / "result.json", result.to_json().encode())
    if result.rows:
        from atomsym.workflows.benchmarks.symmetrizer_accuracy_plot import write_picture  # matplotlib is slow to import

        write_picture(result, output / "symmetrizer-accuracy.png")
    if as_json:
        typer.echo(result.to_json(), nl=False)
    else:
        console.print(_table(result))
        console.print(f"Folder: {output}", soft_wrap=True)
    if not result.finished:
        raise exit_stopped(console, f"Stopped ({stop()})", "the same command")


def _table(result: AccuracyComparison) -> Table:
    chosen = accuracy_set(result.settings.set_name)
    energy = f"energy (meV per {chosen.per})"
    columns = [f"{energy} MAE / RMSE", "turned"]
    if chosen.forces:
        columns += ["forces (meV/Å) MAE / RMSE", "turned"]
    table = Table("method", title=f"Trained symmetrizers: {chosen.title}")
    for name in (*columns, "change by turning", "frames", "time (ms)", "training (core min)", "at equal time"):
        table.add_column(name, justify="right")
    for row in result.rows:
        table.add_row(*_cells(row, chosen.forces))
    if result.baseline:
        means = (f"{part} {error:.0f}".strip() for part, error in result.baseline.items())
        table.caption = f"MAE of the mean of each adsorbate: {', '.join(means)}"
    return table


def _cells(row: AccuracyRow, forces: bool) -> list[str]:
    found = row.outcome

    def pair(mae: float | None, rmse: float | None) -> str:
        return "–" if mae is None or rmse is None else f"{mae:.3g} / {rmse:.3g}"

    errors = [pair(found.energy_mae, found.energy_rmse), pair(found.turned_energy_mae, found.turned_energy_rmse)]
    if forces:
        errors += [pair(found.forces_mae, found.forces_rmse), pair(found.turned_forces_mae, found.turned_forces_rmse)]
    return [
        f"{found.method} {found.part}".strip(),
        *errors,
        f"{found.turned_change:.2g}",
        f"{row.frames:.3g}",
        f"{row.milliseconds:.3g}",
        f"{found.core_seconds / 60:.1f}",
        "–" if row.equal_time is None else f"{row.equal_time:.3g}",
    ]
