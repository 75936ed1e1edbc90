"""Encoder layers for a set of known tokens and for queries about it that the set does not see."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import dropout, scaled_dot_product_attention


class Remembered(NamedTuple):
    """Keys and values of the known tokens in one layer, shape (n, heads, n_known, channels / heads)."""

    keys: Tensor
    values: Tensor


class SetLayer(torch.nn.Module):
    """Attention and a feed-forward network, each after a normalisation and around a residual connection.

    Known tokens attend to known tokens; a query attends to them and to itself. So what the known tokens become does not
    depend on the queries, and any number of queries can be asked about one set at the cost of a token each.

    Args:
        channels: width.
        heads: attention heads; divides ``channels``.
        hidden: width of the feed-forward network.
        drop: probability that an entry of a residual is dropped in training.

    Source: Vaswani et al. 2017 (arXiv 1706.03762); normalisation first as in Xiong et al. 2020 (arXiv 2002.04745).
    """

    def __init__(self, channels: int, heads: int, hidden: int, drop: float) -> None:
        super().__init__()
        self.heads, self.drop = heads, drop
        self.attention_norm = torch.nn.LayerNorm(channels)
        self.project = torch.nn.Linear(channels, 3 * channels)
        self.mix = torch.nn.Linear(channels, channels)
        self.feed_norm = torch.nn.LayerNorm(channels)
        self.widen = torch.nn.Linear(channels, hidden)
        self.narrow = torch.nn.Linear(hidden, channels)

    def known(self, states: Tensor, absent: Tensor | None) -> tuple[Tensor, Remembered]:
        """Known tokens among each other.

        Args:
            states: shape (n, n_known, channels).
            absent: 0 for tokens that are there and -inf for padding, shape (n, 1, 1, n_known); None: there is no
                padding.
        """
        query, key, value = self._heads(states)
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=absent)
        return self._rest(states, mixed), Remembered(key, value)

    def asked(self, states: Tensor, remembered: Remembered, absent: Tensor | None) -> Tensor:
        """Queries about the known tokens, shape (n, n_queries, channels)."""
        query, key, value = self._heads(states)
        query = query / math.sqrt(query.shape[-1])
        scores = query @ remembered.keys.transpose(-1, -2)
        if absent is not None:
            scores = scores + absent
        own = (query * key).sum(dim=-1, keepdim=True)
        weights = torch.cat((scores, own), dim=-1).softmax(dim=-1)
        return self._rest(states, weights[..., :-1] @ remembered.values + weights[..., -1:] * value)

    def _heads(self, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        n, length, channels = states.shape
        projected = self.project(self.attention_norm(states)).view(n, length, 3, self.heads, channels // self.heads)
        query, key, value = projected.permute(2, 0, 3, 1, 4)
        return query, key, value

    def _rest(self, states: Tensor, mixed: Tensor) -> Tensor:
        joined = mixed.transpose(1, 2).flatten(2)
        states = states + dropout(self.mix(joined), self.drop, self.training)
        wide = torch.relu(self.widen(self.feed_norm(states)))
        return states + dropout(self.narrow(wide), self.drop, self.training)


def pyramid(first: int, last: int) -> torch.nn.Sequential:
    """Three linear maps whose widths go evenly from the first to the last."""
    middle = [round(first + (last - first) * step / 3) for step in (1, 2)]
    layers: list[torch.nn.Module] = []
    for n_in, n_out in pairwise([first, *middle, last]):
        layers += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])
