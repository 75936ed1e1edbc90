"""Crystals from a Wyckoff transformer, one orbit after the other, within hard conditions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atomsym.generators.generated import GeneratedProtostructure
from atomsym.generators.reachability import Reachability, Unfinished
from atomsym.generators.wyformer.network import Known, OrbitNetwork
from atomsym.generators.wyformer.vocabulary import STOP, standard_vocabulary
from atomsym.symmetry.wyckoff import Protostructure
from atomsym.symmetry.wyckoff.table import LETTERS

SMALL_WEIGHT = 0.25
"""Part of the mean weight of its family below which a candidate may be given up."""


@dataclass(frozen=True)
class Guide:
    """What properties to aim at, and how strongly.

    Attributes:
        properties: standardised, NaN for those that do not matter, shape (n_properties,).
        weight: 0: draws without them, 1: with them, otherwise logits are l_u + weight (l_c - l_u).
    """

    properties: Tensor
    weight: float


def draw_crystals(
    network: OrbitNetwork,
    families: NDArray[np.int64],
    reach: Mapping[int, Reachability],
    guide: Guide,
    generator: torch.Generator,
    temperature: float,
) -> list[GeneratedProtostructure]:
    """One crystal for each family of candidates.

    What cannot be finished within the conditions is never drawn. That alone would not draw from the distribution of
    crystals that meet the conditions: a crystal that has gone where the network wants what is forbidden goes on with
    what little is left. So every candidate carries the probability that was allowed at each of its draws. Where few
    candidates of a family carry most of it, they replace the others; one that carries next to nothing is given up; and
    at the end one of them is drawn by it. The more candidates, the nearer to that distribution.

    Since the network knows no order of the orbits, they may be drawn in any. First comes one orbit of each element that
    must occur, so that the network soon knows what crystal it is to be. The weights make up for it: of the n! orders of
    n orbits, n_e of each required element e, m! Π n_e (n - m)! begin with one of each of the m required elements.

    Args:
        network: in evaluation mode.
        families: space-group numbers that can meet the conditions, shape (n, n_candidates).
        reach: what can be reached in each of them.
        guide: properties to aim at.
        generator: of the draws, on the CPU.
        temperature: of all three heads, > 0.

    Source: sequential Monte Carlo, Doucet, de Freitas, Gordon 2001; of masked sequence models, Lew et al. 2023 (arXiv
    2306.03081).
    """
    device = network.is_point.device
    build = _Builder(families.reshape(-1).tolist(), reach)
    weigh = _Weights(families.shape, generator)
    draw = _Draw(generator, temperature, np.zeros(families.size), weigh.logs)
    going_on = np.ones(families.size, dtype=bool)
    while going_on.any():
        rows = np.flatnonzero(going_on)
        known, elements, positions = (part.to(device) for part in build.tensors(rows))
        ask = _Questions(network, known, elements, positions, guide)
        chosen = draw(rows, ask.elements(), build.element_masks(rows))
        kept = np.flatnonzero(chosen != STOP)
        going_on[rows[chosen == STOP]] = False
        weigh.logs[rows[chosen == STOP]] += build.log_orders(rows[chosen == STOP])
        rows, chosen = rows[kept], chosen[kept]
        if not len(rows):
            break
        ask.keep(torch.from_numpy(kept).to(device), torch.from_numpy(chosen).to(device))
        possible = build.position_masks(rows, chosen)
        words = standard_vocabulary()
        where = build.groups[rows]
        sites = draw(rows, ask.sites(), _any_of(possible, words.site_symmetry[where], words.n_sites))
        possible &= words.site_symmetry[where] == sites[:, None]
        masks = _any_of(possible, words.enumeration[where], words.n_enumerations)
        numbers = draw(rows, ask.enumerations(torch.from_numpy(sites).to(device)), masks)
        build.add(rows, chosen, words.position[where, sites, numbers])
        going_on[weigh.ended(going_on)] = False
        to, source = weigh.replacements(going_on)
        build.copy(to, source)
        going_on[to], draw.log_likelihoods[to] = going_on[source], draw.log_likelihoods[source]
    return build.finished(weigh.chosen(), draw.log_likelihoods)


class _Builder:
    """Crystals while they are made: what they hold as arrays for the network, and as states for what is allowed."""

    def __init__(self, groups: Sequence[int], reach: Mapping[int, Reachability]) -> None:
        self.groups = np.array(groups, dtype=np.int64)
        self._reach = [reach[group] for group in groups]
        self._states = [Unfinished() for _ in groups]
        self._elements = np.zeros((len(groups), 8), dtype=np.int64)
        self._positions = np.full((len(groups), 8), -1, dtype=np.int64)
        self._sizes = np.zeros(len(groups), dtype=np.int64)

    def tensors(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor]:
        """Groups, elements and positions of some of the crystals."""
        most = int(self._sizes[rows].max())
        parts = (self.groups[rows], self._elements[rows, :most], self._positions[rows, :most])
        return torch.from_numpy(parts[0]), torch.from_numpy(parts[1]), torch.from_numpy(parts[2])

    def element_masks(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Where required elements are missing, one of them is next."""
        masks = np.stack([self._reach[row].elements(self._states[row]) for row in rows.tolist()])
        for mask, row in zip(masks, rows.tolist(), strict=True):
            missing = self._reach[row].missing(self._states[row])
            if missing:
                kept = mask[list(missing)]
                mask[:] = False
                mask[list(missing)] = kept
        return masks

    def log_orders(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Logarithm of all orders of the orbits of finished crystals over those that they can be drawn in."""
        logs = np.zeros(len(rows))
        for index, row in enumerate(rows.tolist()):
            required = self._reach[row].conditions.required
            n, m = int(self._sizes[row]), len(required)
            counts = [int((self._elements[row, :n] == element).sum()) for element in required]
            logs[index] = math.lgamma(n + 1) - math.lgamma(m + 1) - math.lgamma(n - m + 1) - sum(map(math.log, counts))
        return logs

    def position_masks(self, rows: NDArray[np.int64], elements: NDArray[np.int64]) -> NDArray[np.bool_]:
        masks = np.zeros((len(rows), len(LETTERS)), dtype=bool)
        for mask, row, element in zip(masks, rows.tolist(), elements.tolist(), strict=True):
            allowed = self._reach[row].positions(self._states[row], element)
            mask[: len(allowed)] = allowed
        return masks

    def add(self, rows: NDArray[np.int64], elements: NDArray[np.int64], positions: NDArray[np.int64]) -> None:
        if int(self._sizes[rows].max()) == self._elements.shape[1]:
            self._elements = np.pad(self._elements, ((0, 0), (0, 8)))
            self._positions = np.pad(self._positions, ((0, 0), (0, 8)), constant_values=-1)
        self._elements[rows, self._sizes[rows]] = elements
        self._positions[rows, self._sizes[rows]] = positions
        self._sizes[rows] += 1
        for row, element, position in zip(rows.tolist(), elements.tolist(), positions.tolist(), strict=True):
            self._states[row] = self._states[row].plus(element, position, self._reach[row].sites)

    def copy(self, to: NDArray[np.int64], source: NDArray[np.int64]) -> None:
        """Some crystals become what others are."""
        for array in (self.groups, self._elements, self._positions, self._sizes):
            array[to] = array[source]
        for kept in (self._reach, self._states):
            taken = [kept[row] for row in source.tolist()]
            for row, each in zip(to.tolist(), taken, strict=True):
                kept[row] = each

    def finished(self, rows: NDArray[np.int64], log_likelihoods: NDArray[np.float64]) -> list[GeneratedProtostructure]:
        found = []
        lists = (self.groups, self._sizes, self._elements, self._positions, log_likelihoods)
        for group, size, elements, positions, log in zip(*(each[rows].tolist() for each in lists), strict=True):
            crystal = Protostructure.from_indices(group, elements[:size], positions[:size])
            found.append(GeneratedProtostructure(crystal, log))
        return found


class _Questions:
    """The three questions about the next orbits of a batch, with and without the properties to aim at."""

    def __init__(
        self, network: OrbitNetwork, groups: Tensor, elements: Tensor, positions: Tensor, guide: Guide
    ) -> None:
        self._network, self._weight = network, guide.weight
        wanted = guide.properties.expand(len(groups), -1)
        settings = [wanted.new_full(wanted.shape, torch.nan), wanted]
        used = settings[:1] if guide.weight == 0 else settings[1:] if guide.weight == 1 else settings
        self._known = [network.encode(groups, elements, positions, each) for each in used]
        self._elements = groups.new_full((len(groups), 1), -1)

    def keep(self, rows: Tensor, elements: Tensor) -> None:
        """Go on with some of the crystals, whose next elements are known."""
        self._known = [known.select(rows) for known in self._known]
        self._elements = elements.unsqueeze(1)

    def elements(self) -> Tensor:
        return self._combined(lambda known: self._network.element_logits(self._ask(known, self._unknown), known))

    def sites(self) -> Tensor:
        return self._combined(lambda known: self._network.site_logits(self._ask(known, self._unknown), known))

    def enumerations(self, sites: Tensor) -> Tensor:
        of = sites.unsqueeze(1)
        return self._combined(lambda known: self._network.enumeration_logits(self._ask(known, of), known, of))

    @property
    def _unknown(self) -> Tensor:
        return torch.full_like(self._elements, -1)

    def _ask(self, known: Known, sites: Tensor) -> Tensor:
        return self._network.ask(known, self._elements, sites)

    def _combined(self, logits: Callable[[Known], Tensor]) -> Tensor:
        found = [logits(known).squeeze(1) for known in self._known]
        return found[0] if len(found) == 1 else found[0] + self._weight * (found[1] - found[0])


class _Weights:
    """How much of the conditioned distribution each candidate stands for, within its family.

    Attributes:
        logs: of the weights, shape (n_families * n_candidates,).
    """

    def __init__(self, shape: tuple[int, ...], generator: torch.Generator) -> None:
        self.logs = np.zeros(shape[0] * shape[1])
        self._shape, self._generator = (shape[0], shape[1]), generator

    def ended(self, going_on: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Which unfinished candidates are given up because of their small weight; the survivors take theirs over.

        A weight w below some limit l becomes l with probability w / l, and 0 otherwise: right on average.
        """
        if self._shape[1] == 1:
            return np.zeros(0, dtype=np.int64)
        limit = SMALL_WEIGHT / self._shape[1]
        weights = self._normalised().view(-1).numpy()
        light = np.flatnonzero(going_on & (weights < limit))
        if not len(light):
            return light
        survives = (
            torch.rand(len(light), generator=self._generator, dtype=torch.float64).numpy() < weights[light] / limit
        )
        kept = light[survives]
        self.logs[kept] += np.log(limit) - np.log(weights[kept])
        self.logs[light[~survives]] = -np.inf
        return np.asarray(light[~survives])

    def replacements(self, going_on: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Which candidates become which others; their weights are then equal.

        Args:
            going_on: which candidates are not finished, shape as ``logs``; families without any are left alone.
        """
        if self._shape[1] == 1:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        weights = self._normalised()
        few = 1 / (weights**2).sum(dim=1) < self._shape[1] / 2
        few &= torch.from_numpy(going_on).view(self._shape).any(dim=1)
        families = torch.nonzero(few).squeeze(1)
        if not len(families):
            none = np.zeros(0, dtype=np.int64)
            return none, none
        drawn = torch.multinomial(weights[families], self._shape[1], replacement=True, generator=self._generator)
        first = families.unsqueeze(1) * self._shape[1]
        to, source = (first + torch.arange(self._shape[1])).view(-1).numpy(), (first + drawn).view(-1).numpy()
        self.logs[to] = 0.0
        return to, source

    def chosen(self) -> NDArray[np.int64]:
        """One candidate of each family."""
        if self._shape[1] == 1:
            return np.arange(self._shape[0])
        drawn = torch.multinomial(self._normalised(), 1, generator=self._generator).squeeze(1)
        return np.asarray((torch.arange(self._shape[0]) * self._shape[1] + drawn).numpy())

    def _normalised(self) -> Tensor:
        return torch.from_numpy(self.logs).view(self._shape).softmax(dim=1)


@dataclass
class _Draw:
    """Draws from logits where they are allowed.

    Attributes:
        log_likelihoods: of the draws of each crystal without regard to what is allowed.
        log_allowed: logarithm of the probability of all that was allowed.
    """

    generator: torch.Generator
    temperature: float
    log_likelihoods: NDArray[np.float64]
    log_allowed: NDArray[np.float64]

    def __call__(self, rows: NDArray[np.int64], logits: Tensor, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        log_p = (logits.to("cpu", torch.float64) / self.temperature).log_softmax(dim=1)
        allowed = log_p.masked_fill(~torch.from_numpy(mask), -torch.inf)
        total = allowed.logsumexp(dim=1)
        drawn = torch.multinomial((allowed - total.unsqueeze(1)).exp(), 1, generator=self.generator)
        self.log_likelihoods[rows] += log_p.gather(1, drawn).squeeze(1).numpy()
        self.log_allowed[rows] += total.numpy()
        return np.asarray(drawn.squeeze(1).numpy(), dtype=np.int64)


def _any_of(possible: NDArray[np.bool_], classes: NDArray[np.int64], size: int) -> NDArray[np.bool_]:
    """Which classes one of the possible positions has, shape (n, size)."""
    mask = np.zeros((len(possible), size), dtype=bool)
    row, place = np.nonzero(possible)
    mask[row, classes[row, place]] = True
    return mask
