"""Generated crystals as one HTML page that opens without a network: views in 3D, a sortable table, distributions."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib import resources
from itertools import product
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray
from scipy.spatial.distance import pdist, squareform
from scipy.spatial.transform import Rotation

from atomsym.artifacts import write_atomically
from atomsym.core import InputError, MissingDependencyError

Value = str | int | float | None

_ON_FACE = 1e-3  # fractions of the cell
_LONGEST_BOND = 4.0  # Å
_FIRST_SHELL = 1.25  # of the distance of the nearest atom
_OBLIQUE = Rotation.from_euler("zx", [-24, -78], degrees=True).as_matrix().T  # for row vectors: c upwards


@dataclass(frozen=True)
class Column:
    """A property of the crystals.

    Attributes:
        name: key of the values.
        label: heading of the table.
        unit: of the values; empty for none.
        digits: decimals of floats.
        on_map: whether the map of properties offers it; numbers only.
        description: one line, shown where the pointer rests.
        markup: HTML of a text in the table; what a reader sees and searches for is in it as text.
    """

    name: str
    label: str
    unit: str = ""
    digits: int = 3
    on_map: bool = False
    description: str = ""
    markup: Callable[[str], str] = escape


@dataclass(frozen=True, eq=False)
class Gallery:
    """What the page shows.

    Attributes:
        title, kicker: headline, and the small line above it.
        columns: of the table.
        crystals: in the order of the table.
        values: of each crystal by the column's name; None or missing: not known.
        facts: (label, value) of the tiles at the top.
        axes: names of the columns that the map shows first: across, upwards and, if there is a third, as the color.
        plots: pictures as SVG elements.
        footer: HTML of the last line.
    """

    title: str
    columns: Sequence[Column]
    crystals: Sequence[Atoms]
    values: Sequence[Mapping[str, Value]]
    facts: Sequence[tuple[str, str]] = ()
    kicker: str = "generated crystals"
    axes: tuple[str, ...] = ()
    plots: Sequence[str] = ()
    footer: str = field(default="")


def write_gallery(gallery: Gallery, path: Path) -> None:
    """Write the page; on failure an older file stays.

    Raises:
        InputError: if there are no crystals, or not one row of values for each.
        MissingDependencyError: if chemiscope, whose viewer the page holds, is not installed.
    """
    write_atomically(path, gallery_page(gallery).encode())


def gallery_page(gallery: Gallery) -> str:
    """The whole page as text; errors as ``write_gallery``."""
    if not gallery.crystals or len(gallery.crystals) != len(gallery.values):
        raise InputError("a gallery needs crystals, and one row of values for each")
    template = Template(resources.files(__package__).joinpath("gallery.html").read_text())
    facts = "".join(f"<div>{escape(value)}<small>{escape(label)}</small></div>" for label, value in gallery.facts)
    return template.substitute(
        title=escape(gallery.title),
        kicker=escape(gallery.kicker),
        facts=facts,
        headings="".join(_heading(column, gallery.values) for column in gallery.columns),
        rows="".join(_row(index, row, gallery.columns) for index, row in enumerate(gallery.values)),
        plots="".join(f"<div>{plot}</div>" for plot in gallery.plots),
        footer=gallery.footer,
        viewer=viewer_script(),
        dataset=_script_safe(json.dumps(viewer_dataset(gallery))),
    )


def viewer_script() -> str:
    """The JavaScript of chemiscope's viewer, from the installed package.

    Raises:
        MissingDependencyError: if it is not installed, or has no such file.
    """
    try:
        found = resources.files("chemiscope").joinpath("sphinx", "static", "chemiscope.min.js")
        return _script_safe(found.read_text(encoding="utf-8"))
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise _missing() from error


def viewer_dataset(gallery: Gallery) -> dict[str, Any]:
    """Structures and properties as chemiscope reads them; unknown numbers are NaN.

    Raises:
        MissingDependencyError: if chemiscope is not installed.
    """
    try:
        import chemiscope
    except ModuleNotFoundError as error:
        raise _missing() from error
    properties: dict[str, Any] = {
        "number": {"target": "structure", "values": [float(n) for n in range(1, len(gallery.crystals) + 1)]}
    }
    for column in gallery.columns:
        values = [row.get(column.name) for row in gallery.values]
        if column.on_map:
            numbers = [math.nan if value is None else float(value) for value in values]
            if any(math.isfinite(number) for number in numbers):
                properties[column.label] = {"target": "structure", "values": numbers}
                texts = {"units": column.unit, "description": column.description}
                properties[column.label] |= {key: text for key, text in texts.items() if text}
    labels = [column.label for name in gallery.axes for column in gallery.columns if column.name == name]
    axes = [label for label in labels if label in properties]
    while len(axes) < 2:
        axes.append("number")
    filled = [filled_cell(atoms) for atoms in gallery.crystals]
    dataset: dict[str, Any] = chemiscope.create_input(
        structures=[shown for shown, _ in filled],
        metadata={"name": gallery.title},
        properties=properties,
        settings={
            "map": {"x": {"property": axes[0]}, "y": {"property": axes[1]}, "color": {"property": axes[-1]}},
            "structure": [{"unitCell": True, "bonds": True, "spaceFilling": False, "keepOrientation": False}],
        },
    )
    for structure, atoms, (shown, which) in zip(dataset["structures"], gallery.crystals, filled, strict=True):
        structure["bonds"] = [[first, second, 1] for first, second in bonds(atoms, shown, which)]
    return dataset


def _missing() -> MissingDependencyError:
    return MissingDependencyError.for_package("chemiscope", "generate", "the gallery")


def filled_cell(atoms: Atoms) -> tuple[Atoms, NDArray[np.int64]]:
    """The crystal as drawings show it: atoms on faces, edges and corners with their images, seen from an oblique angle.

    Args:
        atoms: periodic in three directions.

    Returns:
        What is shown, and which of the atoms each of them is.
    """
    scaled = atoms.get_scaled_positions(wrap=True)
    scaled[scaled > 1 - _ON_FACE] -= 1
    which, places = [np.arange(len(atoms))], [scaled]
    for corner in product((0, 1), repeat=3):
        if any(corner):
            shown = (np.abs(scaled[:, np.array(corner) == 1]) < _ON_FACE).all(axis=1)
            which.append(np.flatnonzero(shown))
            places.append(scaled[shown] + corner)
    cell = np.asarray(atoms.cell) @ _OBLIQUE
    index = np.concatenate(which)
    return Atoms(atoms.numbers[index], positions=np.concatenate(places) @ cell, cell=cell, pbc=True), index


def bonds(atoms: Atoms, shown: Atoms, which: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Pairs of shown atoms of which each is about as near to the other as its nearest neighbor in the crystal.

    Covalent radii would join the cations of oxides; this rule has the first shell of each atom, in salts and in metals.

    Args:
        atoms: the crystal.
        shown, which: see ``filled_cell``.
    """
    centers, distances = neighbor_list("id", atoms, _LONGEST_BOND)
    nearest = np.zeros(len(atoms))
    for index in range(len(atoms)):
        own = distances[centers == index]
        nearest[index] = own.min() if len(own) else 0.0
    reach = _FIRST_SHELL * nearest[which]
    near = squareform(pdist(shown.positions)) <= np.minimum(np.minimum.outer(reach, reach), _LONGEST_BOND)
    return [(first, second) for first, second in np.argwhere(np.triu(near, 1)).tolist()]


def _script_safe(text: str) -> str:
    """Text that cannot end the script element it stands in."""
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _heading(column: Column, values: Sequence[Mapping[str, Value]]) -> str:
    numeric = all(not isinstance(row.get(column.name), str) for row in values)
    label = escape(column.label + (f" ({column.unit})" if column.unit else ""))
    style = ' class="n"' if numeric else ""
    return f'<th{style} title="{escape(column.description)}"><button>{label}</button></th>'


def _row(index: int, values: Mapping[str, Value], columns: Sequence[Column]) -> str:
    cells = "".join(_cell(values.get(column.name), column) for column in columns)
    return f'<tr data-index="{index}">{cells}</tr>'


def _cell(value: Value, column: Column) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return '<td class="n missing" data-value="NaN">–</td>'
    if isinstance(value, str):
        return f"<td>{column.markup(value)}</td>"
    text = f"{value:.{column.digits}f}" if isinstance(value, float) else f"{value:d}"
    return f'<td class="n" data-value="{value!r}">{text.replace("-", "−")}</td>'
