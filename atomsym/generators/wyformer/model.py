"""The Wyckoff transformer as a generator of protostructures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from atomsym.core import ConfigError
from atomsym.generators.batch import ProtostructureBatch
from atomsym.generators.conditions import Conditions
from atomsym.generators.generated import GeneratedProtostructure
from atomsym.generators.generator import Pool, ProtostructureGenerator, Request
from atomsym.generators.reachability import reachability
from atomsym.generators.registry import register_generator
from atomsym.generators.wyformer.config import WyFormerConfig
from atomsym.generators.wyformer.loss import orbit_entropies
from atomsym.generators.wyformer.network import OrbitNetwork
from atomsym.generators.wyformer.sampling import Guide, draw_crystals

CANDIDATES = 4
"""For each crystal that is drawn under conditions."""
LEAST_CANDIDATES = 16
"""For the crystals that are drawn together under conditions."""


@register_generator
class WyFormer(ProtostructureGenerator):
    """Draws one orbit after the other until it draws the end.

    Args:
        config: of the network.

    Example:
        >>> generator = WyFormer(WyFormerConfig()).eval()
        >>> conditions = Conditions.of_system(11, 17)
        >>> salt = generator.sample_in_groups([225], conditions=conditions, generator=torch.Generator().manual_seed(0))
        >>> sorted(salt[0].protostructure.composition)
        [11, 17]
    """

    architecture = "wyformer"
    Config = WyFormerConfig
    batch = 2048  # the more are drawn together, the more often the answer about a crystal serves several candidates
    property_means: Tensor
    property_scales: Tensor

    def __init__(self, config: WyFormerConfig) -> None:
        super().__init__(config)
        self.network = OrbitNetwork(config)
        self.register_buffer("property_means", torch.zeros(len(config.properties)))
        self.register_buffer("property_scales", torch.ones(len(config.properties)))

    @property
    def properties(self) -> tuple[str, ...]:
        return tuple(self.config.properties)

    def learn_statistics(self, data: ProtostructureBatch) -> None:
        """Space groups, and mean and spread of the properties.

        Raises:
            ConfigError: if a property is not known of at least two crystals that differ in it.
        """
        super().learn_statistics(data)
        for column, name in enumerate(self.properties):
            values = data.properties[:, column]
            values = values[~values.isnan()]
            if len(values) < 2 or not float(values.std()) > 0:
                raise ConfigError(f"the training crystals have no different values of the property '{name}'")
            self.property_means[column], self.property_scales[column] = values.mean(), values.std()

    def loss(self, batch: ProtostructureBatch, generator: torch.Generator) -> Tensor:
        """See ``orbit_entropies``; in training, properties of some crystals are hidden."""
        properties = (batch.properties - self.property_means) / self.property_scales
        if self.training and self.properties:
            hidden = torch.rand(len(properties), 1, generator=generator).to(properties.device)
            properties = properties.masked_fill(hidden < self.config.property_dropout, torch.nan)
            if len(self.properties) > 1:
                single = torch.rand(properties.shape, generator=generator).to(properties.device)
                properties = properties.masked_fill(single < self.config.single_property_dropout, torch.nan)
        return orbit_entropies(self.network, batch, properties, generator).bound

    def n_candidates(self, n: int, conditions: Conditions) -> int:
        """As many as crystals if the conditions forbid next to nothing."""
        return n if conditions == self.known_conditions(Conditions()) else max(CANDIDATES * n, LEAST_CANDIDATES)

    def draw(
        self, pools: Sequence[Pool], request: Request, generator: torch.Generator
    ) -> list[GeneratedProtostructure]:
        """See ``ProtostructureGenerator``. Guidance is that of classifiers' absence: l = l_u + w (l_c - l_u).

        Source of the guidance: Ho, Salimans 2022 (arXiv 2207.12598).
        """
        guide = Guide(self._standardised(request.targets), request.guidance if request.targets else 0.0)
        with torch.inference_mode():
            return draw_crystals(
                self.network, pools, reachability(request.conditions), guide, generator, request.temperature,
                weighed=request.conditions != self.known_conditions(Conditions()),
            )  # fmt: skip

    def _standardised(self, targets: Mapping[str, float]) -> Tensor:
        """Targets in the order of the properties, NaN where there is none, shape (n_properties,)."""
        wanted = [targets.get(name, np.nan) for name in self.properties]
        return (torch.tensor(wanted, device=self.device) - self.property_means) / self.property_scales
