"""Which irreps a channel-wise tensor product couples: the frozen description that every backend works from."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

from atomsym.core.errors import InputError
from atomsym.symmetry import Irrep, Irreps


class ProductPath(NamedTuple):
    """One coupling input ⊗ edge → output, with its own weight per edge and channel.

    Attributes:
        index_in: position in ``irreps_in``.
        index_edge: position in ``irreps_edge``.
        index_out: position in ``irreps_out``; several paths may add to one.
        coefficient: factor in front of the Wigner 3j symbol.
    """

    index_in: int
    index_edge: int
    index_out: int
    coefficient: float


@dataclass(frozen=True)
class ChannelwiseProduct:
    """A tensor product that keeps channels apart ('uvu' with one edge channel); hashable, plain data.

    out[k] = Σ_paths coefficient · w_path · Σ_if C[i, f, k] x[i] Y[f], with C the Wigner 3j symbol of unit norm.

    Attributes:
        irreps_in: irreps of the node features; may repeat.
        irreps_edge: irreps of the edge features, without channels; usually spherical harmonics.
        irreps_out: irreps of the result, one entry an output slot; may repeat.
        paths: the couplings; their order is the order of the weights.
        in_dim, edge_dim, out_dim: number of components of the three lists.
        max_degree: largest degree of any irrep involved.
        handle: the description as text, from which ``product_of`` gives an equal object back. Raw operators carry it.

    Raises:
        InputError: if a path names an irrep that is not there, breaks the triangle or parity rule, or has a
            coefficient that is not finite.

    Example:
        >>> sh = Irreps.spherical_harmonics(2)
        >>> product = ChannelwiseProduct.separate(sh, sh, sh)
        >>> product.n_paths, str(product.irreps_out)
        (11, '0e+0e+0e+1o+1o+1o+1o+2e+2e+2e+2e')
    """

    irreps_in: Irreps
    irreps_edge: Irreps
    irreps_out: Irreps
    paths: tuple[ProductPath, ...]
    # Plain attributes, not properties: the compiler reads them as constants.
    in_dim: int = field(init=False, compare=False, repr=False)
    edge_dim: int = field(init=False, compare=False, repr=False)
    out_dim: int = field(init=False, compare=False, repr=False)
    max_degree: int = field(init=False, compare=False, repr=False)
    handle: str = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "paths", tuple(ProductPath(*path) for path in self.paths))
        for number, path in enumerate(self.paths):
            self._check(number, path)
        lists = (self.irreps_in, self.irreps_edge, self.irreps_out)
        for name, irreps in zip(("in_dim", "edge_dim", "out_dim"), lists, strict=True):
            object.__setattr__(self, name, irreps.dim)
        object.__setattr__(self, "max_degree", max(irreps.max_degree for irreps in lists))
        description = [*map(str, lists), list(map(list, self.paths))]
        object.__setattr__(self, "handle", json.dumps(description, separators=(",", ":")))

    def _check(self, number: int, path: ProductPath) -> None:
        lists = (self.irreps_in, self.irreps_edge, self.irreps_out)
        for name, index, irreps in zip(("index_in", "index_edge", "index_out"), path[:3], lists, strict=True):
            if not 0 <= index < len(irreps):
                raise InputError(f"paths[{number}].{name} is {index}; allowed are 0 to {len(irreps) - 1} ({irreps})")
        first, second, third = (irreps[index] for index, irreps in zip(path[:3], lists, strict=True))
        if third not in first * second:
            raise InputError(
                f"paths[{number}] couples {first} and {second} to {third}; they give only "
                f"{', '.join(map(str, first * second))}"
            )
        if not math.isfinite(path.coefficient):
            raise InputError(f"paths[{number}].coefficient is {path.coefficient}; a finite number is needed")

    @classmethod
    def separate(
        cls, irreps_in: Irreps, irreps_edge: Irreps, allowed: Iterable[Irrep] | None = None, *, sort: bool = True
    ) -> ChannelwiseProduct:
        """Every coupling into a slot of its own: the layout of NequIP and MACE, ready for a linear layer.

        Coefficients are sqrt(2 l_out + 1), so that components of unit variance give components of unit variance
        (e3nn's ``component`` and ``element`` normalisation).

        Args:
            irreps_in, irreps_edge: what is coupled.
            allowed: keep only these output irreps; None keeps all.
            sort: order slots, and with them weights, by degree, even before odd, ties in the order of
                (index_in, index_edge); False keeps the order (index_in, index_edge, l_out).
        """
        found = _couplings(irreps_in, irreps_edge, allowed)
        if sort:
            found.sort(key=lambda coupling: (coupling[2].degree, -coupling[2].parity))
        return cls(
            irreps_in,
            irreps_edge,
            Irreps(tuple(irrep for _, _, irrep in found)),
            tuple(ProductPath(a, b, slot, math.sqrt(irrep.dim)) for slot, (a, b, irrep) in enumerate(found)),
        )

    @classmethod
    def merged(cls, irreps_in: Irreps, irreps_edge: Irreps, irreps_out: Irreps) -> ChannelwiseProduct:
        """All couplings into ``irreps_out``, those of equal irrep added; the sum keeps unit variance.

        Coefficients are sqrt((2 l_out + 1) / number of paths of the slot); a slot that nothing couples to stays zero.

        Args:
            irreps_in, irreps_edge: what is coupled.
            irreps_out: output slots; of several equal ones each receives all couplings, with its own weights.
        """
        found = _couplings(irreps_in, irreps_edge, irreps_out)
        paths = []
        for slot, wanted in enumerate(irreps_out):
            sources = [(a, b) for a, b, irrep in found if irrep == wanted]
            paths += [ProductPath(a, b, slot, math.sqrt(wanted.dim / len(sources))) for a, b in sources]
        return cls(irreps_in, irreps_edge, irreps_out, tuple(paths))

    @property
    def n_paths(self) -> int:
        return len(self.paths)


def _couplings(irreps_in: Irreps, irreps_edge: Irreps, allowed: Iterable[Irrep] | None) -> list[tuple[int, int, Irrep]]:
    wanted = None if allowed is None else set(allowed)
    return [
        (index_in, index_edge, irrep)
        for index_in, first in enumerate(irreps_in)
        for index_edge, second in enumerate(irreps_edge)
        for irrep in first * second
        if wanted is None or irrep in wanted
    ]


@cache
def product_of(handle: str) -> ChannelwiseProduct:
    """The product that a handle describes; equal handles give one shared object."""
    irreps_in, irreps_edge, irreps_out, paths = json.loads(handle)
    return ChannelwiseProduct(
        Irreps.parse(irreps_in),
        Irreps.parse(irreps_edge),
        Irreps.parse(irreps_out),
        tuple(ProductPath(*path) for path in paths),
    )
