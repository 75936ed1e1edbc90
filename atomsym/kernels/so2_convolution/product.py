"""What a convolution in the edges' frames couples: the frozen description that every backend works from."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

from atomsym.core.errors import InputError
from atomsym.kernels.so2_convolution.frames import frame_size
from atomsym.symmetry import Irrep, Irreps


class SO2Path(NamedTuple):
    """One coupling of an input slot to an output slot in the edge's frame, order by order.

    An even path multiplies the components of order m with a_|m|. An odd path exchanges m and −m: for m > 0,
    out[−m] = b_m x[m] and out[m] = −b_m x[−m]. These two are all that commutes with turns about the edge.

    Attributes:
        index_in: position in ``irreps_in``.
        index_out: position in ``irreps_out``; several paths may add to one.
        odd: exchanges orders; it has no weight for m = 0.
        coefficient: factor of the weights.
    """

    index_in: int
    index_out: int
    odd: bool
    coefficient: float


@dataclass(frozen=True)
class SO2Product:
    """Couplings of node features along an edge that are block-diagonal in the order m; hashable, plain data.

    Attributes:
        irreps_in: irreps of the node features; may repeat.
        irreps_out: irreps of the result, one entry an output slot; may repeat.
        max_order: orders |m| above it are dropped in the frame (mmax).
        paths: the couplings; the weights of a path are those of its orders, in the order of the paths.
        mirror: respect the inversion, as edges without a handedness do: a path is even or odd by the parities of its
            ends. Without, every pair may have both paths, and results are equivariant under proper rotations only.
        in_dim, out_dim: number of components of the two lists.
        n_weights: number of weights per edge and channel.
        max_degree: largest degree of any irrep involved.
        frame_size: numbers that the frame of an edge takes (see ``EdgeFrames``).
        handle: the description as text, from which ``so2_product_of`` gives an equal object back.

    Raises:
        InputError: if ``max_order`` is negative, a path names an irrep that is not there, has no weight or a
            coefficient that is not finite, or breaks the mirror symmetry.

    Example:
        >>> sh = Irreps.spherical_harmonics(2)
        >>> full = SO2Product.merged(sh, sh)
        >>> full.n_weights, SO2Product.merged(sh, sh, max_order=1).n_weights
        (14, 13)
    """

    irreps_in: Irreps
    irreps_out: Irreps
    max_order: int
    paths: tuple[SO2Path, ...]
    mirror: bool = True
    # Plain attributes, not properties: the compiler reads them as constants.
    in_dim: int = field(init=False, compare=False, repr=False)
    out_dim: int = field(init=False, compare=False, repr=False)
    n_weights: int = field(init=False, compare=False, repr=False)
    max_degree: int = field(init=False, compare=False, repr=False)
    frame_size: int = field(init=False, compare=False, repr=False)
    handle: str = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "paths", tuple(SO2Path(*path) for path in self.paths))
        if self.max_order < 0:
            raise InputError(f"max_order must be >= 0; found {self.max_order}")
        for number, path in enumerate(self.paths):
            self._check(number, path)
        object.__setattr__(self, "in_dim", self.irreps_in.dim)
        object.__setattr__(self, "out_dim", self.irreps_out.dim)
        object.__setattr__(self, "n_weights", sum(len(self.orders(path)) for path in self.paths))
        object.__setattr__(self, "max_degree", max(self.irreps_in.max_degree, self.irreps_out.max_degree))
        object.__setattr__(self, "frame_size", frame_size(self.max_degree, self.max_order))
        description = [
            str(self.irreps_in),
            str(self.irreps_out),
            self.max_order,
            [[path.index_in, path.index_out, int(path.odd), path.coefficient] for path in self.paths],
            int(self.mirror),
        ]
        object.__setattr__(self, "handle", json.dumps(description, separators=(",", ":")))

    def _check(self, number: int, path: SO2Path) -> None:
        for name, index, irreps in (
            ("index_in", path.index_in, self.irreps_in),
            ("index_out", path.index_out, self.irreps_out),
        ):
            if not 0 <= index < len(irreps):
                raise InputError(f"paths[{number}].{name} is {index}; allowed are 0 to {len(irreps) - 1} ({irreps})")
        first, second = self.irreps_in[path.index_in], self.irreps_out[path.index_out]
        if not self.orders(path):
            raise InputError(f"paths[{number}] is odd from {first} to {second}, which share no order m >= 1")
        if self.mirror and path.odd != _is_odd(first, second):
            kind, needed = ("odd", "even") if path.odd else ("even", "odd")
            raise InputError(
                f"paths[{number}] from {first} to {second} is {kind}, the inversion allows {needed} only; "
                "set mirror=False for features that know nothing of the inversion"
            )
        if not math.isfinite(path.coefficient):
            raise InputError(f"paths[{number}].coefficient is {path.coefficient}; a finite number is needed")

    @classmethod
    def separate(
        cls, irreps_in: Irreps, allowed: Iterable[Irrep], *, max_order: int | None = None, mirror: bool = True
    ) -> SO2Product:
        """Every coupling into a slot of its own, slots by degree, even parity first: ready for a linear layer.

        Args:
            irreps_in: of the node features.
            allowed: irreps that outputs may have; every input can reach each of them.
            max_order: largest |m| kept; None keeps all, which is the whole Clebsch–Gordan convolution.
            mirror: see the attribute.
        """
        wanted = sorted(set(allowed), key=lambda irrep: (irrep.degree, -irrep.parity))
        order = _largest_order(irreps_in, Irreps(tuple(wanted)), max_order)
        found = [
            (index, irrep, odd)
            for irrep in wanted
            for index, first in enumerate(irreps_in)
            for odd in _kinds(first, irrep, order, mirror)
        ]
        irreps_out = Irreps(tuple(irrep for _, irrep, _ in found))
        paths = tuple(
            SO2Path(index, slot, odd, _unit_variance(irreps_in[index], irrep, odd, order))
            for slot, (index, irrep, odd) in enumerate(found)
        )
        return cls(irreps_in, irreps_out, order, paths, mirror)

    @classmethod
    def merged(
        cls, irreps_in: Irreps, irreps_out: Irreps, *, max_order: int | None = None, mirror: bool = True
    ) -> SO2Product:
        """All couplings into ``irreps_out``, those of one slot added; arguments as for ``separate``."""
        order = _largest_order(irreps_in, irreps_out, max_order)
        paths = []
        for slot, irrep in enumerate(irreps_out):
            sources = [
                (index, odd) for index, first in enumerate(irreps_in) for odd in _kinds(first, irrep, order, mirror)
            ]
            paths += [
                SO2Path(index, slot, odd, _unit_variance(irreps_in[index], irrep, odd, order) / math.sqrt(len(sources)))
                for index, odd in sources
            ]
        return cls(irreps_in, irreps_out, order, tuple(paths), mirror)

    def orders(self, path: SO2Path) -> range:
        """The orders m ≥ 0 that have a weight."""
        degrees = self.irreps_in[path.index_in].degree, self.irreps_out[path.index_out].degree
        return _orders(*degrees, path.odd, self.max_order)

    @property
    def weight_slices(self) -> tuple[slice, ...]:
        """Where the weights of each path lie on the weight axis."""
        slices, start = [], 0
        for path in self.paths:
            stop = start + len(self.orders(path))
            slices.append(slice(start, stop))
            start = stop
        return tuple(slices)


def _is_odd(first: Irrep, second: Irrep) -> bool:
    """Whether the harmonics that couple the two polar ends have l1 + lf + l3 odd."""
    return (-1) ** (first.degree + second.degree) * first.parity * second.parity == -1


def _orders(first: int, second: int, odd: bool, max_order: int) -> range:
    return range(1 if odd else 0, min(first, second, max_order) + 1)


def _kinds(first: Irrep, second: Irrep, max_order: int, mirror: bool) -> list[bool]:
    kinds = [_is_odd(first, second)] if mirror else [False, True]
    return [odd for odd in kinds if _orders(first.degree, second.degree, odd, max_order)]


def _unit_variance(first: Irrep, second: Irrep, odd: bool, max_order: int) -> float:
    """Factor with which components of unit variance and weights of unit variance give the same, on average over m."""
    orders = _orders(first.degree, second.degree, odd, max_order)
    return math.sqrt(second.dim / sum(1 if order == 0 else 2 for order in orders))


def _largest_order(irreps_in: Irreps, irreps_out: Irreps, max_order: int | None) -> int:
    largest = max(irreps_in.max_degree, irreps_out.max_degree)
    return largest if max_order is None else min(max_order, largest)


@cache
def so2_product_of(handle: str) -> SO2Product:
    """The product that a handle describes; equal handles give one shared object."""
    irreps_in, irreps_out, max_order, paths, mirror = json.loads(handle)
    return SO2Product(
        Irreps.parse(irreps_in),
        Irreps.parse(irreps_out),
        max_order,
        tuple(SO2Path(index_in, index_out, bool(odd), coefficient) for index_in, index_out, odd, coefficient in paths),
        bool(mirror),
    )
