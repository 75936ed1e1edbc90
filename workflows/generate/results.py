"""The files of a finished run: table, geometries, JSON and the gallery."""

from __future__ import annotations

import csv
import io
import json
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase.io
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

import atomsym
from atomsym.artifacts import write_atomically
from atomsym.core.elements import symbol_of
from atomsym.symmetry.wyckoff import template
from atomsym.workflows.generate.duplicates import same_as
from atomsym.workflows.generate.entry import RANDOM
from atomsym.workflows.generate.gallery import Column, Gallery, Value, write_gallery
from atomsym.workflows.generate.plots import Phase, distribution_plots, hull_plot
from atomsym.workflows.generate.ranking import Ranked, rank
from atomsym.workflows.generate.run import Generated
from atomsym.workflows.generate.settings import GenerateSettings
from atomsym.workflows.generate.table import columns_of, formula_of, in_order, primitive_size, values_of
from atomsym.workflows.paths import make_folder


@dataclass(frozen=True)
class Summary:
    """A finished run in numbers.

    Attributes:
        wanted, generated: crystals; those generated have different protostructures.
        different: crystals that are also different after the relaxation; None without a calculator.
        drawn, repeated, degenerate: draws; in all, of crystals that were there already, of crystals that cannot exist.
        from_prototypes: crystals whose geometry began from a known prototype.
        distance_floor: crystals whose atoms keep their distance as drawn.
        group_kept: crystals in whose final geometry the analysis finds the space group that was drawn.
        relaxed: crystals whose relaxations ended at rest; None without a calculator.
        on_hull: crystals on the hull of the run; None without a calculator.
        templates: different arrangements without regard to the elements.
        seconds: of the last session of the run.
        table, structures, gallery: files.
        best: rows of the table, the first few that are different.
    """

    wanted: int
    generated: int
    different: int | None
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
    best: tuple[dict[str, Value], ...] = ()

    def to_json(self) -> str:
        plain = {name: str(value) if isinstance(value, Path) else value for name, value in vars(self).items()}
        return json.dumps(plain, indent=2) + "\n"


def write_results(settings: GenerateSettings, generated: Generated, folder: Path) -> Summary:
    """Write all files of a run and tell what came of it.

    Raises:
        MissingDependencyError: if chemiscope or pymatgen is not installed.
    """
    ranked = rank(generated.entries, generated.references)
    same = same_as(ranked)
    values = [
        values_of(place + 1, each, None if other is None else other + 1)
        for place, (each, other) in enumerate(zip(ranked, same, strict=True))
    ]
    shown = [each.entry.atoms for each in ranked]
    atoms = [each for each in shown if each is not None]
    columns = columns_of(bool(settings.relax))
    _write_table(folder / "crystals.csv", columns, values)
    _write_structures(folder, atoms, values)
    summary = _summary(settings, generated, ranked, values, folder)
    write_atomically(folder / "crystals.json", _json_of(ranked, values))
    write_atomically(folder / "summary.json", summary.to_json().encode())
    axes = ("volume", "above_hull", "formation_energy") if settings.relax else ("volume", "likelihood")
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
    noun = "space groups" if len(settings.space_groups) > 1 else "space group"
    return f"{what} crystals" + (f" in {noun} {groups}" if groups else "")


_DECIMALS = 6  # of floats in the table


def _write_table(path: Path, columns: Sequence[Column], values: Sequence[dict[str, Value]]) -> None:
    stream = io.StringIO()
    names = ["id", *(column.name for column in columns)]
    writer = csv.DictWriter(stream, names, extrasaction="ignore")
    writer.writeheader()
    for row in values:
        writer.writerow({name: round(own, _DECIMALS) if isinstance(own, float) else own for name, own in row.items()})
    write_atomically(path, stream.getvalue().encode())


def _write_structures(folder: Path, atoms: Sequence[Atoms], values: Sequence[dict[str, Value]]) -> None:
    """All in one extended XYZ file, and a CIF file for each with its symmetry."""
    make_folder(folder / "cif")
    stream = io.StringIO()
    for each, row in zip(atoms, values, strict=False):
        labelled = each.copy()
        labelled.info = {name: row[name] for name in ("id", "formula", "number", "wyckoff")}
        labelled.info |= {name: row[name] for name in ("formation_energy", "above_hull") if row[name] is not None}
        if row["energy"] is not None:
            labelled.calc = SinglePointCalculator(labelled, energy=float(row["energy"]) * len(labelled))
        ase.io.write(stream, labelled, format="extxyz")
        name = f"{row['rank']:04d}-{row['formula']}-{row['number']}.cif"
        write_atomically(folder / "cif" / name, cif_of(each).encode())
    write_atomically(folder / "crystals.extxyz", stream.getvalue().encode())


