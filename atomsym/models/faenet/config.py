"""Every choice that the FAENet architecture takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from atomsym.core import ConfigError
from atomsym.core.elements import format_elements
from atomsym.models.faenet.elements import LAST_ELEMENT, PROPERTIES
from atomsym.models.learned import LearnedConfig

InteractionName = Literal["simple", "base", "updownscale", "updownscale_base", "updown_local_env"]
"""How atoms and edges make messages; see ``InteractionLayer``."""
NormName = Literal["none", "system"]
"""Whether sums over neighbors are normalized over the atoms of a system; see ``SystemNorm``."""
SkipName = Literal["none", "add", "concat", "concat_atom"]
"""How states between the layers reach the energy; see ``FAENet``."""
EnergyHeadName = Literal["sum", "weighted_initial", "weighted_final"]
"""Whether atoms have learned weights in the energy, from their embedding or from their last state."""
ForceHeadName = Literal["mlp", "res", "res_updown"]
"""Networks for direct forces; see ``ForceHead``."""
ForceNormName = Literal["none", "layer"]
"""Whether these normalize over the channels of each atom; see ``LayerNorm``."""
_CHOICES: dict[str, Any] = {
    "interaction": InteractionName,
    "norm": NormName,
    "skip": SkipName,
    "energy_head": EnergyHeadName,
    "force_head": ForceHeadName,
    "force_norm": ForceNormName,
}


@dataclass(frozen=True)
class FAENetConfig(LearnedConfig):
    """Description of a FAENet potential.

    The published models have ``envelope_power=0`` (the energy jumps where a neighbor enters), ``norm="system"`` and
    ``average_neighbors=1``.

    Attributes:
        elements: atomic numbers that the model knows, increasing.
        cutoff: radius of the neighbor list in Å.
        atomic_energies: energy of each isolated atom, one an element, eV.
        average_neighbors: number of neighbors of an atom, averaged over the training data; sums over neighbors are
            divided by its square root.
        scale: factor of the interaction energy, eV, and of direct forces, eV/Å.
        shift: added to the energy of each atom, eV.
        channels: width of the atoms' states.
        filters: width of the edges' states and of messages.
        n_layers: interactions.
        n_gaussians: radial functions.
        period_group_channels: width of the embedding of the period, and of that of the group; 0 for none.
        properties: whether atoms are embedded by physical properties of their element too.
        property_channels: width of a linear map of the properties, which are trained along; 0: they enter as they are.
        second_layer: whether the embeddings of atoms and edges have two layers instead of one.
        interaction: how atoms and edges make messages.
        second_update: whether interactions end with one more layer.
        norm: of the sums over neighbors. With ``system`` the energy of a system is not the sum of those of its parts.
        skip: how states between the layers reach the energy.
        energy_head: whether atoms have learned weights in the energy.
        direct_forces: whether forces are also predicted by a head of their own.
        force_head, force_channels, force_norm: of that head: its kind, width and normalization.
        envelope_power: p of the polynomial cutoff of the messages, with which two derivatives of the energy are
            continuous where a neighbor enters; 0: no envelope.
    """

    channels: int = 128
    filters: int = 128
    n_layers: int = 4
    n_gaussians: int = 50
    period_group_channels: int = 32
    properties: bool = True
    property_channels: int = 0
    second_layer: bool = True
    interaction: InteractionName = "updownscale_base"
    second_update: bool = False
    norm: NormName = "none"
    skip: SkipName = "concat"
    energy_head: EnergyHeadName = "sum"
    direct_forces: bool = False
    force_head: ForceHeadName = "mlp"
    force_channels: int = 128
    force_norm: ForceNormName = "none"
    envelope_power: int = 6

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least_one("channels", "n_layers", "force_channels")
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in get_args(allowed):
                raise ConfigError(
                    f"{name} must be one of {', '.join(get_args(allowed))}; found '{getattr(self, name)}'"
                )
        if self.filters < 2 or self.n_gaussians < 2 or self.channels < 2:
            raise ConfigError(
                "channels, filters and n_gaussians must be at least 2; "
                f"found {self.channels}, {self.filters}, {self.n_gaussians}"
            )
        if self.interaction == "simple" and self.filters != self.channels:
            raise ConfigError(
                "interaction 'simple' multiplies edges with atoms, so filters must equal channels; "
                f"found {self.filters} and {self.channels}"
            )
        if self.envelope_power == 1 or self.envelope_power < 0:
            raise ConfigError(f"envelope_power must be 0 or at least 2; found {self.envelope_power}")
        self._require_embedding()

    def _require_embedding(self) -> None:
        if self.period_group_channels < 0 or self.property_channels < 0:
            raise ConfigError("period_group_channels and property_channels must not be negative")
        if self.property_channels and not self.properties:
            raise ConfigError("property_channels is the width of a map of the properties; set properties: true")
        unknown = [number for number in self.elements if number > LAST_ELEMENT]
        if unknown and (self.properties or self.period_group_channels):
            raise ConfigError(
                f"the table of elements ends with Z={LAST_ELEMENT} and does not hold {format_elements(unknown)}; set "
                "properties: false and period_group_channels: 0"
            )
        if self.element_channels < 0:
            raise ConfigError(
                f"properties ({self.property_width}), period and group ({self.period_group_channels} each) leave no "
                f"room in {self.channels} channels"
            )

    @property
    def property_width(self) -> int:
        """Channels of an atom's embedding that its element's properties fill."""
        return (self.property_channels or len(PROPERTIES)) if self.properties else 0

    @property
    def element_channels(self) -> int:
        """Channels of the embedding that each element has for itself; with none, elements differ only by the rest."""
        return self.channels - self.property_width - 2 * self.period_group_channels
