"""phonopy: structures and force constants, from and to the arrays of this package.

Example:
    >>> from ase.build import bulk
    >>> to_phonopy(bulk("Cu")).symbols
    ['Cu']
"""

from atomsym.calculators.phonopy.conversion import as_force_constants, from_phonopy, to_phonopy

__all__ = ["as_force_constants", "from_phonopy", "to_phonopy"]
