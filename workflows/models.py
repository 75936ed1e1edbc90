"""``atomsym models``: the potentials and the generators of crystals that can be used by name."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import atomsym.calculators  # noqa: F401 - the shipped models become known
from atomsym.artifacts import (
    GeneratorDescription,
    ModelDescription,
    did_you_mean,
    generator_files,
    model_files,
    read_card,
    read_generator_card,
)
from atomsym.calculators.ase.load import OTHER_PACKAGES
from atomsym.core import ArtifactError, AtomsymError, ConfigError, InputError
from atomsym.core.elements import SYMBOLS, atomic_number_of

POTENTIAL, GENERATOR = "potential", "generator"


@dataclass(frozen=True)
class ModelRow:
    """One model file; what a damaged file does not tell is empty, and ``error`` says why.

    Attributes:
        name: name to use it by.
        path: its file.
        kind: ``potential``, or ``generator`` of crystals.
        architecture: class of the network or formula.
        elements: chemical symbols a potential knows; empty for generators.
        cutoff: Å; None for generators.
        properties: names of properties that draws of a generator can aim at (``--target``).
        licence: of its parameters.
        size: bytes of the file.
        n_parameters: values in all its tensors.
        level_of_theory: what its energies approximate, or that of the crystals a generator was trained on.
        description: one sentence.
        training_data: what the parameters were fitted to.
        training: how, as plain data; empty for what was not trained here.
        citation: whom to cite.
        created_with: program and version that wrote the file.
        content_hash: sha256 of the file's content.
        error: empty if the file is sound.
    """

    name: str
    path: str
    kind: str = POTENTIAL
    architecture: str = ""
    elements: tuple[str, ...] = ()
    cutoff: float | None = None
    properties: tuple[str, ...] = ()
    licence: str = ""
    size: int | None = None
    n_parameters: int | None = None
    level_of_theory: str = ""
    description: str = ""
    training_data: str = ""
    training: str = ""
    citation: str = ""
    created_with: str = ""
    content_hash: str = ""
    error: str = ""

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        plain = asdict(self)
        if self.training:
            plain["training"] = json.loads(self.training)
        return plain


def model_rows(
    folders: Iterable[str | os.PathLike[str]] | None = None, *, elements: Iterable[str] = ()
) -> list[ModelRow]:
    """All potentials of the known folders, in the order in which names are looked up; the first of a name counts.

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
        rows.setdefault(path.stem, _potential_row(path.stem, os.fspath(path)))
    return [row for row in rows.values() if needed <= set(row.elements)]


def generator_rows() -> list[ModelRow]:
    """All generators of crystals that are shipped.

    Example:
        >>> "wyformer" in [row.name for row in generator_rows()]
        True
    """
    return [_generator_row(path.stem, os.fspath(path)) for path in generator_files()]


def find_row(name: str) -> ModelRow:
    """The potential or generator of a name, or that of a file.

    Raises:
        InputError: if there is neither; the message suggests the nearest name.
        ArtifactError: if the file is that of neither.

    Example:
        >>> find_row("wyformer").kind
        'generator'
    """
    known = {row.name: row for row in [*generator_rows(), *model_rows()]}
    if name in known:
        return known[name]
    path = Path(name)
    if not path.is_file():
        raise InputError(f"no model and no file '{name}'{did_you_mean(name, list(known))} Known: {', '.join(known)}")
    rows = [make(path.stem, name) for make in (_potential_row, _generator_row)]
    sound = [row for row in rows if not row.error]
    if not sound:
        raise ArtifactError(rows[0].error)
    return sound[0]


def _potential_row(name: str, path: str) -> ModelRow:
    try:
        found = read_card(path)
    except AtomsymError as error:
        return ModelRow(name, path, error=str(error))
    return replace(_row(name, path, found), elements=found.symbols, cutoff=found.cutoff)


def _generator_row(name: str, path: str) -> ModelRow:
    try:
        found = read_generator_card(path)
    except AtomsymError as error:
        return ModelRow(name, path, kind=GENERATOR, error=str(error))
    return replace(_row(name, path, found), kind=GENERATOR, properties=tuple(found.config.get("properties", ())))


