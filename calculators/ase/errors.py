"""Errors that both worlds know: each is atomsym's and ASE's at once, so that either ``except`` catches it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from ase.calculators import calculator as ase_errors

from atomsym.core import (
    ArtifactError,
    AtomsymError,
    BackendError,
    CalculationError,
    ConfigError,
    InputError,
    OutOfMemoryError,
    PropertyNotAvailableError,
    UnsupportedElementError,
)


class AseInputError(InputError, ase_errors.InputError):
    """The structure, argument or setting cannot be used."""


class AseUnsupportedElementError(UnsupportedElementError, ase_errors.InputError):
    """The structure holds an element that the model does not know."""


class AseConfigError(ConfigError, ase_errors.InputError):
    """A setting is unknown or out of range."""


class AseArtifactError(ArtifactError, ase_errors.CalculatorSetupError):
    """The model file is damaged, of another format, or was replaced."""


class AseBackendError(BackendError, ase_errors.CalculatorSetupError):
    """The requested kernel backend cannot do what was asked."""


class AseCalculationError(CalculationError, ase_errors.CalculationFailed):
    """The model returned something that is not a finite result."""


class AseOutOfMemoryError(OutOfMemoryError, ase_errors.CalculationFailed):
    """The calculation needs more memory than there is."""


class AsePropertyNotAvailableError(PropertyNotAvailableError, ase_errors.PropertyNotImplementedError):
    """The model does not compute the property, or not for this structure."""


_BOTH: tuple[type[AtomsymError], ...] = (
    AseUnsupportedElementError,  # before InputError, which it is too
    AseInputError,
    AseConfigError,
    AseArtifactError,
    AseBackendError,
    AseCalculationError,
    AseOutOfMemoryError,
    AsePropertyNotAvailableError,
)


@contextmanager
def as_ase_errors() -> Iterator[None]:
    """Raise atomsym's errors, and running out of memory, as their twins that ASE knows too; others pass unchanged."""
    try:
        yield
    except AtomsymError as error:
        for twin in _BOTH:
            if isinstance(error, twin):
                raise
            if isinstance(error, twin.__mro__[1]):
                raise twin(str(error)) from error
        raise
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise AseOutOfMemoryError(f"out of memory: {error}. Use fewer atoms or dtype='float32'") from error
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):  # how torch reports it on the CPU
            raise
        raise AseOutOfMemoryError(f"out of memory: {error}. Use fewer atoms or dtype='float32'") from error
