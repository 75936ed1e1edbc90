"""``atomsym benchmark symmetrizer-accuracy``: what each symmetrizer is worth after training, on real data."""

from __future__ import annotations

from collections.abc import Mapping
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
        console.print(_errors(result), _costs(result), sep="\n")
        console.print(f"Folder: {output}", soft_wrap=True)
    if not result.finished:
        raise exit_stopped(console, f"Stopped ({stop()})", "the same command")


def _errors(result: AccuracyComparison) -> Table:
    chosen = accuracy_set(result.settings.set_name)
    what = "energies in " if not chosen.intensive else ""
    unit = f"{what}{chosen.unit}{', forces in meV/Å' if chosen.forces else ''}"
    table = Table(title=f"{chosen.title}: MAE / RMSE on the test set, {unit}")
    table.add_column("method", no_wrap=True)
    first = "as they are" if chosen.intensive else "energy"
    for name in (first, "turned", *(("forces", "turned") if chosen.forces else ()), "change by turning"):
        table.add_column(name, justify="right")
    for row in result.rows:
        found = row.outcome
        pairs: list[tuple[float | None, float | None]] = [
            (found.energy_mae, found.energy_rmse),
            (found.turned_energy_mae, found.turned_energy_rmse),
        ]
        if chosen.forces:
            pairs += [(found.forces_mae, found.forces_rmse), (found.turned_forces_mae, found.turned_forces_rmse)]
        cells = (" / ".join("–" if value is None else _figure(value) for value in pair) for pair in pairs)
        table.add_row(_name(row), *cells, f"{found.turned_change:.2g}")
    if result.baseline:
        of = "" if chosen.intensive else " of each adsorbate"
        table.caption = f"MAE of the mean{of}: {_listed(result.baseline)}"
    if result.composition:
        table.caption = f"{table.caption}; of a value of each element: {_listed(result.composition)}"
    return table


def _costs(result: AccuracyComparison) -> Table:
    chosen = accuracy_set(result.settings.set_name)
    table = Table(title=f"Time on {result.threads} thread(s)")
    table.add_column("method", no_wrap=True)
    energies = chosen.unit if chosen.intensive else "energies, meV/atom"
    error = "forces, meV/Å" if chosen.forces else energies
    columns = (
        "frames", "a structure (ms)", "training (core min)", "to the error of the worst (core min)",
        f"validation at equal time ({error})",
    )  # fmt: skip
    for name in columns:
        table.add_column(name, justify="right")
    for row in result.rows:
        equal = "–" if row.equal_time is None else f"{row.equal_time:.3g}"
        minutes = f"{row.outcome.core_seconds / 60:.1f}"
        enough = f"{row.equal_error / 60:.2f}"
        table.add_row(_name(row), f"{row.frames:.3g}", f"{row.milliseconds:.3g}", minutes, enough, equal)
    return table


def _figure(value: float) -> str:
    """Three digits, more where the whole part has them."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _listed(errors: Mapping[str, float]) -> str:
    return ", ".join(f"{part} {_figure(error)}".strip() for part, error in errors.items())


def _name(row: AccuracyRow) -> str:
    return f"{row.outcome.method} {row.outcome.part}".strip()
