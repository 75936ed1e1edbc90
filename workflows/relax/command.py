"""``atomsym relax``: the command line of a relaxation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from atomsym.calculators.ase.load import parse_kwargs
from atomsym.core import ConfigError
from atomsym.workflows.relax import options
from atomsym.workflows.relax.relaxation import RelaxResult, resume_relax, run_relax
from atomsym.workflows.relax.settings import RelaxSettings
from atomsym.workflows.run_folders import require_run_of
from atomsym.workflows.run_options import AsJson, Device, Dtype, Kwargs, MaxMinutes, Model, Output, System
from atomsym.workflows.run_settings import refuse_changes
from atomsym.workflows.status_line import status_line
from atomsym.workflows.stopping import exit_stopped, stoppable
from atomsym.workflows.structures import suitable_model

EXIT_NOT_CONVERGED = 1


def relax_command(
    system: System = None,
    model: Model = None,
    kwargs: Kwargs = None,
    cell: options.Cell = None,
    pressure: options.Pressure = None,
    fix_symmetry: options.FixSymmetry = None,
    free_parameters: options.FreeParameters = None,
    symprec: options.Symprec = None,
    optimizer: options.Optimizer = None,
    fmax: options.Fmax = None,
    smax: options.Smax = None,
    max_steps: options.MaxSteps = None,
    max_minutes: MaxMinutes = None,
    device: Device = None,
    dtype: Dtype = None,
    output: Output = None,
    resume: options.Resume = None,
    as_json: AsJson = False,
) -> None:
    """Relax atoms, and the cell if asked, to the nearest minimum of the energy.

    Converged means: everything that is free to move is at rest, the cell too if it is free. Exit code 1 if it has not
    converged within --max-steps.

    Examples: `atomsym relax structure.cif --model copper-morse --cell --fix-symmetry`,
    `atomsym relax molecule.xyz --model tblite.ase:TBLite --kwargs '{"method": "GFN1-xTB"}'`,
    `atomsym relax CH3CH2OH --optimizer rfo --kwargs '{"hessian": "predicted"}'`,
    `atomsym relax --resume atomsym-relax-structure`.
    """
    console = Console(stderr=True, quiet=as_json)
    given: dict[str, Any] = {
        "model": model, "kwargs": parse_kwargs(kwargs) or None, "cell": cell, "pressure": pressure,
        "fix_symmetry": fix_symmetry, "free_parameters": free_parameters, "symprec": symprec, "optimizer": optimizer,
        "fmax": fmax, "smax": smax, "device": device, "dtype": dtype,
    }  # fmt: skip
    settings, folder = _settings(system, output, resume, given, max_steps)
    go_on = f"atomsym relax --resume {folder}"
    with stoppable(console, go_on, max_minutes) as stop, status_line(console) as say:

        def progress(step: int, status: str) -> None:
            say(f"{step} steps  {status}")

        if resume is not None:
            result = resume_relax(folder, progress, stop, max_steps=max_steps)
        else:
            result = run_relax(settings, folder, progress, stop)
    from atomsym.workflows.relax.report import write_report  # matplotlib takes a while to import: only when it draws

    picture = write_report(settings, result)
    if as_json:
        typer.echo(result.to_json(), nl=False)
    else:
        console.print(_table(settings, result))
        console.print(f"Structure: {result.structure}\nPicture: {picture}")
    if result.converged:
        return
    limit = max_steps or settings.max_steps
    if result.steps < limit:
        how = f"Stopped ({stop()}): not converged after {result.steps} steps"
        raise exit_stopped(console, how, go_on if max_steps is None else f"{go_on} --max-steps {max_steps}")
    more = f"{go_on} --max-steps {2 * max(limit, result.steps)}"
    console.print(f"[bold red]Not converged[/] after {result.steps} steps. Go on with: {more}", soft_wrap=True)
    raise typer.Exit(EXIT_NOT_CONVERGED)


def _settings(
    system: str | None, output: Path | None, resume: Path | None, given: dict[str, Any], max_steps: int | None
) -> tuple[RelaxSettings, Path]:
    if resume is not None:
        refuse_changes({"SYSTEM": system, "output": output, **given}, allowed="--max-steps")
        require_run_of("relax", resume)
        return RelaxSettings.from_file(resume / "settings.json"), resume
    if system is None:
        raise ConfigError("name a SYSTEM to relax (for example a CIF file), or a folder to --resume")
    given["model"] = suitable_model(system, given["model"])
    chosen = {name: value for name, value in {**given, "max_steps": max_steps}.items() if value is not None}
    return RelaxSettings(system=system, **chosen), output or Path(f"atomsym-relax-{Path(system).stem}")


def _table(settings: RelaxSettings, result: RelaxResult) -> Table:
    title = f"{Path(settings.system).name}, {result.n_atoms} atoms, model {Path(settings.model).name}"
    table = Table("", "start", "end", title=title)
    start, end = result.start, result.end
    table.add_row("energy (eV)", f"{start.energy:.6f}", f"{end.energy:.6f}")
    if settings.pressure:
        table.add_row("enthalpy (eV)", f"{start.enthalpy:.6f}", f"{end.enthalpy:.6f}")
    table.add_row("largest force (eV/Å)", f"{start.max_force:.4g}", f"{end.max_force:.4g}")
    if start.max_stress is not None and end.max_stress is not None:
        table.add_row("stress beyond the pressure (GPa)", f"{start.max_stress:.4g}", f"{end.max_stress:.4g}")
    if start.volume is not None and end.volume is not None and settings.cell:
        table.add_row("volume (Å³)", f"{start.volume:.4f}", f"{end.volume:.4f}")
    if result.space_group_before is not None:
        table.add_row("space group", str(result.space_group_before), str(result.space_group_after or "–"))
    table.add_row("steps", "", str(result.steps))
    table.add_row("converged", "", f"{'yes' if result.converged else 'no'}: {result.criterion}")
    return table
