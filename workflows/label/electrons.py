"""Number of electrons and of unpaired ones: which structures an engine may take for closed-shell."""

from __future__ import annotations

import numpy as np

from atomsym.core import LabelledStructure
from atomsym.core.elements import symbol_of
from atomsym.workflows.label.engine import LabelError

_UNPAIRED = (
    0, 1, 0, 1, 0, 1, 2, 3, 2, 1, 0, 1, 0, 1, 2, 3, 2, 1, 0, 1, 0, 1, 2, 3, 6, 5, 4, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0,
)  # fmt: skip
"""Unpaired electrons of the free atom's ground state by atomic number, up to krypton (Hund's rules; Cr is 3d⁵4s¹,
Cu 3d¹⁰4s¹)."""


def unpaired_electrons(structure: LabelledStructure, *, open_shell: bool) -> int:
    """Unpaired electrons of the neutral structure: 0 for a closed shell.

    A single atom is taken in its ground state, because energies of isolated atoms are needed as references.

    Args:
        structure: taken as neutral.
        open_shell: label a structure with an odd number of electrons as a doublet, rather than refuse it.

    Raises:
        LabelError: if the number of electrons is odd and ``open_shell`` is False; for a free atom beyond krypton.

    Example:
        >>> import numpy as np
        >>> oxygen = LabelledStructure(np.array([8]), np.zeros((1, 3)), np.zeros((3, 3)), np.zeros(3, bool))
        >>> unpaired_electrons(oxygen, open_shell=False)
        2
    """
    if structure.n_atoms == 1 and not structure.pbc.any():
        number = int(structure.numbers[0])
        if number >= len(_UNPAIRED):
            raise LabelError(f"ground state of the free atom {symbol_of(number)} is not known here; known: H to Kr")
        return _UNPAIRED[number]
    electrons = int(np.sum(structure.numbers))
    if electrons % 2 == 0:
        return 0
    if not open_shell:
        raise LabelError(f"{electrons} electrons, an odd number: not a neutral closed shell (--open-shell: a doublet)")
    return 1
