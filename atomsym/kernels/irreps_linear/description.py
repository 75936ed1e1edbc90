"""Which irreps a linear map connects: the frozen description that every backend works from."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

from atomsym.symmetry import Irreps


class LinearBlock(NamedTuple):
    """One matrix: from an input slot to an output slot of the same irrep.

    Attributes:
        index_in, index_out: positions in the two lists of irreps.
        first_in, first_out: first component on the two component axes.
        components: 2 l + 1.
    """

    index_in: int
    index_out: int
    first_in: int
    first_out: int
    components: int


@dataclass(frozen=True)
class IrrepsLinear:
    """All equivariant maps between two lists of irreps with channels; hashable, plain data.

    Attributes:
        irreps_in, irreps_out: irreps of the features, each with all channels; may repeat.
        blocks: pairs of equal irreps, by (index_out, index_in): the first axis of the weights.
        in_dim, out_dim: numbers of components.
        handle: the description as text, from which ``linear_of`` gives an equal object back. Raw operators carry it.

    Example:
        >>> linear = IrrepsLinear(Irreps.parse("0e+1o+1o"), Irreps.parse("0e+1o"))
        >>> [(block.index_in, block.index_out) for block in linear.blocks]
        [(0, 0), (1, 1), (2, 1)]
    """

    irreps_in: Irreps
    irreps_out: Irreps
    blocks: tuple[LinearBlock, ...] = field(init=False, compare=False, repr=False)
    in_dim: int = field(init=False, compare=False, repr=False)
    out_dim: int = field(init=False, compare=False, repr=False)
    handle: str = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        blocks = tuple(
            LinearBlock(
                number_in,
                number_out,
                self.irreps_in.slices[number_in].start,
                self.irreps_out.slices[number_out].start,
                wanted.dim,
            )
            for number_out, wanted in enumerate(self.irreps_out)
            for number_in, irrep in enumerate(self.irreps_in)
            if irrep == wanted
        )
        object.__setattr__(self, "blocks", blocks)
        object.__setattr__(self, "in_dim", self.irreps_in.dim)
        object.__setattr__(self, "out_dim", self.irreps_out.dim)
        object.__setattr__(self, "handle", f"{self.irreps_in}|{self.irreps_out}")

    @property
    def n_blocks(self) -> int:
        return len(self.blocks)

    def n_inputs(self, index_out: int) -> int:
        """Blocks that add to an output slot; weights of variance 1 / (n_inputs · channels) keep unit variance."""
        return sum(block.index_out == index_out for block in self.blocks)


@cache
def linear_of(handle: str) -> IrrepsLinear:
    """The description with this handle; equal handles give one shared object."""
    irreps_in, irreps_out = handle.split("|")
    return IrrepsLinear(Irreps.parse(irreps_in), Irreps.parse(irreps_out))
