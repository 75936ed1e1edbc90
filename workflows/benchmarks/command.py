"""``atomsym benchmark``: kernels beside their peers, as a table and as JSON."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from atomsym.artifacts import write_atomically
from atomsym.workflows.benchmarks.machine import measure_machine
from atomsym.workflows.paths import require_writable


class Subject(StrEnum):
    """What can be measured; each is a module here with a function ``run() -> list of rows``."""

    NEIGHBORS = "neighbors"
    SPHERICAL_HARMONICS = "spherical-harmonics"
    SYMMETRIC_CONTRACTION = "symmetric-contraction"
    POTENTIAL = "potential"
    HESSIANS = "hessians"


_MODELS = (Subject.POTENTIAL, Subject.HESSIANS)
_KERNELS = tuple(subject for subject in Subject if subject not in _MODELS)


class Precision(StrEnum):
    """Of the potential."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"


def benchmark_command(
    subjects: Annotated[
        list[Subject] | None,
        typer.Argument(help="Which kernels, 'potential' or 'hessians'; all kernels if none is named."),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads for us and for the peers.")] = 1,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write the rows to this JSON file.", show_default=False)
    ] = None,
    sizes: Annotated[
        str,
        typer.Option(help="Of the potential: small, medium, large; of Hessians: medium, organic; separated by commas."),
    ] = "medium",
    systems: Annotated[
        str | None,
        typer.Option(
            help="For the potential: mol27, water192, cu108, cu864; for Hessians: acetone, mol27; separated by commas.",
            show_default="all",
        ),
    ] = None,
    dtype: Annotated[Precision, typer.Option(help="Of the potential.")] = Precision.FLOAT32,
    peers: Annotated[
        str | None,
        typer.Option(
            help="Of the potential: mace-torch, symmetrix, separated by commas, or nothing; of Hessians: mace-torch.",
            show_default="mace-torch; for Hessians where it is installed",
        ),
    ] = None,
    memory: Annotated[bool, typer.Option(help="Of models: also measure peak memory, a process a calculator.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Measure kernels beside e3nn, mace-torch, vesin and matscipy, where these are installed, in one run.

    ``potential`` measures whole steps of a MACE potential, in its calculator and in mace-torch's with the same weights,
    and in that of symmetrix with ``--peers mace-torch,symmetrix``. ``hessians`` measures second derivatives of that
    potential by every method, and predicted ones.

    Times are the smallest of several repeats; on one thread they are process CPU time. Ceilings of the machine (matrix
    product, memory copy) are measured in the same run.
    """
    if output is not None:
        require_writable(output)
    console = Console(stderr=True, quiet=as_json)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        report: dict[str, Any] = {"machine": asdict(measure_machine()), "kernels": {}}
        console.print(*(f"{key}: {_cell(value)}" for key, value in report["machine"].items()), sep="\n")
        for subject in subjects or _KERNELS:
            module = importlib.import_module(f"atomsym.workflows.benchmarks.{subject.value.replace('-', '_')}")
            with console.status(f"measuring {subject.value} …"):
                rows = module.run(**(_of_models(sizes, systems, dtype, peers, memory) if subject in _MODELS else {}))
            report["kernels"][subject.value] = rows
            console.print(*_tables(subject.value, rows, console.width))
    finally:
        torch.set_num_threads(before)
    text = json.dumps(report, indent=2) + "\n"
    if output is not None:
        write_atomically(output, text.encode())
    if as_json:
        typer.echo(text, nl=False)


def _of_models(sizes: str, systems: str | None, dtype: Precision, peers: str | None, memory: bool) -> dict[str, Any]:
    """Arguments of the measurements of models; what was not given is left to them."""
    chosen: dict[str, Any] = {"sizes": sizes.split(","), "dtype": getattr(torch, dtype.value), "memory": memory}
    if systems is not None:
        chosen["systems"] = systems.split(",")
    if peers is not None:
        chosen["peers"] = [name for name in peers.split(",") if name]
    return chosen


def _table(title: str, rows: list[dict[str, Any]]) -> Table:
    """One column per row of numbers: there are more quantities than cases, and names need room."""
    table = Table(title=title, show_header=False)
    quantities = list(dict.fromkeys(key for row in rows for key in row))
    table.add_column(no_wrap=True)
    for _ in rows:
        table.add_column(justify="right", no_wrap=True)
    for quantity in quantities:
        table.add_row(quantity, *(_cell(row.get(quantity)) for row in rows))
    return table


def _tables(title: str, rows: list[dict[str, Any]], width: int) -> Iterator[Table]:
    """As many cases beside each other as fit."""
    longest = max((len(key) for row in rows for key in row), default=0)
    widest = max((len(_cell(value)) for row in rows for value in row.values()), default=0)
    beside = max((width - longest - 4) // (widest + 3), 1)
    for start in range(0, len(rows), beside):
        yield _table(title, rows[start : start + beside])


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
