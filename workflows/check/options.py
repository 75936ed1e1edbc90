"""The options of ``atomsym check``, for typer; None means that the option was not given."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Calculator = Annotated[
    str,
    typer.Argument(
        help="A model name or file, or module:factory of any ASE calculator, e.g. ase.calculators.emt:EMT.",
        show_default=False,
    ),
]
Kwargs = Annotated[
    str | None,
    typer.Option(help="Arguments of the calculator as JSON, e.g. '{\"sigma\": 3.4}'.", show_default=False),
]
Structure = Annotated[
    Path | None,
    typer.Option(
        "--structure",
        "-s",
        help="Test on this file that ASE reads, or a built-in structure (water).",
        show_default="automatic",
    ),
]
Elements = Annotated[
    str | None, typer.Option(help="Test on these elements, e.g. Cu,Au or H,O.", show_default="automatic")
]
Only = Annotated[list[str] | None, typer.Option(help="Run this check only, e.g. F-11; repeatable.", show_default="all")]
Dtype = Annotated[str | None, typer.Option(help="float32 or float64: which bounds hold.", show_default="detected")]
Cutoff = Annotated[float | None, typer.Option(help="Interaction radius in Å.", show_default="found by a dimer scan")]
Timestep = Annotated[float | None, typer.Option(help="Of the dynamics, fs.", show_default="1, with hydrogen 0.5")]
Temperature = Annotated[
    float | None, typer.Option(help="Hot start of the dynamics, K.", show_default="from the cohesive energy")
]
Duration = Annotated[
    float | None, typer.Option(help="Of the dynamics, ps.", show_default="2, less if slow; thorough: 20")
]
Thorough = Annotated[bool, typer.Option("--thorough", help="Full lengths; takes minutes.")]
Seed = Annotated[int, typer.Option(min=0, help="Of all random choices.")]
Html = Annotated[Path | None, typer.Option(help="Write a page with plots to this file.", show_default=False)]
JsonFile = Annotated[
    Path | None, typer.Option("--json-file", help="Write all numbers to this file.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON and nothing else.")]
