"""The Wyckoff transformer: what orbit comes next, given a space group and the set of orbits that are there."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from atomsym.generators.wyformer.config import WyFormerConfig
from atomsym.generators.wyformer.vocabulary import N_ELEMENTS, Vocabulary


class Orbits(NamedTuple):
    """Known orbits of a batch of unfinished crystals, in any order.

    Attributes:
        groups: space-group numbers, shape (n,).
        elements, sites, enumerations: of each orbit, shape (n, most_orbits).
        present: which entries are orbits and not padding, same shape.
    """

    groups: Tensor
    elements: Tensor
    sites: Tensor
    enumerations: Tensor
    present: Tensor


class Query(NamedTuple):
    """What is known of the next orbit; -1 where it is asked for or not yet of interest.

    Attributes:
        elements, sites: shape (n,).
    """

    elements: Tensor
    sites: Tensor


class WyFormer(torch.nn.Module):
    """P(next | S) = P(element | S) P(site symmetry | element, S) P(enumeration | element, site symmetry, S).

    The tokens of the orbits S, a token of the space group and one of the next orbit, with masks for its unknown parts,
    go through an encoder without positions in the sequence: S is a set. Three heads read the last token, and which
    tokens of their kind S has already.

    Args:
        config: of the network.
        vocabulary: of the positions.

    Source: Kazeev et al., Wyckoff Transformer, ICML 2025 (arXiv 2503.02407). The layers are normalised before
    attention, not after it.
    """

    def __init__(self, config: WyFormerConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.config, self.vocabulary = config, vocabulary
        sizes = (N_ELEMENTS, vocabulary.n_sites, vocabulary.n_enumerations)
        widths = (config.element_channels, config.site_channels, config.enumeration_channels)
        # one entry more: the mask, which also stands where there is padding
        self.embeddings = torch.nn.ModuleList(
            torch.nn.Embedding(size + 1, width) for size, width in zip(sizes, widths, strict=True)
        )
        self.register_buffer(
            "group_features", torch.from_numpy(np.asarray(vocabulary.group_features)), persistent=False
        )
        self.group = torch.nn.Linear(vocabulary.group_features.shape[1], config.channels)
        self.mixer = torch.nn.Linear(config.channels, config.channels)
        layer = torch.nn.TransformerEncoderLayer(
            config.channels, config.heads, config.hidden, config.dropout, batch_first=True, norm_first=True
        )
        self.encoder = torch.nn.TransformerEncoder(
            layer, config.layers, norm=torch.nn.LayerNorm(config.channels), enable_nested_tensor=False
        )
        self.heads = torch.nn.ModuleList(_pyramid(config.channels + size, size) for size in sizes)
        self.sizes = sizes

    def forward(self, orbits: Orbits, query: Query) -> Tensor:
        """States of the tokens of the next orbits, shape (n, channels)."""
        known = self._tokens(orbits.elements, orbits.sites, orbits.enumerations)
        unknown = torch.full_like(query.elements, -1)
        asked = self._tokens(query.elements, query.sites, unknown).unsqueeze(1)
        features: Tensor = self.group_features  # type: ignore[assignment]
        start = self.group(features[orbits.groups]).unsqueeze(1)
        ends = (
            torch.ones_like(orbits.present[:, :1]) if orbits.present.shape[1] else asked.new_ones(len(asked), 1).bool()
        )
        hidden = ~torch.cat((ends, orbits.present, ends), dim=1)
        states = self.encoder(torch.cat((start, known, asked), dim=1), src_key_padding_mask=hidden)
        return torch.as_tensor(states[:, -1])

    def element_logits(self, states: Tensor, orbits: Orbits) -> Tensor:
        """Of ``STOP`` and all atomic numbers, shape (n, 119)."""
        return self._read(0, states, orbits.elements, orbits.present)

    def site_logits(self, states: Tensor, orbits: Orbits) -> Tensor:
        """Of the site symmetries, shape (n, n_sites)."""
        return self._read(1, states, orbits.sites, orbits.present)

    def enumeration_logits(self, states: Tensor, orbits: Orbits) -> Tensor:
        """Of the enumerations, shape (n, n_enumerations)."""
        return self._read(2, states, orbits.enumerations, orbits.present)

    def _tokens(self, elements: Tensor, sites: Tensor, enumerations: Tensor) -> Tensor:
        parts = zip(self.embeddings, (elements, sites, enumerations), self.sizes, strict=True)
        embedded = [embedding(torch.where(index < 0, size, index)) for embedding, index, size in parts]
        return torch.as_tensor(self.mixer(torch.cat(embedded, dim=-1)))

    def _read(self, kind: int, states: Tensor, tokens: Tensor, present: Tensor) -> Tensor:
        size = self.sizes[kind]
        used = states.new_zeros(len(states), size + 1)
        used.scatter_(1, torch.where(present, tokens, size), 1.0)
        return torch.as_tensor(self.heads[kind](torch.cat((states, used[:, :size]), dim=1)))


def _pyramid(first: int, last: int) -> torch.nn.Sequential:
    """Three linear maps whose widths go evenly from the first to the last."""
    middle = [round(first + (last - first) * step / 3) for step in (1, 2)]
    sizes = [first, *middle, last]
    layers: list[torch.nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layers += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])
