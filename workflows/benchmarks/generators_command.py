"""``atomsym benchmark generators``: protostructures a second of a generator."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from atomsym.artifacts import load_generator
from atomsym.workflows.benchmarks.generators import measure_speeds


def generators_command(
    generator: Annotated[str, typer.Argument(help="Name or file of a trained generator.")],
    n: Annotated[int, typer.Option("-n", help="Protostructures of a draw; a tenth under conditions.")] = 1000,
    batch: Annotated[int, typer.Option(help="Protostructures at a time.")] = 1000,
    repeats: Annotated[int, typer.Option(help="Draws of each case; the fastest counts.")] = 3,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON and nothing else.")] = False,
) -> None:
    """Measure how many protostructures a generator draws in a second, with and without conditions.

    On one thread (`OMP_NUM_THREADS=1`) process CPU time is measured, which other programs do not disturb.

    Example: `OMP_NUM_THREADS=1 atomsym benchmark generators generator.safetensors`
    """
    found = measure_speeds(load_generator(generator), n=n, batch=batch, repeats=repeats, seed=seed)
    if as_json:
        typer.echo(json.dumps({"threads": torch.get_num_threads(), "cases": [asdict(row) for row in found]}, indent=2))
        return
    table = Table("conditions", title=f"Protostructures on {torch.get_num_threads()} thread(s)")
    for name in ("drawn", "seconds", "a second", "mean orbits"):
        table.add_column(name, justify="right")
    for row in found:
        table.add_row(row.case, str(row.n), f"{row.seconds:.2f}", f"{row.per_second:.0f}", f"{row.orbits:.1f}")
    Console(stderr=True).print(table)
