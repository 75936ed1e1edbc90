"""Options that several benchmarks have, for typer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Kwargs = Annotated[
    str | None,
    typer.Option(
        help="Arguments of the calculators' factories, or of those of own models, as JSON.", show_default=False
    ),
]
Data = Annotated[Path | None, typer.Option(help="The data folder with the sets.", show_default="ATOMSYM_DATA")]
Folder = Annotated[
    Path, typer.Option("--output", "-o", help="Folder of the results; one that holds some is gone on with.")
]
MaxMinutes = Annotated[
    float | None, typer.Option(help="Stop after this time; the same command goes on.", show_default="no limit")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON and nothing else.")]
