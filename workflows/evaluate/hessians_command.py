"""``atomsym evaluate-hessians``: Hessians of a model against labelled ones."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from atomsym.artifacts import write_atomically
from atomsym.calculators.ase import AtomsymCalculator
from atomsym.core import ConfigError, DataError, LabelledStructure
from atomsym.datasets import read_sources
from atomsym.derivatives import HessianMethod
from atomsym.workflows.evaluate.command import DATA_HELP
from atomsym.workflows.evaluate.hessian_errors import HessianComparison, HessianSummary, atoms_of, compare_hessians
from atomsym.workflows.paths import require_writable

METHODS: dict[str, HessianMethod] = {
    "predicted": "predicted",
    "finite-difference": "finite-difference",
    "exact": "auto",
}


def evaluate_hessians_command(
    models: Annotated[
        list[str], typer.Argument(help="Names or files of models; METHOD@MODEL for one method.", show_default=False)
    ],
    data: Annotated[list[str], typer.Option("--data", "-d", help=DATA_HELP, show_default=False)],
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="predicted, finite-difference (of forces, fast) or exact; repeatable.",
            show_default="finite-difference, and predicted where the model can",
        ),
    ] = None,
    n: Annotated[int, typer.Option("--n", min=0, help="Draw this many of the structures with a Hessian; 0: all.")] = 0,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "cpu",
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw modes and errors into this file.")] = None,
    json_file: Annotated[Path | None, typer.Option("--out", help="Write the numbers to this JSON file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON and nothing else.")] = False,
) -> None:
    """Errors of Hessians, their modes and zero-point energies, on structures whose Hessians are known.

    Structures without a Hessian are left out. Several models stand in one table.

    Examples: `atomsym evaluate-hessians organic --data organic-xtb-small:test`,
    `atomsym evaluate-hessians organic exact@water -d test.extxyz --n 100 --plot modes.png`.
    """
    for path in (plot, json_file):
        if path is not None:
            require_writable(path)
    cases = [case for model in models for case in _cases(model, method or [], device)]
    structures = structures_with_hessians(read_sources(data), n, seed)
    console = Console(stderr=True, quiet=as_json)
    found = {label: _compared(label, calculator, how, structures, console) for label, calculator, how in cases}
    summaries = {label: comparison.summary() for label, comparison in found.items()}
    text = json.dumps(_as_data(summaries, data, models, seed), indent=2, ensure_ascii=False)
    if json_file is not None:
        write_atomically(json_file, f"{text}\n".encode())
    if plot is not None:
        from atomsym.workflows.evaluate.hessian_plots import write_hessian_errors  # matplotlib takes a while

        write_hessian_errors(found, plot, title=f"Hessians of {', '.join(data)}")
    if as_json:
        typer.echo(text)
        return
    Console().print(_table(summaries, f"{len(structures)} structures of {', '.join(data)}"))
    for path in (json_file, plot):
        if path is not None:
            console.print(f"Written: {path}")


def structures_with_hessians(
    structures: Sequence[LabelledStructure], n: int = 0, seed: int = 0
) -> list[LabelledStructure]:
    """Those with a Hessian: all in their order, or ``n`` drawn ones.

    Raises:
        DataError: if there are none, or fewer than asked for.
    """
    having = [structure for structure in structures if structure.hessian is not None]
    if len(having) < max(n, 1):
        raise DataError(f"{len(having)} of {len(structures)} structures have a Hessian; needed: {max(n, 1)}")
    if n == 0:
        return having
    chosen = np.random.default_rng(seed).choice(len(having), n, replace=False)
    return [having[index] for index in sorted(chosen)]


def _cases(model: str, methods: list[str], device: str) -> list[tuple[str, AtomsymCalculator, HessianMethod]]:
    """Label, calculator and method of each row that a model gets; wrong names fail before any work."""
    single, _, name = model.rpartition("@")
    wanted = [single] if single else methods
    for each in wanted:
        if each not in METHODS:
            raise ConfigError(f"no Hessian method '{each}'; known: {', '.join(METHODS)}")
    calculator = AtomsymCalculator(name, device=device, dtype="float64")
    predicts = calculator.predicts_hessians
    if not wanted:
        wanted = ["finite-difference", *(["predicted"] if predicts else [])]
    if "predicted" in wanted and not predicts:
        raise ConfigError(f"the model '{name}' has no Hessian head; take finite-difference or exact")
    label = Path(name).stem if Path(name).suffix else name
    return [(f"{label}, {each}", calculator, METHODS[each]) for each in wanted]


def _compared(
    label: str,
    calculator: AtomsymCalculator,
    method: HessianMethod,
    structures: list[LabelledStructure],
    console: Console,
) -> HessianComparison:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=console.quiet) as bar:
        task = bar.add_task(escape(label), total=len(structures))
        calculator.get_hessian(atoms_of(structures[0]), method)  # tables are made at the first call: not timed
        return compare_hessians(
            structures,
            lambda atoms: calculator.get_hessian(atoms, method),
            clock=time.perf_counter,
            on_progress=lambda done: bar.update(task, completed=done),
        )


_ROWS = (
    ("entries", "entries, eV/Å²", 1.0, "{:.3f}"),
    ("eigenvalues", "eigenvalues, eV/Å²", 1.0, "{:.3f}"),
    ("wavenumbers", "wavenumbers, 1/cm", 1.0, "{:.1f}"),
    ("lowest_curvature", "lowest curvature, eV/Å²/amu", 1.0, "{:.4f}"),
    ("zero_point_energy", "zero-point energy, meV", 1e3, "{:.1f}"),
    ("lowest_mode", "|cosine| of the lowest mode", 1.0, "{:.3f}"),
    ("right_negative_modes", "negative modes counted right, %", 100.0, "{:.1f}"),
    ("seconds", "time of one, median, ms", 1e3, "{:.1f}"),
)


def _table(summaries: dict[str, HessianSummary], title: str) -> Table:
    table = Table(title=f"Hessians, mean absolute errors: {escape(title)}", title_style="bold", box=SIMPLE_HEAD)
    table.add_column("")
    for label in summaries:
        table.add_column(escape(label.replace(", ", "\n")), justify="right")
    for name, heading, scale, form in _ROWS:
        table.add_row(heading, *(form.format(scale * getattr(summary, name)) for summary in summaries.values()))
    return table


def _as_data(summaries: dict[str, HessianSummary], data: list[str], models: list[str], seed: int) -> dict[str, object]:
    units = {
        "entries": "eV/Å²", "eigenvalues": "eV/Å²", "wavenumbers": "1/cm", "lowest_curvature": "eV/Å²/amu",
        "zero_point_energy": "eV", "seconds": "s",
    }  # fmt: skip
    return {
        "models": models, "data": data, "seed": seed, "units": units,
        "errors": {label: asdict(summary) for label, summary in summaries.items()},
    }  # fmt: skip
