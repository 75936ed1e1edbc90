"""The options of ``atomsym evaluate-crystals``, for typer; None means that the option was not given."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_SOURCE = "a table with CIF texts, a folder or file of structures, or a known set"

Generated = Annotated[str, typer.Argument(help=f"Generated crystals: {_SOURCE}.", show_default=False)]
Reference = Annotated[str, typer.Option("--reference", help=f"Real crystals to be like: {_SOURCE}; best a test set.")]
Known = Annotated[
    list[str] | None,
    typer.Option(
        "--known",
        help="Crystals that are not new, such as training data; repeatable.",
        show_default="those of --reference",
    ),
]
HullPhases = Annotated[
    list[str] | None, typer.Option("--hull", help="Phases with energies for distances from the hull; repeatable.")
]
Energy = Annotated[str | None, typer.Option(help="Property with the energies for --hull.", show_default="found")]
HullDistance = Annotated[
    str | None, typer.Option(help="Property with distances from a hull, eV/atom, instead of --hull.")
]
RequestedGroup = Annotated[
    str | None, typer.Option(help="Property with the space groups that the crystals were meant to have.")
]
Stable = Annotated[float, typer.Option(help="Highest distance of stable crystals, eV/atom.")]
Metastable = Annotated[float, typer.Option(help="Highest distance of metastable crystals, eV/atom.")]
Symprec = Annotated[float, typer.Option(help="Tolerance of space groups and templates, Å.")]
StrictSymprec = Annotated[float, typer.Option(help="Second tolerance of space groups, Å.")]
LengthTolerance = Annotated[float, typer.Option(help="Structure matcher: relative tolerance of lengths.")]
SiteTolerance = Annotated[float, typer.Option(help="Structure matcher: tolerance of sites, (V/N)^⅓.")]
AngleTolerance = Annotated[float, typer.Option(help="Structure matcher: tolerance of angles, degrees.")]
Smact = Annotated[bool, typer.Option("--smact", help="Let the package SMACT decide on charges.")]
Recovery = Annotated[bool, typer.Option("--recovery", help="Find the references again: METRe and cRMSE.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Take the first crystals only.", show_default="all")]
Seed = Annotated[int, typer.Option(help="Of the draws of real crystals.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Folder for report, plots and a table of the crystals.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON and nothing else.")]
