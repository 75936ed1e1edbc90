"""Options that the programs that train share, for typer."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

ConfigFile = Annotated[Path | None, typer.Argument(metavar="[CONFIG.yaml]", help="What to do.", show_default=False)]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Folder of the run.", show_default="atomsym-train-NAME")
]


def overrides(example: str) -> Any:
    """``--set`` of entries of the config, with an example."""
    return typer.Option("--set", help=f"Replace an entry, e.g. {example}; repeatable.", show_default=False)


def resume(entries: Iterable[str]) -> Any:
    """``--resume``, and which entries of the config may change then."""
    text = f"Go on with the run in this folder; of the settings only {', '.join(entries)} may change."
    return typer.Option("--resume", help=text, show_default=False)
