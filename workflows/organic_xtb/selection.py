"""Which molecules are in the set, and in which part of it: a function of the settings alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from atomsym.core import ConfigError
from atomsym.workflows.organic_xtb.graphs import all_graphs, random_graph, ring_graphs
from atomsym.workflows.organic_xtb.rules import objection
from atomsym.workflows.organic_xtb.settings import SIZE_SHARES, OrganicSettings

EXHAUSTIVE = 5
"""Up to this number of heavy atoms all molecules are enumerated; larger ones grow at random out of these and rings."""
PARTS = ("train", "validation", "test")
TEST_SHARE, VALIDATION_SHARE = 0.10, 0.05
COMPANIONS = ("[H][H]", "C", "N", "O", "F", "C=O", "CO", "C#N", "C#C", "C=C", "CN")
"""Partners of other molecules in dimers; always in the training part, since they occur everywhere."""

_MOST_TRIES = 200  # for each molecule that is wanted: beyond, the space is taken for exhausted


@dataclass(frozen=True)
class Choice:
    """A molecule of the set: canonical SMILES, number of heavy atoms, part."""

    smiles: str
    n_heavy: int
    part: str


def part_of(smiles: str) -> str:
    """The part that a molecule belongs to, by the SHA-256 of its canonical SMILES; the same in every set.

    Example:
        >>> part_of("O")
        'train'
    """
    if smiles in COMPANIONS:
        return "train"
    share = int.from_bytes(hashlib.sha256(smiles.encode()).digest()[:8], "big") / 2**64
    if share < TEST_SHARE:
        return "test"
    return "validation" if share < TEST_SHARE + VALIDATION_SHARE else "train"


def seed_of(smiles: str, seed: int) -> list[int]:
    """Seed of what is random about a molecule, whichever worker has it and whatever else is in the set."""
    digest = hashlib.sha256(f"{seed} {smiles}".encode()).digest()
    return [int.from_bytes(digest[start : start + 4], "big") for start in (0, 4, 8, 12)]


def choose_molecules(settings: OrganicSettings) -> list[Choice]:
    """The molecules of a set, in random order, so that the first ones already are a fair sample.

    Raises:
        ConfigError: if the settings allow fewer molecules than asked for.
    """
    generator = np.random.default_rng([settings.seed, 1])
    heavy = settings.heavy_elements
    sizes = [size for size in SIZE_SHARES if size <= settings.max_heavy]
    small = {size: _allowed(size, heavy) for size in sizes if size <= EXHAUSTIVE}
    available = {size: len(found) for size, found in small.items()}
    chosen: list[Choice] = []
    for size, wanted in make_quotas(settings.molecules, sizes, available).items():
        if size in small:
            found = sorted(generator.choice(small[size], wanted, replace=False).tolist()) if wanted else []
        else:
            found = _grown(size, wanted, heavy, generator)
        chosen += [Choice(smiles, size, part_of(smiles)) for smiles in found]
    if len(chosen) < settings.molecules:
        raise ConfigError(
            f"{settings.molecules} molecules are asked for; {len(chosen)} of {', '.join(settings.elements)} with up "
            f"to {settings.max_heavy} heavy atoms were found. Ask for fewer, or raise max_heavy"
        )
    return [chosen[i] for i in generator.permutation(len(chosen))]


def _allowed(size: int, heavy: tuple[str, ...]) -> list[str]:
    """Canonical SMILES of all molecules of a size that break no rule; H2 is with those of one heavy atom."""
    return (["[H][H]"] if size == 1 else []) + [
        smiles for graph in all_graphs(size, heavy) if not objection(smiles := graph.smiles())
    ]


def make_quotas(total: int, sizes: list[int], available: dict[int, int]) -> dict[int, int]:
    """Molecules of each size: shares by largest remainder; what a size lacks goes to the next one."""
    shares = np.array([SIZE_SHARES[size] for size in sizes])
    ideal = total * shares / shares.sum()
    counts = np.floor(ideal).astype(int)
    rest = total - int(counts.sum())
    counts[np.argsort(counts - ideal, kind="stable")[:rest]] += 1
    quotas, carried = {}, 0
    for size, count in zip(sizes, counts.tolist(), strict=True):
        wanted = count + carried
        quotas[size] = min(wanted, available.get(size, wanted))
        carried = wanted - quotas[size]
    for size in reversed(sizes):  # what the largest sizes lack goes to smaller ones
        more = min(carried, available.get(size, 0) - quotas[size]) if size in available else 0
        quotas[size] += max(more, 0)
        carried -= max(more, 0)
    return quotas


def _grown(size: int, wanted: int, heavy: tuple[str, ...], generator: np.random.Generator) -> list[str]:
    """Different random molecules of a size that break no rule, sorted; fewer than wanted if there are not more."""
    rings = [graph for n in (5, 6) if n <= size for graph in ring_graphs(n, heavy)]
    pools = [
        [graph for graph in pool if not objection(graph.smiles())] for pool in (all_graphs(EXHAUSTIVE, heavy), rings)
    ]
    pools = [pool for pool in pools if pool]
    found: set[str] = set()
    for _ in range(_MOST_TRIES * wanted):
        if len(found) == wanted:
            break
        graph = random_graph(size, heavy, pools[int(generator.integers(len(pools)))], generator)
        if graph is not None and not objection(smiles := graph.smiles()):
            found.add(smiles)
    return sorted(found)
