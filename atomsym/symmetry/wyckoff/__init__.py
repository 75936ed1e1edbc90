"""Wyckoff positions of the 230 space groups."""

from atomsym.symmetry.wyckoff.table import WyckoffPosition, wyckoff_position, wyckoff_positions

__all__ = ["WyckoffPosition", "wyckoff_position", "wyckoff_positions"]
