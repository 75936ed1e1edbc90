"""``atomsym evaluate``: the command line of an evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import atomsym.calculators  # noqa: F401 - the shipped models become known
from atomsym.artifacts import config_from_dict, load_with_description, write_atomically
from atomsym.core.precision import dtype_named
from atomsym.datasets import LabelKeys, LabelUnits, read_sources
from atomsym.training import with_overrides
from atomsym.workflows.evaluate.run import EvaluationResult, evaluate_structures
from atomsym.workflows.evaluate.table import error_table, result_as_data, structures_as_csv
from atomsym.workflows.paths import require_writable

DATA_HELP = "Files with labelled structures, or parts of known sets as in 3bpa:test_300K."


def evaluate_command(
    model: Annotated[str, typer.Argument(help="Model name or file; see `atomsym models`.", show_default=False)],
    data: Annotated[list[str], typer.Argument(help=DATA_HELP, show_default=False)],
    key: Annotated[
        list[str] | None, typer.Option("--key", help="Name of a label, e.g. energy=REF_energy; repeatable.")
    ] = None,
    unit: Annotated[
        list[str] | None, typer.Option("--unit", help="Unit of a label, e.g. energy=kcal/mol; repeatable.")
    ] = None,
    group: Annotated[str, typer.Option(help="Key that splits the table of errors.")] = "auto",
    index: Annotated[str, typer.Option(help="Which structures, e.g. ::10.")] = ":",
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "cpu",
    dtype: Annotated[str | None, typer.Option(help="float32 or float64.", show_default="the model's")] = None,
    max_edges: Annotated[int, typer.Option(min=1, help="Most edges in a batch; limits memory.")] = 200_000,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", help="Write the errors of every structure to this file.")
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw parity plots into this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON and nothing else.")] = False,
) -> None:
    """Errors of a model on labelled structures: overall, by group and by element.

    Examples: `atomsym evaluate copper-morse copper.extxyz --plot parity.png`,
    `atomsym evaluate runs/model.safetensors test.xyz --key energy=REF_energy --json`.
    """
    for path in (csv_file, plot):
        if path is not None:
            require_writable(path)
    potential, description = load_with_description(model, device, None if dtype is None else dtype_named(dtype))
    keys = config_from_dict(LabelKeys, with_overrides({}, key)) if key else None
    units = config_from_dict(LabelUnits, with_overrides({}, unit)) if unit else None
    structures = read_sources(data, keys=keys, units=units, group=group, index=index)
    console = Console(stderr=True, quiet=as_json)
    columns = (
        TextColumn("evaluating"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("structures"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=console.quiet) as bar:
        task = bar.add_task("", total=len(structures))
        result = evaluate_structures(
            potential, structures, max_edges=max_edges, each=csv_file is not None,
            on_progress=lambda done: bar.update(task, completed=done),
        )  # fmt: skip
    title = f"{description.card.name} on {', '.join(Path(path).name for path in data)}"
    _write(result, csv_file, plot, title)
    if as_json:
        labels = {"model": description.card.name, "content_hash": description.content_hash, "data": data}
        typer.echo(json.dumps(result_as_data(result, **labels), indent=2, ensure_ascii=False))
        return
    Console().print(error_table(result.errors, f"{title}, {result.n_structures} structures"))
    for path in (csv_file, plot):
        if path is not None:
            console.print(f"Written: {path}")


def _write(result: EvaluationResult, csv_file: Path | None, plot: Path | None, title: str) -> None:
    if csv_file is not None:
        write_atomically(csv_file, structures_as_csv(result).encode())
    if plot is not None:
        from atomsym.workflows.evaluate.plots import write_parity  # matplotlib takes a while: only when it draws

        write_parity(result.parity, result.errors, plot, title=title)
