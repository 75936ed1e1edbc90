"""ASE: a calculator for every model, and conversion of structures.

Example:
    >>> from ase.build import bulk
    >>> atoms = bulk("Ar", cubic=True)
    >>> atoms.calc = AtomsymCalculator("argon")
    >>> round(atoms.get_potential_energy() / len(atoms), 3)
    -0.081
"""

from atomsym.calculators.ase.calculator import AtomsymCalculator
from atomsym.calculators.ase.conversion import as_vibrations_data, from_graph, to_graph
from atomsym.calculators.ase.free_parameters import FreeParameterFilter, standard_atoms

__all__ = [
    "AtomsymCalculator",
    "FreeParameterFilter",
    "as_vibrations_data",
    "from_graph",
    "standard_atoms",
    "to_graph",
]
