"""The table of a run's crystals: its columns, and the values of each crystal."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from atomsym.core.elements import symbol_of
from atomsym.workflows.generate.entry import LOOSE_SYMPREC
from atomsym.workflows.generate.gallery import Column, Value
from atomsym.workflows.generate.ranking import Ranked


def formula_markup(formula: str) -> str:
    """Numbers as subscripts.

    Example:
        >>> formula_markup("TiO2")
        'TiO<sub>2</sub>'
    """
    return re.sub(r"(\d+)", r"<sub>\1</sub>", escape(formula))


def group_markup(group: str) -> str:
    """Number and symbol of a space group as the International Tables print them: screw axes, and bars for minus signs.

    Args:
        group: as ``values_of`` gives it.

    Example:
        >>> group_markup("193 P63/mcm"), group_markup("89 P422")
        ('193 P6<sub>3</sub>/mcm', '89 P422')
    """
    number, _, symbol = group.partition(" ")
    if not symbol:
        return escape(group)
    axes = re.sub(r"(\d)(\d)", r"\1<sub>\2</sub>", escape(_symbol_with_spaces(int(number)))).replace(" ", "")
    return f"{number} " + re.sub(r"-(\d)", r'<span class="bar"><i>-</i>\1</span>', axes)


COLUMNS = (
    Column("rank", "rank", description="best first"),
    Column("formula", "formula", markup=formula_markup),
    Column(
        "space_group", "space group", description="that was drawn, and that the relaxation keeps", markup=group_markup
    ),
    Column(
        "nearly",
        f"within {LOOSE_SYMPREC:g} Å",
        description="space group that the final geometry nearly has",
        markup=group_markup,
    ),
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
    Column("number", "group number", on_map=True, description="of the space group"),
    Column("found", "found group", description="by the analysis of the final geometry, within --symprec"),
    Column("same_as", "same as rank", description="the better crystal that this one has relaxed into"),
    Column("steps", "steps", description="evaluations of the calculator in the relaxations"),
)
_ONLY_WITH_ENERGIES = {"energy", "formation_energy", "above_hull", "same_as", "steps"}


def columns_of(with_energies: bool) -> list[Column]:
    """The columns of a run with a calculator, or without."""
    return [column for column in COLUMNS if with_energies or column.name not in _ONLY_WITH_ENERGIES]


def values_of(place: int, each: Ranked, same: int | None) -> dict[str, Value]:
    """A row of the table.

    Args:
        place: rank, from 1.
        each: the crystal.
        same: rank of the better crystal that it is the same as.
    """
    entry, structure = each.entry, each.entry.protostructure
    atoms = entry.atoms
    return {
        "rank": place,
        "id": each.index,
        "formula": formula_of(structure.composition),
        "space_group": _group(structure.space_group),
        "number": structure.space_group,
        "wyckoff": _positions(each),
        "atoms": primitive_size(each),
        "volume": None if atoms is None else float(atoms.get_volume() / len(atoms)),
        "geometry": entry.source,
        "contact": entry.contact,
        "likelihood": entry.log_likelihood,
        "energy": entry.energy,
        "formation_energy": each.formation_energy,
        "above_hull": each.above_hull,
        "found": str(entry.found_group or "none"),
        "nearly": _group(entry.loose_group) if entry.loose_group else "none",
        "same_as": same,
        "steps": entry.steps,
        "state": entry.note or {None: "as drawn", True: "relaxed", False: "not at rest"}[entry.converged],
    }


_ANIONS = {7, 8, 9, 16, 17, 34, 35, 52, 53}  # stand last in formulas


def in_order(elements: Iterable[int]) -> list[int]:
    """Elements as formulas have them: by symbol, those that make anions last."""
    return sorted(elements, key=lambda z: (z in _ANIONS, symbol_of(z)))


def formula_of(counts: Mapping[int, int]) -> str:
    """In lowest terms.

    Example:
        >>> formula_of({8: 8, 22: 4})
        'TiO2'
    """
    unit = math.gcd(*counts.values())
    return "".join(symbol_of(z) + (str(counts[z] // unit) if counts[z] > unit else "") for z in in_order(counts))


def _group(space_group: int) -> str:
    return f"{space_group} {symbol_of_group(space_group)}"


def symbol_of_group(space_group: int) -> str:
    """Hermann–Mauguin symbol of the standard setting, short form.

    Example:
        >>> symbol_of_group(136)
        'P42/mnm'
    """
    return _symbol_with_spaces(space_group).replace(" ", "")


def _symbol_with_spaces(space_group: int) -> str:
    """A space between the axes."""
    from ase.spacegroup import Spacegroup

    return str(Spacegroup(space_group).symbol)


def _positions(each: Ranked) -> str:
    found: dict[int, list[str]] = {}
    for z, letter in each.entry.protostructure.orbits:
        found.setdefault(z, []).append(letter)
    return " ".join(f"{symbol_of(z)}:{_letters(letters)}" for z, letters in found.items())


def _letters(letters: Sequence[str]) -> str:
    """Each letter once, with its number if it is not 1: as in ``ae2``."""
    return "".join(letter + (str(n) if n > 1 else "") for letter, n in Counter(letters).items())


def primitive_size(each: Ranked) -> int:
    """Atoms in the primitive cell."""
    from atomsym.symmetry.wyckoff.primitive import primitive_cell

    return len(primitive_cell(each.entry.protostructure).atoms)
