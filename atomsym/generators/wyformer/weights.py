"""How many candidates of a pool go on, so that those that are finished stand for equal parts of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from atomsym.generators.generator import Pool

FEW = 0.5
"""Candidates are drawn again if their effective number falls below this part of what it should be."""
SPARE = 1.25
"""Candidates for each crystal that is wanted where little is forbidden: with fewer some crystals come twice."""


class Weights:
    """What finished candidates of pools stand for, and how many unfinished ones are worth going on with.

    A candidate's weight is the probability that was allowed at each of its draws. Where few unfinished candidates carry
    most of the weight of theirs, or are more or fewer than they should be, candidates of equal weights are drawn again
    from them. There should be as many as are their part of the pool: of ``SPARE`` times as many candidates as crystals
    are wanted where little is forbidden, and of all that the pool began with where next to nothing is allowed.

    Args:
        pools: which the candidates are of.
        generator: of the draws, on the CPU.
    """

    def __init__(self, pools: Sequence[Pool], generator: torch.Generator) -> None:
        self._pools, self._generator = pools, generator
        self._sizes = np.array([len(pool.groups) for pool in pools], dtype=np.float64)
        self._least = np.minimum(self._sizes, [SPARE * pool.n for pool in pools])
        self._finished = np.full(len(pools), -np.inf)

    def finish(self, pool: NDArray[np.int64], logs: NDArray[np.float64]) -> None:
        """Some candidates of these pools are finished, with these logarithms of their weights."""
        np.logaddexp.at(self._finished, pool, logs)

    def go_on(
        self, pool: NDArray[np.int64], logs: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Which of the unfinished candidates go on, once or several times each, and their weights from now on.

        The weights of what goes on are those of the candidates on average: this adds no bias.

        Args:
            pool: of the unfinished candidates, increasing.
            logs: logarithms of their weights.
        """
        present, starts, counts = np.unique(pool, return_index=True, return_counts=True)
        highest = np.maximum.reduceat(logs, starts)
        weights = np.exp(logs - np.repeat(highest, counts))
        total = np.add.reduceat(weights, starts)
        effective = total**2 / np.add.reduceat(weights**2, starts)
        unfinished = highest + np.log(total)
        whole = np.logaddexp(unfinished, self._finished[present])
        sizes, least = self._sizes[present], self._least[present]
        allowed = np.exp(np.minimum(whole - np.log(sizes), 0.0))
        wanted = (least + (sizes - least) * (1 - allowed)) * np.exp(unfinished - whole)
        again = (effective < FEW * wanted) | (counts > wanted / FEW)
        if not again.any():
            return np.arange(len(pool)), logs
        rows, after = [], []
        for index in range(len(present)):
            own = np.arange(starts[index], starts[index] + counts[index])
            if not again[index]:
                rows.append(own)
                after.append(logs[own])
                continue
            number = int(wanted[index] + self._spot())
            if number:
                rows.append(own[self._systematic(weights[own], number)])
                after.append(np.full(number, unfinished[index] - np.log(wanted[index])))
        none: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        return np.concatenate([none, *rows]), np.concatenate([np.zeros(0), *after])

    def chosen(self, pool: NDArray[np.int64], logs: NDArray[np.float64]) -> NDArray[np.int64]:
        """As many of the finished candidates of each pool as are wanted, by their weights, in random order."""
        found = []
        for index, wanted in enumerate(self._pools):
            own = np.flatnonzero(pool == index)
            drawn = self._systematic(np.exp(logs[own] - logs[own].max()), wanted.n)
            order = torch.randperm(wanted.n, generator=self._generator).numpy()
            found.append(own[drawn[order]])
        return np.concatenate(found)

    def all_of(self, pool: NDArray[np.int64]) -> NDArray[np.int64]:
        """All finished candidates, those of each pool in random order: they finish by size, and who takes the first of
        them must not take the small ones."""
        order = torch.randperm(len(pool), generator=self._generator).numpy()
        return np.asarray(order[np.argsort(pool[order], kind="stable")])

    def _systematic(self, weights: NDArray[np.float64], n: int) -> NDArray[np.int64]:
        """n draws by the weights, each with its expected number rounded up or down; increasing."""
        sums = np.cumsum(weights)
        spots = (np.arange(n) + self._spot()) / n
        last = np.flatnonzero(weights)[-1]
        return np.minimum(np.searchsorted(sums / sums[-1], spots, side="right"), last)

    def _spot(self) -> float:
        return float(torch.rand((), generator=self._generator, dtype=torch.float64))
