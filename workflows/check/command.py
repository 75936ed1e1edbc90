"""``atomsym check``: the command line of the physics report card."""

from __future__ import annotations

import shlex
from pathlib import Path

import typer
from ase.calculators.calculator import BaseCalculator
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from atomsym.artifacts import write_atomically
from atomsym.calculators.ase.load import load_calculator, parse_kwargs
from atomsym.testing.outcome import CheckResult
from atomsym.testing.suite import Check
from atomsym.workflows.check import options
from atomsym.workflows.check.card import ReportCard
from atomsym.workflows.check.run import CheckOptions, run_check
from atomsym.workflows.check.terminal import print_card, progress_line
from atomsym.workflows.paths import require_writable


def check_command(
    calculator: options.Calculator,
    kwargs: options.Kwargs = None,
    structure: options.Structure = None,
    elements: options.Elements = None,
    only: options.Only = None,
    dtype: options.Dtype = None,
    cutoff: options.Cutoff = None,
    timestep: options.Timestep = None,
    temperature: options.Temperature = None,
    duration: options.Duration = None,
    thorough: options.Thorough = False,
    seed: options.Seed = 0,
    html: options.Html = None,
    json_file: options.JsonFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Physics report card: is this calculator invariant, smooth, conservative?

    Translations, rotations, permutations, periodic images, extensivity, derivatives, smoothness at the cutoff,
    neighbor limits, energy conservation and close contacts, each against a bound. Exit code 0 if no check fails,
    1 if one does, 2 for wrong use.

    Examples: `atomsym check ase.calculators.emt:EMT --html emt.html`,
    `atomsym check ase.calculators.lj:LennardJones --kwargs '{"sigma": 3.4, "epsilon": 0.0103}' --elements Ar`,
    `atomsym check mace.calculators:mace_mp --only F-2 --only F-11`.
    """
    for path in (html, json_file):
        if path is not None:
            require_writable(path)
    chosen = CheckOptions(
        structure=structure, elements=_symbols(elements), only=tuple(only or ()), dtype=dtype, cutoff=cutoff,
        timestep=timestep, temperature=temperature, duration=duration, thorough=thorough, seed=seed,
    )  # fmt: skip
    subject = load_calculator(calculator, parse_kwargs(kwargs))
    console = Console(stderr=True, quiet=as_json)
    command = _reproduce(calculator, kwargs, chosen)
    card = _run_with_progress(subject, chosen, calculator, command, console)
    _show(card, console, html=html, json_file=json_file, as_json=as_json)
    raise typer.Exit(card.exit_code)


def _symbols(text: str | None) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split()) if text else ()


def _show(card: ReportCard, console: Console, *, html: Path | None, json_file: Path | None, as_json: bool) -> None:
    """Write the files that were asked for, and print the card."""
    if html is not None:
        from atomsym.workflows.check.page import write_html  # matplotlib takes a while to import: only when it draws

        write_html(card, html)
    if json_file is not None:
        write_atomically(json_file, card.to_json().encode())
    if as_json:
        typer.echo(card.to_json(), nl=False)
    else:
        print_card(card, Console())
        console.print(f"Page: {html}" if html else "[dim]A page with plots: add --html check.html[/]")


def _reproduce(calculator: str, kwargs: str | None, chosen: CheckOptions) -> str:
    """The command line that makes the same card."""
    words = ["atomsym", "check", calculator]
    if kwargs:
        words += ["--kwargs", kwargs]
    if chosen.elements:
        words += ["--elements", ",".join(chosen.elements)]
    for name in ("structure", "dtype", "cutoff", "timestep", "temperature", "duration"):
        value = getattr(chosen, name)
        if value is not None:
            words += [f"--{name}", f"{value:g}" if isinstance(value, float) else str(value)]
    for identifier in chosen.only:
        words += ["--only", identifier]
    if chosen.thorough:
        words.append("--thorough")
    if chosen.seed:
        words += ["--seed", str(chosen.seed)]
    return shlex.join(words)


def _run_with_progress(
    subject: BaseCalculator, chosen: CheckOptions, name: str, command: str, console: Console
) -> ReportCard:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("preparing structures")

        def started(check: Check) -> None:
            bar.update(task, description=f"{check.id} {check.title}")

        def finished(result: CheckResult) -> None:
            bar.console.print(progress_line(result), highlight=False)

        return run_check(subject, chosen, name=name, command=command, on_start=started, on_result=finished)
