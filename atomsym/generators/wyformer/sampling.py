"""Crystals from a Wyckoff transformer, one orbit after the other, within hard conditions."""

from __future__ import annotations

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
    groups: Sequence[int],
    reach: Mapping[int, Reachability],
    guide: Guide,
    generator: torch.Generator,
    temperature: float,
) -> list[GeneratedProtostructure]:
    """One crystal for each space group. What cannot be finished within the conditions is never drawn.

    Args:
        network: in evaluation mode.
        groups: space-group numbers that can meet the conditions.
        reach: what can be reached in each of them.
        guide: properties to aim at.
        generator: of the draws, on the CPU.
        temperature: of all three heads, > 0.
    """
    device = network.is_point.device
    build = _Builder(groups, reach)
    draw = _Draw(generator, temperature, np.zeros(len(groups)))
    rows = np.arange(len(groups))
    while len(rows):
        known, elements, positions = (part.to(device) for part in build.tensors(rows))
        ask = _Questions(network, known, elements, positions, guide)
        chosen = draw(rows, ask.elements(), build.element_masks(rows))
        going = np.flatnonzero(chosen != STOP)
        rows, chosen = rows[going], chosen[going]
        if not len(rows):
            break
        ask.keep(torch.from_numpy(going).to(device), torch.from_numpy(chosen).to(device))
        possible = build.position_masks(rows, chosen)
        words = standard_vocabulary()
        where = build.groups[rows]
        sites = draw(rows, ask.sites(), _any_of(possible, words.site_symmetry[where], words.n_sites))
        possible &= words.site_symmetry[where] == sites[:, None]
        masks = _any_of(possible, words.enumeration[where], words.n_enumerations)
        numbers = draw(rows, ask.enumerations(torch.from_numpy(sites).to(device)), masks)
        build.add(rows, chosen, words.position[where, sites, numbers])
    return build.finished(draw.log_likelihoods)


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
        return np.stack([self._reach[row].elements(self._states[row]) for row in rows.tolist()])

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

    def finished(self, log_likelihoods: NDArray[np.float64]) -> list[GeneratedProtostructure]:
        found = []
        lists = (self.groups, self._sizes, self._elements, self._positions, log_likelihoods)
        for group, size, elements, positions, log in zip(*(each.tolist() for each in lists), strict=True):
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


@dataclass
class _Draw:
    """Draws from masked logits, and keeps count of their log-likelihood for each crystal."""

    generator: torch.Generator
    temperature: float
    log_likelihoods: NDArray[np.float64]

    def __call__(self, rows: NDArray[np.int64], logits: Tensor, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        closed = ~torch.from_numpy(mask)
        scores = (logits.to("cpu", torch.float64) / self.temperature).masked_fill(closed, -torch.inf)
        log_p = scores.log_softmax(dim=1)
        drawn = torch.multinomial(log_p.exp(), 1, generator=self.generator)
        self.log_likelihoods[rows] += log_p.gather(1, drawn).squeeze(1).numpy()
        return np.asarray(drawn.squeeze(1).numpy(), dtype=np.int64)


def _any_of(possible: NDArray[np.bool_], classes: NDArray[np.int64], size: int) -> NDArray[np.bool_]:
    """Which classes one of the possible positions has, shape (n, size)."""
    mask = np.zeros((len(possible), size), dtype=bool)
    row, place = np.nonzero(possible)
    mask[row, classes[row, place]] = True
    return mask
