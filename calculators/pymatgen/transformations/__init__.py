"""Transformations of pymatgen: generate crystals, realise the protostructure of a structure, relax it.

Arguments are plain data, so that they survive ``as_dict`` and ``from_dict``; models are named, and loaded when a
transformation is applied. Results depend on arguments and seed alone.
"""

from __future__ import annotations

import importlib.util

from atomsym.core import MissingDependencyError

if importlib.util.find_spec("pymatgen") is None:
    raise MissingDependencyError.for_package("pymatgen", "pymatgen", "transformations")

from atomsym.calculators.pymatgen.transformations.generate import WyckoffGenerationTransformation
from atomsym.calculators.pymatgen.transformations.realize import RealizeProtostructureTransformation
from atomsym.calculators.pymatgen.transformations.relax import (
    PotentialRelaxTransformation,
    SymmetricRelaxTransformation,
)

__all__ = [
    "PotentialRelaxTransformation",
    "RealizeProtostructureTransformation",
    "SymmetricRelaxTransformation",
    "WyckoffGenerationTransformation",
]
