"""``atomsym benchmark generators``: protostructures a second of generators, with and without conditions."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from atomsym.artifacts import generator_files, load_generator
from atomsym.workflows.benchmarks.generators import CASES, GeneratorSpeed, measure_speeds
from atomsym.workflows.status_line import status_line

MANY = 10_000
"""Protostructures that the last column tells the time of."""


def generators_command(
    generators: Annotated[
        list[str] | None, typer.Argument(help="Names or files of trained generators; default: all that are shipped.")
    ] = None,
    n: Annotated[int, typer.Option("-n", "--n", help="Protostructures of a draw.")] = 1000,
    batch: Annotated[
        int | None, typer.Option(help="Protostructures at a time; default: as the generator does best.")
    ] = None,
    repeats: Annotated[int, typer.Option(help="Draws of each case; the fastest counts.")] = 3,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
    case: Annotated[list[str] | None, typer.Option(help="Only cases with this in their name; may be repeated.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON and nothing else.")] = False,
) -> None:
    """Measure how many protostructures generators draw in a second, with and without conditions.

    On one thread (`OMP_NUM_THREADS=1`) process CPU time is measured, which other programs do not disturb. The time of
    10,000 is that of the measured draws times what is missing; `-n 10000` measures it.

    Example: `OMP_NUM_THREADS=1 atomsym benchmark generators wyformer --case Ti`
    """
    names = generators or [path.stem for path in generator_files()]
    cases = tuple(each for each in CASES if not case or any(part in each.name for part in case))
    if not cases:
        raise typer.BadParameter(f"no case has this in its name; they are: {'; '.join(each.name for each in CASES)}")
    console, threads = Console(stderr=True, quiet=as_json), torch.get_num_threads()
    loaded = {name: load_generator(name) for name in names}
    found: dict[str, list[GeneratorSpeed]] = {}
    for name, generator in loaded.items():
        rows = found[name] = []
        with status_line(console) as show:
            for each in cases:
                show(f"{name}: {each.name}")
                rows += measure_speeds(generator, n=n, batch=batch, repeats=repeats, seed=seed, cases=(each,))
        _show(name, rows, threads, console)
    if as_json:
        shown = {name: [asdict(row) for row in rows] for name, rows in found.items()}
        typer.echo(json.dumps({"threads": threads, "generators": shown}, indent=2))


def _show(name: str, rows: list[GeneratorSpeed], threads: int, console: Console) -> None:
    table = Table("conditions", title=f"{name}: protostructures on {threads} thread(s)")
    columns = ("drawn", "first draw (s)", "fastest (s)", "a second", "different", "forced", "orbits")
    for column in (*columns, f"{MANY:,} take (s)"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            row.case, str(row.n), f"{row.first:.2f}", f"{row.seconds:.2f}", f"{row.per_second:.0f}",
            f"{row.different:.1%}", f"{row.forced:.1%}", f"{row.orbits:.1f}", f"{MANY / row.per_second:.0f}",
        )  # fmt: skip
    console.print(table)
