"""Every choice that the eSEN architecture takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from atomsym.core import ConfigError
from atomsym.models.learned import LearnedConfig
from atomsym.symmetry import Irreps

Activation = Literal["gate", "grid"]
Repulsion = Literal["none", "universal"]


@dataclass(frozen=True)
class ESENConfig(LearnedConfig):
    """Description of an eSEN potential. Defaults are a small model.

    ``envelope_order`` − 1 derivatives of the energy are continuous where a neighbor enters.

    Attributes:
        elements: atomic numbers that the model knows, increasing.
        cutoff: radius of the neighbor list in Å.
        atomic_energies: energy of each isolated atom, one an element, eV.
        average_neighbors: number of neighbors of an atom, averaged over the training data; sums over neighbors are
            divided by its square root.
        scale: factor of the interaction energy, eV.
        shift: added to the energy of each atom, eV.
        channels: multiplicity of every degree of an atom's features.
        max_degree: largest degree l of features and messages.
        max_order: largest order |m| of messages in the frame of their edge; None keeps all. Fewer orders make high
            degrees cheap, and energies stay exactly invariant.
        n_layers: blocks of message passing and feed-forward. An atom sees n_layers + 1 cutoffs far, one of which is
            the first embedding's.
        edge_channels: multiplicity within messages, between their two linear maps.
        feed_forward_channels: multiplicity within feed-forward layers.
        n_radial: Gaussians of the distance. Few and wide ones make smooth potentials.
        radial_hidden: widths of the hidden layers of the radial networks.
        species_channels: numbers by which radial networks know each of an edge's two elements.
        edge_activation: non-linearity of messages: ``gate`` by scalars, or ``grid``, the product of two signals on the
            sphere, which costs about as much again and raises the body order.
        feed_forward: non-linearity of the feed-forward layers, likewise.
        attention_heads: 0 adds messages up; else they are weighted by attention in so many groups of channels.
        attention_channels: numbers that the logit of a head comes from.
        envelope_order: exponent of the envelope of every message.
        parity: whether features know what the inversion does to them. Without, as published, messages have twice the
            weights for orders above 0, and the energy of a structure can differ from that of its mirror image.
        readout_hidden: width of the readout's hidden layer.
        repulsion: ``universal`` adds the Ziegler–Biersack–Littmark repulsion of the nuclei, which outweighs what the
            network says where no data are.
        repulsion_end: where it ends, in sums of covalent radii, with five continuous derivatives; it is whole up to
            half of that. At 0.75 it stays clear of bonds (C≡C 0.79, N≡N 0.77) and melts.
        hold_below: in sums of covalent radii: closer atoms look to the network as if they were no closer, and from half
            of that on alike, so that the repulsion alone acts on them.
    """

    channels: int = 32
    max_degree: int = 2
    max_order: int | None = None
    n_layers: int = 2
    edge_channels: int = 32
    feed_forward_channels: int = 64
    n_radial: int = 10
    radial_hidden: tuple[int, ...] = (64,)
    species_channels: int = 8
    edge_activation: Activation = "gate"
    feed_forward: Activation = "gate"
    attention_heads: int = 0
    attention_channels: int = 8
    envelope_order: int = 4
    parity: bool = True
    readout_hidden: int = 32
    repulsion: Repulsion = "none"
    repulsion_end: float = 1.0
    hold_below: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "radial_hidden", tuple(self.radial_hidden))
        self.require_at_least_one(
            "channels", "n_layers", "edge_channels", "feed_forward_channels", "radial_hidden", "species_channels"
        )
        self.require_at_least_one("attention_channels", "readout_hidden")
        if self.max_degree < 0 or not 0 <= self.orders <= self.max_degree:
            raise ConfigError(
                f"max_degree must be >= 0 and max_order 0 to max_degree; found {self.max_degree} and {self.max_order}"
            )
        if self.n_radial < 2 or self.envelope_order < 2:
            raise ConfigError(
                f"n_radial and envelope_order must be at least 2; found {self.n_radial} and {self.envelope_order}"
            )
        for name in ("edge_activation", "feed_forward"):
            if getattr(self, name) not in get_args(Activation):
                raise ConfigError(
                    f"{name} must be one of {', '.join(get_args(Activation))}; found '{getattr(self, name)}'"
                )
        if self.repulsion not in get_args(Repulsion):
            raise ConfigError(f"repulsion must be one of {', '.join(get_args(Repulsion))}; found '{self.repulsion}'")
        if not 0 < self.repulsion_end <= 1 or not 0 <= self.hold_below <= 1:
            raise ConfigError(
                "repulsion_end must be above 0 and at most 1, hold_below 0 to 1; "
                f"found {self.repulsion_end:g} and {self.hold_below:g}"
            )
        if self.repulsion == "none" and (self.repulsion_end != 1 or self.hold_below):
            raise ConfigError(
                f"repulsion_end {self.repulsion_end:g} and hold_below {self.hold_below:g} need a repulsion, without "
                "which close atoms would feel no force; set repulsion: universal"
            )
        if self.attention_heads < 0 or (self.attention_heads and self.edge_channels % self.attention_heads):
            raise ConfigError(
                "attention_heads must be 0 or divide edge_channels; "
                f"found {self.attention_heads} and {self.edge_channels}"
            )

    @property
    def orders(self) -> int:
        """Largest order that messages have."""
        return self.max_degree if self.max_order is None else self.max_order

    @property
    def features(self) -> Irreps:
        """Irreps of an atom's features."""
        return Irreps.spherical_harmonics(self.max_degree, parity=-1 if self.parity else 1)
