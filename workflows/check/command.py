"""``atomsym check``: the command line of the physics report card."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer
from ase.calculators.calculator import BaseCalculator
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from atomsym.artifacts import write_atomically
from atomsym.calculators.ase.load import load_calculator, parse_kwargs
from atomsym.testing.outcome import CheckResult
from atomsym.testing.suite import Check
from atomsym.workflows.check.card import ReportCard
from atomsym.workflows.check.run import CheckOptions, run_check
from atomsym.workflows.check.terminal import print_card, progress_line
from atomsym.workflows.paths import require_writable


def check_command(
    calculator: Annotated[
        str,
        typer.Argument(
            help="A model name or file, or module:factory of any ASE calculator, e.g. ase.calculators.emt:EMT.",
            show_default=False,
        ),
    ],
    kwargs: Annotated[
        str | None,
        typer.Option(help="Arguments of the calculator as JSON, e.g. '{\"sigma\": 3.4}'.", show_default=False),
    ] = None,
    structure: Annotated[
        Path | None,
        typer.Option(
            "--structure",
            "-s",
            help="Test on this file that ASE reads, or a built-in structure (water).",
            show_default="automatic",
        ),
    ] = None,
    elements: Annotated[
        str | None, typer.Option(help="Test on these elements, e.g. Cu,Au or H,O.", show_default="automatic")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Run this check only, e.g. F-11; repeatable.", show_default="all")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="float32 or float64: which bounds hold.", show_default="detected")
    ] = None,
    cutoff: Annotated[
        float | None, typer.Option(help="Interaction radius in Å.", show_default="found by a dimer scan")
    ] = None,
    timestep: Annotated[
        float | None, typer.Option(help="Of the dynamics, fs.", show_default="1, with hydrogen 0.5")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Hot start of the dynamics, K.", show_default="from the cohesive energy")
    ] = None,
    duration: Annotated[
        float | None, typer.Option(help="Of the dynamics, ps.", show_default="2, less if slow; thorough: 20")
    ] = None,
    thorough: Annotated[bool, typer.Option("--thorough", help="Full lengths; takes minutes.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of all random choices.")] = 0,
    html: Annotated[Path | None, typer.Option(help="Write a page with plots to this file.", show_default=False)] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json-file", help="Write all numbers to this file.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON and nothing else.")] = False,
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
    options = CheckOptions(
        structure=structure, elements=_symbols(elements), only=tuple(only or ()), dtype=dtype, cutoff=cutoff,
        timestep=timestep, temperature=temperature, duration=duration, thorough=thorough, seed=seed,
    )  # fmt: skip
    arguments = parse_kwargs(kwargs)
    subject = load_calculator(calculator, arguments)
    console = Console(stderr=True, quiet=as_json)
    command = _reproduce(calculator, kwargs, options)
    card = _run_with_progress(subject, options, calculator, command, console)
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
    raise typer.Exit(card.exit_code)


def _symbols(text: str | None) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split()) if text else ()


def _reproduce(calculator: str, kwargs: str | None, options: CheckOptions) -> str:
    """The command line that makes the same card."""
    words = ["atomsym", "check", calculator]
    if kwargs:
        words += ["--kwargs", kwargs]
    if options.elements:
        words += ["--elements", ",".join(options.elements)]
    for name in ("structure", "dtype", "cutoff", "timestep", "temperature", "duration"):
        value = getattr(options, name)
        if value is not None:
            words += [f"--{name}", f"{value:g}" if isinstance(value, float) else str(value)]
    for identifier in options.only:
        words += ["--only", identifier]
    if options.thorough:
        words.append("--thorough")
    if options.seed:
        words += ["--seed", str(options.seed)]
    return shlex.join(words)


def _run_with_progress(
    subject: BaseCalculator, options: CheckOptions, name: str, command: str, console: Console
) -> ReportCard:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("preparing structures")

        def started(check: Check) -> None:
            bar.update(task, description=f"{check.id} {check.title}")

        def finished(result: CheckResult) -> None:
            bar.console.print(progress_line(result), highlight=False)

        return run_check(subject, options, name=name, command=command, on_start=started, on_result=finished)
