"""Wyckoff positions of the 230 space groups, and the crystals that occupy them."""

from atomsym.symmetry.wyckoff.analysis import analyse, space_group_of
from atomsym.symmetry.wyckoff.crystal import SymmetricCrystal
from atomsym.symmetry.wyckoff.protostructure import Protostructure
from atomsym.symmetry.wyckoff.relabelling import canonical, template
from atomsym.symmetry.wyckoff.table import WyckoffPosition, wyckoff_position, wyckoff_positions

__all__ = [
    "Protostructure",
    "SymmetricCrystal",
    "WyckoffPosition",
    "analyse",
    "canonical",
    "space_group_of",
    "template",
    "wyckoff_position",
    "wyckoff_positions",
]