def _row(name: str, path: str, found: ModelDescription | GeneratorDescription) -> ModelRow:
    card = found.card
    return ModelRow(
        name=name, path=path, architecture=found.architecture, licence=card.licence, size=found.size,
        n_parameters=found.n_parameters, level_of_theory=card.level_of_theory, description=card.description,
        training_data=card.training_data, training=card.training, citation=card.citation,
        created_with=found.created_with, content_hash=found.content_hash,
    )  # fmt: skip


def models_command(
    name: Annotated[
        str | None, typer.Argument(help="Show all that is known of this one, a name or a file.", show_default=False)
    ] = None,
    element: Annotated[
        list[str] | None, typer.Option(help="Only potentials that know this element; repeatable.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all that is known as JSON and nothing else.")] = False,
) -> None:
    """List the potentials and the generators of crystals that can be used by name, or tell what one of them is.

    Examples: `atomsym models --element Cu`, `atomsym models wyformer`.
    """
    if name is not None:
        if element:
            raise ConfigError("--element narrows the list; it cannot be given with the name of a model")
        row = find_row(name)
        if as_json:
            typer.echo(json.dumps(row.to_plain(), indent=2, ensure_ascii=False))
        else:
            Console().print(_details(row))
        return
    potentials, generators = model_rows(elements=element or ()), [] if element else generator_rows()
    if as_json:
        typer.echo(json.dumps([row.to_plain() for row in [*potentials, *generators]], indent=2, ensure_ascii=False))
        return
    console = Console()
    if potentials:
        console.print(_potentials_table(potentials))
        others = ", ".join(f"{name} (the extra {extra})" for name, (_, extra) in OTHER_PACKAGES.items())
        console.print(f"Besides: {others}, and module:factory of any ASE calculator.\n", highlight=False)
    else:
        wanted = f" that knows {', '.join(element)}" if element else ""
        Console(stderr=True).print(
            f"There is no potential{wanted}. Make one: atomsym train, atomsym convert.", highlight=False
        )
    if generators:
        console.print(_generators_table(generators))


def _potentials_table(rows: list[ModelRow]) -> Table:
    table = Table("name", "architecture", "elements", "cutoff (Å)", "licence", "what it is", title="Potentials")
    for row in rows:
        cutoff = "" if row.cutoff is None else f"{row.cutoff:g}"
        table.add_row(
            *map(escape, (row.name, row.architecture, _in_short(row.elements), cutoff, row.licence, _what(row)))
        )
    return table


def _generators_table(rows: list[ModelRow]) -> Table:
    table = Table(
        "name", "architecture", "parameters", "file", "trained on", "licence", "what it draws",
        title="Generators of crystals, for atomsym generate",
    )  # fmt: skip
    for row in rows:
        table.add_row(
            *map(
                escape,
                (
                    row.name, row.architecture, _number(row.n_parameters), _size(row.size), row.training_data,
                    row.licence, _what(row),
                ),
            )
        )  # fmt: skip
    return table


def _details(row: ModelRow) -> Table:
    table = Table(show_header=False, title=escape(row.name))
    lines = (
        ("what it is", f"{row.kind}: {_what(row)}" if _what(row) else row.kind),
        ("architecture", row.architecture),
        ("elements", " ".join(row.elements)),
        ("cutoff", "" if row.cutoff is None else f"{row.cutoff:g} Å"),
        ("can aim at", ", ".join(row.properties)),
        ("level of theory", row.level_of_theory),
        ("training data", row.training_data),
        ("training", _training(row.training)),
        ("parameters", _number(row.n_parameters)),
        ("licence", row.licence),
        ("cite", row.citation),
        ("file", f"{row.path}{f' ({_size(row.size)})' if row.size else ''}"),
        ("sha256", row.content_hash),
        ("made with", row.created_with),
    )
    for label, text in lines:
        if text:
            table.add_row(label, escape(text))
    return table


def _what(row: ModelRow) -> str:
    return f"damaged: {row.error}" if row.error else row.description


def _training(text: str) -> str:
    """The numbers of its first level; all of it is in the JSON."""
    numbers = {name: value for name, value in (json.loads(text) if text else {}).items() if _is_number(value)}
    return ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in numbers.items())


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _size(size: int | None) -> str:
    return "" if size is None else f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"


def _in_short(elements: tuple[str, ...], most: int = 8) -> str:
    shown = " ".join(elements[:most])
    return shown if len(elements) <= most else f"{shown} … ({len(elements)})"
