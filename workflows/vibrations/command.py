"""``atomsym vibrations``: the command line of vibrations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer
from ase import units
from rich.console import Console
from rich.table import Table

from atomsym.calculators.ase.load import parse_kwargs
from atomsym.core import ConfigError
from atomsym.workflows.calculator_output import output_aside
from atomsym.workflows.run_folders import require_run_of
from atomsym.workflows.run_options import AsJson, Device, Dtype, Kwargs, MaxMinutes, Model, Output, Resume, System
from atomsym.workflows.run_settings import refuse_changes
from atomsym.workflows.status_line import counted, print_warnings, status_line
from atomsym.workflows.stopping import StoppedError, exit_stopped, stoppable
from atomsym.workflows.structures import suitable_model
from atomsym.workflows.vibrations import options
from atomsym.workflows.vibrations.result import VibrationsResult
from atomsym.workflows.vibrations.run import resume_vibrations, run_vibrations
from atomsym.workflows.vibrations.settings import VibrationsSettings
from atomsym.workflows.vibrations.thermochemistry import Thermochemistry

KJ_MOL = units.kJ / units.mol
SHOWN = 40  # modes in the table; all are in modes.csv


def vibrations_command(
    system: System = None,
    model: Model = None,
    kwargs: Kwargs = None,
    relax: options.Relax = None,
    fmax: options.Fmax = None,
    charge: options.Charge = None,
    hessian: options.Hessian = None,
    step: options.Step = None,
    max_minutes: MaxMinutes = None,
    resume: Resume = None,
    temperature: options.Temperature = None,
    pressure: options.Pressure = None,
    symmetry_number: options.SymmetryNumber = None,
    multiplicity: options.Multiplicity = None,
    entropy: options.Entropy = None,
    rotor_cutoff: options.RotorCutoff = None,
    width: options.Width = None,
    trajectories: options.Trajectories = None,
    device: Device = None,
    dtype: Dtype = None,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Normal modes, spectrum and thermochemistry of a structure at rest.

    Translations and rotations are projected out; imaginary modes are shown as such. Infrared intensities are there if
    the calculator gives dipole moments. Doubts are warnings in the result.

    Examples: `atomsym vibrations molecule.xyz --model ase.calculators.emt:EMT --relax`,
    `atomsym vibrations water.xyz --model tblite.ase:TBLite --relax --temperature 373.15`.
    """
    console = Console(stderr=True, quiet=as_json)
    given: dict[str, Any] = {
        "model": model, "kwargs": parse_kwargs(kwargs) or None, "relax": relax, "relax_fmax": fmax,
        "temperature": temperature, "pressure": pressure, "symmetry_number": symmetry_number,
        "multiplicity": multiplicity, "charge": charge, "entropy": entropy, "rotor_cutoff": rotor_cutoff,
        "source": hessian, "step": step, "width": width, "trajectories": trajectories, "device": device, "dtype": dtype,
    }  # fmt: skip
    settings, folder = _settings(system, output, resume, given)
    result = _run(settings, folder, resume is not None, max_minutes, console)
    from atomsym.workflows.vibrations.report import write_report  # matplotlib takes a while to import

    picture = write_report(settings, result, folder)
    if as_json:
        typer.echo(result.to_json(), nl=False)
        return
    show(result, settings, console)
    console.print(f"Results: {folder}\nPicture: {picture}")
    if len(result.modes):
        console.print(f"Modes:   {folder / 'modes'} (trajectories), {folder / 'modes.xyz'} (arrows)")


def show(result: VibrationsResult, settings: VibrationsSettings, console: Console) -> None:
    """Tables of modes and thermochemistry, and the warnings."""
    console.print(_modes_table(result, settings))
    console.print(_thermochemistry_table(result.thermochemistry, result.energy))
    print_warnings(result.warnings, console)


