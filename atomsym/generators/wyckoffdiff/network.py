"""The network of WyckoffDiff: messages between all Wyckoff positions of a crystal."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import Embedding, Linear, SiLU

from atomsym.generators.wyckoffdiff.config import WyckoffDiffConfig
from atomsym.generators.wyckoffdiff.occupations import Layout, Occupations
from atomsym.generators.wyformer.vocabulary import standard_vocabulary
from atomsym.symmetry.wyckoff.table import LETTERS, N_GROUPS


class Logits(NamedTuple):
    """Of the clean states.

    Attributes:
        points: shape (n_points, max_element + 1).
        counts: shape (n_free, max_element, max_count + 1).
    """

    points: Tensor
    counts: Tensor


class WyckoffNetwork(torch.nn.Module):
    """p(x_0 | x_t): a graph with one node for each Wyckoff position of the group, all of them connected.

    With z = [h, side information]: a_ij = softmax_j MLP([z_i, z_j]) and h_i ← h_i + Σ_j a_ij MLP(z_j). Nodes in another
    order give the same outputs in that order; the letter of a position is one of the inputs, so that crystals in
    another setting give others.

    Args:
        config: of the network.

    Source: Kelvinius et al., WyckoffDiff, ICML 2025 (arXiv 2502.06485). Deviations: a position also receives its own
    message; the options ``count_rank``, ``site_symmetry``, ``group_features`` and ``frequency_offset``.
    """

    def __init__(self, config: WyckoffDiffConfig) -> None:
        super().__init__()
        words, side = standard_vocabulary(), config.side_channels
        self.config = config
        self.element = Embedding(config.point_classes, config.channels)
        self.count = Embedding(config.count_classes, 1)
        self.counts = Linear(config.max_element, config.channels)
        self.freedom = Embedding(4, side)
        self.letter = Embedding(len(LETTERS), side)
        self.group = Embedding(N_GROUPS + 1, side)
        self.level = Embedding(config.steps + 1, side)
        self.multiplicity = Embedding(int(words.multiplicity.max()) + 1, side)
        self.site = Embedding(words.n_sites, side) if config.site_symmetry else None
        self.operators = Linear(words.group_features.shape[1], side) if config.group_features else None
        self.register_buffer("features", torch.from_numpy(words.group_features.copy()), persistent=False)
        self.rounds = torch.nn.ModuleList(Messages(config) for _ in range(config.layers))
        head = (config.channels, *(config.head_hidden,) * config.head_layers)
        self.point_head = perceptron(*head, config.point_classes)
        self.count_head = perceptron(*head, config.count_classes * (config.count_rank or config.max_element))
        self.shared = Linear(config.count_rank, config.max_element, bias=False) if config.count_rank else None

    features: Tensor

    def forward(self, layout: Layout, noisy: Occupations, levels: Tensor) -> Logits:
        """Logits of the clean states.

        Args:
            layout: of n crystals.
            noisy: x_t.
            levels: t of each crystal, shape (n,).
        """
        config, groups = self.config, layout.groups
        of_crystals = self.group(groups) + self.level(levels)
        if self.operators is not None:
            of_crystals = of_crystals + self.operators(self.features[groups].to(of_crystals.dtype))
        side = self.freedom(layout.freedom) + self.letter(layout.position) + self.multiplicity(layout.multiplicity)
        if self.site is not None:
            side = side + self.site(layout.site_symmetry)
        side = side + of_crystals[layout.crystal]
        states = side.new_zeros(len(side), config.channels)
        states = states.index_copy(0, layout.points, self.element(noisy.points))
        states = states.index_copy(0, layout.free, self.counts(self.count(noisy.counts).squeeze(-1)))
        for messages in self.rounds:
            states = messages(states, side, layout)
        points = self.point_head(states[layout.points])
        outputs = self.count_head(states[layout.free])
        if self.shared is None:
            counts = outputs.view(-1, config.max_element, config.count_classes)
        else:
            counts = self.shared.weight @ outputs.view(-1, config.count_rank, config.count_classes)
        return Logits(points, counts)


class Messages(torch.nn.Module):
    """One round: every position takes up a weighted mean of messages of all positions of its crystal."""

    def __init__(self, config: WyckoffDiffConfig) -> None:
        super().__init__()
        width, hidden = config.channels + config.side_channels, config.hidden
        # together the first layer of a perceptron of both ends of a pair, so that it is computed once for each node
        self.of_receiver = Linear(width, hidden)
        self.of_sender = Linear(width, hidden, bias=False)
        self.weight = perceptron(*(hidden,) * config.weight_layers, 1)
        self.message = perceptron(width, *(hidden,) * config.hidden_layers, config.channels)

    def forward(self, states: Tensor, side: Tensor, layout: Layout) -> Tensor:
        """States of shape (n_nodes, channels), side information of shape (n_nodes, side_channels)."""
        inputs = torch.cat((states, side), dim=1)
        receiver, sender = layout.receiver, layout.sender
        pairs = self.of_receiver(inputs)[receiver] + self.of_sender(inputs)[sender]
        scores = self.weight(torch.nn.functional.silu(pairs))
        largest = torch.full_like(states[:, 0], -torch.inf).scatter_reduce(
            0, receiver, scores.detach().squeeze(1), "amax"
        )
        weights = (scores - largest[receiver].unsqueeze(1)).exp()
        sums = torch.zeros_like(states[:, :1]).index_add(0, receiver, weights)
        taken = torch.zeros_like(states).index_add(0, receiver, weights * self.message(inputs)[sender])
        return states + taken / sums


def perceptron(*widths: int) -> torch.nn.Sequential:
    """Linear maps between these widths, with SiLU between them."""
    layers: list[torch.nn.Module] = []
    for n_in, n_out in pairwise(widths):
        layers += [Linear(n_in, n_out), SiLU()]
    return torch.nn.Sequential(*layers[:-1])
