"""Options that several programs have, for typer; None means that the option was not given."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from atomsym.workflows.stopping import EXIT_STOPPED
from atomsym.workflows.structures import BUILTIN_STRUCTURES

WHAT, WHEN, FILES, MACHINE = "What to simulate", "How long", "Results", "Model and machine"


def option(panel: str, text: str, default: str | bool = False, *names: str) -> Any:
    """An option that stands in a panel of the help.

    Args:
        panel: its title.
        text: the help.
        default: what is shown as the default, False for nothing.
        names: on the command line; else they follow from the name of the parameter.
    """
    return typer.Option(*names, help=text, show_default=default, rich_help_panel=panel)


System = Annotated[
    str | None,
    typer.Argument(
        help=(
            f"A built-in system ({', '.join(BUILTIN_STRUCTURES)}), a molecule of ASE's g2 set such as CH3CH2OH, or a "
            "structure file that ASE reads."
        ),
        show_default=False,
    ),
]
Model = Annotated[
    str | None,
    option(
        MACHINE,
        "Model name or file (see `atomsym models`), or module:factory of another ASE calculator.",
        "that of a built-in system",
    ),
]
Kwargs = Annotated[
    str | None, option(MACHINE, "Arguments of module:factory, or of the calculator of a model, as JSON.")
]
Device = Annotated[str | None, option(MACHINE, "cpu or cuda.", "cpu")]
Dtype = Annotated[
    str | None, option(MACHINE, "float32 or float64, of the model; positions are always float64.", "float64")
]
MaxMinutes = Annotated[
    float | None, option(WHEN, f"Stop after this time with exit code {EXIT_STOPPED}; --resume goes on.", "no limit")
]
Resume = Annotated[Path | None, option(WHEN, "Continue in this folder.")]
Output = Annotated[Path | None, option(FILES, "Folder of the run.", "atomsym-PROGRAM-SYSTEM", "--output", "-o")]
AsJson = Annotated[bool, option(FILES, "Print the result as JSON and nothing else.", False, "--json")]
