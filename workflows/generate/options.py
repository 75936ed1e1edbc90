"""Options of ``atomsym generate``, for typer; None means that the option was not given."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from atomsym.workflows.run_options import FILES, option

WHICH, HOW = "Which crystals", "How they are made"

Text = str | None

N = Annotated[int | None, option(WHICH, "How many different crystals.", "100", "--n", "-n")]
Elements = Annotated[Text, option(WHICH, "Elements that may occur, such as Ti,O.", "all")]
Require = Annotated[Text, option(WHICH, "Elements that must occur.", "none")]
System = Annotated[Text, option(WHICH, "All of these elements and no others, such as Ti-O.")]
Exclude = Annotated[Text, option(WHICH, "Elements that may not occur.", "none")]
Formula = Annotated[Text, option(WHICH, "Exact composition, such as TiO2.", "any")]
SpaceGroup = Annotated[
    Text, option(WHICH, "Numbers, such as 136,62 or 195-230.", "as in the training data", "--space-group", "-g")
]
NAtoms = Annotated[int | None, option(WHICH, "Exactly so many atoms in the conventional cell.", "any")]
MaxAtoms = Annotated[int | None, option(WHICH, "At most so many.", "60")]
Generator = Annotated[Text, option(HOW, "Generator of protostructures: a name or a file.", "wyformer")]
Temperature = Annotated[float | None, option(HOW, "Of the draws; below 1 likelier crystals.", "1")]
Target = Annotated[
    list[str] | None,
    option(HOW, "Property to aim at, NAME=VALUE, such as formation_energy_per_atom=-2; repeatable.", "none"),
]
Guidance = Annotated[float | None, option(HOW, "How strongly; 1 as learned, more to exaggerate.", "1")]
Realisations = Annotated[int | None, option(HOW, "Geometries tried for each protostructure.", "4")]
Prototypes = Annotated[
    list[str] | None,
    option(
        HOW,
        "Known crystals whose geometries are tried before random ones: `aflow` (prototypes that come with pymatgen), a "
        "table with CIF texts, a folder or file of structures, or a known set; repeatable.",
        "aflow",
    ),
]
NoPrototypes = Annotated[bool, typer.Option("--no-prototypes", help="Random geometries only.", rich_help_panel=HOW)]
Relax = Annotated[Text, option(HOW, "Relax with this model, `chgnet`, or module:factory of an ASE calculator.", "not")]
Free = Annotated[bool, typer.Option("--free", help="Then relax without symmetry.", rich_help_panel=HOW)]
Fmax = Annotated[float | None, option(HOW, "At rest below this force, eV/Å.", "0.05")]
MaxSteps = Annotated[int | None, option(HOW, "Of each relaxation.", "200")]
TimeLimit = Annotated[float | None, option(HOW, "For the relaxations of a crystal, s.", "120")]
Seed = Annotated[int | None, option(HOW, "Of everything random.", "0")]
Symprec = Annotated[float | None, option(HOW, "Of the analysis of prototypes and results, Å.", "0.01")]
Output = Annotated[Path | None, option(FILES, "Folder of the run.", "atomsym-generate", "--output", "--out", "-o")]
