"""``atomsym benchmark realisation``: protostructures to crystals, how fast and how well."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from atomsym.workflows.benchmarks.options import AsJson
from atomsym.workflows.benchmarks.realisation import measure_realisation, read_protostructures
from atomsym.workflows.status_line import status_line


def realisation_command(
    source: Annotated[
        str, typer.Argument(help="Set of crystals, or a CSV file of CIF texts or of the columns group, species, sites.")
    ] = "mp_20_biternary_test",
    n: Annotated[int, typer.Option("-n", min=1, help="Protostructures, from the first on.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the geometries.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Measure how fast protostructures become crystals, whether atoms keep apart, and whether the group is kept.

    Sets of crystals are found through ATOMSYM_DATA. Times are process CPU time, on one thread if OMP_NUM_THREADS is 1.

    Example: `atomsym benchmark realisation mp_20_biternary_test -n 2000`
    """
    console = Console(stderr=True, quiet=as_json)
    with status_line(console) as say:
        say("reading …")
        found = read_protostructures(source, n)
        report = measure_realisation(found, seed=seed, progress=lambda done: say(f"{done} of {len(found)}"))
    if as_json:
        typer.echo(json.dumps({"source": source, "seed": seed, **asdict(report)}, indent=2))
        return
    table = Table("", "", title=f"Realisation of {report.n} protostructures of {source}", show_header=False)
    table.add_row("ms: mean, median", f"{report.mean:.2f}, {report.median:.2f}")
    table.add_row("ms: 99 %, longest", f"{report.p99:.1f}, {report.longest:.1f}")
    table.add_row("tries in the mean", f"{report.tries:.2f}")
    table.add_row("no atoms too close", f"{100 * report.floor_met:.2f} %")
    table.add_row("that no crystal has", str(report.n_degenerate))
    for tolerance, share in report.kept.items():
        table.add_row(f"space group found again within {tolerance} Å", f"{100 * share:.2f} % of the others")
    console.print(table)
    for each in report.lost:
        console.print(f"not found again within 0.01 Å: {each}", highlight=False)
