"""``atomsym phonons``: the command line of phonons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from atomsym.calculators.ase.load import parse_kwargs
from atomsym.core import ConfigError
from atomsym.workflows.calculator_output import output_aside
from atomsym.workflows.phonons import options
from atomsym.workflows.phonons.result import INVERSE_CM, PhononsResult
from atomsym.workflows.phonons.run import run_phonons
from atomsym.workflows.phonons.settings import PhononsSettings
from atomsym.workflows.run_options import AsJson, Device, Kwargs, Model, Output, System
from atomsym.workflows.status_line import counted, print_warnings, status_line
from atomsym.workflows.structures import suitable_model

TEMPERATURES = (0.0, 100.0, 200.0, 300.0, 500.0, 1000.0)  # K, in the terminal; all are in thermal.csv


def phonons_command(
    system: System = None,
    model: Model = None,
    kwargs: Kwargs = None,
    supercell: options.Supercell = None,
    relax: options.Relax = None,
    fmax: options.Fmax = None,
    symprec: options.Symprec = None,
    route: options.Route = None,
    displacement: options.Displacement = None,
    mesh: options.Mesh = None,
    temperature_max: options.TemperatureMax = None,
    temperature_step: options.TemperatureStep = None,
    device: Device = None,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Band structure, density of states and thermal properties of a crystal, with phonopy.

    Models of this package give rows of the Hessian of the supercell, others forces of displaced supercells. The
    acoustic sum rule is imposed, and how much was missing is told. Exit code 0, or 2 for wrong use; imaginary modes and
    other doubts are warnings in the result.

    Examples: `atomsym phonons copper.cif --model cu --relax`,
    `atomsym phonons silicon --supercell 1 1 1`, `atomsym phonons al.cif --model ase.calculators.emt:EMT --relax`.
    """
    console = Console(stderr=True, quiet=as_json)
    given: dict[str, Any] = {
        "kwargs": parse_kwargs(kwargs) or None, "supercell": supercell, "relax": relax, "relax_fmax": fmax,
        "symprec": symprec, "route": route, "displacement": displacement, "mesh": mesh,
        "temperature_max": temperature_max, "temperature_step": temperature_step, "device": device,
    }  # fmt: skip
    if system is None:
        raise ConfigError("name a SYSTEM whose phonons are wanted, for example a CIF file")
    chosen = {name: value for name, value in given.items() if value is not None}
    settings = PhononsSettings(system, suitable_model(system, model), **chosen)
    folder = output or Path(f"atomsym-phonons-{Path(system).stem}")
    with status_line(console) as say, output_aside():
        result = run_phonons(settings, folder, lambda what, done, of: say(counted(what, done, of)))
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
    print_warnings(result.warnings, console)


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
