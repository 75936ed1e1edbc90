"""The files of a finished run: table, geometries, JSON and the gallery."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

import atomsym
from atomsym.artifacts import write_atomically
from atomsym.core.elements import symbol_of
from atomsym.symmetry.wyckoff import template
from atomsym.workflows.generate.entry import RANDOM
from atomsym.workflows.generate.gallery import Column, Gallery, Value, write_gallery
from atomsym.workflows.generate.plots import distribution_plots
from atomsym.workflows.generate.ranking import Ranked, rank
from atomsym.workflows.generate.run import Generated
from atomsym.workflows.generate.settings import GenerateSettings
from atomsym.workflows.paths import make_folder

COLUMNS = (
    Column("rank", "rank", description="best first"),
    Column("formula", "formula"),
    Column("space_group", "space group"),
    Column("above_hull", "above hull", "eV/atom", 3, True, "of the crystals of this run and of the elements"),
    Column("formation_energy", "formation energy", "eV/atom", 3, True, "to simple crystals of the elements"),
    Column("energy", "energy", "eV/atom", 3, True, "of the calculator"),
    Column("atoms", "atoms", on_map=True, description="in the primitive cell"),
    Column("volume", "volume", "Å³/atom", 2, True),
    Column("state", "state"),
    Column("wyckoff", "occupied positions", description="elements on Wyckoff letters, standard setting"),
    Column("geometry", "geometry from", description="known prototype that the geometry began from, or random"),
    Column("contact", "contact", "", 2, True, "smallest distance over the sum of covalent radii, as drawn"),
    Column("likelihood", "log likelihood", "", 1, True, "of the draw, nats"),
    Column("number", "number", on_map=True, description="of the space group"),
    Column("found", "found group", description="by the analysis of the final geometry"),
)
_ONLY_WITH_ENERGIES = {"energy", "formation_energy", "above_hull"}


@dataclass(frozen=True)
class Summary:
    """A finished run in numbers.

    Attributes:
        wanted, generated: crystals.
        drawn, repeated, degenerate: draws; in all, of crystals that were there already, of crystals that cannot exist.
        from_prototypes: crystals whose geometry began from a known prototype.
        distance_floor: crystals whose atoms keep their distance as drawn.
        group_kept: crystals in whose final geometry the analysis finds the space group that was drawn.
        relaxed: crystals whose relaxations ended at rest; None without a calculator.
        on_hull: crystals on the hull of the run; None without a calculator.
        templates: different arrangements without regard to the elements.
        seconds: of the last session of the run.
        table, structures, gallery: files.
    """

    wanted: int
    generated: int
    drawn: int
    repeated: int
    degenerate: int
    from_prototypes: int
    distance_floor: int
    group_kept: int
    relaxed: int | None
    on_hull: int | None
    templates: int
    seconds: float
    table: Path
    structures: Path
    gallery: Path

    def to_json(self) -> str:
        plain = {name: str(value) if isinstance(value, Path) else value for name, value in vars(self).items()}
        return json.dumps(plain, indent=2) + "\n"


def write_results(settings: GenerateSettings, generated: Generated, folder: Path) -> Summary:
    """Write all files of a run and tell what came of it.

    Raises:
        MissingDependencyError: if chemiscope or pymatgen is not installed.
    """
    ranked = rank(generated.entries, generated.references)
    values = [_values(place, each) for place, each in enumerate(ranked, start=1)]
    shown = [each.entry.atoms for each in ranked]
    atoms = [each for each in shown if each is not None]
    columns = [column for column in COLUMNS if settings.relax or column.name not in _ONLY_WITH_ENERGIES]
    _write_table(folder / "crystals.csv", columns, values)
    _write_structures(folder, atoms, values)
    summary = _summary(settings, generated, ranked, folder)
    write_atomically(folder / "crystals.json", _json_of(ranked, values))
    write_atomically(folder / "summary.json", summary.to_json().encode())
    axes = ("formation_energy", "above_hull") if settings.relax else ("volume", "likelihood")
    write_gallery(
        Gallery(
            title_of(settings), columns, atoms, values, _facts(summary), axes=axes,
            plots=_plots(ranked), footer=_footer(settings, generated),
        ),
        summary.gallery,
    )  # fmt: skip
    return summary


def title_of(settings: GenerateSettings) -> str:
    """Of the gallery: what was asked for."""
    what = settings.formula or "–".join(settings.elements) or "Inorganic"
    groups = ", ".join(map(str, settings.space_groups[:6])) + ("…" if len(settings.space_groups) > 6 else "")
    return f"{what} crystals" + (f" in space group {groups}" if groups else "")


def _values(place: int, each: Ranked) -> dict[str, Value]:
    entry, structure = each.entry, each.entry.protostructure
    atoms = entry.atoms
    counts = structure.composition
    unit = int(np.gcd.reduce(list(counts.values())))
    order = sorted(counts, key=lambda z: (z in _ANIONS, symbol_of(z)))
    formula = "".join(symbol_of(z) + (str(counts[z] // unit) if counts[z] > unit else "") for z in order)
    return {
        "rank": place,
        "id": each.index,
        "formula": formula,
        "space_group": f"{structure.space_group} {symbol_of_group(structure.space_group)}",
        "number": structure.space_group,
        "wyckoff": _positions(each),
        "atoms": _primitive_atoms(each),
        "volume": None if atoms is None else float(atoms.get_volume() / len(atoms)),
        "geometry": entry.source,
        "contact": entry.contact,
        "likelihood": entry.log_likelihood,
        "energy": entry.energy,
        "formation_energy": each.formation_energy,
        "above_hull": each.above_hull,
        "found": str(entry.found_group or "none"),
        "state": entry.note or {None: "as drawn", True: "relaxed", False: "not at rest"}[entry.converged],
    }


_ANIONS = {7, 8, 9, 16, 17, 34, 35, 52, 53}  # stand last in formulas


def symbol_of_group(space_group: int) -> str:
    """Hermann–Mauguin symbol of the standard setting, short form.

    Example:
        >>> symbol_of_group(136)
        'P42/mnm'
    """
    from ase.spacegroup import Spacegroup

    return str(Spacegroup(space_group).symbol).replace(" ", "")


def _positions(each: Ranked) -> str:
    found: dict[int, list[str]] = {}
    for z, letter in each.entry.protostructure.orbits:
        found.setdefault(z, []).append(letter)
    return " ".join(f"{symbol_of(z)}:{_letters(letters)}" for z, letters in found.items())


def _letters(letters: Sequence[str]) -> str:
    """Each letter once, with its number if it is not 1: as in ``ae2``."""
    return "".join(letter + (str(n) if n > 1 else "") for letter, n in Counter(letters).items())


def _primitive_atoms(each: Ranked) -> int:
    from atomsym.symmetry.wyckoff.primitive import primitive_cell

    return len(primitive_cell(each.entry.protostructure).atoms)


def _write_table(path: Path, columns: Sequence[Column], values: Sequence[dict[str, Value]]) -> None:
    stream = io.StringIO()
    names = ["id", *(column.name for column in columns)]
    writer = csv.DictWriter(stream, names, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(values)
    write_atomically(path, stream.getvalue().encode())


def _write_structures(folder: Path, atoms: Sequence[Atoms], values: Sequence[dict[str, Value]]) -> None:
    """All in one extended XYZ file, and a CIF file for each with its symmetry."""
    from pymatgen.io.ase import AseAtomsAdaptor
    from pymatgen.io.cif import CifWriter

    make_folder(folder / "cif")
    stream = io.StringIO()
    for each, row in zip(atoms, values, strict=False):
        labelled = each.copy()
        labelled.info = {name: row[name] for name in ("id", "formula", "number", "wyckoff")}
        labelled.info |= {name: row[name] for name in ("formation_energy", "above_hull") if row[name] is not None}
        if row["energy"] is not None:
            labelled.calc = SinglePointCalculator(labelled, energy=float(row["energy"]) * len(labelled))
        ase.io.write(stream, labelled, format="extxyz")
        text = str(CifWriter(AseAtomsAdaptor.get_structure(each), symprec=0.01))
        name = f"{row['rank']:04d}-{row['formula']}-{row['number']}.cif"
        write_atomically(folder / "cif" / name, text.encode())
    write_atomically(folder / "crystals.extxyz", stream.getvalue().encode())


def _json_of(ranked: Sequence[Ranked], values: Sequence[dict[str, Value]]) -> bytes:
    rows: list[dict[str, Any]] = []
    for each, row in zip(ranked, values, strict=True):
        rows.append({**row, **json.loads(each.entry.to_text())})
    return json.dumps(rows, indent=1).encode()


def _summary(settings: GenerateSettings, generated: Generated, ranked: Sequence[Ranked], folder: Path) -> Summary:
    entries, drawn = generated.entries, generated.drawn
    hulls = [each.above_hull for each in ranked if each.above_hull is not None]
    return Summary(
        wanted=settings.n,
        generated=len(entries),
        drawn=drawn.n_drawn,
        repeated=drawn.n_repeated,
        degenerate=drawn.n_degenerate,
        from_prototypes=sum(each.source != RANDOM for each in entries),
        distance_floor=sum(each.note != "atoms too close" for each in entries),
        group_kept=sum(each.found_group == each.protostructure.space_group for each in entries),
        relaxed=sum(bool(each.converged) for each in entries) if settings.relax else None,
        on_hull=sum(hull < 1e-6 for hull in hulls) if settings.relax else None,
        templates=len({template(each.protostructure) for each in entries}),
        seconds=generated.seconds,
        table=folder / "crystals.csv",
        structures=folder / "crystals.extxyz",
        gallery=folder / "gallery.html",
    )


def _facts(summary: Summary) -> list[tuple[str, str]]:
    facts = [
        ("crystals, all different", f"{summary.generated}"),
        ("draws", f"{summary.drawn}"),
        ("templates", f"{summary.templates}"),
        ("begun from a known prototype", f"{summary.from_prototypes}"),
        ("keep the distance floor as drawn", f"{summary.distance_floor}"),
        ("space group found back", f"{summary.group_kept}"),
    ]
    if summary.relaxed is not None:
        facts += [("relaxed to rest", f"{summary.relaxed}"), ("on the hull of this run", f"{summary.on_hull}")]
    return facts


def _plots(ranked: Sequence[Ranked]) -> list[str]:
    structures = [each.entry.protostructure for each in ranked]
    return distribution_plots(
        [structure.space_group for structure in structures],
        [_primitive_atoms(each) for each in ranked],
        [list(Counter(structure.elements)) for structure in structures],
        [each.formation_energy if each.formation_energy is not None else float("nan") for each in ranked],
    )


def _footer(settings: GenerateSettings, generated: Generated) -> str:
    from html import escape

    hull = (
        "Formation energies are those to the best of seven simple crystals of each element, the hull is that of this "
        "run: neither says anything about phases that are not in it. "
        if settings.relax
        else "Geometries are those of known prototypes or random within the symmetry, and not relaxed. "
    )
    calculator = f", relaxed with <code>{escape(settings.relax)}</code>" if settings.relax else ""
    return (
        f"Drawn by <code>{escape(Path(settings.generator).name)}</code> (sha256 {generated.generator_hash[:12]}), seed "
        f"{settings.seed}{calculator}. {hull}Atoms on faces, edges and corners of a cell are shown with their images. "
        f"atomsym {atomsym.__version__}."
    )
