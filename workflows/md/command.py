"""``atomsym md``: the command line of a molecular dynamics run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from atomsym.core import ConfigError
from atomsym.workflows.md.settings import MdSettings
from atomsym.workflows.md.simulation import MdResult, resume_md, run_md
from atomsym.workflows.md.systems import default_settings, with_overrides


def md_command(
    system: Annotated[
        str | None,
        typer.Argument(help="A built-in system (argon) or a structure file that ASE reads.", show_default=False),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Model name or file; see `atomsym models`.", show_default=False)
    ] = None,
    ensemble: Annotated[str | None, typer.Option(help="nve or nvt (Langevin).", show_default="nvt")] = None,
    temperature: Annotated[float | None, typer.Option(help="K.", show_default="300")] = None,
    timestep: Annotated[float | None, typer.Option(help="fs.", show_default="1")] = None,
    steps: Annotated[int | None, typer.Option(help="Production steps.", show_default="1000")] = None,
    equilibration_steps: Annotated[
        int | None, typer.Option(help="Langevin steps before production.", show_default="0")
    ] = None,
    friction: Annotated[float | None, typer.Option(help="Langevin friction, 1/fs.", show_default="0.01")] = None,
    log_every: Annotated[int | None, typer.Option(help="Steps between log rows.", show_default="10")] = None,
    trajectory_every: Annotated[int | None, typer.Option(help="Steps between frames.", show_default="50")] = None,
    checkpoint_every: Annotated[
        int | None, typer.Option(help="Steps between restart files.", show_default="1000")
    ] = None,
    repeat: Annotated[
        tuple[int, int, int] | None, typer.Option(help="Supercell, e.g. 2 2 2.", show_default="1 1 1")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of velocities and noise.", show_default="0")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.", show_default="cpu")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32 or float64.", show_default="float64")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the run.", show_default="atomsym-md-SYSTEM")
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(help="Continue the run in this folder; no other setting is taken.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON and nothing else.")] = False,
) -> None:
    """Run molecular dynamics: a trajectory, a log and a report picture in one folder.

    A built-in system brings its own settings; any of them can be overridden.

    Examples: `atomsym md argon`, `atomsym md copper.cif --model copper-morse --temperature 600 --steps 20000`,
    `atomsym md --resume atomsym-md-argon`.
    """
    console = Console(stderr=True, quiet=as_json)
    given = {
        "model": model, "ensemble": ensemble, "temperature": temperature, "timestep": timestep, "steps": steps,
        "equilibration_steps": equilibration_steps, "friction": friction, "log_every": log_every,
        "trajectory_every": trajectory_every, "checkpoint_every": checkpoint_every, "repeat": repeat, "seed": seed,
        "device": device, "dtype": dtype,
    }  # fmt: skip
    if resume is not None:
        _refuse_changes(system, output, given)
        settings, folder = MdSettings.from_file(resume / "settings.json"), resume
    elif system is None:
        raise ConfigError("name a SYSTEM to run (try: atomsym md argon), or a folder to --resume")
    else:
        settings = with_overrides(default_settings(system), **given)
        folder = output or Path(f"atomsym-md-{Path(system).stem}")
    if not settings.model:
        raise ConfigError(f"--model is needed to run {settings.system}; list them with: atomsym models")
    result = _run_with_progress(settings, folder, resume is not None, console)
    from atomsym.workflows.md.report import write_report  # matplotlib takes a while to import: only when it draws

    picture = write_report(settings, result)
    if as_json:
        typer.echo((folder / "summary.json").read_text(), nl=False)
    else:
        console.print(_table(settings, result))
        console.print(f"Picture: {picture}\nTrajectory: {folder / 'trajectory.extxyz'}\nLog: {folder / 'log.csv'}")


def _refuse_changes(system: str | None, output: Path | None, given: dict[str, Any]) -> None:
    changed = [name for name, value in {"SYSTEM": system, "output": output, **given}.items() if value is not None]
    if changed:
        raise ConfigError(
            f"--resume continues a run as it was begun and takes no other setting; found {', '.join(changed)}. "
            "For other settings start a new run"
        )


def _run_with_progress(settings: MdSettings, folder: Path, resuming: bool, console: Console) -> MdResult:
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("steps"),
        TimeElapsedColumn(), TextColumn("elapsed,"), TimeRemainingColumn(), TextColumn("left"),
    )  # fmt: skip
    with Progress(*columns, console=console, disable=console.quiet) as bar:
        task = bar.add_task(settings.ensemble, total=settings.total_steps)

        def progress(step: int, status: str) -> None:
            bar.update(task, completed=step, description=status)

        try:
            return resume_md(folder, progress) if resuming else run_md(settings, folder, progress)
        except KeyboardInterrupt:
            console.print(f"Interrupted. Go on with: atomsym md --resume {folder}")
            raise typer.Exit(130) from None


def _table(settings: MdSettings, result: MdResult) -> Table:
    table = Table(title=f"{settings.system}, {result.n_atoms} atoms, model {settings.model}", show_header=False)
    table.add_row("temperature", f"{result.mean_temperature:.1f} ± {result.std_temperature:.1f} K")
    if settings.ensemble == "nve":
        table.add_row("drift of the total energy", f"{result.energy_slope:+.4f} meV/atom/ns")
        table.add_row("rms of the total energy", f"{result.energy_rms:.4f} meV/atom")
    table.add_row("speed", f"{result.steps_per_second:.0f} steps/s, {result.ns_per_day:.2f} ns/day")
    return table
