"""Every choice that the Wyckoff transformer takes."""

from __future__ import annotations

from dataclasses import dataclass

from atomsym.core import ConfigError


@dataclass(frozen=True)
class WyFormerConfig:
    """Description of a Wyckoff transformer. The default sizes are those of the published base generator.

    Attributes:
        element_channels, site_channels, enumeration_channels: widths of the three embeddings of a token; their sum is
            the width of the network.
        layers: encoder layers.
        heads: attention heads; must divide the width.
        hidden: width of the feed-forward layers.
        dropout: while training.
        properties: names of properties of crystals that samples can be asked for.
        property_dropout: how often training hides the properties of a crystal, so that it also learns to do without.
        single_property_dropout: how often each property is hidden for itself, where there are several: a request may
            name only some of them.
    """

    element_channels: int = 16
    site_channels: int = 16
    enumeration_channels: int = 8
    layers: int = 3
    heads: int = 4
    hidden: int = 128
    dropout: float = 0.2
    properties: tuple[str, ...] = ()
    property_dropout: float = 0.1
    single_property_dropout: float = 0.25

    def __post_init__(self) -> None:
        for name in ("element_channels", "site_channels", "enumeration_channels", "layers", "heads", "hidden"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1; found {getattr(self, name)}")
        if self.channels % self.heads:
            raise ConfigError(f"{self.heads} heads do not divide the width {self.channels}")
        for name in ("dropout", "property_dropout", "single_property_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} must be in [0, 1); found {getattr(self, name)}")
        if len(set(self.properties)) != len(self.properties):
            raise ConfigError(f"properties names one twice: {', '.join(self.properties)}")

    @property
    def channels(self) -> int:
        """Width of the network."""
        return self.element_channels + self.site_channels + self.enumeration_channels
