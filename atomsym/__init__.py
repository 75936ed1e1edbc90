"""atomsym: symmetry-aware machine-learned simulation on one set of fast kernels.

Importing the package changes no global state: not the default dtype, seeds, threads, environment or warning filters.
"""

from atomsym.core import AtomGraph, AtomsymError, AtomsymWarning

__version__ = "0.1.0"

__all__ = ["AtomGraph", "AtomsymError", "AtomsymWarning", "__version__"]
