"""Simple crystals of elements: what energies of formation are measured from where nothing better is known."""

from __future__ import annotations

import numpy as np

from atomsym.generators.realisation.realise import Realised, realise
from atomsym.symmetry.wyckoff import Protostructure

ELEMENT_PROTOTYPES = (
    (225, "a"),  # face-centred cubic
    (229, "a"),  # body-centred cubic
    (194, "c"),  # hexagonal close packing
    (227, "a"),  # diamond
    (221, "a"),  # simple cubic
    (166, "c"),  # arsenic
    (205, "c"),  # molecules of two atoms, as in α-N₂
)
"""Space group and letter of simple crystals of elements."""


def simple_crystals(element: int, *, seed: int = 0) -> list[Realised]:
    """A geometry, still to be relaxed, for each of ``ELEMENT_PROTOTYPES``.

    Args:
        element: atomic number.
        seed: of what the prototypes leave free; the same seed gives the same crystals.

    Example:
        >>> [made.crystal.n_atoms for made in simple_crystals(29)]
        [4, 2, 2, 8, 1, 6, 8]
    """
    return [
        realise(Protostructure(group, ((element, letter),)), generator=np.random.default_rng([seed, element, group]))
        for group, letter in ELEMENT_PROTOTYPES
    ]
