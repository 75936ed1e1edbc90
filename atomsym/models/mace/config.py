"""Every choice that the MACE architecture takes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from atomsym.core import ConfigError
from atomsym.kernels.symmetric_contraction import MAX_CORRELATION
from atomsym.models.learned import LearnedConfig
from atomsym.nn import activation
from atomsym.nn.edge_product import ProductName, require_product
from atomsym.symmetry import Irrep, Irreps, sorted_irreps

Interaction = Literal["residual", "plain"]
RadialBasis = Literal["bessel", "gaussian", "chebyshev"]
DistanceTransform = Literal["none", "agnesi", "soft"]
Repulsion = Literal["none", "universal", "smooth", "published"]


@dataclass(frozen=True)
class MACEConfig(LearnedConfig):
    """Description of a MACE potential. Defaults are a small, accurate model.

    Attributes:
        elements: atomic numbers that the model knows, increasing.
        cutoff: radius of the neighbor list in Å.
        atomic_energies: energy of each isolated atom, one an element, eV.
        average_neighbors: number of neighbors of an atom, averaged over the training data; messages are divided by it.
        scale: factor of the interaction energy, eV.
        shift: added to the energy of each atom, eV.
        channels: multiplicity of every irrep.
        hidden: irreps of the features between layers; the first one must be 0e.
        max_degree: largest degree l of the spherical harmonics and of the messages.
        correlation: largest number of neighbors whose messages are multiplied.
        n_layers: message-passing layers.
        n_radial: radial basis functions.
        radial_hidden: widths of the hidden layers of the radial networks.
        radial_basis: family of the radial basis. With ``bessel`` of its own frequencies, no transform and the
            cutoff on the basis, three derivatives of the energy are continuous where a neighbor enters, else two.
            ``chebyshev`` polynomials grow quickly beyond 1: combine them with ``agnesi``, which ends there.
        distance_transform: applied to the distance before the basis (not before the cutoff).
        envelope_power: p of the polynomial cutoff.
        cutoff_on_weights: multiply the radial network's output with the cutoff instead of its input.
        first_interaction, interaction: ``residual`` adds a linear function of the layer's input, chosen by species,
            to its output; ``plain`` mixes the messages by species instead. With a residual first interaction an
            isolated atom has a learned energy beside ``atomic_energies`` and ``shift``, with a plain one it has not.
        density: divide messages by 1 + a learned density of neighbors instead of ``average_neighbors``.
        species_product: weights of the many-body products differ from species to species.
        readout_hidden: width of the last layer's readout.
        readout_activation: of that readout.
        last_readout_only: leave out the linear readouts of the earlier layers.
        repulsion: the Ziegler–Biersack–Littmark repulsion below the sum of the covalent radii. ``universal``: with the
            constants of its authors, ending at ``repulsion_end`` with five continuous derivatives; it outweighs what a
            network says where no data are. The others have MACE's constants, which screen more strongly (copper at
            1.4 Å: 0.4 eV instead of 32), and are weakened at every distance; they end with five continuous derivatives
            (``smooth``) or two (``published``, that of imported weights). Bonds vibrate about that distance, and
            dynamics with a jump in the third derivative do not conserve energy well.
        repulsion_end: where the universal repulsion ends, in sums of covalent radii; it is whole up to half of that.
            At 0.75 it stays clear of bonds (C≡C 0.79, N≡N 0.77) and melts, which are then the network's alone.
        hold_below: in sums of covalent radii: closer atoms look to the network as if they were no closer, and from
            half of it on nothing changes, so that what no data tell is left to the repulsion. 0: not at all. Below all
            distances of the training data it changes nothing that was learned; the shortest bonds have 0.77.
        first_density: ``density`` of the first layer, if it is another one.
        product: what couples features with edges. ``so2``: in the frame of each edge, nothing lost, cheaper at high
            degrees. ``gaunt``: one radial weight for each degree of the harmonics; hidden irreps 0e, 1o, 2e, … at most
            once. ``cp``: one radial weight for all couplings; degrees up to 3. Only ``clebsch-gordan`` has a compiled
            engine for inference.
        frequencies: k_n of the Bessel functions, 1/Å, one a radial function; empty: n π / cutoff.
    """

    channels: int = 64
    hidden: str = "0e+1o"
    max_degree: int = 3
    correlation: int = 3
    n_layers: int = 2
    n_radial: int = 8
    radial_hidden: tuple[int, ...] = (64, 64, 64)
    radial_basis: RadialBasis = "bessel"
    distance_transform: DistanceTransform = "none"
    envelope_power: int = 5
    cutoff_on_weights: bool = False
    first_interaction: Interaction = "residual"
    interaction: Interaction = "residual"
    density: bool = False
    species_product: bool = True
    readout_hidden: int = 16
    readout_activation: str = "silu"
    last_readout_only: bool = False
    repulsion: Repulsion = "none"
    first_density: bool | None = None
    frequencies: tuple[float, ...] = ()
    product: ProductName = "clebsch-gordan"
    repulsion_end: float = 1.0
    hold_below: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("radial_hidden", "frequencies"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        self.require_at_least_one("channels", "n_layers", "n_radial", "radial_hidden", "readout_hidden")
        self.require_hidden(self.hidden)
        if not 1 <= self.correlation <= MAX_CORRELATION:
            raise ConfigError(f"correlation must be 1 to {MAX_CORRELATION}; found {self.correlation}")
        if self.max_degree < 0 or self.envelope_power < 2:
            raise ConfigError(
                f"max_degree must be >= 0 and envelope_power >= 2; found {self.max_degree}, {self.envelope_power}"
            )
        if self.frequencies and (len(self.frequencies) != self.n_radial or self.radial_basis != "bessel"):
            raise ConfigError(f"frequencies must be {self.n_radial}, of Bessel functions; found {self.frequencies}")
        if not all(math.isfinite(value) for value in self.frequencies):
            raise ConfigError(f"frequencies must be finite; found {self.frequencies}")
        for name, kind in _CHOICES.items():
            if getattr(self, name) not in get_args(kind):
                raise ConfigError(f"{name} must be one of {', '.join(get_args(kind))}; found '{getattr(self, name)}'")
        if not 0 < self.repulsion_end <= 1 or (self.repulsion_end != 1 and self.repulsion != "universal"):
            raise ConfigError(
                "repulsion_end must be above 0 and at most 1, and 1 unless the repulsion is universal; "
                f"found {self.repulsion_end:g} with '{self.repulsion}'"
            )
        if not 0 <= self.hold_below <= 1 or (self.hold_below and self.repulsion == "none"):
            raise ConfigError(
                "hold_below must be 0 to 1, and needs a repulsion, without which such atoms would feel no force; "
                f"found {self.hold_below:g} with '{self.repulsion}'"
            )
        if self.radial_basis == "gaussian" and self.n_radial < 2:
            raise ConfigError(f"a gaussian basis needs n_radial >= 2; found {self.n_radial}")
        activation(self.readout_activation)
        require_product(self.product, (Irreps.parse(self.hidden), self.harmonics))

    @property
    def harmonics(self) -> Irreps:
        """Irreps of the edges."""
        return Irreps.spherical_harmonics(self.max_degree)

    def features(self, layer: int) -> Irreps:
        """Irreps of the features that enter a layer; ``features(n_layers)`` are those that leave the last one."""
        hidden = Irreps.parse(self.hidden)
        return hidden[:1] if layer in (0, self.n_layers) else hidden

    def has_density(self, layer: int) -> bool:
        """Whether a layer divides its messages by a learned density."""
        return self.density if layer > 0 or self.first_density is None else self.first_density

    def messages(self, layer: int) -> Irreps:
        """Irreps of the summed messages of a layer.

        Both parities of every degree as soon as features of unnatural parity (0o, 1e, …) exist, else natural ones.
        """
        natural = all(irrep.parity == (-1) ** irrep.degree for irrep in Irreps.parse(self.hidden))
        if natural or layer == 0:
            return self.harmonics
        degrees = range(self.max_degree + 1)
        return sorted_irreps(Irrep(degree, parity) for degree in degrees for parity in (1, -1))


_CHOICES = {
    "first_interaction": Interaction,
    "interaction": Interaction,
    "radial_basis": RadialBasis,
    "distance_transform": DistanceTransform,
    "repulsion": Repulsion,
}
