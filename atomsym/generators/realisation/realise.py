"""From a protostructure to a crystal: a random lattice and random free coordinates with no atoms too close."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from atomsym.core.errors import ConfigError, InputError
from atomsym.generators.realisation.distances import RADII, closest_contact, contact_with, lattice_contact
from atomsym.generators.realisation.lattices import random_lattices
from atomsym.generators.realisation.volume import expected_volume
from atomsym.symmetry.wyckoff import Protostructure, SymmetricCrystal, space_group_of
from atomsym.symmetry.wyckoff.crystal_system import crystal_system

Array = NDArray[np.float64]

DISTANCE_FLOOR = 0.65
"""Least distance of two atoms in units of the sum of their covalent radii."""

GROWTH = 1.05
"""Of the volume from one try to the next."""

COMFORT = 0.9
"""Distances above it, in the same units, count as equal: the very largest ones are those of more symmetric crystals."""

LATTICES = 8
CANDIDATES = 16
"""Coordinates drawn for each orbit in each lattice."""

SYMPREC = 0.1
"""Å, within which a crystal is not to be more symmetric than its protostructure."""

_MARGIN = 1.25  # of what a crystal keeps away from more symmetric ones over the tolerance
_REDRAWN = 8  # times at most, if a crystal is more symmetric: some protostructures have only such crystals
_MANY_COORDINATES = 8  # with more free ones than that it is next to impossible that all of them are special

_LARGEST_BATCH = 400_000  # distances of one orbit
_CHECKED = 3  # draws of a try that are looked at with all images, the best by their nearest ones first


@dataclass(frozen=True, eq=False)
class Realised:
    """A crystal made for a protostructure.

    Attributes:
        crystal: the best one found.
        distance_floor_met: whether no two atoms are closer than the floor.
        contact: smallest d / (r₁ + r₂) of the crystal.
        tries: sets of lattices that were drawn; 0 if the geometry is that of a known crystal.
        symmetry_kept: whether an analysis finds the space group again; None if it was not asked.
        source: ``random``, or the name of the known crystal.
    """

    crystal: SymmetricCrystal
    distance_floor_met: bool
    contact: float
    tries: int
    source: str = "random"
    symmetry_kept: bool | None = None


def realise(
    protostructure: Protostructure,
    *,
    generator: np.random.Generator,
    trials: int = 40,
    floor: float = DISTANCE_FLOOR,
    volume: float | None = None,
    symprec: float | None = SYMPREC,
) -> Realised:
    """A random crystal of a protostructure, in bounded time.

    A try draws several lattices. In each the orbits are placed one after the other, those without free coordinates
    first and then by their freedom: of several random coordinates the first that are comfortably far from all atoms
    placed before, else the farthest. The volume grows by 5 % from try to try; the best crystal of the first try
    whose distances reach the floor is taken, with all periodic images counted.

    Coordinates and lattices that happen to be near those of a supergroup would make a crystal that an analysis takes
    for a more symmetric one. Where few coordinates are free, so that this can happen, the crystal is analysed and drawn
    again if it is one.

    Args:
        protostructure: which positions are occupied.
        generator: the only source of randomness; the same state gives the same crystal.
        trials: tries at most.
        floor: least distance in units of the sum of covalent radii.
        volume: of the conventional cell at the first try, Å³; None: the sum of ``ATOMIC_VOLUMES``.
        symprec: tolerance of an analysis that is to find the space group, Å; None: accidental symmetry is let be.

    Returns:
        The crystal; where no try met the floor, the one with the largest smallest distance, and it says so; likewise
        where all were more symmetric than they should be, as for protostructures that no crystal has.

    Raises:
        ConfigError: if the number of tries, the floor, the volume or the tolerance is not positive.

    Source: own; taking the best of several candidates for each point in turn is Mitchell's algorithm (SIGGRAPH 1991).

    Example:
        >>> rutile = Protostructure(136, ((22, "a"), (8, "f")))
        >>> made = realise(rutile, generator=np.random.default_rng(0))
        >>> made.distance_floor_met, made.crystal.n_atoms
        (True, 6)
    """
    if trials < 1 or not floor > 0 or not (volume is None or volume > 0) or not (symprec is None or symprec > 0):
        found = f"{trials}, {floor}, {volume} and {symprec}"
        raise ConfigError(f"trials, floor, volume and symprec must be positive; found {found}")
    size = expected_volume(protostructure.composition) if volume is None else volume
    plan = _plan(protostructure)
    edge, attempt = size ** (1 / 3), 0
    best = _best_of_a_try(plan, COMFORT / edge, generator)
    while best[0] * edge < floor and attempt + 1 < trials:
        attempt += 1
        edge = (size * GROWTH**attempt) ** (1 / 3)
        if plan.is_random:
            best = max(best, _best_of_a_try(plan, COMFORT / edge, generator), key=_first)
    made = _scaled(plan, best, edge, floor, attempt + 1)
    if symprec is None or not plan.may_be_more_symmetric or not made.distance_floor_met:
        return made
    return _without_accident(plan, made, edge, floor, trials, symprec, generator)


def _scaled(plan: _Plan, best: tuple[float, Array, Array], edge: float, floor: float, tries: int) -> Realised:
    contact = best[0] * edge
    crystal = SymmetricCrystal(plan.protostructure, best[1] * edge, best[2])
    return Realised(crystal, contact >= floor, contact, tries)


def _without_accident(
    plan: _Plan, first: Realised, edge: float, floor: float, trials: int, symprec: float, generator: np.random.Generator
) -> Realised:
    """The first crystal that keeps the distance floor and is not more symmetric than it should be, or else ``first``.

    Args:
        plan: of the crystals.
        first: the first crystal that keeps the floor.
        edge: cube root of its volume, Å.
        floor, trials, symprec, generator: see ``realise``.
    """
    made, last = first, min(trials, first.tries + _REDRAWN)
    while not (keeps := _keeps_group(made.crystal, _MARGIN * symprec)):
        while made.tries < last:
            made = _scaled(plan, _best_of_a_try(plan, COMFORT / edge, generator), edge, floor, made.tries + 1)
            if made.distance_floor_met:
                break
            edge *= GROWTH ** (1 / 3)
        else:
            return replace(first, tries=made.tries, symmetry_kept=False)
    return replace(made, symmetry_kept=keeps)


def _keeps_group(crystal: SymmetricCrystal, symprec: float) -> bool:
    try:
        found = space_group_of(crystal.cell, crystal.fractional_positions, crystal.numbers, symprec=symprec)
    except InputError:  # no symmetry could be found: not the one that was asked for
        return False
    return found == crystal.protostructure.space_group


@dataclass(frozen=True, eq=False)
class _Orbit:
    place: int  # in the protostructure
    matrices: Array  # (multiplicity, 3, 3)
    translations: Array
    radius: float
    candidates: int


@dataclass(frozen=True, eq=False)
class _Plan:
    protostructure: Protostructure
    orbits: tuple[_Orbit, ...]  # in the order of placing
    lattices: int

    @property
    def is_random(self) -> bool:
        """Whether another try can differ from the first."""
        return self.lattices > 1

    @property
    def may_be_more_symmetric(self) -> bool:
        """Whether that can happen by chance: not with everything fixed, and hardly with many free coordinates."""
        return self.is_random and self.protostructure.degrees_of_freedom <= _MANY_COORDINATES


@lru_cache(maxsize=1024)
def _plan(protostructure: Protostructure) -> _Plan:
    fewer = min(1.0, _LARGEST_BATCH / (LATTICES * CANDIDATES * protostructure.n_atoms))
    candidates = max(4, round(CANDIDATES * fewer**0.5))
    lattices = max(3, round(LATTICES * fewer**0.5))
    if not protostructure.degrees_of_freedom and crystal_system(protostructure.space_group) == "cubic":
        lattices = 1
    orbits = []
    for place, (number, position) in enumerate(zip(protostructure.elements, protostructure.positions, strict=True)):
        matrices = position.matrices.astype(np.float64)
        count = 1 if position.is_point else candidates
        orbits.append(_Orbit(place, matrices, position.translations, float(RADII[number]), count))
    freedom = [position.degrees_of_freedom for position in protostructure.positions]
    orbits.sort(key=lambda orbit: (freedom[orbit.place], -orbit.radius * len(orbit.matrices) ** (1 / 3)))
    return _Plan(protostructure, tuple(orbits), lattices)


def _best_of_a_try(plan: _Plan, enough: float, generator: np.random.Generator) -> tuple[float, Array, Array]:
    """Smallest distance ratio at volume 1, cell of volume 1, parameters; the first with ``enough``, else the best."""
    cells = random_lattices(plan.protostructure.space_group, plan.lattices, generator)
    contacts, parameters = _place(plan, cells, enough, generator)
    best = (-np.inf, cells[0], parameters[0])
    for index in np.argsort(-np.minimum(contacts, enough), kind="stable")[:_CHECKED]:
        if min(contacts[index], enough) <= best[0]:
            break  # an upper bound: it cannot be better
        exact = closest_contact(SymmetricCrystal(plan.protostructure, cells[index], parameters[index]))
        best = max(best, (exact, cells[index], parameters[index]), key=_first)
    return best


def _first(found: tuple[float, Array, Array]) -> float:
    return found[0]


def _place(plan: _Plan, cells: Array, enough: float, generator: np.random.Generator) -> tuple[Array, Array]:
    """Orbit after orbit; smallest distance ratios, shape (n_cells,), and parameters, shape (n_cells, n_orbits, 3)."""
    n_cells = len(cells)
    contacts = lattice_contact(plan.protostructure, cells)
    parameters = np.zeros((n_cells, len(plan.orbits), 3))
    placed, radii = np.zeros((n_cells, 0, 3)), np.zeros(0)
    every = np.arange(n_cells)
    for orbit in plan.orbits:
        drawn = generator.random((n_cells, orbit.candidates, 3))
        atoms = np.einsum("mij,lkj->lkmi", orbit.matrices, drawn) + orbit.translations
        centres, size = atoms[:, :, 0], len(orbit.matrices)
        own = contact_with(centres, atoms[:, :, 1:], cells, np.full(size - 1, 2 * orbit.radius))
        others = contact_with(centres, placed[:, None], cells, radii + orbit.radius)
        nearest = np.minimum(own, others)
        chosen = np.minimum(nearest, enough).argmax(axis=1)  # the first of equals
        contacts = np.minimum(contacts, nearest[every, chosen])
        parameters[:, orbit.place] = drawn[every, chosen]
        placed = np.concatenate([placed, atoms[every, chosen]], axis=1)
        radii = np.concatenate([radii, np.full(size, orbit.radius)])
    return contacts, parameters
