"""WyckoffDiff: crystals from discrete diffusion over the occupations of Wyckoff positions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from atomsym.core import ConfigError
from atomsym.generators.batch import ProtostructureBatch, batch_of
from atomsym.generators.generated import GeneratedProtostructure
from atomsym.generators.generator import Pool, ProtostructureGenerator, Request
from atomsym.generators.registry import register_generator
from atomsym.generators.wyckoffdiff.config import WyckoffDiffConfig
from atomsym.generators.wyckoffdiff.loss import divergences, divergences_from_zero, entropies
from atomsym.generators.wyckoffdiff.network import Logits, WyckoffNetwork
from atomsym.generators.wyckoffdiff.noise import kept_fractions, with_noise
from atomsym.generators.wyckoffdiff.occupations import Layout, Occupations, layout_of, occupations_of
from atomsym.generators.wyckoffdiff.sampling import draw_protostructures
from atomsym.symmetry.wyckoff import Protostructure

PSEUDOCOUNT = 0.5
"""Added to the numbers of training crystals in each state, so that no state is impossible."""


@register_generator
class WyckoffDiff(ProtostructureGenerator):
    """A crystal of a space group is one variable for each point (empty, or its element) and one for each element at
    each free position (how many orbits). Noise replaces each variable, on its own, by a draw from a prior; a network of
    messages between positions learns to undo it.

    Args:
        config: of the network, the noise and the objective.

    Attributes:
        point_counts: how many training crystals' points are in each state, shape (max_element + 1,), int64.
        count_counts: the same of free positions, shape (max_element, max_count + 1), int64.

    Source: Kelvinius et al., WyckoffDiff, ICML 2025 (arXiv 2502.06485); Austin et al., D3PM, NeurIPS 2021
    (arXiv 2107.03006). Deviations: the last noise level forgets everything, training and sampling use levels 1 to T
    (published: to T − 1), hard conditions, and those of ``WyckoffNetwork``.
    """

    architecture = "wyckoffdiff"
    Config = WyckoffDiffConfig
    point_counts: Tensor
    count_counts: Tensor
    kept: Tensor

    def __init__(self, config: WyckoffDiffConfig) -> None:
        super().__init__(config)
        self.network = WyckoffNetwork(config)
        shape = (config.max_element, config.count_classes)
        self.register_buffer("point_counts", torch.zeros(config.point_classes, dtype=torch.int64))
        self.register_buffer("count_counts", torch.zeros(shape, dtype=torch.int64))
        self.register_buffer("kept", kept_fractions(config.steps, config.schedule), persistent=False)

    def learn_statistics(self, data: ProtostructureBatch) -> None:
        """Space groups, and the frequencies of the states of all variables."""
        super().learn_statistics(data)
        layout, config = layout_of(data.groups), self.config
        occupations = self._occupations(data, layout)
        self.point_counts.copy_(torch.bincount(occupations.points, minlength=config.point_classes))
        states = occupations.counts + torch.arange(config.max_element, device=self.device) * config.count_classes
        counted = torch.bincount(states.flatten(), minlength=self.count_counts.numel())
        self.count_counts.copy_(counted.view_as(self.count_counts))

    def priors(self) -> tuple[Tensor, Tensor]:
        """Where noise leads to: distributions over the states of points and of free positions.

        Raises:
            ConfigError: if they are frequencies and the generator has not been trained.
        """
        config, dtype = self.config, self.network.element.weight.dtype
        found = []
        for counts, size in ((self.point_counts, config.point_classes), (self.count_counts, config.count_classes)):
            if config.prior == "marginal":
                total = counts.reshape(-1, size).sum(dim=0).to(dtype)
                if not total.any():
                    raise ConfigError("the generator has not been trained: it knows no frequencies to start from")
                found.append(total / total.sum())
            elif config.prior == "uniform":
                found.append(torch.full((size,), 1 / size, dtype=dtype, device=self.device))
            else:
                found.append(one_hot(torch.tensor(0, device=self.device), size).to(dtype))
        return found[0], found[1]

    def logits(self, layout: Layout, noisy: Occupations, levels: Tensor) -> Logits:
        """Of the clean states, given the noisy ones at levels of shape (n,)."""
        points, counts = self.network(layout, noisy, levels)
        if self.config.frequency_offset:
            points, counts = (
                points + _logarithms(self.point_counts, points),
                counts + _logarithms(self.count_counts, counts),
            )
        return Logits(points, counts)

    def loss(self, batch: ProtostructureBatch, generator: torch.Generator) -> Tensor:
        """The objective of the config at one random noise level of each crystal, shape (n,).

        With ``kl`` and without ``per_variable`` it is an unbiased draw of the bound of -log p(crystal | group), in
        nats. ``hybrid`` adds ``auxiliary`` times the cross-entropy at each level to that sum, and ``cross_entropy``
        is the mean over the levels.
        """
        config, n = self.config, len(batch.groups)
        layout = layout_of(batch.groups)
        clean = self._occupations(batch, layout)
        # the levels of a batch lie evenly in 1 to T, each crystal's own anywhere: the mean over the batch varies less
        spots = (torch.randperm(n, generator=generator) + torch.rand(n, generator=generator, dtype=torch.float64)) / n
        levels = self._levels(spots)
        noisy = self.with_noise(layout, clean, levels, generator)
        logits = self.logits(layout, noisy, levels)
        if config.objective == "cross_entropy":
            values = self.entropy(layout, logits, clean)
        else:
            values = config.steps * self.divergence(layout, logits, clean, noisy, levels)
            if config.objective == "hybrid":
                values = values + config.steps * config.auxiliary * self.entropy(layout, logits, clean)
        return values / self.n_variables(layout) if config.per_variable else values

    def bound(self, batch: ProtostructureBatch, generator: torch.Generator, *, levels: int = 0) -> Tensor:
        """Estimate of the variational bound of -log p(crystal | group), in nats.

        It includes the empty crystal among those that the model gives, which samples never are.

        Args:
            batch: the crystals.
            generator: of the noise, on the CPU.
            levels: how many noise levels it is estimated from, one in each of as many equal parts; 0: from all.

        Returns:
            Shape (n,).
        """
        steps, n = self.config.steps, len(batch.groups)
        parts = min(levels or steps, steps)
        layout = layout_of(batch.groups)
        clean = self._occupations(batch, layout)
        total = torch.zeros(n, dtype=self.network.element.weight.dtype, device=batch.groups.device)
        for part in range(parts):
            spot = (part + torch.rand(n, generator=generator, dtype=torch.float64)) / parts
            level = self._levels(spot)
            noisy = self.with_noise(layout, clean, level, generator)
            total = total + self.divergence(layout, self.logits(layout, noisy, level), clean, noisy, level)
        return total * (steps / parts)

    def _levels(self, spots: Tensor) -> Tensor:
        """Noise levels 1 to T at these parts of their range, in [0, 1)."""
        steps = self.config.steps
        return ((spots * steps).long().clamp(max=steps - 1) + 1).to(self.device)

    def with_noise(self, layout: Layout, clean: Occupations, levels: Tensor, generator: torch.Generator) -> Occupations:
        """Draw the noisy states at levels of shape (n,); the generator is on the CPU."""
        points, counts = self.priors()
        kept = self.kept.to(points.dtype)[levels]
        return Occupations(
            with_noise(clean.points, kept[layout.point_crystals], points, generator),
            with_noise(clean.counts, kept[layout.free_crystals].unsqueeze(1), counts, generator),
        )

    def entropy(self, layout: Layout, logits: Logits, clean: Occupations) -> Tensor:
        """-log p(x_0 | x_t), shape (n,), in nats."""
        return _sums(layout, entropies(logits.points, clean.points), entropies(logits.counts, clean.counts))

    def divergence(
        self, layout: Layout, logits: Logits, clean: Occupations, noisy: Occupations, levels: Tensor
    ) -> Tensor:
        """KL(q(x_{t-1} | x_t, x_0) ‖ p(x_{t-1} | x_t)), shape (n,), in nats; at t = 1 it is the entropy."""
        kept = self.kept.to(logits.points.dtype)
        before, after, priors = kept[levels - 1], kept[levels], self.priors()
        point, free = layout.point_crystals, layout.free_crystals
        points = (logits.points, clean.points, noisy.points, before[point], after[point])
        counts = (logits.counts, clean.counts, noisy.counts, before[free].unsqueeze(1), after[free].unsqueeze(1))
        if self.config.prior == "zeros":
            return _sums(layout, divergences_from_zero(*points), divergences_from_zero(*counts))
        return _sums(layout, divergences(*points, priors[0]), divergences(*counts, priors[1]))

    def n_variables(self, layout: Layout) -> Tensor:
        """Of each crystal, shape (n,)."""
        sizes = torch.where(layout.freedom > 0, self.config.max_element, 1)
        return torch.zeros_like(layout.groups).index_add(0, layout.crystal, sizes)

    def known_elements(self) -> tuple[int, ...]:
        """Atomic numbers of the training crystals that the network has a place for."""
        return tuple(number for number in super().known_elements() if number <= self.config.max_element)

    def draw(
        self, pools: Sequence[Pool], request: Request, generator: torch.Generator
    ) -> list[GeneratedProtostructure]:
        """See ``ProtostructureGenerator``; ``draw_protostructures`` says how the conditions are met.

        The log-likelihoods are estimates of the variational bound from ``bound_levels`` noise levels; without
        conditions, whatever the conditions were.
        """
        groups = torch.from_numpy(np.concatenate([pool.groups for pool in pools])).to(self.device)
        with torch.inference_mode():
            drawn = draw_protostructures(self, groups, request.conditions, request.temperature, generator)
            logs = self._log_likelihoods([each.protostructure for each in drawn], generator)
        return [
            GeneratedProtostructure(each.protostructure, log, each.forced_orbits, each.redraws)
            for each, log in zip(drawn, logs, strict=True)
        ]

    def _log_likelihoods(self, protostructures: list[Protostructure], generator: torch.Generator) -> list[float]:
        most = [max(Counter(each.orbits).values()) for each in protostructures]
        kept = [row for row, count in enumerate(most) if count <= self.config.max_count]
        logs = [-float("inf")] * len(protostructures)
        data = batch_of([protostructures[row] for row in kept]).to(self.device)
        bounds = self.bound(data, generator, levels=self.config.bound_levels).tolist() if kept else []
        for row, value in zip(kept, bounds, strict=True):
            logs[row] = -value
        return logs

    def _occupations(self, batch: ProtostructureBatch, layout: Layout) -> Occupations:
        return occupations_of(batch, layout, self.config.max_element, self.config.max_count)


def _sums(layout: Layout, points: Tensor, counts: Tensor) -> Tensor:
    """Over the variables of each crystal, shape (n,)."""
    sums = points.new_zeros(len(layout.groups)).index_add(0, layout.point_crystals, points)
    return sums.index_add(0, layout.free_crystals, counts.sum(dim=1))


def _logarithms(counts: Tensor, like: Tensor) -> Tensor:
    """Of the frequencies along the last axis."""
    smoothed = counts.to(like.dtype) + PSEUDOCOUNT
    return (smoothed / smoothed.sum(dim=-1, keepdim=True)).log()
