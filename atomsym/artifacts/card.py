"""What people need to know of a model: where it comes from, what it may be used for, and what its file says of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from atomsym.core import ConfigError
from atomsym.core.elements import SYMBOLS

UNITS = "energy eV, length Å"


@dataclass(frozen=True)
class ModelCard:
    """The statements that come from the author of a model and cannot be derived from it.

    Attributes:
        name: short name that users type: lower-case letters, digits, and ``-`` ``.`` ``_`` inside.
        level_of_theory: what the energies approximate, such as "PBE, PAW" or "empirical".
        training_data: data the parameters were fitted to.
        licence: SPDX identifier of the parameters' licence.
        citation: whom to cite.
        description: one sentence.
        training: how it was trained, as JSON text: settings, splits, errors; see ``atomsym.training``. Empty for
            models that were not trained here; such files do not have the entry.
    """

    name: str
    level_of_theory: str
    training_data: str
    licence: str
    citation: str
    description: str = ""
    training: str = ""

    def __post_init__(self) -> None:
        """Check the name.

        Raises:
            ConfigError: if it could not be typed or would not be a plain file name.
        """
        inner = set("abcdefghijklmnopqrstuvwxyz0123456789-._")
        if not self.name or not set(self.name) <= inner or self.name[0] in "-._" or self.name[-1] in "-._":
            raise ConfigError(
                f"the model name {self.name!r} must be of lower-case letters, digits, '-', '.', '_' and begin and end "
                "with a letter or digit"
            )


@dataclass(frozen=True)
class ModelDescription:
    """Everything that a model file says of itself, without its tensors.

    Attributes:
        card: the author's statements.
        architecture: name under which the potential's class is registered.
        config: the architecture's settings as plain data.
        elements: atomic numbers that the model knows, increasing.
        cutoff: radius of the neighbor list, Å.
        dtype: floating-point type of the tensors, "float32" or "float64".
        format_version: version of the file format.
        created_with: program and version that wrote the file.
        content_hash: sha256 of the file's content, 64 hexadecimal digits.
        n_parameters: number of values in all tensors.
        size: bytes of the file.
    """

    card: ModelCard
    architecture: str
    config: dict[str, Any]
    elements: tuple[int, ...]
    cutoff: float
    dtype: str
    format_version: int
    created_with: str
    content_hash: str
    n_parameters: int
    size: int

    @property
    def symbols(self) -> tuple[str, ...]:
        """Chemical symbols of the elements."""
        return tuple(SYMBOLS[number] for number in self.elements)
