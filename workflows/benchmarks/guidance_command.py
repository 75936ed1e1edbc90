"""``atomsym benchmark guidance``: do draws have the property that they aim at?"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from atomsym.artifacts import load_generator
from atomsym.metrics.embedding import read_embedding, shipped_embedding
from atomsym.workflows.benchmarks.guidance import GuidanceRow, judge_error, measure_guidance
from atomsym.workflows.benchmarks.options import AsJson
from atomsym.workflows.status_line import status_line


def guidance_command(
    generator: Annotated[str, typer.Argument(help="Name or file of a trained generator.")] = "wyformer",
    target: Annotated[
        list[float] | None, typer.Option(help="Value to aim at; repeatable.", show_default="-3 … 0")
    ] = None,
    guidance: Annotated[list[float] | None, typer.Option(help="Strength; repeatable.", show_default="1, 2")] = None,
    judge: Annotated[
        Path | None,
        typer.Option(
            help="File of python -m atomsym.workflows.train_embedding --property NAME FILE; its property is aimed at.",
            show_default="the network of the Fréchet distance, formation energies",
        ),
    ] = None,
    n: Annotated[int, typer.Option("-n", "--n", min=2, help="Protostructures of a draw.")] = 400,
    seed: Annotated[int, typer.Option(help="Of every draw.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Draw protostructures that aim at a property, and let another network predict what they have.

    Example: `atomsym benchmark guidance wyformer --target -3 --target -1 --guidance 1`
    """
    console = Console(stderr=True, quiet=as_json)
    network = shipped_embedding() if judge is None else read_embedding(judge)
    error = judge_error(network)
    loaded = load_generator(generator)
    with status_line(console) as say:
        rows = measure_guidance(
            loaded, network, target or [-3.0, -2.0, -1.0, 0.0], guidance or [1.0, 2.0], n=n, seed=seed, say=say
        )
    if as_json:
        result = {"generator": generator, "judge": network.content_hash, "judge_error": error, "seed": seed}
        typer.echo(json.dumps({**result, "rows": [asdict(row) for row in rows]}, indent=2))
        return
    _show(rows, error, console)


def _show(rows: list[GuidanceRow], error: float, console: Console) -> None:
    table = Table(
        "target", title=f"{rows[0].property} of {rows[0].n} draws each, by a network with an error of {error:.2f}"
    )
    for column in ("guidance", "mean ± deviation", "25 %", "50 %", "75 %", "different"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            "none" if row.target is None else f"{row.target:g}",
            "" if row.target is None else f"{row.guidance:g}",
            f"{row.mean:.2f} ± {row.deviation:.2f}",
            *(f"{value:.2f}" for value in row.quartiles),
            f"{row.different:.0%}",
        )
    console.print(table)
