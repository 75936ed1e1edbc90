"""``atomsym vibrations``: the command line of vibrations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from ase import units
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from atomsym.core import ConfigError
from atomsym.workflows.calculator_output import output_aside
from atomsym.workflows.check.load import parse_kwargs
from atomsym.workflows.hessian_source import Source
from atomsym.workflows.structures import BUILTIN_STRUCTURES
from atomsym.workflows.vibrations.result import VibrationsResult
from atomsym.workflows.vibrations.run import run_vibrations
from atomsym.workflows.vibrations.settings import ENTROPIES, VibrationsSettings
from atomsym.workflows.vibrations.thermochemistry import Thermochemistry

KJ_MOL = units.kJ / units.mol
SHOWN = 40  # modes in the table; all are in modes.csv


def vibrations_command(
    system: Annotated[
        str,
        typer.Argument(
            help=f"A structure file that ASE reads, or a built-in system ({', '.join(BUILTIN_STRUCTURES)}).",
            show_default=False,
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="Model name or file (see `atomsym models`), or module:factory of another ASE calculator.",
            show_default="that of a built-in system",
        ),
    ] = None,
    kwargs: Annotated[str | None, typer.Option(help="Arguments of module:factory as JSON.", show_default=False)] = None,
    relax: Annotated[bool, typer.Option("--relax", help="Bring the atoms to rest first.")] = False,
    fmax: Annotated[float, typer.Option(help="Of that relaxation, eV/Å.")] = 1e-3,
    temperature: Annotated[float, typer.Option("--temperature", "-T", help="Of the thermochemistry, K.")] = 298.15,
    pressure: Annotated[float, typer.Option(help="Of the ideal gas, bar.")] = 1.0,
    symmetry_number: Annotated[
        int | None, typer.Option(help="Rotational symmetry number.", show_default="from the geometry")
    ] = None,
    multiplicity: Annotated[
        int | None, typer.Option(help="2S + 1 of the ground state.", show_default="lowest possible")
    ] = None,
    charge: Annotated[int, typer.Option(help="Of the system, e; the calculator is told by --kwargs or the file.")] = 0,
    entropy: Annotated[
        str, typer.Option(help=f"{' or '.join(ENTROPIES)} (Grimme: soft modes as rotors).")
    ] = "harmonic",
    rotor_cutoff: Annotated[float, typer.Option(help="Where an oscillator is half a rotor, 1/cm.")] = 100.0,
    hessian: Annotated[str, typer.Option(help=f"{', '.join(get_args(Source))}.")] = "auto",
    step: Annotated[float, typer.Option(help="Of finite differences, Å.")] = 0.005,
    width: Annotated[float, typer.Option(help="Of drawn lines (full width at half maximum), 1/cm.")] = 20.0,
    trajectories: Annotated[int, typer.Option(help="How many modes are written as trajectories, softest first.")] = 60,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    dtype: Annotated[str, typer.Option(help="float32 or float64; Hessians are float64 always.")] = "float64",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of the results.", show_default="atomsym-vibrations-SYSTEM"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON and nothing else.")] = False,
) -> None:
    """Normal modes, spectrum and thermochemistry of a structure at rest.

    Translations and rotations are projected out; imaginary modes are shown as such. Infrared intensities are there if
    the calculator gives dipole moments. Exit code 0, or 2 for wrong use; doubts are warnings in the result.

    Examples: `atomsym vibrations molecule.xyz --model ase.calculators.emt:EMT --relax`,
    `atomsym vibrations water.xyz --model tblite.ase:TBLite --relax --temperature 373.15`.
    """
    console = Console(stderr=True, quiet=as_json)
    if model is None:
        model = BUILTIN_STRUCTURES[system].model if system in BUILTIN_STRUCTURES else ""
    if not model:
        raise ConfigError(f"--model is needed for {system}; list them with: atomsym models")
    settings = VibrationsSettings(
        system=system, model=model, kwargs=parse_kwargs(kwargs), relax=relax, relax_fmax=fmax,
        temperature=temperature, pressure=pressure, symmetry_number=symmetry_number, multiplicity=multiplicity,
        charge=charge, entropy=entropy, rotor_cutoff=rotor_cutoff, source=hessian, step=step,  # type: ignore[arg-type]
        width=width, trajectories=trajectories, device=device, dtype=dtype,
    )  # fmt: skip
    folder = output or Path(f"atomsym-vibrations-{Path(system).stem}")
    result = _run_with_progress(settings, folder, console)
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
    for note in result.warnings:
        console.print(f"[bold yellow]warning:[/] {escape(note)}", highlight=False)


def _run_with_progress(settings: VibrationsSettings, folder: Path, console: Console) -> VibrationsResult:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=console.quiet) as bar, output_aside():
        task = bar.add_task("preparing")

        def progress(what: str, done: int, of: int) -> None:
            bar.update(task, description=f"{what}: {done}{f' of {of}' if of else ''}")

        return run_vibrations(settings, folder, progress)


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
