"""Every choice that the NequIP architecture takes."""

from __future__ import annotations

from dataclasses import dataclass

from atomsym.core import ConfigError
from atomsym.models.learned import LearnedConfig
from atomsym.nn.edge_product import ProductName, require_product
from atomsym.symmetry import Irreps


@dataclass(frozen=True)
class NequIPConfig(LearnedConfig):
    """Description of a NequIP potential.

    Three derivatives of the energy are continuous where a neighbor enters, with trained frequencies two.

    Attributes:
        elements: atomic numbers that the model knows, increasing.
        cutoff: radius of the neighbor list in Å.
        atomic_energies: energy of each isolated atom, one an element, eV.
        average_neighbors: number of neighbors of an atom, averaged over the training data; sums over neighbors are
            divided by its square root.
        scale: factor of the interaction energy, eV.
        shift: added to the energy of each atom, eV.
        channels: multiplicity of every irrep. Published models often give higher degrees fewer channels.
        hidden: irreps of the features between layers; the first one must be 0e. A layer has those that it can reach.
        max_degree: largest degree l of the spherical harmonics.
        parity: whether features know what the inversion does to them. Without, all irreps must be written as even
            (``0e+1e+2e``), and the energy of a structure can differ from that of its mirror image.
        n_layers: message-passing layers.
        n_radial: Bessel functions.
        radial_hidden: widths of the hidden layers of the radial networks.
        trainable_frequencies: train the frequencies of the Bessel functions.
        envelope_power: p of the polynomial cutoff.
        product: what couples features with edges. ``so2``: in the frame of each edge, nothing lost, cheaper at high
            degrees. ``gaunt``: one radial weight for each degree of the harmonics; needs parity, and hidden irreps 0e,
            1o, 2e, … at most once. ``cp``: one radial weight for all couplings; degrees up to 3.
    """

    channels: int = 64
    hidden: str = "0e+1o+2e"
    max_degree: int = 2
    parity: bool = True
    n_layers: int = 4
    n_radial: int = 8
    radial_hidden: tuple[int, ...] = (128,)
    trainable_frequencies: bool = False
    envelope_power: int = 6
    product: ProductName = "clebsch-gordan"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "radial_hidden", tuple(self.radial_hidden))
        self.require_at_least_one("channels", "n_layers", "n_radial", "radial_hidden")
        self.require_hidden(self.hidden)
        if self.max_degree < 0 or self.envelope_power < 2:
            raise ConfigError(
                f"max_degree must be >= 0 and envelope_power >= 2; found {self.max_degree}, {self.envelope_power}"
            )
        if not self.parity and any(irrep.parity == -1 for irrep in Irreps.parse(self.hidden)):
            raise ConfigError(f"without parity all hidden irreps must be even, as 0e+1e; found '{self.hidden}'")

        require_product(self.product, (Irreps.parse(self.hidden), self.harmonics), mirror=self.parity)

    @property
    def harmonics(self) -> Irreps:
        """Irreps of the edges."""
        return Irreps.spherical_harmonics(self.max_degree, parity=-1 if self.parity else 1)

    def features(self, layer: int) -> Irreps:
        """Irreps of the features that enter a layer; ``features(n_layers)`` are those that leave the last one."""
        hidden = Irreps.parse(self.hidden)
        found = hidden[:1]
        for _ in range(layer if layer < self.n_layers else 0):
            reachable = {irrep for first in found for second in self.harmonics for irrep in first * second}
            found = Irreps(tuple(irrep for irrep in hidden if irrep in reachable))
        return found
