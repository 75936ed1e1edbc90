"""Encoder layers for a set of known tokens and for queries about it that the set does not see."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import dropout, linear, scaled_dot_product_attention


class Remembered(NamedTuple):
    """What queries attend to in one layer.

    Attributes:
        pairs: keys and values of the known tokens, shape (n, n_known, 2, heads, channels / heads).
    """

    pairs: Tensor

    @property
    def keys(self) -> Tensor:
        """Shape (n, heads, n_known, channels / heads)."""
        return self.pairs[:, :, 0].transpose(1, 2)

    @property
    def values(self) -> Tensor:
        """Likewise."""
        return self.pairs[:, :, 1].transpose(1, 2)

    def select(self, rows: Tensor | slice) -> Remembered:
        """Of some of the crystals."""
        return Remembered(self.pairs[rows] if isinstance(rows, slice) else self.pairs.index_select(0, rows))


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
        head = torch.arange(channels) // (channels // heads)
        self.register_buffer("of_head", (head[:, None] == torch.arange(heads)).float(), persistent=False)

    of_head: Tensor  # which channels each head has, shape (channels, heads), 0 or 1

    def known(self, states: Tensor, absent: Tensor | None) -> tuple[Tensor, Remembered]:
        """Known tokens among each other.

        Args:
            states: shape (n, n_known, channels).
            absent: 0 for tokens that are there and -inf for padding, shape (n, 1, 1, n_known); None: there is no
                padding.
        """
        normal = self.attention_norm(states)
        remembered = self._remembered(normal)
        query = self._projected(normal, 0, 1)[:, :, 0].transpose(1, 2)
        mixed = scaled_dot_product_attention(query, remembered.keys, remembered.values, attn_mask=absent)
        return self._rest(states, _joined(mixed)), remembered

    def remembered(self, states: Tensor) -> Remembered:
        """What ``known`` remembers, where nobody reads what the known tokens become: in the last layer."""
        return self._remembered(self.attention_norm(states))

    def asked(self, states: Tensor, remembered: Remembered, absent: Tensor | None) -> Tensor:
        """Queries about the known tokens, shape (n, n_queries, channels)."""
        projected = self._projected(self.attention_norm(states), 0, 3)
        if states.shape[1] == 1:
            return self._rest(states, self._mixed_for_one(projected.flatten(3), remembered, absent))
        query, key, value = projected.permute(2, 0, 3, 1, 4)
        query = query / math.sqrt(query.shape[-1])
        scores = query @ remembered.keys.transpose(-1, -2)
        if absent is not None:
            scores = scores + absent
        own = (query * key).sum(dim=-1, keepdim=True)
        weights = torch.cat((scores, own), dim=-1).softmax(dim=-1)
        mixed = weights[..., :-1] @ remembered.values + weights[..., -1:] * value
        return self._rest(states, _joined(mixed))

    def _mixed_for_one(self, projected: Tensor, remembered: Remembered, absent: Tensor | None) -> Tensor:
        """The values that one query a crystal sees: entry by entry, since products of such small matrices are slow.

        Args:
            projected: query, key and value, shape (n, 1, 3, channels).
            remembered, absent: see ``asked``.

        Returns:
            Shape (n, 1, channels).
        """
        query, key, value = projected.unbind(2)
        keys, values = remembered.pairs.flatten(3).unbind(2)
        query = query / math.sqrt(query.shape[-1] // self.heads)
        scores = (keys * query) @ self.of_head
        if absent is not None:
            scores = scores + absent[:, 0, 0, :, None]
        weights = torch.cat((scores, (key * query) @ self.of_head), dim=1).softmax(dim=1) @ self.of_head.T
        return (weights[:, :-1] * values).sum(dim=1, keepdim=True) + weights[:, -1:] * value

    def _remembered(self, normal: Tensor) -> Remembered:
        return Remembered(self._projected(normal, 1, 3))

    def _projected(self, normal: Tensor, first: int, end: int) -> Tensor:
        """Of queries (0), keys (1) and values (2) those from ``first`` to before ``end``, contiguous.

        Returns:
            Shape (n, n_tokens, end - first, heads, channels / heads).
        """
        n, length, channels = normal.shape
        rows = slice(first * channels, end * channels)
        found = linear(normal, self.project.weight[rows], self.project.bias[rows])
        return found.view(n, length, end - first, self.heads, channels // self.heads)

    def _rest(self, states: Tensor, joined: Tensor) -> Tensor:
        states = states + dropout(self.mix(joined), self.drop, self.training)
        wide = torch.relu(self.widen(self.feed_norm(states)))
        return states + dropout(self.narrow(wide), self.drop, self.training)


def _joined(mixed: Tensor) -> Tensor:
    """The heads beside each other, from shape (n, heads, n_tokens, channels / heads) to (n, n_tokens, channels)."""
    return mixed.transpose(1, 2).flatten(2)


def pyramid(first: int, last: int) -> torch.nn.Sequential:
    """Three linear maps whose widths go evenly from the first to the last."""
    middle = [round(first + (last - first) * step / 3) for step in (1, 2)]
    layers: list[torch.nn.Module] = []
    for n_in, n_out in pairwise([first, *middle, last]):
        layers += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])
