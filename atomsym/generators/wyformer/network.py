"""The network of the Wyckoff transformer: what orbit comes next, given a space group and the orbits that are there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from atomsym.generators.wyformer.config import WyFormerConfig
from atomsym.generators.wyformer.layers import Remembered, SetLayer, pyramid
from atomsym.generators.wyformer.vocabulary import N_ELEMENTS, STOP, standard_vocabulary

PROPERTY_LIMIT = 5.0
"""Standard deviations from the mean beyond which properties are not told apart."""

CLOSED = -1e9
"""Logit of what is impossible; its probability is exactly 0, and 0 times its logarithm is no NaN."""


class Known(NamedTuple):
    """An encoded set of orbits, ready to be asked about.

    Attributes:
        groups: space-group numbers, shape (n,).
        absent: for attention: 0 for tokens that are there and -inf for padding, shape (n, 1, 1, n_tokens); None
            without padding.
        layers: what queries attend to in each layer.
        elements: which classes of the element head occur, shape (n, 119), 0 or 1.
        sites: which site symmetries occur, shape (n, n_sites), 0 or 1.
        positions: how many orbits occupy each position, shape (n, n_positions).
    """

    groups: Tensor
    absent: Tensor | None
    layers: tuple[Remembered, ...]
    elements: Tensor
    sites: Tensor
    positions: Tensor

    @classmethod
    def joined(cls, parts: Sequence[Known]) -> Known:
        """The crystals of several, which have equally many tokens and no padding."""
        if len(parts) == 1:
            return parts[0]
        layers = zip(*(part.layers for part in parts), strict=True)
        return cls(
            torch.cat([part.groups for part in parts]), None,
            tuple(Remembered(torch.cat([layer.pairs for layer in each])) for each in layers),
            torch.cat([part.elements for part in parts]), torch.cat([part.sites for part in parts]),
            torch.cat([part.positions for part in parts]),
        )  # fmt: skip

    def select(self, rows: Tensor | slice) -> Known:
        """Some of the crystals."""
        layers = tuple(layer.select(rows) for layer in self.layers)
        absent = None if self.absent is None else self.absent[rows]
        return Known(self.groups[rows], absent, layers, self.elements[rows], self.sites[rows], self.positions[rows])


class OrbitNetwork(torch.nn.Module):
    """P(next | S) = P(element | S) P(site symmetry | element, S) P(enumeration | element, site symmetry, S).

    The tokens of the orbits S, one of the space group and one of each known property go through an encoder without
    positions in the sequence: S is a set. A token of the next orbit, with masks for its unknown parts, attends to them.
    Three heads read it, and which tokens of their kind S has already: of the enumerations those of the site symmetry
    that is asked about. Classes that the group does not have, or whose points are occupied, have no probability.

    Args:
        config: of the network.

    Source: Kazeev et al., Wyckoff Transformer, ICML 2025 (arXiv 2503.02407). Deviations: the known tokens do not see
    the one that is asked about; tokens also carry multiplicity and freedom of their position; impossible classes are
    masked in training as well.
    """

    def __init__(self, config: WyFormerConfig) -> None:
        super().__init__()
        words = standard_vocabulary()
        self.config = config
        self.sizes = (N_ELEMENTS, words.n_sites, words.n_enumerations)
        widths = (config.element_channels, config.site_channels, config.enumeration_channels)
        # one entry more: the mask, which also stands where there is padding
        self.embeddings = torch.nn.ModuleList(
            torch.nn.Embedding(size + 1, width) for size, width in zip(self.sizes, widths, strict=True)
        )
        self.group = torch.nn.Linear(words.group_features.shape[1], config.channels)
        self.mixer = torch.nn.Linear(config.channels, config.channels)
        self.place = torch.nn.Linear(2, config.channels, bias=False)
        self.layers = torch.nn.ModuleList(
            SetLayer(config.channels, config.heads, config.hidden, config.dropout) for _ in range(config.layers)
        )
        self.norm = torch.nn.LayerNorm(config.channels)
        self.heads = torch.nn.ModuleList(pyramid(config.channels + size, size) for size in self.sizes)
        self.property_maps = torch.nn.ModuleList(pyramid(1, config.channels) for _ in config.properties)
        features = np.stack((np.log2(np.maximum(words.multiplicity, 1)) / 4, words.freedom / 3), axis=-1)
        tables = {
            "group_features": words.group_features, "position_features": features.astype(np.float32),
            "site_of": words.site_symmetry, "enumeration_of": words.enumeration, "position_of": words.position,
            "is_position": words.multiplicity > 0, "is_point": (words.freedom == 0) & (words.multiplicity > 0),
        }  # fmt: skip
        for name, table in tables.items():
            self.register_buffer(name, torch.from_numpy(np.array(table)), persistent=False)

    group_features: Tensor
    position_features: Tensor
    site_of: Tensor
    enumeration_of: Tensor
    position_of: Tensor
    is_position: Tensor
    is_point: Tensor

    def encode(self, groups: Tensor, elements: Tensor, positions: Tensor, properties: Tensor) -> Known:
        """Encode sets of orbits, in any order.

        Args:
            groups, elements, positions: see ``ProtostructureBatch``; there may be no orbit.
            properties: standardised, NaN where not known, shape (n, n_properties).
        """
        present = positions >= 0
        where = (groups.unsqueeze(1), positions.clamp(min=0))
        sites, enumerations = self.site_of[where], self.enumeration_of[where]
        tokens = self._tokens(elements, torch.where(present, sites, -1), torch.where(present, enumerations, -1))
        tokens = tokens + self.place(self.position_features[where].to(tokens.dtype))
        start = self.group(self.group_features.to(tokens.dtype)[groups]).unsqueeze(1)
        given = ~properties.isnan()
        values = properties.nan_to_num().clamp(-PROPERTY_LIMIT, PROPERTY_LIMIT).to(tokens.dtype)
        columns = given.any(dim=0).nonzero().squeeze(1).tolist()  # what nobody gives needs no token
        known_properties = [
            self.property_maps[column](values[:, column : column + 1]).unsqueeze(1) for column in columns
        ]
        states = torch.cat((start, *known_properties, tokens), dim=1)
        there = torch.cat((torch.ones_like(groups.unsqueeze(1), dtype=torch.bool), given[:, columns], present), dim=1)
        absent = None
        if not there.all():
            absent = torch.zeros_like(there, dtype=states.dtype).masked_fill(~there, -torch.inf)[:, None, None, :]
        *before, last = self._encoder()
        layers = []
        for layer in before:
            states, remembered = layer.known(states, absent)
            layers.append(remembered)
        layers.append(last.remembered(states))
        return Known(
            groups, absent, tuple(layers), _occurrences(elements, present, N_ELEMENTS, states.dtype).clamp(max=1),
            _occurrences(sites, present, self.sizes[1], states.dtype).clamp(max=1),
            _occurrences(positions, present, self.is_point.shape[1], states.dtype),
        )  # fmt: skip

    def ask(self, known: Known, elements: Tensor, sites: Tensor) -> Tensor:
        """States of tokens of next orbits.

        Args:
            known: of n crystals.
            elements, sites: what is known of the next orbit, -1 where it is not, shape (n, n_queries).

        Returns:
            Shape (n, n_queries, channels).
        """
        states = self._tokens(elements, sites, torch.full_like(elements, -1))
        for layer, remembered in zip(self._encoder(), known.layers, strict=True):
            states = layer.asked(states, remembered, known.absent)
        return torch.as_tensor(self.norm(states))

    def element_logits(self, states: Tensor, known: Known) -> Tensor:
        """Of ``STOP`` and all atomic numbers, shape (n, n_queries, 119); an empty crystal cannot stop."""
        logits = self._read(0, states, known.elements.unsqueeze(1))
        empty = known.positions.sum(dim=1) == 0
        closed = torch.zeros_like(logits, dtype=torch.bool)
        closed[..., STOP] = empty.unsqueeze(1)
        return logits.masked_fill(closed, CLOSED)

    def site_logits(self, states: Tensor, known: Known) -> Tensor:
        """Of the site symmetries, shape (n, n_queries, n_sites)."""
        logits = self._read(1, states, known.sites.unsqueeze(1))
        table = self.site_of[known.groups].clamp(min=0)
        is_open = torch.zeros_like(known.sites).scatter_reduce(1, table, self._open(known).to(logits.dtype), "amax")
        return logits.masked_fill((is_open == 0).unsqueeze(1), CLOSED)

    def enumeration_logits(self, states: Tensor, known: Known, sites: Tensor) -> Tensor:
        """Of the enumerations at site symmetries of shape (n, n_queries); shape (n, n_queries, n_enumerations)."""
        places = self.position_of[known.groups.unsqueeze(1), sites]
        flat = places.clamp(min=0).flatten(1)
        used = known.positions.clamp(max=1).gather(1, flat).view_as(places) * (places >= 0)
        is_open = self._open(known).gather(1, flat).view_as(places) & (places >= 0)
        return self._read(2, states, used).masked_fill(~is_open, CLOSED)

    def _encoder(self) -> Iterator[SetLayer]:
        return (layer for layer in self.layers if isinstance(layer, SetLayer))

    def _open(self, known: Known) -> Tensor:
        """Which positions can take an orbit, shape (n, n_positions)."""
        return self.is_position[known.groups] & ~(self.is_point[known.groups] & (known.positions > 0))

    def _tokens(self, elements: Tensor, sites: Tensor, enumerations: Tensor) -> Tensor:
        parts = zip(self.embeddings, (elements, sites, enumerations), self.sizes, strict=True)
        embedded = [embedding(torch.where(index < 0, size, index)) for embedding, index, size in parts]
        return torch.as_tensor(self.mixer(torch.cat(embedded, dim=-1)))

    def _read(self, kind: int, states: Tensor, used: Tensor) -> Tensor:
        used = used.to(states.dtype).expand(-1, states.shape[1], -1)
        return torch.as_tensor(self.heads[kind](torch.cat((states, used), dim=-1)))


def _occurrences(tokens: Tensor, present: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """How often each class occurs, shape (n, size)."""
    counts = torch.zeros(len(tokens), size, dtype=dtype, device=tokens.device)
    return counts.scatter_add(1, tokens.clamp(min=0), present.to(dtype))
