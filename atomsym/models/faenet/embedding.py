"""First states of atoms, from what is known of their elements, and of edges, from their vectors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from atomsym.kernels.silu import silu
from atomsym.models.faenet.config import FAENetConfig
from atomsym.models.faenet.elements import N_GROUPS, N_PERIODS, PROPERTIES, element_rows
from atomsym.models.faenet.linear import Linear


class ElementEmbedding(nn.Module):
    """h = f(f([own, properties, period, group] W₁ + b₁) W₂ + b₂), with f the SiLU.

    Attributes:
        own: of each element, shape (n_species, element_channels); None if that is zero.
        properties: of each element, shape (n_species, len(PROPERTIES)); saved with the weights, and trained only
            beneath ``property_map``. None without.
        property_map: linear map of the properties; None if they enter as they are.
        period, group: shapes (7, period_group_channels), (19, period_group_channels); None without.
        layers: the linear maps.
    """

    properties: Tensor | None
    _periods: Tensor
    _groups: Tensor

    def __init__(self, config: FAENetConfig) -> None:
        super().__init__()
        self.own = _rows(len(config.elements), config.element_channels)
        width = config.period_group_channels
        self.period, self.group = _rows(N_PERIODS, width), _rows(N_GROUPS, width)
        self.property_map = Linear(len(PROPERTIES), config.property_channels) if config.property_channels else None
        values = torch.from_numpy(element_rows(config.elements).properties) if config.properties else None
        if values is not None:
            values = values.to(torch.get_default_dtype())
        if values is not None and self.property_map is not None:
            self.properties = nn.Parameter(values)
        else:
            self.register_buffer("properties", values)
        if width:
            rows = element_rows(config.elements)
            self.register_buffer("_periods", torch.from_numpy(rows.periods), persistent=False)
            self.register_buffer("_groups", torch.from_numpy(rows.groups), persistent=False)
        n_layers = 2 if config.second_layer else 1
        self.layers = nn.ModuleList(Linear(config.channels, config.channels) for _ in range(n_layers))

    def forward(self) -> Tensor:
        """First state of an atom of each element, shape (n_species, channels)."""
        parts: list[Tensor] = [] if self.own is None else [self.own]
        if self.properties is not None:
            parts.append(self.properties if self.property_map is None else self.property_map(self.properties))
        if self.period is not None and self.group is not None:
            parts += [self.period[self._periods], self.group[self._groups]]
        states = torch.cat(parts, dim=1)
        for layer in self.layers:
            states = silu(layer(states))
        return states


def _rows(n: int, width: int) -> nn.Parameter | None:
    return nn.Parameter(torch.randn(n, width)) if width else None


class EdgeEmbedding(nn.Module):
    """e = f(f([r W_r + b_r, g(d) W_d + b_d]) W + b): this is where directions enter, as plain numbers.

    Attributes:
        vector: linear map of the edge vectors in Å.
        distance: linear map of the radial functions.
        second: linear map; None for a single layer, e = f([r W_r + b_r, g(d) W_d + b_d]).
    """

    def __init__(self, config: FAENetConfig) -> None:
        super().__init__()
        half = config.filters // 2
        self.vector = Linear(3, half)
        self.distance = Linear(config.n_gaussians, config.filters - half)
        self.second = Linear(config.filters, config.filters) if config.second_layer else None

    def forward(self, vectors: Tensor, basis: Tensor) -> Tensor:
        """States of the edges.

        Args:
            vectors: shape (n_edges, 3), Å.
            basis: radial functions, shape (n_edges, n_gaussians).

        Returns:
            Shape (n_edges, filters).
        """
        states = silu(torch.cat((self.vector(vectors), self.distance(basis)), dim=1))
        return states if self.second is None else silu(self.second(states))
