"""The options of ``atomsym vibrations`` that no other program has, for typer; None means that it was not given."""

from __future__ import annotations

from typing import Annotated

from atomsym.workflows.hessian_source import SOURCES
from atomsym.workflows.run_options import FILES, WHAT, option
from atomsym.workflows.vibrations.settings import ENTROPIES

THERMOCHEMISTRY, DERIVATIVES = "Thermochemistry", "Second derivatives"

Relax = Annotated[bool | None, option(WHAT, "Bring the atoms to rest first.", False, "--relax")]
Fmax = Annotated[float | None, option(WHAT, "Of that relaxation, eV/Å.", "0.001")]
Charge = Annotated[int | None, option(WHAT, "Of the system, e; the calculator is told by --kwargs or the file.", "0")]
Hessian = Annotated[str | None, option(DERIVATIVES, f"{', '.join(SOURCES)}.", "auto")]
Step = Annotated[float | None, option(DERIVATIVES, "Of finite differences, Å.", "0.005")]
Temperature = Annotated[float | None, option(THERMOCHEMISTRY, "K.", "298.15", "--temperature", "-T")]
Pressure = Annotated[float | None, option(THERMOCHEMISTRY, "Of the ideal gas, bar.", "1")]
SymmetryNumber = Annotated[int | None, option(THERMOCHEMISTRY, "Rotational symmetry number.", "from the geometry")]
Multiplicity = Annotated[int | None, option(THERMOCHEMISTRY, "2S + 1 of the ground state.", "lowest possible")]
Entropy = Annotated[
    str | None, option(THERMOCHEMISTRY, f"{' or '.join(ENTROPIES)} (Grimme: soft modes as rotors).", "harmonic")
]
RotorCutoff = Annotated[float | None, option(THERMOCHEMISTRY, "Where an oscillator is half a rotor, 1/cm.", "100")]
Width = Annotated[float | None, option(FILES, "Of drawn lines (full width at half maximum), 1/cm.", "20")]
Trajectories = Annotated[int | None, option(FILES, "How many modes are written as trajectories, softest first.", "60")]