def cif_of(atoms: Atoms) -> str:
    """The text of a CIF file with the symmetry of the crystal."""
    from pymatgen.io.ase import AseAtomsAdaptor
    from pymatgen.io.cif import CifWriter

    with warnings.catch_warnings():  # noble gases have none, and it matters for the order of the atoms only
        warnings.filterwarnings("ignore", message="No Pauling electronegativity")
        return str(CifWriter(AseAtomsAdaptor.get_structure(atoms), symprec=0.01))


def _json_of(ranked: Sequence[Ranked], values: Sequence[dict[str, Value]]) -> bytes:
    rows: list[dict[str, Any]] = []
    for each, row in zip(ranked, values, strict=True):
        rows.append({**row, **json.loads(each.entry.to_text())})
    return json.dumps(rows, indent=1).encode()


_BEST = 5


def _summary(
    settings: GenerateSettings,
    generated: Generated,
    ranked: Sequence[Ranked],
    values: Sequence[dict[str, Value]],
    folder: Path,
) -> Summary:
    entries, drawn = generated.entries, generated.drawn
    hulls = [each.above_hull for each in ranked if each.above_hull is not None]
    return Summary(
        wanted=settings.n,
        generated=len(entries),
        different=sum(row["same_as"] is None for row in values) if settings.relax else None,
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
        best=tuple([row for row in values if row["same_as"] is None][:_BEST]),
    )


def _facts(summary: Summary) -> list[tuple[str, str]]:
    facts = [
        ("different protostructures", f"{summary.generated}"),
        ("draws", f"{summary.drawn}"),
        ("templates", f"{summary.templates}"),
        ("begun from a known prototype", f"{summary.from_prototypes}"),
        ("keep the distance floor as drawn", f"{summary.distance_floor}"),
        ("space group found back", f"{summary.group_kept}"),
    ]
    if summary.relaxed is not None:
        facts.insert(1, ("different when relaxed", f"{summary.different}"))
        facts += [("relaxed to rest", f"{summary.relaxed}"), ("on the hull of this run", f"{summary.on_hull}")]
    return facts


def _plots(ranked: Sequence[Ranked]) -> list[str]:
    structures = [each.entry.protostructure for each in ranked]
    elements = in_order({z for structure in structures for z in structure.elements})
    known = [each for each in ranked if each.formation_energy is not None and each.above_hull is not None]
    phases = [
        Phase(
            formula_of(each.entry.protostructure.composition),
            each.entry.protostructure.composition.get(elements[-1], 0) / each.entry.protostructure.n_atoms,
            float(each.formation_energy or 0.0),
            float(each.above_hull or 0.0),
        )
        for each in known
    ]
    diagram = [hull_plot(phases, symbol_of(elements[-1]))] if len(elements) == 2 and phases else []
    return diagram + distribution_plots(
        [structure.space_group for structure in structures],
        [primitive_size(each) for each in ranked],
        [list(Counter(structure.elements)) for structure in structures],
        [each.formation_energy if each.formation_energy is not None else float("nan") for each in ranked],
        show_elements=not diagram,
    )


def _footer(settings: GenerateSettings, generated: Generated) -> str:
    from html import escape

    hull = (
        "Geometries began from known prototypes or at random. Formation energies are those to the best of seven simple "
        "crystals of each element, the hull is that of this run: neither says anything about phases beyond them. "
        if settings.relax
        else "Geometries are those of known prototypes or random within the symmetry, and not relaxed. "
    )
    calculator = f", relaxed with <code>{escape(settings.relax)}</code>" if settings.relax else ""
    return (
        f"Drawn by <code>{escape(Path(settings.generator).name)}</code> (sha256 {generated.generator_hash[:12]}), seed "
        f"{settings.seed}{calculator}. {hull}Atoms on faces, edges and corners of a cell are shown with their images. "
        f"atomsym {atomsym.__version__}."
    )
