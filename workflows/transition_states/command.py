"""``atomsym ts``: the command line of a search for a transition state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from atomsym.calculators.ase.load import parse_kwargs
from atomsym.core import ConfigError
from atomsym.workflows.run_folders import require_run_of
from atomsym.workflows.run_options import AsJson, Device, Dtype, Kwargs, MaxMinutes, Output
from atomsym.workflows.run_settings import refuse_changes
from atomsym.workflows.status_line import status_line
from atomsym.workflows.stopping import exit_stopped, stoppable
from atomsym.workflows.transition_states import options
from atomsym.workflows.transition_states.result import KJ_PER_MOL, Stationary, TransitionStateResult
from atomsym.workflows.transition_states.run import resume_ts, run_ts
from atomsym.workflows.transition_states.settings import TransitionStateSettings

EXIT_NOT_VERIFIED = 1


def ts_command(
    guess: options.Guess = None,
    reactant: options.Reactant = None,
    product: options.Product = None,
    trust_order: options.TrustOrder = None,
    optimizer: options.Optimizer = None,
    mode: options.Mode = None,
    hessian_every: options.HessianEvery = None,
    imaginary: options.Imaginary = None,
    images: options.Images = None,
    neb_fmax: options.NebFmax = None,
    fmax: options.Fmax = None,
    max_steps: options.MaxSteps = None,
    max_minutes: MaxMinutes = None,
    resume: options.Resume = None,
    model: options.Model = None,
    kwargs: Kwargs = None,
    device: Device = None,
    dtype: Dtype = None,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Find a transition state of a molecule and show which two minima it connects.

    Verified means: at rest, exactly one imaginary mode, and two different minima on its sides (the two that were given,
    if they were). Exit code 1 if it is not.

    Examples: `atomsym ts guess.xyz --model tblite.ase:TBLite --kwargs '{"verbosity": 0}'`,
    `atomsym ts --reactant hcn.xyz --product hnc.xyz --model my.safetensors`, `atomsym ts --resume atomsym-ts-guess`.
    """
    console = Console(stderr=True, quiet=as_json)
    given: dict[str, Any] = {
        "reactant": reactant, "product": product, "model": model, "kwargs": parse_kwargs(kwargs) or None,
        "optimizer": optimizer, "mode": mode, "fmax": fmax, "hessian_every": hessian_every, "imaginary": imaginary,
        "images": images, "neb_fmax": neb_fmax, "trust_order": trust_order, "device": device, "dtype": dtype,
    }  # fmt: skip
    settings, folder = _settings(guess, output, resume, given, max_steps)
    go_on = f"atomsym ts --resume {folder}"
    with stoppable(console, go_on, max_minutes) as stop, status_line(console) as say:

        def progress(stage: str, step: int, status: str) -> None:
            say(f"{stage}, step {step}  {status}")

        if resume is not None:
            result = resume_ts(folder, progress, stop, max_steps=max_steps)
        else:
            result = run_ts(settings, folder, progress, stop)
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
