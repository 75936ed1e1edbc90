"""The options of ``atomsym phonons`` that no other program has, for typer; None means that it was not given."""

from __future__ import annotations

from typing import Annotated

from atomsym.workflows.phonons.settings import ROUTES
from atomsym.workflows.run_options import FILES, WHAT, option

FORCES = "Force constants"

Relax = Annotated[bool | None, option(WHAT, "Bring atoms and cell to rest first, space group kept.", False, "--relax")]
Fmax = Annotated[float | None, option(WHAT, "Of that relaxation, eV/Å.", "0.001")]
Symprec = Annotated[float | None, option(WHAT, "Å, within which atoms are related by symmetry.", "1e-5")]
Supercell = Annotated[
    tuple[int, int, int] | None,
    option(FORCES, "Repetitions of the given cell, as in --supercell 3 3 3.", "twice the cutoff wide"),
]
Route = Annotated[str | None, option(FORCES, f"{', '.join(ROUTES)}.", "auto: hessian if it can")]
Displacement = Annotated[float | None, option(FORCES, "Of finite displacements, Å.", "0.01")]
Mesh = Annotated[float | None, option(FILES, "Density of the mesh of wave vectors, as a length, Å.", "60")]
TemperatureMax = Annotated[float | None, option(FILES, "Of the thermal properties, K.", "1000")]
TemperatureStep = Annotated[float | None, option(FILES, "Of the thermal properties, K.", "10")]
