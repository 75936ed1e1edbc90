"""A potential that is made from another one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from atomsym.core import ConfigError
from atomsym.core.configs import config_from_dict
from atomsym.models.description import description_with_offsets, passed_on, split_description
from atomsym.models.potential import Potential, PotentialConfig


class HoldingPotential(Potential):
    """A potential with another one inside, which its config describes as plain data; elements and cutoff are its.

    Attributes:
        entry: name of the description in the config, and of the potential inside as an attribute.
    """

    entry: ClassVar[str] = "model"

    def __init__(self, config: PotentialConfig) -> None:
        super().__init__(config)
        held_class, entries = self.held(getattr(config, self.entry))
        held = held_class(config_from_dict(held_class.Config, entries))
        if (tuple(held.elements), held.cutoff) != (tuple(config.elements), config.cutoff):
            raise ConfigError(f"elements and cutoff must be those of the {self.entry}")
        self.add_module(self.entry, held)

    @classmethod
    def held(cls, described: Mapping[str, Any]) -> tuple[type[Potential], dict[str, Any]]:
        """Class and config entries of a description.

        Raises:
            ConfigError: if it names no known architecture, or one that cannot be inside.
        """
        return split_description(described, cls.entry)

    def decay_parameters(self) -> frozenset[str]:
        """Those of the potential inside."""
        inside: Potential = getattr(self, self.entry)
        return frozenset(f"{self.entry}.{name}" for name in inside.decay_parameters())

    @classmethod
    def with_energy_offsets(cls, config: Any, offsets: Mapping[int, float]) -> PotentialConfig:
        """The config whose potential inside has other reference energies."""
        described = description_with_offsets(getattr(config, cls.entry), cls.entry, offsets)
        changed: PotentialConfig = replace(config, **{cls.entry: described})
        return changed

    @classmethod
    def cutoff_from_settings(cls, settings: Mapping[str, Any]) -> float:
        """That of the potential inside."""
        held_class, given = cls.held(passed_on(settings, cls.entry))
        return held_class.cutoff_from_settings(given)
