"""Geometries of known crystals for protostructures of the same template: the strongest guess there is."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from atomsym.generators.realisation.distances import RADII, closest_contact
from atomsym.generators.realisation.realise import DISTANCE_FLOOR, Realised, realise
from atomsym.generators.realisation.volume import expected_volume
from atomsym.symmetry.wyckoff import Protostructure, SymmetricCrystal, template
from atomsym.symmetry.wyckoff.relabelling import Template, relabelled
from atomsym.symmetry.wyckoff.table import LETTERS


class PrototypeLibrary:
    """Known crystals by their templates: space group and which positions each element has, whatever the elements.

    Args:
        crystals: names and crystals, such as those of a training set.

    Example:
        >>> salt = SymmetricCrystal(Protostructure(225, ((11, "a"), (17, "b"))), 5.64 * np.eye(3), np.zeros((2, 3)))
        >>> library = PrototypeLibrary([("salt", salt)])
        >>> found, = library.matches(Protostructure(225, ((12, "a"), (8, "b"))))
        >>> found.source, found.crystal.cell[0, 0].round(1)
        ('salt', np.float64(4.8))
    """

    def __init__(self, crystals: Iterable[tuple[str, SymmetricCrystal]]) -> None:
        self._known: dict[Template, list[tuple[str, SymmetricCrystal]]] = {}
        for name, crystal in crystals:
            self._known.setdefault(template(crystal.protostructure), []).append((name, crystal))

    def __len__(self) -> int:
        """Crystals in it."""
        return sum(map(len, self._known.values()))

    @property
    def n_templates(self) -> int:
        """Different templates in it."""
        return len(self._known)

    def matches(
        self, protostructure: Protostructure, *, limit: int = 1, floor: float = DISTANCE_FLOOR
    ) -> list[Realised]:
        """Crystals of a protostructure with the geometries of known ones, those of the most similar elements first.

        Elements are exchanged and the volume is scaled by the sums of ``ATOMIC_VOLUMES``. The crystal may have another
        choice of origin and axes: its protostructure has the same canonical form as the one asked for. How similar two
        crystals are is the mean over their atoms of ``|ln(r / r')|``, with the covalent radii of the elements that are
        exchanged; ties keep the order of the library.

        Args:
            protostructure: which positions are occupied.
            limit: crystals at most.
            floor: see ``realise``; crystals that do not meet it come last.
        """
        settings = relabelled(protostructure)
        known = [
            (*_most_similar(crystal.protostructure, settings), name, crystal)
            for name, crystal in self._known.get(template(protostructure), [])
        ]
        found: list[Realised] = []
        for _, elements, name, crystal in sorted(known, key=lambda each: each[0]):  # stable
            exchanged = _exchanged(crystal, elements)
            contact = closest_contact(exchanged)
            found.append(Realised(exchanged, contact >= floor, contact, 0, name))
            if sum(each.distance_floor_met for each in found) == limit:
                break
        found.sort(key=lambda each: not each.distance_floor_met)
        return found[:limit]


def default_trials(protostructure: Protostructure) -> int:
    """Geometries that are worth trying: 1, 2 or 3 for 0, up to 2 or more free coordinates."""
    freedom = protostructure.degrees_of_freedom
    return 1 if freedom == 0 else 2 if freedom <= 2 else 3


def realisations(
    protostructure: Protostructure,
    *,
    generator: np.random.Generator,
    prototypes: PrototypeLibrary | None = None,
    count: int | None = None,
    floor: float = DISTANCE_FLOOR,
) -> list[Realised]:
    """Several crystals of a protostructure: geometries of known ones first, where there are, then random ones.

    Args:
        protostructure: which positions are occupied.
        generator: of the random ones.
        prototypes: known crystals; of several crystals at least one is random.
        count: how many; None: ``default_trials``.
        floor: see ``realise``.
    """
    wanted = default_trials(protostructure) if count is None else count
    known = [] if prototypes is None else prototypes.matches(protostructure, limit=max(1, wanted - 1), floor=floor)
    found = [each for each in known if each.distance_floor_met]
    while len(found) < wanted:
        found.append(realise(protostructure, generator=generator, floor=floor))
    return found


def _most_similar(old: Protostructure, settings: list[Protostructure]) -> tuple[float, dict[int, int]]:
    """How different the elements are, and which one takes the place of which."""
    mappings = (mapping for other in settings for mapping in _mappings(old, other))
    return min(((_difference(old, mapping), mapping) for mapping in mappings), key=lambda each: each[0])


def _exchanged(known: SymmetricCrystal, elements: dict[int, int]) -> SymmetricCrystal:
    """The known crystal with other elements and their volume."""
    old = known.protostructure
    orbits = [(elements[z], letter) for z, letter in old.orbits]
    order = sorted(range(len(orbits)), key=lambda place: (LETTERS.index(orbits[place][1]), orbits[place][0]))
    structure = Protostructure(old.space_group, tuple(orbits))
    scale = (expected_volume(structure.composition) / expected_volume(old.composition)) ** (1 / 3)
    return SymmetricCrystal(structure, scale * known.cell, known.parameters[order])


def _mappings(old: Protostructure, new: Protostructure) -> list[dict[int, int]]:
    """Which element takes the place of which; none if these letters cannot be made equal.

    Elements on the same letters are paired in the order of their radii.
    """
    olds, news = _by_letters(old), _by_letters(new)
    if {key: len(value) for key, value in olds.items()} != {key: len(value) for key, value in news.items()}:
        return []
    return [{z: other for key, own in olds.items() for z, other in zip(own, news[key], strict=True)}]


def _by_letters(structure: Protostructure) -> dict[str, list[int]]:
    letters: dict[int, str] = {}
    for number, letter in structure.orbits:
        letters[number] = letters.get(number, "") + letter
    found: dict[str, list[int]] = {}
    for number in sorted(letters, key=lambda z: (RADII[z], z)):
        found.setdefault(letters[number], []).append(number)
    return found


def _difference(structure: Protostructure, elements: dict[int, int]) -> float:
    counts = structure.composition
    total = sum(abs(float(np.log(RADII[elements[z]] / RADII[z]))) * count for z, count in counts.items())
    return total / structure.n_atoms
