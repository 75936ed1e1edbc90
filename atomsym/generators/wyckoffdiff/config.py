"""Every choice that WyckoffDiff takes."""

from __future__ import annotations

from dataclasses import dataclass

from atomsym.core import ConfigError
from atomsym.core.elements import MAX_ATOMIC_NUMBER

PRIORS = ("zeros", "marginal", "uniform")
SCHEDULES = ("cosine", "squared_cosine")
OBJECTIVES = ("cross_entropy", "kl", "hybrid")

_AT_LEAST = {
    "channels": 1, "side_channels": 1, "layers": 1, "hidden": 1, "hidden_layers": 1, "weight_layers": 1,
    "head_hidden": 1, "head_layers": 1, "max_element": 1, "max_count": 1, "count_rank": 0, "steps": 2,
    "sampling_steps": 0, "redraws": 0, "bound_levels": 1,
}  # fmt: skip


@dataclass(frozen=True)
class WyckoffDiffConfig:
    """Description of a WyckoffDiff. The default sizes and the objective are the published ones.

    Attributes:
        channels: width of the states of Wyckoff positions.
        side_channels: width of the sum of the embeddings of what is known of them (freedom, letter, group, noise level,
            multiplicity).
        layers: rounds of messages between all positions of a crystal.
        hidden, hidden_layers: width and number of the hidden layers of the networks for messages and their weights.
        weight_layers: number of those of the weights; the cost of all but the first one grows with the square of the
            number of positions.
        head_hidden, head_layers: the same of the two networks that read the states.
        max_element: the largest atomic number.
        max_count: the most orbits of one element at one free position.
        count_rank: 0: the logits of all counts of all elements are outputs of the network; n > 0: each count's logits
            are products of n outputs with n learned numbers of each element, which elements share.
        site_symmetry: also embed the oriented site symmetry of the position, which groups share.
        group_features: also embed the operators of the group, which related groups share.
        frequency_offset: the network adds to the logarithms of the frequencies in the training crystals, so that
            it starts from them and not from equal probabilities.
        steps: noise levels T.
        schedule: ``cosine`` (the published one: the cosine is not squared) or ``squared_cosine``.
        prior: where noise leads to: ``zeros`` (the empty crystal, so that orbits are only ever added), ``marginal``
            (frequencies in the training crystals) or ``uniform``.
        objective: ``cross_entropy`` of the clean crystal, ``kl`` (the variational bound) or ``hybrid`` (both).
        auxiliary: weight of the cross-entropy in ``hybrid``.
        per_variable: divide what training makes small by the number of variables of the crystal, as published; without
            it groups with few positions weigh less.
        sampling_steps: noise levels that sampling goes through, evenly among all; 0: all.
        redraws: how often crystals that do not meet the conditions of their own accord, such as empty ones, are drawn
            anew before orbits are added to them until they do.
        bound_levels: noise levels that the bound of the log-likelihood of a sample is estimated from.
    """

    channels: int = 256
    side_channels: int = 16
    layers: int = 3
    hidden: int = 544
    hidden_layers: int = 2
    weight_layers: int = 2
    head_hidden: int = 512
    head_layers: int = 2
    max_element: int = 100
    max_count: int = 54
    count_rank: int = 0
    site_symmetry: bool = False
    group_features: bool = False
    frequency_offset: bool = False
    steps: int = 1000
    schedule: str = "cosine"
    prior: str = "zeros"
    objective: str = "cross_entropy"
    auxiliary: float = 0.001
    per_variable: bool = True
    sampling_steps: int = 0
    redraws: int = 1
    bound_levels: int = 16

    def __post_init__(self) -> None:
        for name, least in _AT_LEAST.items():
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}; found {getattr(self, name)}")
        if self.max_element > MAX_ATOMIC_NUMBER:
            raise ConfigError(f"max_element must be at most {MAX_ATOMIC_NUMBER}; found {self.max_element}")
        for name, known in (("schedule", SCHEDULES), ("prior", PRIORS), ("objective", OBJECTIVES)):
            if getattr(self, name) not in known:
                raise ConfigError(f"{name} is one of {', '.join(known)}; found '{getattr(self, name)}'")
        if self.auxiliary < 0:
            raise ConfigError(f"auxiliary must not be negative; found {self.auxiliary}")
        if self.sampling_steps > self.steps:
            raise ConfigError(f"there are {self.steps} noise levels; sampling cannot go through {self.sampling_steps}")

    @property
    def point_classes(self) -> int:
        """States of a point: empty, or an element."""
        return self.max_element + 1

    @property
    def count_classes(self) -> int:
        """States of an element at a free position: how many orbits of it there are."""
        return self.max_count + 1
