"""``atomsym models``: the models that can be used by name."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

import atomsym.calculators  # noqa: F401 - the shipped models become known
from atomsym.artifacts import model_files, read_card
from atomsym.core import AtomsymError
from atomsym.core.elements import SYMBOLS, atomic_number_of


@dataclass(frozen=True)
class ModelRow:
    """One model file; what a damaged file does not tell is empty, and ``error`` says why.

    Attributes:
        name: name to use it by.
        path: its file.
        architecture: kind of potential.
        elements: chemical symbols it knows.
        cutoff: Å.
        licence: of its parameters.
        size: bytes of the file.
        level_of_theory: what its energies approximate.
        description: one sentence.
        citation: whom to cite.
        content_hash: sha256 of the file's content.
        error: empty if the file is sound.
    """

    name: str
    path: str
    architecture: str = ""
    elements: tuple[str, ...] = ()
    cutoff: float | None = None
    licence: str = ""
    size: int | None = None
    level_of_theory: str = ""
    description: str = ""
    citation: str = ""
    content_hash: str = ""
    error: str = ""


def model_rows(
    folders: Iterable[str | os.PathLike[str]] | None = None, *, elements: Iterable[str] = ()
) -> list[ModelRow]:
    """All models of the known folders, in the order in which names are looked up; the first of a name counts.

    Args:
        folders: where to look; default: the shipped models and the folders registered by
            ``atomsym.artifacts.register_model_folder``.
        elements: only models that know all these chemical symbols (and no damaged files).

    Raises:
        InputError: if one of ``elements`` is not a chemical symbol.

    Example:
        >>> [row.name for row in model_rows(elements=["Ar"])]
        ['argon']
    """
    needed = {SYMBOLS[atomic_number_of(symbol)] for symbol in elements}
    rows: dict[str, ModelRow] = {}
    for path in model_files(folders):
        rows.setdefault(path.stem, _row(path.stem, os.fspath(path)))
    return [row for row in rows.values() if needed <= set(row.elements)]


def _row(name: str, path: str) -> ModelRow:
    try:
        found = read_card(path)
    except AtomsymError as error:
        return ModelRow(name, path, error=str(error))
    return ModelRow(
        name=name,
        path=path,
        architecture=found.architecture,
        elements=found.symbols,
        cutoff=found.cutoff,
        licence=found.card.licence,
        size=found.size,
        level_of_theory=found.card.level_of_theory,
        description=found.card.description,
        citation=found.card.citation,
        content_hash=found.content_hash,
    )


def models_command(
    element: Annotated[
        list[str] | None, typer.Option(help="Only models that know this element; repeatable.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all that is known as JSON and nothing else.")] = False,
) -> None:
    """List the models that can be used by name.

    Example: `atomsym models --element Cu`.
    """
    rows = model_rows(elements=element or ())
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in rows], indent=2))
        return
    if not rows:
        wanted = f" that knows {', '.join(element)}" if element else ""
        Console(stderr=True).print(
            f"There is no model{wanted}. Make one: atomsym train, atomsym convert.", highlight=False
        )
        return
    table = Table("name", "architecture", "elements", "cutoff (Å)", "licence", "what it is")
    for row in rows:
        cutoff = "" if row.cutoff is None else f"{row.cutoff:g}"
        description = f"damaged: {row.error}" if row.error else row.description
        table.add_row(row.name, row.architecture, _in_short(row.elements), cutoff, row.licence, description)
    Console().print(table)


def _in_short(elements: tuple[str, ...], most: int = 8) -> str:
    shown = " ".join(elements[:most])
    return shown if len(elements) <= most else f"{shown} … ({len(elements)})"
