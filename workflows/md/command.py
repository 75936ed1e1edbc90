"""``atomsym md``: the command line of a molecular dynamics run."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from atomsym.calculators.ase.load import parse_kwargs
from atomsym.core import ConfigError
from atomsym.workflows.md import options
from atomsym.workflows.md.analysis import SHORTEST
from atomsym.workflows.md.references import read_reference
from atomsym.workflows.md.settings import MdSettings
from atomsym.workflows.md.simulation import MdResult, resume_md, run_md
from atomsym.workflows.md.systems import default_settings, with_overrides
from atomsym.workflows.run_folders import require_run_of
from atomsym.workflows.run_options import AsJson, Device, Dtype, Kwargs, MaxMinutes, Model, Output, System
from atomsym.workflows.run_settings import refuse_changes
from atomsym.workflows.stopping import Stop, exit_stopped, stoppable


def md_command(
    system: System = None,
    model: Model = None,
    kwargs: Kwargs = None,
    ensemble: options.Ensemble = None,
    temperature: options.Temperature = None,
    pressure: options.Pressure = None,
    thermostat_time: options.ThermostatTime = None,
    barostat_time: options.BarostatTime = None,
    repeat: options.Repeat = None,
    seed: options.Seed = None,
    allow_discontinuous: options.AllowDiscontinuous = None,
    timestep: options.Timestep = None,
    steps: options.Steps = None,
    equilibration_steps: options.EquilibrationSteps = None,
    max_minutes: MaxMinutes = None,
    resume: options.Resume = None,
    output: Output = None,
    log_every: options.LogEvery = None,
    trajectory_every: options.TrajectoryEvery = None,
    checkpoint_every: options.CheckpointEvery = None,
    reference: options.Reference = None,
    as_json: AsJson = False,
    device: Device = None,
    dtype: Dtype = None,
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
        "allow_discontinuous": allow_discontinuous, "kwargs": parse_kwargs(kwargs) or None,
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
