"""What is asked of generated crystals: hard conditions on elements, composition and number of atoms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from math import gcd

from atomsym.core import ConfigError
from atomsym.core.elements import MAX_ATOMIC_NUMBER, format_elements

MAX_ATOMS = 120
"""In a conventional cell; among known inorganic crystals one in a hundred has more than 60."""


@dataclass(frozen=True)
class Conditions:
    """Conditions that every generated protostructure meets. Atoms are counted in the conventional cell.

    Attributes:
        elements: atomic numbers that may occur; None: all.
        excluded: atomic numbers that may not.
        required: atomic numbers that must occur, such as all of a chemical system.
        composition: atoms by atomic number in lowest terms, such as {22: 1, 8: 2}; the crystal has a whole multiple of
            it and no other element. None: any.
        n_atoms: exactly so many atoms; 0: any number.
        max_atoms: at most so many atoms.
        max_orbits: at most so many occupied orbits; 0: any number.

    Raises:
        ConfigError: if an element or a number is out of range, or the conditions contradict each other.

    Example:
        >>> Conditions.of_system(22, 8).required
        (8, 22)
    """

    elements: tuple[int, ...] | None = None
    excluded: tuple[int, ...] = ()
    required: tuple[int, ...] = ()
    composition: Mapping[int, int] | None = field(default=None, hash=False)
    n_atoms: int = 0
    max_atoms: int = MAX_ATOMS
    max_orbits: int = 0

    def __post_init__(self) -> None:
        for name in ("elements", "excluded", "required"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, tuple(sorted({_element(number, name) for number in value})))
        if self.composition is not None:
            object.__setattr__(self, "composition", _lowest_terms(self.composition))
            object.__setattr__(self, "required", tuple(sorted({*self.required, *self.composition})))
        for name, least in (("n_atoms", 0), ("max_atoms", 1), ("max_orbits", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}; found {getattr(self, name)}")
        self._require_consistent()

    @classmethod
    def of_system(cls, *numbers: int, max_atoms: int = MAX_ATOMS) -> Conditions:
        """All of these elements and no others."""
        return cls(elements=numbers, required=numbers, max_atoms=max_atoms)

    @property
    def allowed(self) -> tuple[int, ...]:
        """Atomic numbers that may occur, increasing."""
        if self.composition is not None:
            return tuple(self.composition)
        among = range(1, MAX_ATOMIC_NUMBER + 1) if self.elements is None else self.elements
        return tuple(number for number in among if number not in self.excluded)

    @property
    def most_atoms(self) -> int:
        """The largest number of atoms that may be reached."""
        return min(self.n_atoms or self.max_atoms, self.max_atoms)

    def _require_consistent(self) -> None:
        if self.n_atoms > self.max_atoms:
            raise ConfigError(f"n_atoms is {self.n_atoms}, but max_atoms is {self.max_atoms}")
        possible = set(range(1, MAX_ATOMIC_NUMBER + 1) if self.elements is None else self.elements)
        possible -= set(self.excluded)
        if not possible:
            raise ConfigError("no element is left: all allowed ones are excluded")
        impossible = set(self.required) - possible
        if impossible:
            raise ConfigError(f"{format_elements(impossible)} must occur and may not occur: the conditions contradict")
        if self.composition is None:
            return
        others = set(self.required) - set(self.composition)
        if others:
            raise ConfigError(f"{format_elements(others)} must occur, but the composition has none")
        unit = sum(self.composition.values())
        if unit > self.most_atoms or (self.n_atoms and self.n_atoms % unit):
            wanted = self.n_atoms or f"at most {self.max_atoms}"
            raise ConfigError(f"a formula unit has {unit} atoms, which cannot make {wanted} atoms")


def _element(number: int, name: str) -> int:
    if not 1 <= number <= MAX_ATOMIC_NUMBER:
        raise ConfigError(f"{name} holds {number}; atomic numbers are 1 to {MAX_ATOMIC_NUMBER}")
    return int(number)


def _lowest_terms(composition: Mapping[int, int]) -> dict[int, int]:
    if not composition or any(count < 1 for count in composition.values()):
        raise ConfigError(f"a composition needs a positive number of each element; found {dict(composition)}")
    divisor = reduce(gcd, composition.values())
    return {_element(number, "composition"): composition[number] // divisor for number in sorted(composition)}
