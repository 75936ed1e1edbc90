"""``atomsym ts``: the command line of a search for a transition state."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from atomsym.core import ConfigError
from atomsym.workflows.check.load import parse_kwargs
from atomsym.workflows.run_folders import require_run_of
from atomsym.workflows.run_settings import refuse_changes
from atomsym.workflows.stopping import Stop, exit_stopped, stoppable
from atomsym.workflows.transition_states.result import KJ_PER_MOL, Stationary, TransitionStateResult
from atomsym.workflows.transition_states.run import resume_ts, run_ts
from atomsym.workflows.transition_states.settings import TransitionStateSettings

EXIT_NOT_VERIFIED = 1


def ts_command(
    guess: Annotated[
        str | None,
        typer.Argument(help="Structure near the transition state, in a file that ASE reads.", show_default=False),
    ] = None,
    reactant: Annotated[str | None, typer.Option(help="Instead of a GUESS: one minimum …", show_default=False)] = None,
    product: Annotated[
        str | None, typer.Option(help="… and the other, its atoms in the same order.", show_default=False)
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Model name or file (see `atomsym models`), or module:factory of another ASE calculator.",
            show_default=False,
        ),
    ] = None,
    kwargs: Annotated[
        str | None, typer.Option(help="Arguments of the model's factory, as JSON.", show_default=False)
    ] = None,
    mode: Annotated[
        int | None, typer.Option(help="Follow this mode of the GUESS uphill.", show_default="0, the lowest")
    ] = None,
    fmax: Annotated[float | None, typer.Option(help="Largest force at the end, eV/Å.", show_default="0.01")] = None,
    max_steps: Annotated[
        int | None, typer.Option(help="Of the search and of each relaxation.", show_default="200")
    ] = None,
    hessian_every: Annotated[
        int | None,
        typer.Option(help="Steps between computed Hessians, updated between; 0: at the start only.", show_default="1"),
    ] = None,
    imaginary: Annotated[
        float | None, typer.Option(help="1/cm, beyond which a mode is imaginary.", show_default="30")
    ] = None,
    images: Annotated[int | None, typer.Option(help="Of the band, both ends included.", show_default="9")] = None,
    neb_fmax: Annotated[float | None, typer.Option(help="Largest force on the band, eV/Å.", show_default="0.5")] = None,
    trust_order: Annotated[
        bool | None, typer.Option("--trust-order", help="The atoms are in the right order even if it looks permuted.")
    ] = None,
    max_minutes: Annotated[float | None, typer.Option(help="Stop after this time.", show_default="no limit")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.", show_default="cpu")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32 or float64.", show_default="float64")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the results.", show_default="atomsym-ts-NAME")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Continue in this folder; --max-steps may be raised.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON and nothing else.")] = False,
) -> None:
    """Find a transition state of a molecule and show which two minima it connects.

    Verified means: at rest, exactly one imaginary mode, and two different minima on its sides (the two that were given,
    if they were). Exit code 1 if it is not.

    Examples: `atomsym ts guess.xyz --model tblite.ase:TBLite --kwargs '{"verbosity": 0}'`,
    `atomsym ts --reactant hcn.xyz --product hnc.xyz --model my.safetensors`, `atomsym ts --resume atomsym-ts-guess`.
    """
    console = Console(stderr=True, quiet=as_json)
    given: dict[str, Any] = {
        "reactant": reactant, "product": product, "model": model, "kwargs": parse_kwargs(kwargs) or None, "mode": mode,
        "fmax": fmax, "hessian_every": hessian_every, "imaginary": imaginary, "images": images, "neb_fmax": neb_fmax,
        "trust_order": trust_order, "device": device, "dtype": dtype,
    }  # fmt: skip
    settings, folder = _settings(guess, output, resume, given, max_steps)
    go_on = f"atomsym ts --resume {folder}"
    with stoppable(console, go_on, max_minutes) as stop:
        result = _run_with_progress(settings, folder, resume is not None, max_steps, stop, console)
    from atomsym.workflows.transition_states.report import write_report  # matplotlib is slow to import

    picture = write_report(settings, result)
    if as_json:
        typer.echo(result.to_json(), nl=False)
    else:
        console.print(_table(settings, result))
        console.print(f"Folder: {result.folder}\nPicture: {picture}", soft_wrap=True)
    if result.stopped:
        raise exit_stopped(console, f"Stopped ({stop()}) in: {result.stopped}", go_on)
    if not result.verified:
        console.print(f"[bold red]Not verified:[/] {'; '.join(result.findings)}", soft_wrap=True)
        raise typer.Exit(EXIT_NOT_VERIFIED)


def _settings(
    guess: str | None, output: Path | None, resume: Path | None, given: dict[str, Any], max_steps: int | None
) -> tuple[TransitionStateSettings, Path]:
    if resume is not None:
        refuse_changes({"GUESS": guess, "output": output, **given}, allowed="--max-steps")
        require_run_of("ts", resume)
        return TransitionStateSettings.from_file(resume / "settings.json"), resume
    if guess is None and given["reactant"] is None and given["product"] is None:
        raise ConfigError("give a GUESS of the transition state, or both --reactant and --product; or --resume a run")
    if given["model"] is None:
        raise ConfigError("--model is needed; list the models with: atomsym models")
    chosen = {name: value for name, value in {**given, "max_steps": max_steps}.items() if value is not None}
    settings = TransitionStateSettings(guess=guess, **chosen)
    return settings, output or Path(f"atomsym-ts-{settings.name}")


def _run_with_progress(
    settings: TransitionStateSettings,
    folder: Path,
    resuming: bool,
    max_steps: int | None,
    stop: Stop,
    console: Console,
) -> TransitionStateResult:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=console.quiet) as bar:
        task = bar.add_task("preparing")

        def progress(stage: str, step: int, status: str) -> None:
            bar.update(task, description=f"{stage}, step {step}  {status}")

        if resuming:
            return resume_ts(folder, progress, stop, max_steps=max_steps)
        return run_ts(settings, folder, progress, stop)


def _table(settings: TransitionStateSettings, result: TransitionStateResult) -> Table:
    points = [point for point in (result.reactant, result.saddle, result.product) if point is not None]
    names = ["reactant", "transition state", "product"] if len(points) == 3 else ["saddle point"][: len(points)]
    table = Table("", *names, title=f"{settings.title} ({result.formula}), model {Path(settings.model).name}")
    if not points:
        return table
    table.add_row("energy (eV)", *(f"{point.energy:.4f}" for point in points))
    if result.barrier is not None and result.barrier_backward is not None:
        _add_barriers(table, result)
    table.add_row("largest force (eV/Å)", *(f"{point.max_force:.2g}" for point in points))
    table.add_row("imaginary modes", *(str(point.n_imaginary) for point in points))
    table.add_row("lowest modes (1/cm)", *(_lowest(point) for point in points))
    table.add_row("lowest curvature (eV/Å²)", *(f"{point.curvatures[0]:.3f}" for point in points))
    for name, bonds in (("broken", result.bonds_broken), ("formed", result.bonds_formed)):
        for bond in bonds:
            table.add_row(f"bond {name}", bond)
    table.add_row("steps, Hessians", f"{result.steps}, {result.hessians}")
    return table


def _add_barriers(table: Table, result: TransitionStateResult) -> None:
    corrected = result.with_zero_point()
    for name, of in (("barrier (eV)", result), ("with zero-point energy", corrected)):
        table.add_row(name, f"{of.barrier:.4f} →", "", f"← {of.barrier_backward:.4f}")
    kilojoule = [f"{value * KJ_PER_MOL:.1f}" for value in (result.barrier or 0.0, result.barrier_backward or 0.0)]
    table.add_row("barrier (kJ/mol)", f"{kilojoule[0]} →", "", f"← {kilojoule[1]}")


def _lowest(point: Stationary) -> str:
    return ", ".join(f"{-value:.0f}i" if value < 0 else f"{value:.0f}" for value in point.wavenumbers[:2])
