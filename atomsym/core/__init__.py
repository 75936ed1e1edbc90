"""Layer 0: the atom graph, units, elements and errors. Imports nothing of atomsym above it and no host package."""

from atomsym.core.errors import (
    ArtifactError,
    AtomsymError,
    AtomsymWarning,
    BackendError,
    CalculationError,
    ConfigError,
    DataError,
    InputError,
    MissingDependencyError,
    OutOfMemoryError,
    PropertyNotAvailableError,
    UnsupportedElementError,
)
from atomsym.core.graph import AtomGraph
from atomsym.core.labelled_structure import LabelledStructure
from atomsym.core.labels import LABELS, require_labels
from atomsym.core.topology import EdgeTopology
from atomsym.core.validation import (
    MIN_DISTANCE,
    check_elements,
    validate_distances,
    validate_graph,
    validate_structure,
)

__all__ = [
    "LABELS",
    "MIN_DISTANCE",
    "ArtifactError",
    "AtomGraph",
    "AtomsymError",
    "AtomsymWarning",
    "BackendError",
    "CalculationError",
    "ConfigError",
    "DataError",
    "EdgeTopology",
    "InputError",
    "LabelledStructure",
    "MissingDependencyError",
    "OutOfMemoryError",
    "PropertyNotAvailableError",
    "UnsupportedElementError",
    "check_elements",
    "require_labels",
    "validate_distances",
    "validate_graph",
    "validate_structure",
]
