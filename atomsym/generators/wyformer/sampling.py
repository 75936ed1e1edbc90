"""Crystals from a Wyckoff transformer, one orbit after the other, within hard conditions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atomsym.generators.generated import GeneratedProtostructure
from atomsym.generators.generator import Pool
from atomsym.generators.reachability import Reachability
from atomsym.generators.wyformer.candidates import Candidates
from atomsym.generators.wyformer.network import Known, OrbitNetwork
from atomsym.generators.wyformer.vocabulary import N_ELEMENTS, STOP, standard_vocabulary
from atomsym.generators.wyformer.weights import Weights
from atomsym.symmetry.wyckoff import Protostructure

TOKENS_AT_ONCE = 2048
"""That the network works on."""


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
    pools: Sequence[Pool],
    reach: Reachability,
    guide: Guide,
    generator: torch.Generator,
    temperature: float,
    *,
    weighed: bool,
) -> list[GeneratedProtostructure]:
    """The crystals of each pool.

    What cannot be finished within the conditions is never drawn. That alone would not draw from the distribution of
    crystals that meet the conditions: a crystal that has gone where the network wants what is forbidden goes on with
    what little is left. So every candidate carries the probability that was allowed at each of its draws, and of the
    unfinished ones those go on, several times each, that carry most of it (``Weights``); at the end those that are
    wanted are drawn by it from all that were finished. The more candidates, the nearer to that distribution.

    Since the network knows no order of the orbits, they may be drawn in any. First comes one orbit of each element that
    must occur, so that the network soon knows what crystal it is to be. The weights make up for it: of the n! orders of
    n orbits, n_e of each required element e, m! Π n_e (n - m)! begin with one of each of the m required elements.

    Candidates that have come to the same crystal, in whatever order, ask the network once.

    Args:
        network: in evaluation mode.
        pools: of candidates in space groups that can meet the conditions.
        reach: what can be reached.
        guide: properties to aim at.
        generator: of the draws, on the CPU.
        temperature: of all three heads, > 0.
        weighed: whether candidates have weights; without them each one is wanted, and the conditions are only that
            nothing is drawn which cannot be finished.

    Source: sequential Monte Carlo, Doucet, de Freitas, Gordon 2001; of masked sequence models, Lew et al. 2023 (arXiv
    2306.03081).
    """
    draw, weigh = _Draw(generator, temperature), Weights(pools, generator)
    pool = np.repeat(np.arange(len(pools)), [len(each.groups) for each in pools])
    going_on = Candidates.empty(pool, np.concatenate([each.groups for each in pools]), reach)
    finished: list[Candidates] = []
    while len(going_on.pool):
        states, member = going_on.different()
        ask = _Questions(network, going_on.tensors(states), guide)
        likelihoods = draw.prepared(ask.elements(), going_on.element_masks(states, reach))
        going_on.logs[:] += likelihoods.allowed[member]
        if weighed:
            rows, logs = weigh.go_on(going_on.pool, going_on.logs)
            going_on, member = going_on.select(rows)._replace(logs=logs), member[rows]
        elements = draw(likelihoods, member, going_on)
        ended = going_on.select(elements == STOP)
        if len(ended.pool):
            ended.logs[:] += ended.log_orders(reach.required)
            weigh.finish(ended.pool, ended.logs)
            finished.append(ended)
        rows = np.flatnonzero(elements != STOP)
        going_on, elements = going_on.select(rows), elements[rows]
        if len(rows):
            positions = _positions(going_on, elements, (states, member[rows]), ask, draw, reach)
            going_on = going_on.with_orbits(elements, positions, reach)
    pool, logs = (np.concatenate(each) for each in zip(*((own.pool, own.logs) for own in finished), strict=True))
    return _crystals(finished, weigh.chosen(pool, logs) if weighed else weigh.all_of(pool))


def _positions(
    crystals: Candidates,
    elements: NDArray[np.int64],
    different: tuple[NDArray[np.int64], NDArray[np.int64]],
    ask: _Questions,
    draw: _Draw,
    reach: Reachability,
) -> NDArray[np.int64]:
    """Positions of the next orbits, whose elements are known: first their site symmetries, then which of these.

    Args:
        crystals: unfinished ones.
        elements: of their next orbits.
        different: indices of different crystals that ``ask`` is about, and which of them each of the crystals is.
        ask: the network.
        draw: the draws.
        reach: what may be added.
    """
    words, device = standard_vocabulary(), ask.device
    # different crystals, each with its next element
    pairs, member = np.unique(different[1] * N_ELEMENTS + elements, return_inverse=True)
    which, first = pairs // N_ELEMENTS, _first(member, len(pairs))
    ask.go_on(torch.from_numpy(which).to(device), torch.from_numpy(elements[first]).to(device))
    own = crystals.select(first)
    kinds = words.site_symmetry[own.groups]
    possible = reach.positions(own.state, elements[first])
    likelihoods = draw.prepared(ask.sites(), _any_of(possible, kinds, words.n_sites))
    sites = draw(likelihoods, member, crystals)
    crystals.logs[:] += likelihoods.allowed[member]
    # the same with its site symmetry: often that leaves one position, and nothing to ask
    pairs, member = np.unique(member * words.n_sites + sites, return_inverse=True)
    which, asked = pairs // words.n_sites, pairs % words.n_sites
    alike = kinds[which] == asked[:, None]
    is_open = own.open_positions(reach)[which] & alike
    positions = np.asarray(is_open.argmax(axis=1)[member])
    several = np.flatnonzero(is_open.sum(axis=1) > 1)
    if len(several):
        place = np.full(len(pairs), -1)
        place[several] = np.arange(len(several))
        rows = np.flatnonzero(place[member] >= 0)
        numbers = words.enumeration[own.groups[which[several]]]
        masks = _any_of((possible[which] & alike)[several], numbers, words.n_enumerations)
        ask.go_on(torch.from_numpy(which[several]).to(device))
        likelihoods = draw.prepared(ask.enumerations(torch.from_numpy(asked[several]).to(device)), masks)
        drawn = draw(likelihoods, place[member[rows]], crystals, rows)
        crystals.logs[rows] += likelihoods.allowed[place[member[rows]]]
        positions[rows] = words.position[crystals.groups[rows], sites[rows], drawn]
    return positions


def _first(member: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """An index of each of the n different ones."""
    found = np.zeros(n, dtype=np.int64)
    found[member] = np.arange(len(member))
    return found


def _crystals(finished: list[Candidates], order: NDArray[np.int64]) -> list[GeneratedProtostructure]:
    """Some of the finished candidates."""
    rows = [
        (group, numbers, places, log)
        for own in finished
        for group, numbers, places, log in zip(
            *(each.tolist() for each in (own.groups, own.elements, own.positions, own.log_likelihoods)), strict=True
        )
    ]
    found = []
    for group, numbers, places, log in (rows[index] for index in order.tolist()):
        found.append(GeneratedProtostructure(Protostructure.from_indices(group, numbers, places), log))
    return found


class _Questions:
    """The three questions about the next orbits of crystals, with and without the properties to aim at.

    The network is asked about a few crystals at a time, so that what it works on stays in the cache of the processor.
    """

    def __init__(self, network: OrbitNetwork, crystals: tuple[Tensor, Tensor, Tensor], guide: Guide) -> None:
        self._network, self._weight = network, guide.weight
        hidden = torch.full_like(guide.properties, torch.nan)
        settings = [hidden, guide.properties]
        used = settings[:1] if guide.weight == 0 else settings[1:] if guide.weight == 1 else settings
        groups, elements, positions = (each.to(hidden.device) for each in crystals)
        self._at_once = max(TOKENS_AT_ONCE // (1 + elements.shape[1]), 1)
        self._known = [
            Known.joined(
                [
                    network.encode(groups[own], elements[own], positions[own], each.expand(len(groups[own]), -1))
                    for own in self._parts(len(groups))
                ]
            )
            for each in used
        ]
        self._rows: Tensor | None = None
        self._elements = groups.new_full((len(groups), 1), -1)

    def go_on(self, rows: Tensor, elements: Tensor | None = None) -> None:
        """With some of the crystals, once or several times each, whose next elements are known."""
        self._rows = rows if self._rows is None else self._rows[rows]
        self._elements = self._elements[rows] if elements is None else elements.unsqueeze(1)

    @property
    def device(self) -> torch.device:
        return self._elements.device

    def elements(self) -> Tensor:
        network = self._network
        return self._combined(lambda known, asked, _: network.element_logits(network.ask(known, *asked), known))

    def sites(self) -> Tensor:
        network = self._network
        return self._combined(lambda known, asked, _: network.site_logits(network.ask(known, *asked), known))

    def enumerations(self, sites: Tensor) -> Tensor:
        network = self._network
        return self._combined(
            lambda known, asked, of: network.enumeration_logits(network.ask(known, *asked), known, of),
            sites.unsqueeze(1),
        )

    def _combined(
        self, logits: Callable[[Known, tuple[Tensor, Tensor], Tensor], Tensor], sites: Tensor | None = None
    ) -> Tensor:
        asked = torch.full_like(self._elements, -1) if sites is None else sites
        found = []
        for own in self._parts(len(self._elements)):
            rows: Tensor | slice = own if self._rows is None else self._rows[own]
            query = self._elements[own], asked[own]
            parts = [logits(known.select(rows), query, query[1]).squeeze(1) for known in self._known]
            found.append(parts[0] if len(parts) == 1 else parts[0] + self._weight * (parts[1] - parts[0]))
        return torch.cat(found)

    def _parts(self, n: int) -> list[slice]:
        return [slice(start, start + self._at_once) for start in range(0, n, self._at_once)]


class _Likelihoods(NamedTuple):
    """Of the classes of n different questions.

    Attributes:
        logs: without regard to what is allowed, shape (n, n_classes).
        allowed: logarithm of the probability of all that is allowed, shape (n,).
        sums: cumulative probabilities of what is allowed, shape (n, n_classes).
        last: the last class that is allowed, shape (n,).
    """

    logs: NDArray[np.float64]
    allowed: NDArray[np.float64]
    sums: NDArray[np.float64]
    last: NDArray[np.int64]


@dataclass(frozen=True)
class _Draw:
    """Draws from logits at a temperature where they are allowed."""

    generator: torch.Generator
    temperature: float

    def prepared(self, logits: Tensor, mask: NDArray[np.bool_]) -> _Likelihoods:
        """Of logits and masks of shape (n, n_classes); something is allowed in each row."""
        logs = (logits.to("cpu", torch.float64) / self.temperature).log_softmax(dim=1)
        allowed = logs.masked_fill(~torch.from_numpy(mask), -torch.inf)
        total = allowed.logsumexp(dim=1)
        sums = (allowed - total.unsqueeze(1)).exp().cumsum(dim=1)
        last = mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1)
        return _Likelihoods(logs.numpy(), total.numpy(), sums.numpy(), last)

    def __call__(
        self,
        of: _Likelihoods,
        member: NDArray[np.int64],
        crystals: Candidates,
        rows: NDArray[np.int64] | None = None,
    ) -> NDArray[np.int64]:
        """A class for each of the crystals, or of some rows of them.

        Args:
            of: different questions.
            member: which of the questions each of the crystals asks.
            crystals: whose log-likelihoods grow.
            rows: some of the crystals.
        """
        spots = torch.rand(len(member), generator=self.generator, dtype=torch.float64).numpy() * of.sums[member, -1]
        drawn = np.minimum((of.sums[member] <= spots[:, None]).sum(axis=1), of.last[member])
        crystals.log_likelihoods[slice(None) if rows is None else rows] += of.logs[member, drawn]
        return np.asarray(drawn, dtype=np.int64)


def _any_of(possible: NDArray[np.bool_], classes: NDArray[np.int64], size: int) -> NDArray[np.bool_]:
    """Which classes one of the possible positions has, shape (n, size)."""
    mask = np.zeros((len(possible), size), dtype=bool)
    row, place = np.nonzero(possible)
    mask[row, classes[row, place]] = True
    return mask
