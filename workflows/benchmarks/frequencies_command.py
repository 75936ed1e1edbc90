"""``atomsym benchmark frequencies``: a model's harmonic frequencies of small molecules beside GFN2-xTB's."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from atomsym.artifacts import write_atomically
from atomsym.calculators.ase.load import parse_kwargs
from atomsym.workflows.benchmarks.frequencies import (
    KJ_PER_MOL,
    MOLECULES,
    REFERENCE,
    FrequencyResult,
    FrequencySettings,
    compare_frequencies,
    rows_of,
)
from atomsym.workflows.calculator_output import output_aside
from atomsym.workflows.paths import make_folder
from atomsym.workflows.status_line import counted, status_line

EXIT_NOTHING_COMPARED = 1


def frequencies_command(
    model: Annotated[str, typer.Argument(help="Model name or file, or module:factory of another ASE calculator.")],
    kwargs: Annotated[
        str | None, typer.Option(help="Arguments of the model's factory, as JSON.", show_default=False)
    ] = None,
    molecules: Annotated[
        str, typer.Option(help="Names of ase.build.molecule, separated by commas.", show_default="20 of H, C, N, O, F")
    ] = ",".join(MOLECULES),
    reference: Annotated[
        str, typer.Option(help="The method beside it.", show_default="GFN2-xTB of tblite")
    ] = REFERENCE,
    reference_kwargs: Annotated[
        str | None, typer.Option(help="Arguments of its factory, as JSON.", show_default=False)
    ] = None,
    fmax: Annotated[float, typer.Option(help="Largest force at a minimum, eV/Å.")] = 1e-3,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the results.")] = Path(
        "atomsym-frequencies"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON and nothing else.")] = False,
) -> None:
    """Compare harmonic frequencies and zero-point energies of small molecules with those of GFN2-xTB.

    Each method is taken at its own minimum, which it reaches from the same start; modes are paired in rising order.
    Molecules that a method cannot do are recorded and left out of the errors. Exit code 1 if none is left.

    Example: `atomsym benchmark frequencies organic`
    """
    console = Console(stderr=True, quiet=as_json)
    names = tuple(part.strip() for part in molecules.split(",") if part.strip())
    chosen = {"reference": reference, "reference_kwargs": parse_kwargs(reference_kwargs)}
    if reference == REFERENCE and reference_kwargs is None:
        chosen = {}  # the default method and its accuracy
    settings = FrequencySettings(model, parse_kwargs(kwargs), molecules=names, fmax=fmax, **chosen)  # type: ignore[arg-type]
    make_folder(output)
    with status_line(console) as say, output_aside():
        result = compare_frequencies(settings, lambda name, done, of: say(counted(name, done, of)))
    _write(result, output)
    if as_json:
        typer.echo(result.to_json(), nl=False)
    else:
        console.print(_table(result))
        for found in result.molecules:
            if found.error:
                console.print(f"[bold yellow]not compared:[/] {found.name}: {escape(found.error)}", highlight=False)
        console.print(f"Folder: {output}\nPicture: {output / 'frequencies.png'}", soft_wrap=True)
    if not result.compared:
        raise typer.Exit(EXIT_NOTHING_COMPARED)


def _write(result: FrequencyResult, folder: Path) -> None:
    from atomsym.workflows.benchmarks.frequencies_plot import write_picture  # matplotlib is slow to import

    write_atomically(folder / "result.json", result.to_json().encode())
    text = io.StringIO()
    names = ["molecule", "mode", "reference_1_cm", "model_1_cm", "difference_1_cm"]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows_of(result))
    write_atomically(folder / "modes.csv", text.getvalue().encode())
    if result.compared:
        write_picture(result, folder / "frequencies.png")


def _table(result: FrequencyResult) -> Table:
    errors = result.errors()
    title = f"Harmonic frequencies, model {Path(result.settings.model).name} beside {result.settings.reference}"
    table = Table("molecule", title=title)
    columns = ("modes", "MAE (1/cm)", "largest (1/cm)", "zero-point energy (kJ/mol)", "difference (kJ/mol)")
    for name in columns:
        table.add_column(name, justify="right")
    for found in result.compared:
        if found.reference is None or found.zero_point_difference is None:
            continue
        sizes = np.abs(found.differences)
        energies = (found.reference.zero_point_energy * KJ_PER_MOL, found.zero_point_difference * KJ_PER_MOL)
        row = [f"{sizes.mean():.1f}", f"{sizes.max():.1f}", f"{energies[0]:.2f}", f"{energies[1]:+.2f}"]
        table.add_row(found.name, str(len(sizes)), *row)
    if errors["mae_1_cm"] is not None:
        table.caption = (
            f"{errors['n_modes']} modes of {errors['n_molecules']} of {len(result.molecules)} molecules: "
            f"MAE {errors['mae_1_cm']:.1f} 1/cm, RMSE {errors['rmse_1_cm']:.1f} 1/cm, zero-point energy "
            f"MAE {errors['zero_point_mae_kJ_mol']:.2f} kJ/mol, imaginary modes {errors['n_imaginary']}"
        )
    return table
