"""The options of ``atomsym relax`` that no other program has, for typer; None means that the option was not given."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from atomsym.workflows.relax.settings import OPTIMIZERS
from atomsym.workflows.run_options import WHAT, WHEN, option

Cell = Annotated[bool | None, option(WHAT, "Relax the lattice vectors too.", False, "--cell")]
Pressure = Annotated[float | None, option(WHAT, "GPa, with --cell.", "0")]
FixSymmetry = Annotated[
    bool | None, option(WHAT, "Keep the space group of the start (needs spglib).", False, "--fix-symmetry")
]
FreeParameters = Annotated[
    bool | None,
    option(
        WHAT, "Relax only what the space group leaves free, in the standard cell.", False,
        "--free-parameters",
    ),
]  # fmt: skip
Symprec = Annotated[float | None, option(WHAT, "Å, within which atoms count as symmetric.", "0.01")]
Optimizer = Annotated[str | None, option(WHEN, f"{', '.join(OPTIMIZERS)} (the package geomeTRIC).", "lbfgs")]
Fmax = Annotated[float | None, option(WHEN, "Converged when no force is larger, eV/Å …", "0.01")]
Smax = Annotated[float | None, option(WHEN, "… and, with --cell, no stress is farther from the pressure, GPa.", "0.01")]
MaxSteps = Annotated[int | None, option(WHEN, "Give up after these many steps.", "500")]
Resume = Annotated[Path | None, option(WHEN, "Continue in this folder; --max-steps may be raised.")]
