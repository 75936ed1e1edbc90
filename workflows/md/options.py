"""The options of ``atomsym md`` that no other program has, for typer; None means that the option was not given."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from atomsym.workflows.run_options import FILES, WHAT, WHEN, option

Ensemble = Annotated[
    str | None, option(WHAT, "nve, nvt-langevin (nvt), nvt-nose-hoover, npt-isotropic (npt) or npt-full-cell.", "nvt")
]
Temperature = Annotated[float | None, option(WHAT, "K.", "300")]
Pressure = Annotated[float | None, option(WHAT, "GPa, for npt; 1 bar is 0.0001.", "0.0001")]
ThermostatTime = Annotated[float | None, option(WHAT, "fs; shorter couples more strongly.", "100")]
BarostatTime = Annotated[float | None, option(WHAT, "fs, for npt; shorter couples more strongly.", "1000")]
Repeat = Annotated[tuple[int, int, int] | None, option(WHAT, "Supercell, e.g. 2 2 2.", "1 1 1")]
Seed = Annotated[int | None, option(WHAT, "Of velocities and noise.", "0")]
Timestep = Annotated[float | None, option(WHEN, "fs; 0.5 with hydrogen.", "1")]
Steps = Annotated[int | None, option(WHEN, "Production steps.", "1000")]
EquilibrationSteps = Annotated[int | None, option(WHEN, "Langevin steps before production.", "0")]
AllowDiscontinuous = Annotated[
    bool | None,
    option(WHAT, "Run with a model whose energy jumps somewhere: energy is not conserved.", "--no-allow-discontinuous"),
]
Resume = Annotated[
    Path | None, option(WHEN, "Continue the run in this folder as it was begun; its report is drawn anew.")
]
LogEvery = Annotated[int | None, option(FILES, "Steps between log rows.", "10")]
TrajectoryEvery = Annotated[int | None, option(FILES, "Steps between frames.", "50")]
CheckpointEvery = Annotated[int | None, option(FILES, "Steps between restart files.", "1000")]
Reference = Annotated[
    list[str] | None,
    option(
        FILES,
        "Draw a measured g(r) over ours: a file with columns r (Å) and g, or PAIR=FILE such as O-H=goh.dat; "
        "repeatable.",
    ),
]
