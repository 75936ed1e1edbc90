"""``atomsym md``: the command line of a molecular dynamics run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from atomsym.core import ConfigError
from atomsym.workflows.md.analysis import SHORTEST
from atomsym.workflows.md.references import read_reference
from atomsym.workflows.md.settings import MdSettings
from atomsym.workflows.md.simulation import MdResult, resume_md, run_md
from atomsym.workflows.md.systems import default_settings, with_overrides
from atomsym.workflows.run_folders import require_run_of
from atomsym.workflows.run_settings import refuse_changes
from atomsym.workflows.stopping import EXIT_STOPPED, Stop, exit_stopped, stoppable
from atomsym.workflows.structures import BUILTIN_STRUCTURES

WHAT, WHEN, FILES, MACHINE = "What to simulate", "How long", "Results", "Model and machine"


def md_command(
    system: Annotated[
        str | None,
        typer.Argument(
            help=f"A built-in system ({', '.join(BUILTIN_STRUCTURES)}) or a structure file that ASE reads.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Model name or file (see `atomsym models`), or module:factory of another ASE calculator.",
            show_default=False,
            rich_help_panel=MACHINE,
        ),
    ] = None,
    ensemble: Annotated[
        str | None,
        typer.Option(
            help="nve, nvt-langevin (nvt), nvt-nose-hoover, npt-isotropic (npt) or npt-full-cell.",
            show_default="nvt",
            rich_help_panel=WHAT,
        ),
    ] = None,
    temperature: Annotated[float | None, typer.Option(help="K.", show_default="300", rich_help_panel=WHAT)] = None,
    pressure: Annotated[
        float | None,
        typer.Option(help="GPa, for npt; 1 bar is 0.0001.", show_default="0.0001", rich_help_panel=WHAT),
    ] = None,
    thermostat_time: Annotated[
        float | None,
        typer.Option(help="fs; shorter couples more strongly.", show_default="100", rich_help_panel=WHAT),
    ] = None,
    barostat_time: Annotated[
        float | None,
        typer.Option(help="fs, for npt; shorter couples more strongly.", show_default="1000", rich_help_panel=WHAT),
    ] = None,
    repeat: Annotated[
        tuple[int, int, int] | None,
        typer.Option(help="Supercell, e.g. 2 2 2.", show_default="1 1 1", rich_help_panel=WHAT),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of velocities and noise.", show_default="0", rich_help_panel=WHAT)
    ] = None,
    timestep: Annotated[
        float | None,
        typer.Option(help="fs; 0.5 with hydrogen.", show_default="1", rich_help_panel=WHEN),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Production steps.", show_default="1000", rich_help_panel=WHEN)
    ] = None,
    equilibration_steps: Annotated[
        int | None,
        typer.Option(help="Langevin steps before production.", show_default="0", rich_help_panel=WHEN),
    ] = None,
    max_minutes: Annotated[
        float | None,
        typer.Option(
            help=f"Stop after this time with exit code {EXIT_STOPPED}; --resume goes on.",
            show_default="no limit",
            rich_help_panel=WHEN,
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            help="Continue the run in this folder as it was begun; its report is drawn anew.",
            show_default=False,
            rich_help_panel=WHEN,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder of the run.", show_default="atomsym-md-SYSTEM", rich_help_panel=FILES
        ),
    ] = None,
    log_every: Annotated[
        int | None, typer.Option(help="Steps between log rows.", show_default="10", rich_help_panel=FILES)
    ] = None,
    trajectory_every: Annotated[
        int | None, typer.Option(help="Steps between frames.", show_default="50", rich_help_panel=FILES)
    ] = None,
    checkpoint_every: Annotated[
        int | None, typer.Option(help="Steps between restart files.", show_default="1000", rich_help_panel=FILES)
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(
            help="Draw a measured g(r) over ours: a file with columns r (Å) and g, or PAIR=FILE such as O-H=goh.dat; "
            "repeatable.",
            show_default=False,
            rich_help_panel=FILES,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON and nothing else.", rich_help_panel=FILES)
    ] = False,
    device: Annotated[
        str | None, typer.Option(help="cpu or cuda.", show_default="cpu", rich_help_panel=MACHINE)
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            help="float32 or float64, of the model; positions are always float64.",
            show_default="float64",
            rich_help_panel=MACHINE,
        ),
    ] = None,
) -> None:
    """Run molecular dynamics: a trajectory, a log and a report picture in one folder.

    A built-in system brings its own settings and model; any of them can be overridden. Every run can be interrupted
    (Ctrl-C) and resumed, to the same result.

    Examples: `atomsym md argon`, `atomsym md water --max-minutes 10`,
    `atomsym md copper.cif --model copper-morse --ensemble npt --temperature 600 --steps 20000`,
    `atomsym md --resume atomsym-md-argon`.
    """
    console = Console(stderr=True, quiet=as_json)
    given = {
        "model": model, "ensemble": ensemble, "temperature": temperature, "pressure": pressure, "timestep": timestep,
        "steps": steps, "equilibration_steps": equilibration_steps, "thermostat_time": thermostat_time,
        "barostat_time": barostat_time, "log_every": log_every, "trajectory_every": trajectory_every,
        "checkpoint_every": checkpoint_every, "repeat": repeat, "seed": seed, "device": device, "dtype": dtype,
    }  # fmt: skip
    references = [read_reference(text) for text in reference or ()]
    if resume is not None:
        refuse_changes({"SYSTEM": system, "output": output, **given})
        require_run_of("md", resume)
        settings, folder = MdSettings.from_file(resume / "settings.json"), resume
    elif system is None:
        raise ConfigError("name a SYSTEM to run (try: atomsym md argon), or a folder to --resume")
    else:
        settings = with_overrides(default_settings(system), **given)
        folder = output or Path(f"atomsym-md-{Path(system).stem}")
    if not settings.model:
        raise ConfigError(f"--model is needed to run {settings.system}; list them with: atomsym models")
    go_on = f"atomsym md --resume {folder}"
    with stoppable(console, go_on, max_minutes) as stop:
        result = _run_with_progress(settings, folder, resume is not None, stop, console)
    from atomsym.workflows.md.report import write_report  # matplotlib takes a while to import: only when it draws

    picture, analysis = write_report(settings, result, references)
    if as_json:
        typer.echo((folder / "summary.json").read_text(), nl=False)
    else:
        console.print(_table(settings, result, analysis.diffusion))
        console.print(f"Picture: {picture}\nTrajectory: {folder / 'trajectory.extxyz'}\nLog: {folder / 'log.csv'}")
    if not result.finished:
        done = f"{result.steps_done:,} of {settings.total_steps:,} steps are done"
        raise exit_stopped(console, f"Stopped ({stop()}): {done}", go_on)


def _run_with_progress(settings: MdSettings, folder: Path, resuming: bool, stop: Stop, console: Console) -> MdResult:
    columns = (
        TextColumn("{task.description}"), BarColumn(bar_width=None), MofNCompleteColumn(), TextColumn("steps"),
        TimeRemainingColumn(), TextColumn("left"),
    )  # fmt: skip
    with Progress(*columns, console=console, disable=console.quiet, transient=True, expand=True) as bar:
        task = bar.add_task("preparing", total=settings.total_steps)

        def progress(step: int, status: str) -> None:
            bar.update(task, completed=step, description=status)

        return resume_md(folder, progress, stop) if resuming else run_md(settings, folder, progress, stop)


def _table(settings: MdSettings, result: MdResult, diffusion: dict[str, float]) -> Table:
    table = Table(
        title=f"{Path(settings.system).name}, {result.n_atoms} atoms, model {Path(settings.model).name}",
        show_header=False,
    )
    table.add_row("temperature", f"{result.mean_temperature:.1f} ± {result.std_temperature:.1f} K (fluctuation)")
    if result.mean_pressure is not None:
        table.add_row("pressure", f"{result.mean_pressure:.4f} ± {result.std_pressure:.4f} GPa (fluctuation)")
    if result.mean_density is not None and settings.ensemble.startswith("npt"):
        table.add_row("density", f"{result.mean_density:.4f} g/cm³")
    energy = "total" if settings.ensemble == "nve" else "conserved"
    is_long = settings.production_ps >= SHORTEST
    drift = f"{result.energy_slope:+.4f} meV/atom/ns" if is_long else f"needs {SHORTEST:g} ps of production"
    table.add_row(f"drift of the {energy} energy", drift)
    table.add_row(f"rms of the {energy} energy", f"{result.energy_rms:.4f} meV/atom")
    for symbol, value in diffusion.items():
        table.add_row(f"diffusion of {symbol}", f"{value:.2f} · 10⁻⁵ cm²/s")
    if result.steps_per_second > 0:
        table.add_row("speed", f"{result.steps_per_second:.0f} steps/s, {result.ns_per_day:.2f} ns/day")
    return table
