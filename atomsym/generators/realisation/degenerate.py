"""Protostructures that no crystal has: whatever the coordinates, the crystal has another group or a smaller cell."""

from __future__ import annotations

import numpy as np

from atomsym.core.errors import InputError
from atomsym.generators.realisation.realise import realise
from atomsym.symmetry.wyckoff import Protostructure

DRAWS = 4
SYMPREC = 1e-4  # Å


def is_degenerate(
    protostructure: Protostructure, *, generator: np.random.Generator, draws: int = DRAWS, symprec: float = SYMPREC
) -> bool:
    """Whether none of a few random crystals has the space group and the number of atoms of the protostructure.

    Each orbit may be legal and the whole impossible: the same element on a and b of Fm-3m makes a crystal of Pm-3m.

    Args:
        protostructure: to look at.
        generator: of the random crystals.
        draws: crystals at most; the first one with the right group ends it.
        symprec: Å, within which atoms count as related by symmetry.

    Example:
        >>> same = Protostructure(225, ((29, "a"), (29, "b")))
        >>> is_degenerate(same, generator=np.random.default_rng(0))
        True
    """
    from atomsym.symmetry.wyckoff.analysis import analyse

    for _ in range(draws):
        crystal = realise(protostructure, generator=generator, trials=1, symprec=None).crystal
        try:
            found = analyse(crystal.cell, crystal.fractional_positions, crystal.numbers, symprec=symprec)
        except InputError:  # no symmetry could be found: not the one that was asked for
            continue
        wanted = protostructure.space_group, protostructure.n_atoms
        if (found.protostructure.space_group, found.n_atoms) == wanted:
            return False
    return True
