"""Every choice that the eSCN-MD architecture takes."""

from __future__ import annotations

from dataclasses import dataclass

from atomsym.core import ConfigError
from atomsym.models.learned import LearnedConfig
from atomsym.symmetry import Irreps


@dataclass(frozen=True)
class ESCNMDConfig(LearnedConfig):
    """Description of an eSCN-MD potential. Defaults are those of the small published models.

    Attributes:
        elements: atomic numbers that the model knows, increasing.
        cutoff: radius of the neighbor list in Å.
        atomic_energies: energy of each isolated atom, one an element, eV.
        average_neighbors: the degree embedding is divided by its square root; published models have 25.
        scale: factor of the interaction energy, eV.
        shift: added to the energy of each atom, eV.
        channels: multiplicity of every degree of an atom's features.
        max_degree: largest degree l of features and messages.
        max_order: largest order |m| of messages in the frame of their edge; None keeps all.
        n_layers: blocks of message passing and feed-forward. An atom sees n_layers + 1 cutoffs far.
        hidden_channels: multiplicity within messages and feed-forward layers, and width of the readout.
        edge_channels: numbers by which radial networks know each of an edge's two elements, and width of their two
            hidden layers.
        n_radial: Gaussians of the distance.
        radial_width: standard deviation of the Gaussians over their spacing.
        envelope_power: flatness of the envelope at distance 0.
        composition: how many atoms of each element a formula unit has, one an element. Not empty where the weights are
            a mixture of experts that was made for one composition; other compositions are refused.
    """

    average_neighbors: float = 25.0
    channels: int = 128
    max_degree: int = 2
    max_order: int | None = None
    n_layers: int = 4
    hidden_channels: int = 128
    edge_channels: int = 128
    n_radial: int = 64
    radial_width: float = 2.0
    envelope_power: int = 5
    composition: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "composition", tuple(self.composition))
        self.require_at_least_one("channels", "n_layers", "hidden_channels", "edge_channels")
        if self.max_degree < 0 or not 0 <= self.orders <= self.max_degree:
            raise ConfigError(
                f"max_degree must be >= 0 and max_order 0 to max_degree; found {self.max_degree} and {self.max_order}"
            )
        if self.n_radial < 2 or self.envelope_power < 2 or not self.radial_width > 0:
            raise ConfigError(
                "n_radial and envelope_power must be at least 2, radial_width positive; "
                f"found {self.n_radial}, {self.envelope_power} and {self.radial_width:g}"
            )
        if self.composition and (len(self.composition) != len(self.elements) or min(self.composition) < 1):
            raise ConfigError(
                f"composition must be empty or one positive number an element; found {self.composition} for "
                f"{len(self.elements)} elements"
            )

    @property
    def orders(self) -> int:
        """Largest order that messages have."""
        return self.max_degree if self.max_order is None else self.max_order

    @property
    def features(self) -> Irreps:
        """Irreps of an atom's features. They do not know what the inversion does to them."""
        return Irreps.spherical_harmonics(self.max_degree, parity=1)
