"""Hard conditions while noise is undone: closed states, refused orbits, and orbits that are added at the end."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atomsym.generators.conditions import Conditions
from atomsym.generators.reachability import Reachability, Unfinished
from atomsym.generators.wyckoffdiff.network import Logits
from atomsym.generators.wyckoffdiff.occupations import Layout, Occupations, orbits_of

LEAST_ODDS = 1e-30
"""Of an orbit that conditions need and the model does not expect, relative to its absence."""

Ints = NDArray[np.int64]


class Clean(NamedTuple):
    """Probabilities of the clean states.

    Attributes:
        points: shape (n_points, max_element + 1).
        counts: of the open elements alone, shape (n_free, n_open, max_count + 1).
    """

    points: Tensor
    counts: Tensor


class Limits:
    """What the conditions allow in the crystals of one layout.

    Args:
        layout: the crystals.
        conditions: on elements that the model knows.
        reach: what can be finished under these conditions.
        max_element, max_count: the largest states of the model.

    Attributes:
        columns: indices of the open elements among the columns of ``Occupations.counts``, shape (n_open,).
        points: which states are open, shape (n_points, max_element + 1).
        counts: the same for the open elements, shape (n_free, n_open, max_count + 1).
    """

    def __init__(
        self, layout: Layout, conditions: Conditions, reach: Reachability, max_element: int, max_count: int
    ) -> None:
        device = layout.groups.device
        self.layout, self.conditions, self.reach, self.max_count = layout, conditions, reach, max_count
        most = torch.zeros(max_element + 1, dtype=torch.int64)
        most[list(conditions.allowed)] = conditions.most_atoms
        if conditions.composition is not None:
            units = conditions.most_atoms // sum(conditions.composition.values())
            for number, count in conditions.composition.items():
                most[number] = units * count
        most = most.to(device)
        self.columns = most[1:].nonzero().squeeze(1)
        self.restricted = len(self.columns) < max_element
        sizes = layout.multiplicity.unsqueeze(1)
        self.points = sizes[layout.points] <= most
        self.points[:, 0] = True
        largest = most[1:][self.columns] // sizes[layout.free]
        self.counts = torch.arange(max_count + 1, device=device) <= largest.unsqueeze(2)
        self._depends_on_atoms = bool(conditions.composition or conditions.n_atoms or conditions.required)

    def clean(self, logits: Logits, temperature: float) -> Clean:
        """Probabilities without the closed states.

        Where elements are closed, the probability that the others take over is that of an occupied point, or the
        expected number of elements at a free position: crystals of few elements do not become empty.
        """
        points, all_counts = logits.points / temperature, logits.counts / temperature
        counts = all_counts[:, self.columns] if self.restricted else all_counts
        if self.restricted:
            elements = points[:, 1:]
            share = elements.logsumexp(1) - elements[:, self.columns].logsumexp(1)
            points = torch.cat((points[:, :1], elements + share.unsqueeze(1)), dim=1)
            occupied = (all_counts[..., 1:].logsumexp(2) - all_counts[..., 0]).sigmoid()
            share = occupied.sum(1) / occupied[:, self.columns].sum(1).clamp(min=LEAST_ODDS)
            counts = torch.cat((counts[..., :1], counts[..., 1:] + share.log()[:, None, None]), dim=2)
        return Clean(
            points.masked_fill(~self.points, -torch.inf).softmax(1),
            counts.masked_fill(~self.counts, -torch.inf).softmax(2),
        )

    def met(self, occupations: Occupations) -> Tensor:
        """Which crystals meet the conditions as they are, shape (n,), bool."""
        conditions = self.conditions
        atoms, orbits = self._content(occupations)
        total = atoms.sum(dim=1)
        met = (total > 0) & (total <= conditions.most_atoms)
        if conditions.max_orbits:
            met &= orbits <= conditions.max_orbits
        if conditions.n_atoms:
            met &= total == conditions.n_atoms
        if conditions.required:
            met &= (atoms[:, list(conditions.required)] > 0).all(dim=1)
        if conditions.composition is not None:
            numbers = list(conditions.composition)
            needed = torch.tensor(list(conditions.composition.values()), device=atoms.device)
            units = atoms[:, numbers] // needed
            met &= (units[:, :1] * needed == atoms[:, numbers]).all(dim=1)
        closed = torch.ones(atoms.shape[1], dtype=torch.bool, device=atoms.device)
        closed[self.columns + 1] = False
        return met & (atoms[:, closed] == 0).all(dim=1)

    def admit(self, before: Occupations, after: Occupations, generator: torch.Generator) -> Occupations:
        """Refuse what leads to crystals that cannot be finished.

        Args:
            before: crystals that can be finished.
            after: the same crystals with more orbits.
            generator: of the order in which the new orbits of a crystal are taken up, on the CPU.

        Returns:
            ``after`` without the orbits that were refused.
        """
        atoms, orbits = self._content(after)
        if self._depends_on_atoms:
            old_atoms, old_orbits = self._content(before)
            doubtful = ((atoms != old_atoms).any(dim=1) | (orbits != old_orbits)) & ~self.met(after)
        else:
            doubtful = atoms.sum(dim=1) > self.conditions.most_atoms
            if self.conditions.max_orbits:
                doubtful |= orbits > self.conditions.max_orbits
        if not doubtful.any():
            return after
        state = self._state(before, doubtful)
        fresh = torch.where(after.points != before.points, after.points, 0)
        owners, elements, positions = self._orbits(Occupations(fresh, after.counts - before.counts), doubtful)
        order = np.lexsort((torch.rand(len(owners), generator=generator).numpy(), owners))
        owners, elements, positions = owners[order], elements[order], positions[order]
        ranks = np.arange(len(owners)) - np.searchsorted(owners, owners)
        refused = np.zeros(len(owners), dtype=bool)
        for rank in range(int(ranks.max(initial=-1)) + 1):
            rows = np.flatnonzero(ranks == rank)
            own = state.select(owners[rows])
            leads_on = self.reach.positions(own, elements[rows])[np.arange(len(rows)), positions[rows]]
            refused[rows[~leads_on]] = True
            kept = rows[leads_on]
            state.put(owners[kept], self.reach.plus(own.select(leads_on), elements[kept], positions[kept]))
        crystals = doubtful.nonzero().squeeze(1).cpu().numpy()
        return self._changed(after, crystals[owners[refused]], elements[refused], positions[refused], -1)

    def finish(self, occupations: Occupations, clean: Clean, generator: torch.Generator) -> tuple[Occupations, Tensor]:
        """Add orbits, drawn by the odds of the model among those that lead on, until the conditions are met.

        Args:
            occupations: crystals that can be finished; those that meet the conditions stay as they are.
            clean: what the model expects.
            generator: of the draws, on the CPU.

        Returns:
            The crystals, and how many orbits were added to each of them, shape (n,).
        """
        unmet = ~self.met(occupations)
        added = torch.zeros_like(self.layout.groups)
        state, crystals = self._state(occupations, unmet), unmet.nonzero().squeeze(1)
        while len(crystals):
            odds = self._odds(crystals, occupations, clean)
            is_open = torch.from_numpy(self.reach.allowed(state)[:, 1 : odds.shape[1] + 1, : odds.shape[2]])
            chosen = torch.multinomial((odds * is_open).flatten(1), 1, generator=generator).squeeze(1).numpy()
            elements, positions = chosen // odds.shape[2] + 1, chosen % odds.shape[2]
            occupations = self._changed(occupations, crystals.cpu().numpy(), elements, positions, 1)
            added[crystals] += 1
            state = self.reach.plus(state, elements, positions)
            lacking = ~self.reach.may_stop(state)
            state, crystals = state.select(lacking), crystals[torch.from_numpy(lacking).to(crystals.device)]
        return occupations, added

    def _content(self, occupations: Occupations) -> tuple[Tensor, Tensor]:
        """Atoms by atomic number, shape (n, max_element + 1), and the number of orbits, shape (n,)."""
        layout, n = self.layout, len(self.layout.groups)
        atoms = occupations.counts.new_zeros(n, occupations.counts.shape[1] + 1)
        sizes = layout.multiplicity
        atoms[:, 1:].index_add_(0, layout.free_crystals, occupations.counts * sizes[layout.free].unsqueeze(1))
        atoms.index_put_((layout.point_crystals, occupations.points), sizes[layout.points], accumulate=True)
        atoms[:, 0] = 0
        orbits = occupations.counts.new_zeros(n)
        orbits.index_add_(0, layout.free_crystals, occupations.counts.sum(dim=1))
        return atoms, orbits.index_add_(0, layout.point_crystals, (occupations.points > 0).to(orbits.dtype))

    def _orbits(self, occupations: Occupations, crystals: Tensor) -> tuple[Ints, Ints, Ints]:
        """Index among the crystals that are marked, element and position of each of their orbits, by crystal."""
        owners, elements, positions = orbits_of(occupations, self.layout)
        marked = crystals[owners]
        found = ((crystals.cumsum(0) - 1)[owners[marked]], elements[marked], positions[marked])
        index, numbers, places = (each.cpu().numpy() for each in found)
        return index, numbers, places

    def _state(self, occupations: Occupations, crystals: Tensor) -> Unfinished:
        """Of the crystals that are marked."""
        empty = self.reach.start(self.layout.groups[crystals].cpu().numpy())
        return self.reach.holding(empty, *self._orbits(occupations, crystals))

    def _changed(
        self, occupations: Occupations, crystals: Ints, elements: Ints, positions: Ints, step: int
    ) -> Occupations:
        """With (step 1) or without (-1) these orbits."""
        layout, points, counts = self.layout, occupations.points.clone(), occupations.counts.clone()
        owners, numbers, places = (torch.from_numpy(each).to(points.device) for each in (crystals, elements, positions))
        nodes = layout.first[owners] + places
        rows, is_free = layout.row[nodes], layout.freedom[nodes] > 0
        steps = torch.full_like(rows[is_free], step)
        counts.index_put_((rows[is_free], numbers[is_free] - 1), steps, accumulate=True)
        points[rows[~is_free]] = numbers[~is_free] if step > 0 else 0
        return Occupations(points, counts)

    def _odds(self, crystals: Tensor, occupations: Occupations, clean: Clean) -> Tensor:
        """Of one more orbit of each element at each position of some crystals.

        Returns:
            Shape (n_crystals, max_element, most_positions), float64, on the CPU; 0 where there is no position.
        """
        layout = self.layout
        index = torch.full_like(layout.groups, -1)
        index[crystals] = torch.arange(len(crystals), device=index.device)
        shape = (len(crystals), int(layout.position.max()) + 1, occupations.counts.shape[1])
        odds = torch.zeros(shape, dtype=torch.float64, device=index.device)
        points = (index[layout.point_crystals] >= 0).nonzero().squeeze(1)
        where = (index[layout.point_crystals[points]], layout.position[layout.points[points]])
        odds[where] = _bounded(clean.points[points, 1:] / clean.points[points, :1])
        free = (index[layout.free_crystals] >= 0).nonzero().squeeze(1)
        counts = occupations.counts[free][:, self.columns].unsqueeze(2)
        now, more = (
            clean.counts[free].gather(2, number.clamp(max=self.max_count)).squeeze(2) for number in (counts, counts + 1)
        )
        ratio = torch.full((len(free), shape[2]), LEAST_ODDS, dtype=torch.float64, device=index.device)
        ratio[:, self.columns] = _bounded(torch.where(counts.squeeze(2) < self.max_count, more / now, 0.0))
        odds[index[layout.free_crystals[free]], layout.position[layout.free[free]]] = ratio
        return odds.transpose(1, 2).cpu()


def _bounded(odds: Tensor) -> Tensor:
    return odds.to(torch.float64).nan_to_num(nan=0.0).clamp(LEAST_ODDS, 1 / LEAST_ODDS)
