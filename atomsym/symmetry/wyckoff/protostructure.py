"""A crystal without its geometry: a space group and which element occupies which Wyckoff positions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from atomsym.core.elements import MAX_ATOMIC_NUMBER, symbol_of
from atomsym.core.errors import InputError
from atomsym.symmetry.wyckoff.table import LETTERS, WyckoffPosition, wyckoff_position, wyckoff_positions


@dataclass(frozen=True, order=True)
class Protostructure:
    """A space group and its occupied orbits, in the standard setting of the table.

    Two of them are equal if their groups and orbits are; whether they describe the same crystals in other settings is
    what the canonical form says.

    Attributes:
        space_group: number, 1 to 230.
        orbits: (atomic number, letter) of each orbit, kept sorted by letter, then number; positions with free
            coordinates may repeat.

    Raises:
        InputError: if there is no such group, letter or element, no orbit, or a position without free coordinates is
            occupied twice.

    Example:
        >>> rutile = Protostructure(136, ((22, "a"), (8, "f")))
        >>> rutile.n_atoms, rutile.composition, str(rutile)
        (6, {8: 4, 22: 2}, '136: Ti a, O f')
    """

    space_group: int
    orbits: tuple[tuple[int, str], ...]

    def __post_init__(self) -> None:
        places = {position.letter: position for position in wyckoff_positions(self.space_group)}
        orbits = tuple(sorted(((int(z), str(letter)) for z, letter in self.orbits), key=_order))
        if not orbits:
            raise InputError("a protostructure needs at least one occupied position")
        for number, letter in orbits:
            if letter not in places:
                wyckoff_position(self.space_group, letter)
            if not 1 <= number <= MAX_ATOMIC_NUMBER:
                raise InputError(f"there is no element {number}; they are 1 to {MAX_ATOMIC_NUMBER}")
        for letter, count in Counter(letter for _, letter in orbits).items():
            if count > 1 and places[letter].is_point:
                raise InputError(
                    f"position '{letter}' of space group {self.space_group} has no free coordinate, so that one orbit "
                    f"can occupy it; found {count}"
                )
        object.__setattr__(self, "orbits", orbits)

    @classmethod
    def from_indices(cls, space_group: int, elements: Iterable[int], positions: Iterable[int]) -> Protostructure:
        """From the place of each position in the table of its group, counted from 0."""
        return cls(space_group, tuple((z, LETTERS[place]) for z, place in zip(elements, positions, strict=True)))

    @cached_property
    def positions(self) -> tuple[WyckoffPosition, ...]:
        """Of each orbit."""
        return tuple(wyckoff_position(self.space_group, letter) for _, letter in self.orbits)

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic number of each orbit."""
        return tuple(number for number, _ in self.orbits)

    @property
    def letters(self) -> tuple[str, ...]:
        """Of each orbit."""
        return tuple(letter for _, letter in self.orbits)

    @property
    def multiplicities(self) -> tuple[int, ...]:
        """Atoms of each orbit in the conventional cell."""
        return tuple(position.multiplicity for position in self.positions)

    @property
    def n_atoms(self) -> int:
        """In the conventional cell."""
        return sum(self.multiplicities)

    @property
    def degrees_of_freedom(self) -> int:
        """Free coordinates of all orbits; the lattice has its own."""
        return sum(position.degrees_of_freedom for position in self.positions)

    @property
    def composition(self) -> dict[int, int]:
        """Atoms in the conventional cell by atomic number, increasing."""
        counts: Counter[int] = Counter()
        for number, multiplicity in zip(self.elements, self.multiplicities, strict=True):
            counts[number] += multiplicity
        return dict(sorted(counts.items()))

    def __str__(self) -> str:
        return f"{self.space_group}: " + ", ".join(f"{symbol_of(z)} {letter}" for z, letter in self.orbits)


def _order(orbit: tuple[int, str]) -> tuple[int, int]:
    return LETTERS.find(orbit[1]), orbit[0]
