"""The options of ``atomsym ts`` that no other program has, for typer; None means that the option was not given."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from atomsym.workflows.run_options import MACHINE, WHAT, WHEN, option
from atomsym.workflows.transition_states.settings import SEARCHES

SEARCH = "The search"

Guess = Annotated[
    str | None,
    typer.Argument(help="Structure near the transition state, in a file that ASE reads.", show_default=False),
]
Reactant = Annotated[str | None, option(WHAT, "Instead of a GUESS: one minimum …")]
Product = Annotated[str | None, option(WHAT, "… and the other, its atoms in the same order.")]
TrustOrder = Annotated[
    bool | None, option(WHAT, "The atoms are in the right order even if it looks permuted.", False, "--trust-order")
]
Model = Annotated[
    str | None,
    option(MACHINE, "Model name or file (see `atomsym models`), or module:factory of another ASE calculator."),
]
Optimizer = Annotated[str | None, option(SEARCH, f"{', '.join(SEARCHES)} (the package geomeTRIC).", "prfo")]
Mode = Annotated[int | None, option(SEARCH, "Follow this mode of the GUESS uphill.", "0, the lowest")]
HessianEvery = Annotated[
    int | None, option(SEARCH, "Steps between computed Hessians, updated between; 0: at the start only.", "1")
]
Imaginary = Annotated[float | None, option(SEARCH, "1/cm, beyond which a mode is imaginary.", "30")]
Images = Annotated[int | None, option(SEARCH, "Of the band, both ends included.", "9")]
NebFmax = Annotated[float | None, option(SEARCH, "Largest force on the band, eV/Å.", "0.5")]
Fmax = Annotated[float | None, option(WHEN, "Largest force at the end, eV/Å.", "0.01")]
MaxSteps = Annotated[int | None, option(WHEN, "Of the search and of each relaxation.", "200")]
Resume = Annotated[Path | None, option(WHEN, "Continue in this folder; --max-steps may be raised.")]
