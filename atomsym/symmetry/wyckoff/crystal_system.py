"""The seven crystal systems."""

from __future__ import annotations

_SYSTEMS = (
    (2, "triclinic"), (15, "monoclinic"), (74, "orthorhombic"), (142, "tetragonal"), (167, "trigonal"),
    (194, "hexagonal"), (230, "cubic"),
)  # fmt: skip
"""The last group of each, and its name."""

CRYSTAL_SYSTEMS = tuple(name for _, name in _SYSTEMS)
"""Names, in the order of their groups."""


def crystal_system(space_group: int) -> str:
    """Name of the crystal system of a space group, 1 to 230.

    Example:
        >>> crystal_system(227), crystal_system(166), crystal_system(14)
        ('cubic', 'trigonal', 'monoclinic')
    """
    return next(name for last, name in _SYSTEMS if space_group <= last)
