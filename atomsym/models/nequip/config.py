"""Every choice that the NequIP architecture takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from atomsym.core import ConfigError
from atomsym.models.learned import LearnedConfig
from atomsym.nn.edge_product import ProductName, require_product
from atomsym.symmetry import Irreps

Repulsion = Literal["none", "published"]


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
        readout_hidden: widths of the hidden layers of the readout; without any it is linear.
        element_scales: factors of the interaction energies of each element, beside ``scale``; empty: 1.
        element_neighbors: average number of neighbors of each element; what an atom sends is divided by the square root
            of its own element's in the place of ``average_neighbors``. Empty: that one for all.
        pair_cutoffs: cutoff of each pair of elements, receivers in rows, senders in columns, Å, at most ``cutoff``;
            empty: ``cutoff`` for all.
        repulsion: ``published``: the Ziegler–Biersack–Littmark repulsion in full, weakened by a polynomial cutoff that
            ends with the neighbors, as imported weights may have it; two derivatives are continuous there.
        repulsion_power: p of the polynomial cutoff of the repulsion.
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
    readout_hidden: tuple[int, ...] = ()
    element_scales: tuple[float, ...] = ()
    element_neighbors: tuple[float, ...] = ()
    pair_cutoffs: tuple[tuple[float, ...], ...] = ()
    repulsion: Repulsion = "none"
    repulsion_power: int = 6

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("radial_hidden", "readout_hidden", "element_scales", "element_neighbors"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "pair_cutoffs", tuple(tuple(row) for row in self.pair_cutoffs))
        self.require_at_least_one("channels", "n_layers", "n_radial", "radial_hidden", "readout_hidden")
        self._require_by_element()
        self.require_hidden(self.hidden)
        if self.max_degree < 0 or self.envelope_power < 2:
            raise ConfigError(
                f"max_degree must be >= 0 and envelope_power >= 2; found {self.max_degree}, {self.envelope_power}"
            )
        if not self.parity and any(irrep.parity == -1 for irrep in Irreps.parse(self.hidden)):
            raise ConfigError(f"without parity all hidden irreps must be even, as 0e+1e; found '{self.hidden}'")
        if self.repulsion not in get_args(Repulsion) or self.repulsion_power < 2:
            raise ConfigError(
                f"repulsion must be one of {', '.join(get_args(Repulsion))}, its power >= 2; found "
                f"'{self.repulsion}', {self.repulsion_power}"
            )
        require_product(self.product, (Irreps.parse(self.hidden), self.harmonics), mirror=self.parity)

    def _require_by_element(self) -> None:
        """Refuse what is given of each element, but not of all, or is out of range."""
        n = len(self.elements)
        for name in ("element_scales", "element_neighbors"):
            values = getattr(self, name)
            if len(values) not in (0, n) or not all(math.isfinite(value) for value in values):
                raise ConfigError(f"{name} must be {n} finite numbers, one an element, or none; found {values}")
        if any(value <= 0 for value in self.element_neighbors):
            raise ConfigError(f"element_neighbors must be positive; found {self.element_neighbors}")
        rows = self.pair_cutoffs
        if len(rows) not in (0, n) or any(len(row) != n for row in rows):
            raise ConfigError(f"pair_cutoffs must be {n} rows of {n}, or none; found {rows}")
        if not all(0 < value <= self.cutoff for row in rows for value in row):
            raise ConfigError(f"pair_cutoffs must be above 0 and at most the cutoff, {self.cutoff:g} Å; found {rows}")

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
