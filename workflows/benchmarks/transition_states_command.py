"""``atomsym benchmark transition-states``: a published set of guesses, searched from and proved one by one."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from atomsym.artifacts import write_atomically
from atomsym.calculators.ase.load import parse_kwargs
from atomsym.workflows.benchmarks import options
from atomsym.workflows.benchmarks.transition_states import (
    SearchBenchmarkSettings,
    SearchOutcome,
    run_search_benchmark,
    to_csv,
)
from atomsym.workflows.calculator_output import output_aside
from atomsym.workflows.status_line import status_line
from atomsym.workflows.stopping import exit_stopped, stoppable
from atomsym.workflows.transition_states.settings import SEARCHES


def transition_states_command(
    calculator: Annotated[str, typer.Option(help="Model name or file, or module:factory of another ASE calculator.")],
    kwargs: options.Kwargs = None,
    set_name: Annotated[
        str, typer.Option("--set", help="baker-ts, or a folder of xyz files whose name ends in ts.")
    ] = "baker-ts",
    names: Annotated[
        str, typer.Option(help="Only structures whose names begin so, separated by commas.", show_default="all")
    ] = "",
    optimizer: Annotated[str, typer.Option(help=f"{', '.join(SEARCHES)}.")] = "prfo",
    hessian_every: Annotated[
        int, typer.Option(help="Steps between computed Hessians of the search; 0: at the start only.")
    ] = 1,
    fmax: Annotated[float, typer.Option(help="Largest force at the end, eV/Å.")] = 0.01,
    max_steps: Annotated[int, typer.Option(help="Of each search and of each relaxation.")] = 200,
    data: options.Data = None,
    output: options.Folder = Path("atomsym-transition-states"),
    max_minutes: options.MaxMinutes = None,
    as_json: options.AsJson = False,
) -> None:
    """Find and prove transition states from published guesses: what `atomsym ts` does, for a whole set.

    Verified means at rest, with one imaginary mode, between two different minima. What fails is recorded, not fatal;
    charged and open-shell structures are left out. The same command goes on with a folder.

    Example: `atomsym benchmark transition-states --calculator tblite.ase:TBLite --kwargs '{"verbosity": 0}'`
    """
    console = Console(stderr=True, quiet=as_json)
    settings = SearchBenchmarkSettings(
        calculator,
        kwargs=parse_kwargs(kwargs),
        set_name=set_name,
        names=tuple(name.strip() for name in names.split(",") if name.strip()),
        optimizer=optimizer,
        hessian_every=hessian_every,
        fmax=fmax,
        max_steps=max_steps,
        data=data,
    )
    with stoppable(console, "the same command", max_minutes) as stop, status_line(console) as say, output_aside():
        outcomes, finished = run_search_benchmark(
            settings, output, lambda done, of, what: say(f"{done} of {of}  {what}"), stop
        )
    text = json.dumps([asdict(outcome) for outcome in outcomes], indent=2)
    write_atomically(output / "table.csv", to_csv(outcomes).encode())
    write_atomically(output / "table.json", (text + "\n").encode())
    if as_json:
        typer.echo(text)
    else:
        console.print(_table(settings, outcomes))
        console.print(f"Folder: {output}", soft_wrap=True)
    if not finished:
        raise exit_stopped(console, f"Stopped ({stop()})", "the same command")


def _table(settings: SearchBenchmarkSettings, outcomes: list[SearchOutcome]) -> Table:
    counts = Counter(outcome.status for outcome in outcomes)
    caption = ", ".join(f"{count} {status}" for status, count in counts.items())
    title = f"Transition states from {settings.set_name}, {Path(settings.calculator).name}"
    table = Table("guess", "", title=title, caption=caption or "none finished")
    for name in ("steps", "Hessians", "lowest mode (1/cm)", "barriers (eV)"):
        table.add_column(name, justify="right")
    table.add_column("what changes, or why not")
    for outcome in outcomes:
        found = (str(outcome.steps), str(outcome.hessians), _mode(outcome), _barriers(outcome))
        table.add_row(f"{outcome.structure} ({outcome.formula})", outcome.status, *found, _words(outcome))
    return table


def _mode(outcome: SearchOutcome) -> str:
    if outcome.imaginary is None:
        return "–"
    return f"{abs(outcome.imaginary):.0f}{'i' if outcome.imaginary < 0 else ''}"


def _barriers(outcome: SearchOutcome) -> str:
    if outcome.barrier is None or outcome.barrier_backward is None:
        return "–"
    return f"{outcome.barrier:.3f}, {outcome.barrier_backward:.3f}"


def _words(outcome: SearchOutcome) -> str:
    if outcome.error or outcome.findings:
        return outcome.error or "; ".join(outcome.findings)
    broken = [f"{bond.partition(' ')[0]} breaks" for bond in outcome.bonds_broken]
    formed = [f"{bond.partition(' ')[0]} forms" for bond in outcome.bonds_formed]
    return ", ".join([*broken, *formed]) or "no bond"
