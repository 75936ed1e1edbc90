"""``atomsym label``: the command line of labelling."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from atomsym.core import ConfigError
from atomsym.workflows.label.engine import ENGINES
from atomsym.workflows.label.run import LabelResult, run_label
from atomsym.workflows.label.settings import LabelSettings
from atomsym.workflows.label.task import PROPERTIES
from atomsym.workflows.stopping import exit_stopped, stoppable


class RateColumn(ProgressColumn):
    """Items a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.3g}/s")


def progress_bar(console: Console, unit: str) -> Progress:
    """A bar with number, rate, time so far and time left."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit), RateColumn(),
        TimeElapsedColumn(), TextColumn("elapsed,"), TimeRemainingColumn(), TextColumn("left"),
    )  # fmt: skip
    return Progress(*columns, console=console, disable=console.quiet, transient=True, speed_estimate_period=300)


def label_command(
    input_file: Annotated[Path, typer.Argument(metavar="INPUT", help="Structures: any file that ASE reads.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Labelled structures: .extxyz, .extxyz.gz or .lmdb.")
    ] = Path("labelled.extxyz"),
    engine: Annotated[str, typer.Option(help=f"{', '.join(ENGINES)}, or module:factory of your own.")] = "gfn2-xtb",
    hessians: Annotated[bool, typer.Option("--hessians", help="Label Hessians too.")] = False,
    properties: Annotated[
        str | None,
        typer.Option(help=f"Among {', '.join(PROPERTIES)}.", show_default="energy,forces, stress where periodic"),
    ] = None,
    open_shell: Annotated[
        bool, typer.Option("--open-shell", help="Label odd numbers of electrons as doublets; else they are failures.")
    ] = False,
    options: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of the engine, e.g. functional=pbe; repeatable.", show_default=False),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", "-j", help="Processes of one thread each.")] = 1,
    max_minutes: Annotated[float | None, typer.Option(help="Stop after this time.", show_default="no limit")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an unfinished run of this output.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON and nothing else.")] = False,
) -> None:
    """Label structures with energies, forces and Hessians of a reference method.

    Structures that cannot be labelled are listed with the reason in OUTPUT.failures.csv and do not end the run.
    A run that is stopped or killed loses only the structures in hand; `--resume` goes on and gives the same file.

    Examples: `atomsym label frames.xyz -o labelled.extxyz --hessians --workers 8`,
    `atomsym label frames.xyz -o dft.lmdb --engine pyscf --set functional=pbe --set basis=def2-tzvp`.
    """
    console = Console(stderr=True, quiet=as_json)
    names = tuple(properties.replace(" ", "").split(",")) if properties else ("energy", "forces", "stress")
    names += ("hessian",) if hessians and "hessian" not in names else ()
    chosen = engine_settings(options or []) | ({"open_shell": True} if open_shell else {})
    settings = LabelSettings(input_file, output, engine, chosen, names, workers)
    go_on = f"atomsym label {input_file} -o {output} --resume, with the other options as before"
    with stoppable(console, go_on, max_minutes) as stop, progress_bar(console, "structures") as bar:
        task = bar.add_task("labelling", total=None)

        def progress(done: int, total: int, failed: int) -> None:
            bar.update(task, completed=done, total=total, description=f"labelling, {failed} failed")

        result = run_label(settings, resume=resume, progress=progress, should_stop=stop)
    _show(result, console, as_json)
    if not result.complete:
        raise exit_stopped(console, f"Stopped ({result.reason})", go_on)


def engine_settings(options: list[str]) -> dict[str, Any]:
    """Settings from ``name=value``; values are JSON where they can be, else text.

    Raises:
        ConfigError: if there is no sign of equality.

    Example:
        >>> engine_settings(["functional=pbe", "grid=3"])
        {'functional': 'pbe', 'grid': 3}
    """
    found: dict[str, Any] = {}
    for option in options:
        name, sign, value = option.partition("=")
        if not sign or not name.isidentifier():
            raise ConfigError(f"--set takes name=value; found '{option}'")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def _show(result: LabelResult, console: Console, as_json: bool) -> None:
    if as_json:
        typer.echo(result.to_json(), nl=False)
    elif result.complete:
        console.print(
            f"{result.n_labelled} of {result.n_structures} structures labelled in {result.seconds:.1f} s: "
            f"{result.output}",
            highlight=False,
            soft_wrap=True,
        )
        if result.n_failed:
            console.print(f"[yellow]{result.n_failed} failed[/]: {result.failures}", highlight=False, soft_wrap=True)
