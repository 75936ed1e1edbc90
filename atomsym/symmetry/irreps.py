"""Irreducible representations of O(3), and lists of them that share one multiplicity (the channel axis).

Notation and order of components are e3nn's: ``1o`` is a vector (x, y, z), the polar axis is y. A feature tensor
has shape (n, irreps.dim, channels), so the multiplicity is a tensor axis and not part of the list.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import overload

from atomsym.core.errors import InputError

_TERM = re.compile(r"^\s*(?:(\d+)\s*x\s*)?(\d+)\s*([eo])\s*$")


@dataclass(frozen=True, order=True)
class Irrep:
    """Degree l ≥ 0 and parity ±1 under inversion.

    Example:
        >>> Irrep.parse("1o").dim
        3
    """

    degree: int
    parity: int

    def __post_init__(self) -> None:
        if self.degree < 0 or self.parity not in (1, -1):
            raise InputError(f"an irrep needs degree >= 0 and parity +1 or -1; found {self.degree}, {self.parity}")

    @property
    def dim(self) -> int:
        return 2 * self.degree + 1

    @classmethod
    def parse(cls, text: str) -> Irrep:
        """``"2e"`` → degree 2, even."""
        channels, irreps = parse_irreps(text)
        if channels != 1 or len(irreps) != 1:
            raise InputError(f"'{text}' is not a single irrep such as '1o'")
        return irreps[0]

    def __mul__(self, other: Irrep) -> tuple[Irrep, ...]:
        """The irreps in the tensor product, by increasing degree."""
        parity = self.parity * other.parity
        lowest = abs(self.degree - other.degree)
        return tuple(Irrep(degree, parity) for degree in range(lowest, self.degree + other.degree + 1))

    def __str__(self) -> str:
        return f"{self.degree}{'e' if self.parity == 1 else 'o'}"


@dataclass(frozen=True)
class Irreps:
    """An ordered list of irreps, each present once per channel; may be empty and may repeat.

    Example:
        >>> irreps = Irreps.spherical_harmonics(2)
        >>> str(irreps), irreps.dim
        ('0e+1o+2e', 9)
    """

    items: tuple[Irrep, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Irreps:
        """``"0e+1o+2e"`` or the same with multiplicity 1; see ``parse_irreps`` for ``"128x0e+128x1o"``."""
        channels, irreps = parse_irreps(text)
        if channels != 1:
            raise InputError(f"'{text}' has multiplicity {channels}; here that is the channel axis: leave it out")
        return irreps

    @classmethod
    def spherical_harmonics(cls, max_degree: int, parity: int = -1) -> Irreps:
        """Degrees 0 … max_degree with parity ``parity**l`` (−1: polar, as spherical harmonics of a vector)."""
        return cls(tuple(Irrep(degree, parity**degree) for degree in range(max_degree + 1)))

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """Where each irrep lies on the component axis."""
        starts = [0]
        for irrep in self.items:
            starts.append(starts[-1] + irrep.dim)
        return tuple(slice(a, b) for a, b in itertools.pairwise(starts))

    @cached_property
    def dim(self) -> int:
        """Number of components: the sum of 2l + 1."""
        return sum(irrep.dim for irrep in self.items)

    @property
    def max_degree(self) -> int:
        """Largest degree; 0 for an empty list."""
        return max((irrep.degree for irrep in self.items), default=0)

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Irrep]:
        return iter(self.items)

    @overload
    def __getitem__(self, index: int) -> Irrep: ...
    @overload
    def __getitem__(self, index: slice) -> Irreps: ...
    def __getitem__(self, index: int | slice) -> Irrep | Irreps:
        return Irreps(self.items[index]) if isinstance(index, slice) else self.items[index]

    def __add__(self, other: Irreps) -> Irreps:
        return Irreps(self.items + other.items)

    def __str__(self) -> str:
        return "+".join(map(str, self.items))


def parse_irreps(text: object) -> tuple[int, Irreps]:
    """Read a list of irreps with a common multiplicity.

    Args:
        text: a string such as ``"128x0e+128x1o"``, or anything whose ``str`` looks so (e3nn's ``Irreps`` do).

    Returns:
        The common multiplicity (1 if none is written) and the list.

    Raises:
        InputError: if a term cannot be read or multiplicities differ.

    Example:
        >>> channels, irreps = parse_irreps("16x0e + 16x1o")
        >>> channels, str(irreps)
        (16, '0e+1o')
    """
    terms = [term for term in str(text).split("+") if term.strip()]
    multiplicities: list[int] = []
    items: list[Irrep] = []
    for term in terms:
        match = _TERM.match(term)
        if match is None:
            raise InputError(f"cannot read the irrep '{term.strip()}' in '{text}'; expected terms such as 16x1o or 2e")
        multiplicities.append(int(match[1] or 1))
        items.append(Irrep(int(match[2]), 1 if match[3] == "e" else -1))
    if len(set(multiplicities)) > 1:
        raise InputError(f"'{text}' mixes the multiplicities {sorted(set(multiplicities))}; features here share one")
    return (multiplicities[0] if multiplicities else 1), Irreps(tuple(items))


def sorted_irreps(irreps: Iterable[Irrep]) -> Irreps:
    """Irreps by degree, even before odd; the order that linear layers use.

    Example:
        >>> str(sorted_irreps(Irreps.parse("1o+0e+1e+0o")))
        '0e+0o+1e+1o'
    """
    return Irreps(tuple(sorted(irreps, key=lambda irrep: (irrep.degree, -irrep.parity))))
