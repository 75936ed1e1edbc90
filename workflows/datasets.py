"""``atomsym datasets``: what a data set holds and what looks wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.table import Table

from atomsym.core import ConfigError
from atomsym.datasets import (
    DatasetReport,
    LabelKeys,
    LabelUnits,
    check_dataset,
    overlap,
    read_dataset,
)

_STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}


def datasets_command(
    path: Annotated[Path, typer.Argument(help="File of labelled structures: extxyz, npz, ASE database, LMDB …")],
    energy_key: Annotated[str | None, typer.Option(help="Key of the energies.", show_default="found")] = None,
    forces_key: Annotated[str | None, typer.Option(help="Key of the forces.", show_default="found")] = None,
    stress_key: Annotated[str | None, typer.Option(help="Key of the stresses.", show_default="found")] = None,
    energy_unit: Annotated[str | None, typer.Option(help="Unit of energy in the file.", show_default="eV")] = None,
    length_unit: Annotated[str | None, typer.Option(help="Unit of length in the file.", show_default="Å")] = None,
    index: Annotated[str, typer.Option(help="Which structures, for example ::10 or -100:.")] = ":",
    against: Annotated[
        Path | None, typer.Option(help="A second file: count the structures that are in both.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON and nothing else.")] = False,
) -> None:
    """Report what a data set holds, and what looks wrong with it, before training on it.

    Exit code 1 if something makes training impossible.

    Example: `atomsym datasets train.extxyz --against test.extxyz`.
    """
    if as_json and against is not None:
        raise ConfigError("--json and --against cannot be given together; run them one after the other")
    given = {"energy": energy_key, "forces": forces_key, "stress": stress_key}
    keys = {name: key for name, key in given.items() if key is not None}
    units = LabelUnits(energy_unit or "eV", length_unit or "Å") if energy_unit or length_unit else None
    console = Console()
    with Progress(
        SpinnerColumn(), TextColumn("{task.description}"), console=Console(stderr=True), transient=True
    ) as bar:
        task = bar.add_task(f"reading {path.name}", total=None)
        dataset = read_dataset(path, keys=LabelKeys(**keys) if keys else None, units=units, index=index)
        bar.update(task, description=f"checking {len(dataset)} structures")
        report = check_dataset(dataset)
        shared = overlap(dataset, read_dataset(against)) if against is not None else None
    if as_json:
        typer.echo(report.to_json())
    else:
        if dataset.report is not None and dataset.report.keys:
            found = ", ".join(f"{name} from '{key}'" for name, key in dataset.report.keys.items())
            console.print(f"[dim]{escape(f'{dataset.report.format}; {found}; units {dataset.report.units}')}[/]")
        show_report(report, console)
        if shared is not None:
            style = "bold red" if shared else "green"
            text = f"{len({test for _, test in shared})} structures of {against} are also in {path}"
            console.print(f"[{style}]{escape(text)}[/]", soft_wrap=True)
    if not report.ok:
        raise typer.Exit(1)


def show_report(report: DatasetReport, console: Console) -> None:
    """Print a report as tables."""
    table = Table(title=escape(report.path) or None, show_header=False)
    table.add_row("structures", f"{report.n_structures}")
    table.add_row("atoms", f"{report.n_atoms} ({report.smallest} to {report.largest} in a structure)")
    table.add_row("elements", ", ".join(f"{symbol} {count}" for symbol, count in report.elements.items()))
    table.add_row("periodic directions", ", ".join(f"{kind} {count}" for kind, count in report.pbc.items()))
    table.add_row("labels", ", ".join(f"{name} {count}" for name, count in report.labels.items() if count) or "none")
    if report.groups:
        table.add_row("groups", escape(_in_short(report)))
    if report.energy is not None:
        span = f"std {report.energy.std:.4g}, {report.energy.lowest:.4g} to {report.energy.highest:.4g} eV/atom"
        table.add_row("energy beyond composition", span)
    if report.force_rms is not None:
        table.add_row("forces", f"rms {report.force_rms:.4g}, largest {report.force_max:.4g} eV/Å")
    if report.energy_force_slope is not None:
        slope = report.energy_force_slope
        table.add_row("energy change / work", f"{slope.slope:.3g} (correlation {slope.correlation:.2f}; 1 is right)")
    console.print(table)
    for finding in report.findings:
        style = _STYLES[finding.severity]
        where = f" ({', '.join(finding.examples)})" if finding.examples else ""
        console.print(
            f"[{style}]{finding.severity}[/] {escape(finding.message + where)}", highlight=False, soft_wrap=True
        )
    if not report.findings:
        console.print("[bold green]nothing looks wrong[/]")


def _in_short(report: DatasetReport, most: int = 8) -> str:
    shown = ", ".join(f"{name} {count}" for name, count in list(report.groups.items())[:most])
    return shown if len(report.groups) <= most else f"{shown} … ({len(report.groups)})"
