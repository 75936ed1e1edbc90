"""Layer 0: the atom graph, units, elements and errors. Imports nothing of atomsym above it and no host package."""

from atomsym.core.errors import (
    ArtifactError,
    AtomsymError,
    AtomsymWarning,
    BackendError,
    CalculationError,
    ConfigError,
    InputError,
    MissingDependencyError,
    OutOfMemoryError,
    PropertyNotAvailableError,
    UnsupportedElementError,
)
from atomsym.core.graph import AtomGraph
from atomsym.core.topology import EdgeTopology

__all__ = [
    "ArtifactError",
    "AtomGraph",
    "AtomsymError",
    "AtomsymWarning",
    "BackendError",
    "CalculationError",
    "ConfigError",
    "EdgeTopology",
    "InputError",
    "MissingDependencyError",
    "OutOfMemoryError",
    "PropertyNotAvailableError",
    "UnsupportedElementError",
]
