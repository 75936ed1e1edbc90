"""Molecular graphs of heavy atoms: all of a size, or random ones, within the rules of valence.

A graph has elements and bond orders; hydrogen fills what is free. Every connected graph has a spanning tree, so all of
them are reached from the trees of single bonds by raising bond orders one at a time, where an order raised from zero
closes a ring. Copies are told apart by canonical SMILES.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, product

import numpy as np

from atomsym.core import ConfigError
from atomsym.workflows.organic_xtb.rdkit_molecules import canonical_smiles

VALENCE = {"C": 4, "N": 3, "O": 2, "F": 1, "S": 2, "Cl": 1}
"""Neutral closed-shell atoms only: no nitro groups, no sulfoxides, no ions."""
ABUNDANCE = {"C": 0.66, "N": 0.14, "O": 0.14, "F": 0.04, "S": 0.05, "Cl": 0.03}
"""Relative frequency of an element among atoms that are added at random."""
MOST_HEAVY_ATOMS = 9

_ORDERS, _ORDER_ODDS = (1, 2, 3), (0.78, 0.17, 0.05)
_CLOSURES, _CLOSURE_ODDS = (0, 1, 2), (0.6, 0.3, 0.1)


@dataclass(frozen=True)
class MolecularGraph:
    """Heavy atoms and their bonds.

    Attributes:
        elements: symbols.
        bonds: order by pair of atoms (lower index first), sorted.

    Example:
        >>> MolecularGraph(("C", "C", "O"), ((0, 1, 1), (1, 2, 2))).smiles()
        'CC=O'
    """

    elements: tuple[str, ...]
    bonds: tuple[tuple[int, int, int], ...] = ()

    def free_valence(self) -> list[int]:
        """Hydrogens of each atom."""
        free = [VALENCE[element] for element in self.elements]
        for i, j, order in self.bonds:
            free[i] -= order
            free[j] -= order
        return free

    def smiles(self) -> str:
        """Canonical SMILES, without stereochemistry."""
        return canonical_smiles(self.elements, self.bonds)

    def with_atom(self, place: int, element: str, order: int = 1) -> MolecularGraph:
        """One atom more, bonded to atom ``place``."""
        return MolecularGraph((*self.elements, element), (*self.bonds, (place, len(self.elements), order)))

    def with_bond(self, i: int, j: int) -> MolecularGraph:
        """The order of the bond between i < j raised by one; from 0 it closes a ring."""
        orders = {(a, b): order for a, b, order in self.bonds}
        orders[i, j] = orders.get((i, j), 0) + 1
        return MolecularGraph(self.elements, tuple((a, b, order) for (a, b), order in sorted(orders.items())))

    def raisable(self) -> list[tuple[int, int]]:
        """Pairs whose bond order can be raised: both have a hydrogen, the order is below 3."""
        free, orders = self.free_valence(), {(i, j): order for i, j, order in self.bonds}
        pairs = combinations(range(len(free)), 2)
        return [pair for pair in pairs if free[pair[0]] and free[pair[1]] and orders.get(pair, 0) < 3]


@lru_cache(maxsize=64)
def all_graphs(n_heavy: int, elements: tuple[str, ...] = ("C", "N", "O", "F")) -> tuple[MolecularGraph, ...]:
    """All constitutional isomers of all compositions with this number of heavy atoms, sorted by SMILES.

    Args:
        n_heavy: 1 to ``MOST_HEAVY_ATOMS``; beyond 5 with four elements it takes minutes.
        elements: among ``VALENCE``.

    Raises:
        ConfigError: for another size or element.

    Example:
        >>> [graph.smiles() for graph in all_graphs(2, ("C",))]
        ['C#C', 'C=C', 'CC']
    """
    if not 1 <= n_heavy <= MOST_HEAVY_ATOMS:
        raise ConfigError(f"molecules have 1 to {MOST_HEAVY_ATOMS} heavy atoms; found {n_heavy}")
    unknown = [element for element in elements if element not in VALENCE]
    if unknown or not elements:
        raise ConfigError(f"heavy elements are among {', '.join(VALENCE)}; found {', '.join(unknown) or 'none'}")
    return _sorted(_closed(_trees(n_heavy, elements)))


@lru_cache(maxsize=64)
def _trees(n_heavy: int, elements: tuple[str, ...]) -> tuple[MolecularGraph, ...]:
    """Acyclic graphs of single bonds."""
    if n_heavy == 1:
        return tuple(MolecularGraph((element,)) for element in elements)
    found: dict[str, MolecularGraph] = {}
    for graph in _trees(n_heavy - 1, elements):
        for place, free in enumerate(graph.free_valence()):
            for element in elements if free else ():
                larger = graph.with_atom(place, element)
                found.setdefault(larger.smiles(), larger)
    return tuple(found.values())


def _closed(graphs: Iterable[MolecularGraph]) -> dict[str, MolecularGraph]:
    """These graphs and all that follow from them by raising bond orders."""
    found = {graph.smiles(): graph for graph in graphs}
    waiting = list(found.values())
    while waiting:
        graph = waiting.pop()
        for pair in graph.raisable():
            larger = graph.with_bond(*pair)
            if (smiles := larger.smiles()) not in found:
                found[smiles] = larger
                waiting.append(larger)
    return found


@lru_cache(maxsize=16)
def ring_graphs(size: int, elements: tuple[str, ...]) -> tuple[MolecularGraph, ...]:
    """All rings of this size with single and double bonds, aromatic ones among them, sorted by SMILES."""
    kinds = tuple(element for element in elements if VALENCE[element] > 1)
    found: dict[str, MolecularGraph] = {}
    places = [(i, i + 1) for i in range(size - 1)] + [(0, size - 1)]
    for chosen in product(kinds, repeat=size):
        for orders in product((1, 2), repeat=size):
            bonds = tuple(sorted((*place, order) for place, order in zip(places, orders, strict=True)))
            graph = MolecularGraph(chosen, bonds)
            if chosen.count("C") * 2 >= size and min(graph.free_valence()) >= 0:
                found.setdefault(graph.smiles(), graph)
    return _sorted(found)


def random_graph(
    n_heavy: int, elements: Sequence[str], starts: Sequence[MolecularGraph], generator: np.random.Generator
) -> MolecularGraph | None:
    """A random graph that grows out of one of ``starts``.

    Atoms are added at random places, elements by ``ABUNDANCE``, mostly with single bonds; at the end up to two bond
    orders are raised. Every graph of the size that holds a start can come out; the odds are not uniform.

    Returns:
        The graph; None where growth came to an end because no atom had a free valence.
    """
    graph = starts[int(generator.integers(len(starts)))]
    weights = np.array([ABUNDANCE[element] for element in elements])
    while len(graph.elements) < n_heavy:
        free = graph.free_valence()
        places = [place for place, hydrogens in enumerate(free) if hydrogens]
        if not places:
            return None
        place = places[int(generator.integers(len(places)))]
        element = elements[int(generator.choice(len(elements), p=weights / weights.sum()))]
        order = int(generator.choice(_ORDERS, p=_ORDER_ODDS))
        graph = graph.with_atom(place, element, min(order, free[place], VALENCE[element]))
    for _ in range(int(generator.choice(_CLOSURES, p=_CLOSURE_ODDS))):
        pairs = graph.raisable()
        if pairs:
            graph = graph.with_bond(*pairs[int(generator.integers(len(pairs)))])
    return graph


def _sorted(found: dict[str, MolecularGraph]) -> tuple[MolecularGraph, ...]:
    return tuple(found[smiles] for smiles in sorted(found))
