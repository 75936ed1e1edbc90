"""``atomsym benchmark geometry-optimization``: optimizers beside each other on sets of molecules."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from atomsym.artifacts import write_atomically
from atomsym.calculators.ase.load import parse_kwargs
from atomsym.workflows.benchmarks import options
from atomsym.workflows.benchmarks.geometry_optimization import BenchmarkSettings, run_benchmark
from atomsym.workflows.benchmarks.geometry_optimization_case import OPTIMIZERS, SADDLE_OPTIMIZERS, Outcome
from atomsym.workflows.benchmarks.geometry_optimization_tables import Summary, summaries, to_csv
from atomsym.workflows.stopping import Stop, exit_stopped, stoppable

DEFAULT = "bfgs,lbfgs,fire,bfgs-linesearch,rfo,rfo-start,newton,newton-start,prfo,prfo-5,prfo-start"


def geometry_optimization_command(
    calculators: Annotated[
        list[str], typer.Argument(help="Model names or files, or module:factory of other ASE calculators.")
    ],
    sets: Annotated[
        str, typer.Option(help="baker, baker-ts, s22 (comes with ASE), or folders of xyz files, separated by commas.")
    ] = "baker",
    optimizers: Annotated[
        str, typer.Option(help=f"Of {', '.join([*OPTIMIZERS, *SADDLE_OPTIMIZERS])}, separated by commas.")
    ] = DEFAULT,
    kwargs: options.Kwargs = None,
    fmax: Annotated[float, typer.Option(help="Converged when no force is larger, eV/Å.")] = 0.01,
    max_steps: Annotated[int, typer.Option(help="Of every optimizer.")] = 300,
    data: options.Data = None,
    output: options.Folder = Path("atomsym-geometry-optimization"),
    max_minutes: options.MaxMinutes = None,
    as_json: options.AsJson = False,
) -> None:
    """Compare optimizers: steps, evaluations, Hessians, the minimum reached; Dolan–Moré performance profiles.

    Steps and evaluations do not depend on the machine; processor time does. Optimizers that end in -predicted take the
    Hessian head of a model of this package. Failures and structures that a model does not support are
    recorded, not fatal. Charged and open-shell structures of the published sets are left out. The same command goes on
    with a folder, and adds what is new.

    Example: `atomsym benchmark geometry-optimization tblite.ase:TBLite --kwargs '{"verbosity": 0}' --sets baker`
    """
    console = Console(stderr=True, quiet=as_json)
    settings = BenchmarkSettings(
        calculators=tuple(calculators),
        sets=_listed(sets),
        optimizers=_listed(optimizers),
        kwargs=parse_kwargs(kwargs),
        fmax=fmax,
        max_steps=max_steps,
        data=data,
    )
    with stoppable(console, "the same command", max_minutes) as stop:
        outcomes, finished = _run_with_progress(settings, output, stop, console)
        how = f"Stopped ({stop()})"
    rows = summaries(outcomes)
    pictures = _write(outcomes, rows, output)
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        for table in _tables(rows):
            console.print(table)
        console.print("Folder: ", output, "\nPictures: ", ", ".join(map(str, pictures)), sep="", soft_wrap=True)
    if not finished:
        raise exit_stopped(console, how, "the same command")


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _run_with_progress(
    settings: BenchmarkSettings, folder: Path, stop: Stop, console: Console
) -> tuple[list[Outcome], bool]:
    columns = (MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=console.quiet) as bar:
        task = bar.add_task("preparing")

        def progress(finished: int, total: int, case: str) -> None:
            bar.update(task, completed=finished, total=total, description=case)

        return run_benchmark(settings, folder, progress, stop)


def _write(outcomes: list[Outcome], rows: list[Summary], folder: Path) -> list[Path]:
    from atomsym.workflows.benchmarks.geometry_optimization_plots import write_profiles  # matplotlib is slow to import

    write_atomically(folder / "cases.csv", to_csv(outcomes).encode())
    write_atomically(folder / "summary.csv", to_csv(rows).encode())
    summary = json.dumps([asdict(row) for row in rows], indent=2) + "\n"
    write_atomically(folder / "summary.json", summary.encode())
    return write_profiles(outcomes, folder)


_REACHED = ("solved", "errors", "best minimum", "false minima", "above best, meV")
_TAKEN = ("median steps", "mean steps", "calls", "Hessians", "calls with Hessians", "CPU, s")


def _tables(rows: list[Summary]) -> list[Table]:
    """What was reached and what it took: two tables a set and calculator, narrow enough for a terminal."""
    tables: dict[tuple[str, str], tuple[Table, Table]] = {}
    for row in rows:
        key = row.set_name, row.calculator
        if key not in tables:
            title = f"{key[0]}, {row.cases} structures, {key[1]}"
            if row.unsupported:
                title += f"; {row.unsupported} are unsupported and do not count"
            tables[key] = _empty(title, _REACHED), _empty("what the solved ones took on average", _TAKEN)
        for table, cells in zip(tables[key], (_reached(row), _taken(row)), strict=True):
            table.add_row(row.optimizer, *cells)
    return [table for pair in tables.values() for table in pair]


def _empty(title: str, names: tuple[str, ...]) -> Table:
    table = Table(title=title)
    table.add_column("optimizer", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right")
    return table


def _reached(row: Summary) -> list[str]:
    fractions = (row.succeeded, row.failed, row.best, row.false_minima)
    above = None if row.mean_above_lowest is None else 1e3 * row.mean_above_lowest
    return [*("–" if value is None else f"{100 * value:.0f} %" for value in fractions), *_numbers(above)]


def _taken(row: Summary) -> list[str]:
    counts = (row.mean_steps, row.mean_evaluations, row.mean_hessians, row.mean_all_evaluations)
    median = "–" if row.median_steps is None else f"{row.median_steps:g}"
    return [median, *_numbers(*counts), "–" if row.mean_cpu_s is None else f"{row.mean_cpu_s:.2f}"]


def _numbers(*values: float | None) -> list[str]:
    return ["–" if value is None else f"{value:.1f}" for value in values]
