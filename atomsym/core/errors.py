"""Every error that atomsym raises on purpose, and its one warning class.

A message says what is wrong, where (index, file, line), what was found, what is allowed and what to do next.
"""

from __future__ import annotations


class AtomsymError(Exception):
    """Base of all errors raised on purpose."""


class InputError(AtomsymError, ValueError):
    """The caller's structure, argument or setting cannot be used."""


class UnsupportedElementError(InputError):
    """A structure holds an element that the model does not know."""


class BackendError(AtomsymError, RuntimeError):
    """The requested kernel backend cannot do what was asked (device, dtype, degree, derivative order)."""


class MissingDependencyError(AtomsymError, ImportError):
    """An optional package is not installed; the message has the install line."""

    @classmethod
    def for_package(cls, package: str, extra: str, purpose: str) -> MissingDependencyError:
        """Build the message: ``purpose`` needs ``package``, which the extra ``extra`` installs."""
        return cls(f"{purpose} needs {package}, which is missing. Install it with: pip install 'atomsym[{extra}]'")


class ArtifactError(AtomsymError, ValueError):
    """A model file is damaged, of another format, or does not fit its own description."""


class DataError(AtomsymError, ValueError):
    """A data set cannot be read, or its labels are missing, contradictory or not numbers."""


class ConfigError(AtomsymError, ValueError):
    """A setting is unknown or out of range."""


class CalculationError(AtomsymError, RuntimeError):
    """The model returned something that is not a finite result."""


class OutOfMemoryError(AtomsymError, MemoryError):
    """The calculation would need more memory than there is; the message says what would fit."""


class PropertyNotAvailableError(AtomsymError, NotImplementedError):
    """The model does not compute the requested property."""


class AtomsymWarning(UserWarning):
    """Something a user should know about and can act on."""
