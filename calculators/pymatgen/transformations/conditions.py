"""Conditions on generated crystals, from what a user of pymatgen writes and from the structure that is transformed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import gcd

from pymatgen.core import Composition, Structure

from atomsym.calculators.pymatgen.conversion import to_graph
from atomsym.calculators.pymatgen.transformations.base import crystal_of
from atomsym.core import ConfigError, InputError
from atomsym.core.elements import atomic_number_of
from atomsym.generators import Conditions
from atomsym.generators.conditions import MAX_ATOMS
from atomsym.symmetry.wyckoff.table import N_GROUPS

COMPOSITION, CHEMICAL_SYSTEM, SPACE_GROUP = KEEP = ("composition", "chemical_system", "space_group")
"""What of a structure may be kept."""


@dataclass(frozen=True)
class Wish:
    """Which crystals are wanted.

    Attributes:
        conditions: that all of them meet.
        space_groups: to choose from; empty: all.
    """

    conditions: Conditions
    space_groups: tuple[int, ...] = ()

    def keeping(self, what: Sequence[str], structure: Structure, symprec: float) -> Wish:
        """The wish that also holds for what is kept of a structure.

        Args:
            what: some of ``KEEP``.
            structure: only looked at if there is something to keep.
            symprec: Å, of the analysis of its space group.

        Raises:
            InputError: if the structure is disordered or has no symmetry that can be found.
            ConfigError: if what is kept contradicts the conditions.
        """
        if not what:
            return self
        numbers = to_graph(structure).numbers.tolist()  # refuses what is disordered
        counts = {z: numbers.count(z) for z in sorted(set(numbers))}
        found = self
        try:
            if COMPOSITION in what:
                found = found._of_composition(counts)
            if CHEMICAL_SYSTEM in what:
                found = found._of_system(set(counts))
        except ConfigError as error:
            kept = " and ".join(what)
            raise ConfigError(
                f"the {kept} of {structure.composition.reduced_formula} is to be kept: {error}"
            ) from error
        if SPACE_GROUP in what:
            group = crystal_of(structure, symprec).protostructure.space_group
            if self.space_groups and group not in self.space_groups:
                raise ConfigError(
                    f"the space group of the structure, {group}, is to be kept and is not among those wanted, "
                    f"{', '.join(map(str, self.space_groups))}"
                )
            found = replace(found, space_groups=(group,))
        return found

    def _of_composition(self, counts: dict[int, int]) -> Wish:
        unit = gcd(*counts.values())
        own = {z: count // unit for z, count in counts.items()}
        wanted = self.conditions.composition
        if wanted is not None and dict(wanted) != own:
            raise ConfigError("the formula is another one")
        return replace(self, conditions=replace(self.conditions, composition=own))

    def _of_system(self, own: set[int]) -> Wish:
        elements = self.conditions.elements
        allowed = own if elements is None else own & set(elements)
        required = own | set(self.conditions.required)
        if self.conditions.composition is not None and set(self.conditions.composition) != own:
            raise ConfigError("the formula is of other elements")
        return replace(self, conditions=replace(self.conditions, elements=tuple(allowed), required=tuple(required)))


def wish_of(
    elements: Sequence[str] | str | None,
    require: Sequence[str] | str | None,
    exclude: Sequence[str] | str | None,
    formula: str | None,
    space_groups: Sequence[int] | None,
    n_atoms: int,
    max_atoms: int,
) -> Wish:
    """From the arguments of ``WyckoffGenerationTransformation``.

    Raises:
        ConfigError: if one is out of range or they contradict each other.
    """
    groups = tuple(space_groups or ())
    for group in groups:
        if isinstance(group, bool) or not isinstance(group, int) or not 1 <= group <= N_GROUPS:
            raise ConfigError(f"there is no space group {group!r}; they are 1 to {N_GROUPS}")
    for name, number in (("n_atoms", n_atoms), ("max_atoms", max_atoms)):
        if number > MAX_ATOMS:
            raise ConfigError(f"{name} must be at most {MAX_ATOMS}; found {number}")
    conditions = Conditions(
        elements=None if elements is None else _numbers(elements, "elements"),
        excluded=_numbers(exclude or (), "exclude"),
        required=_numbers(require or (), "require"),
        composition=None if formula is None else _counts(formula),
        n_atoms=n_atoms,
        max_atoms=max(max_atoms, n_atoms),
    )
    return Wish(conditions, groups)


def kept_of(keep: Sequence[str] | str | None, *, chemistry: bool) -> tuple[str, ...]:
    """What is to be kept of a structure.

    Args:
        keep: one of ``KEEP`` or several; None: the composition, unless there are other conditions on the chemistry.
        chemistry: whether there are.

    Raises:
        ConfigError: if it is something else.
    """
    if keep is None:
        return () if chemistry else (COMPOSITION,)
    kept = (keep,) if isinstance(keep, str) else tuple(keep)
    for each in kept:
        if each not in KEEP:
            raise ConfigError(f"keep takes some of {', '.join(KEEP)}; found {each!r}")
    return kept


def _numbers(symbols: Sequence[str] | str, name: str) -> tuple[int, ...]:
    """Atomic numbers of a list of symbols, or of a chemical system such as ``Ti-O``."""
    parts = symbols.split("-") if isinstance(symbols, str) else list(symbols)
    try:
        return tuple(sorted({atomic_number_of(str(part)) for part in parts}))
    except InputError as error:
        raise ConfigError(f"{name}: {error}") from error


def _counts(formula: str) -> dict[int, int]:
    try:
        amounts = Composition(formula).as_dict()
        counts = {atomic_number_of(symbol): round(amount) for symbol, amount in amounts.items()}
        if not counts or any(amount != round(amount) for amount in amounts.values()):
            raise InputError("whole numbers of atoms are needed")
    except (ValueError, InputError) as error:
        raise ConfigError(f"'{formula}' is not a chemical formula such as TiO2 ({error})") from error
    return counts
