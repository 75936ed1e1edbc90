"""``atomsym phonons``: the command line of phonons."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from atomsym.core import ConfigError
from atomsym.workflows.calculator_output import output_aside
from atomsym.workflows.check.load import parse_kwargs
from atomsym.workflows.phonons.result import INVERSE_CM, PhononsResult
from atomsym.workflows.phonons.run import run_phonons
from atomsym.workflows.phonons.settings import ROUTES, PhononsSettings
from atomsym.workflows.structures import BUILTIN_STRUCTURES

TEMPERATURES = (0.0, 100.0, 200.0, 300.0, 500.0, 1000.0)  # K, in the terminal; all are in thermal.csv


def phonons_command(
    system: Annotated[
        str,
        typer.Argument(
            help=f"A crystal structure that ASE reads, or a built-in system ({', '.join(BUILTIN_STRUCTURES)}).",
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
    supercell: Annotated[
        tuple[int, int, int] | None,
        typer.Option(
            help="Repetitions of the given cell, as in --supercell 3 3 3.", show_default="twice the cutoff wide"
        ),
    ] = None,
    relax: Annotated[
        bool, typer.Option("--relax", help="Bring atoms and cell to rest first, space group kept.")
    ] = False,
    fmax: Annotated[float, typer.Option(help="Of that relaxation, eV/Å.")] = 1e-3,
    symprec: Annotated[float, typer.Option(help="Å, within which atoms are related by symmetry.")] = 1e-5,
    route: Annotated[
        str, typer.Option(help=f"To force constants: {', '.join(ROUTES)}.", show_default="auto: hessian if it can")
    ] = "auto",
    displacement: Annotated[float, typer.Option(help="Of finite displacements, Å.")] = 0.01,
    mesh: Annotated[float, typer.Option(help="Density of the mesh of wave vectors, as a length, Å.")] = 60.0,
    temperature_max: Annotated[float, typer.Option(help="Of the thermal properties, K.")] = 1000.0,
    temperature_step: Annotated[float, typer.Option(help="Of the thermal properties, K.")] = 10.0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of the results.", show_default="atomsym-phonons-SYSTEM"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON and nothing else.")] = False,
) -> None:
    """Band structure, density of states and thermal properties of a crystal, with phonopy.

    Models of this package give rows of the Hessian of the supercell, others forces of displaced supercells. The
    acoustic sum rule is imposed, and how much was missing is told. Exit code 0, or 2 for wrong use; imaginary modes and
    other doubts are warnings in the result.

    Examples: `atomsym phonons copper.cif --model cu --relax`,
    `atomsym phonons silicon --supercell 1 1 1`, `atomsym phonons al.cif --model ase.calculators.emt:EMT --relax`.
    """
    console = Console(stderr=True, quiet=as_json)
    if model is None:
        model = BUILTIN_STRUCTURES[system].model if system in BUILTIN_STRUCTURES else ""
    if not model:
        raise ConfigError(f"--model is needed for {system}; list them with: atomsym models")
    settings = PhononsSettings(
        system=system, model=model, kwargs=parse_kwargs(kwargs), supercell=supercell, relax=relax, relax_fmax=fmax,
        symprec=symprec, route=route, displacement=displacement, mesh=mesh,  # type: ignore[arg-type]
        temperature_max=temperature_max, temperature_step=temperature_step, device=device,
    )  # fmt: skip
    folder = output or Path(f"atomsym-phonons-{Path(system).stem}")
    result = _run_with_progress(settings, folder, console)
    from atomsym.workflows.phonons.report import write_report  # matplotlib takes a while to import

    pictures = write_report(settings, result, folder)
    if as_json:
        typer.echo(result.to_json(), nl=False)
        return
    show(result, settings, console)
    console.print(f"Results:  {folder}\nPictures: {pictures[0]}, {pictures[1]}")


def show(result: PhononsResult, settings: PhononsSettings, console: Console) -> None:
    """Tables of the main numbers and of thermal properties, and the warnings."""
    console.print(_summary(result, settings))
    console.print(_thermal_table(result))
    for note in result.warnings:
        console.print(f"[bold yellow]warning:[/] {escape(note)}", highlight=False)


def _run_with_progress(settings: PhononsSettings, folder: Path, console: Console) -> PhononsResult:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=console.quiet) as bar, output_aside():
        task = bar.add_task("working")

        def progress(what: str, done: int, of: int) -> None:
            bar.update(task, description=f"{what}: {done}{f' of {of}' if of else ''}")

        return run_phonons(settings, folder, progress)


def _summary(result: PhononsResult, settings: PhononsSettings) -> Table:
    found = result.force_constants
    size = " × ".join(map(str, result.supercell))
    formula = str(result.primitive.symbols.formula.reduce()[0])
    table = Table(
        "",
        "",
        title=f"Phonons of {formula}, model {Path(settings.model).name}",
        show_header=False,
        title_justify="left",
    )
    work = (
        f"{found.evaluations} Hessian rows" if found.route == "hessian" else f"{found.evaluations} displaced supercells"
    )
    table.add_row("supercell", f"{size}, {result.n_supercell} atoms; {len(result.primitive)} in the primitive cell")
    table.add_row("force constants", f"{found.route}, {work}, largest {found.scale:.4g} eV/Å²")
    table.add_row(
        "acoustic sum rule", f"violated by {found.sum_rule_before:.1e} eV/Å², imposed: {found.sum_rule_after:.1e}"
    )
    table.add_row("acoustic modes at Γ", ", ".join(_both(value) for value in result.gamma[:3]))
    if len(result.gamma) > 3:
        table.add_row("optical modes at Γ", ", ".join(_both(value) for value in np.sort(result.gamma[3:])[:12]))
    table.add_row("highest mode", _both(max(float(piece.max()) for piece in result.bands.frequencies)))
    table.add_row("path", result.bands.path.replace("G", "Γ"))
    stress = "" if result.max_stress is None else f", stress {result.max_stress:.3g} GPa"
    table.add_row("residual", f"force {result.max_force:.2g} eV/Å{stress}")
    return table


def _both(frequency: float) -> str:
    """THz and 1/cm; zero within rounding is written as such."""
    if abs(frequency) < 1e-4:
        return "0"
    sign, size = ("i" if frequency < 0 else ""), abs(frequency)
    return f"{size:.3f}{sign} THz ({size * INVERSE_CM:.1f}{sign} 1/cm)"


def _thermal_table(result: PhononsResult) -> Table:
    title = "Thermal properties per mole of primitive cells, harmonic, at constant volume"
    table = Table("T (K)", "F (kJ/mol)", "S (J/mol/K)", "C_V (J/mol/K)", title=title)
    for column in table.columns:
        column.justify = "right"
    thermal = result.thermal
    for temperature in TEMPERATURES:
        if temperature <= thermal.temperatures[-1]:
            columns = (thermal.free_energy, thermal.entropy, thermal.heat_capacity)
            values = [float(np.interp(temperature, thermal.temperatures, column)) for column in columns]
            table.add_row(f"{temperature:g}", *(f"{value:.3f}" for value in values))
    return table