def _settings(
    system: str | None, output: Path | None, resume: Path | None, given: dict[str, Any]
) -> tuple[VibrationsSettings, Path]:
    if resume is not None:
        refuse_changes({"SYSTEM": system, "output": output, **given})
        require_run_of("vibrations", resume)
        return VibrationsSettings.from_file(resume / "settings.json"), resume
    if system is None:
        raise ConfigError("name a SYSTEM whose vibrations are wanted, or a folder to --resume")
    given["model"] = suitable_model(system, given["model"])
    settings = VibrationsSettings(system, **{name: value for name, value in given.items() if value is not None})
    return settings, output or Path(f"atomsym-vibrations-{Path(system).stem}")


def _run(
    settings: VibrationsSettings, folder: Path, resuming: bool, max_minutes: float | None, console: Console
) -> VibrationsResult:
    go_on = f"atomsym vibrations --resume {folder}"
    with stoppable(console, go_on, max_minutes) as stop, status_line(console) as say, output_aside():

        def progress(what: str, done: int, of: int) -> None:
            say(counted(what, done, of))

        try:
            if resuming:
                return resume_vibrations(folder, progress, stop)
            return run_vibrations(settings, folder, progress, stop)
        except StoppedError as stage:
            how = f"Stopped ({stop()}) in: {stage}"
    raise exit_stopped(console, how, go_on)


def _modes_table(result: VibrationsResult, settings: VibrationsSettings) -> Table:
    modes = result.modes
    formula, model = result.atoms.get_chemical_formula(), Path(settings.model).name
    removed = f"{modes.n_translations} translations and {modes.n_rotations} rotations projected out"
    if modes.shape == "held":
        removed = f"{len(result.hessian.indices)} of {len(result.atoms)} atoms move, nothing is projected out"
    columns: list[Any] = ["mode", "wavenumber (1/cm)", "reduced mass (amu)", "force constant (eV/Å²)"]
    if result.intensities is not None:
        columns.append("infrared (km/mol)")
    table = Table(*columns, title=f"{formula}, model {model}", caption=f"Hessian: {result.hessian}; {removed}")
    for column in table.columns:
        column.justify = "right"
    for k in range(min(SHOWN, len(modes))):
        wavenumber = float(modes.wavenumbers[k])
        text = f"{wavenumber:.1f}" if wavenumber >= 0 else f"[bold red]{-wavenumber:.1f}i[/]"
        row = [str(k + 1), text, f"{modes.reduced_masses[k]:.3f}", f"{modes.force_constants[k]:.3f}"]
        if result.intensities is not None:
            row.append(f"{result.intensities[k]:.1f}")
        table.add_row(*row)
    if len(modes) > SHOWN:
        table.add_row("…", f"{modes.wavenumbers[-1]:.1f}", "", "")
    return table


def _thermochemistry_table(found: Thermochemistry, energy: float) -> Table:
    gas = found.pressure is not None
    where = f"{found.temperature:g} K" + (f", {found.pressure:g} bar" if gas else "")
    table = Table("", "eV", "kJ/mol", "with the potential energy (eV)", title=f"Thermochemistry at {where}")
    for column in table.columns[1:]:
        column.justify = "right"
    free = "Gibbs free energy" if gas else "Helmholtz free energy"
    rows = [("zero-point energy", found.zero_point_energy), ("internal energy", found.internal_energy)]
    rows += [("enthalpy", found.enthalpy)] if gas else []
    for name, value in [*rows, (free, found.free_energy)]:
        table.add_row(name, f"{value:.5f}", f"{value / KJ_MOL:.3f}", f"{energy + value:.5f}")
    parts = ", ".join(f"{name} {value / KJ_MOL * 1e3:.2f}" for name, value in found.entropy_parts.items())
    total = found.entropy / KJ_MOL * 1e3
    notes = [found.model, f"entropy {total:.2f} J/(mol K): {parts}"]
    if found.symmetry_number is not None:
        number = found.symmetry_number
        notes.append(f"symmetry number {number.value} ({number.origin}), multiplicity {found.multiplicity}")
    table.caption = "\n".join(notes)
    return table
