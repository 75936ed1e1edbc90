"""Tables of a product in edge frames that the compiled backends are made from: slots, and what mixes their rows.

In the frame of an edge, features have rows m = −U … U for each slot, U the largest order that a path of it keeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from atomsym.kernels.so2_convolution.frames import frame_size
from atomsym.kernels.so2_convolution.product import SO2Product, so2_product_of
from atomsym.symmetry import Irreps


class FrameSlot(NamedTuple):
    """An irrep and its rows in the frame.

    Attributes:
        component: first component of the irrep.
        columns: 2 l + 1.
        order: U; −1 if no path needs the slot, which then has no rows.
        first_row: row −U of the slot, among the rows of all slots.
        matrix: element of the frame where row −U of D^l begins.
    """

    component: int
    columns: int
    order: int
    first_row: int
    matrix: int

    @property
    def rows(self) -> int:
        """Number of rows in the frame."""
        return 2 * self.order + 1 if self.order >= 0 else 0

    @property
    def centre(self) -> int:
        """The row of order 0, among the rows of all slots."""
        return self.first_row + max(self.order, 0)


class MixEntry(NamedTuple):
    """What a path adds to a pair of rows ±m: sign · coefficient · w · z[sign · m] to +m, coefficient · w · z[−sign · m]
    to −m, with z the rows of a slot at the other end; to the one row of m = 0 only the former.
    """

    slot: int
    sign: int
    weight: int
    coefficient: float


class MixGroup(NamedTuple):
    """All that is added to the pair of rows ±order of a slot."""

    slot: int
    order: int
    entries: tuple[MixEntry, ...]


@dataclass(frozen=True)
class MixTables:
    """Slots whose rows are read and slots whose rows are made, by groups in the order of slots and of m."""

    sources: tuple[FrameSlot, ...]
    targets: tuple[FrameSlot, ...]
    groups: tuple[MixGroup, ...]

    def transposed(self) -> MixTables:
        """Derivatives for rows of the sources from those for rows of the targets: the same with exchanged ends."""
        found: dict[tuple[int, int], list[MixEntry]] = {
            (number, order): [] for number, slot in enumerate(self.sources) for order in range(slot.order + 1)
        }
        for group in self.groups:
            for entry in group.entries:
                # An odd path takes +m to −m with the sign with which it takes −m to +m back, but not the other way.
                turned = MixEntry(group.slot, entry.sign, entry.weight, entry.sign * entry.coefficient)
                found[entry.slot, group.order].append(turned)
        groups = tuple(MixGroup(*place, tuple(entries)) for place, entries in found.items())
        return MixTables(self.targets, self.sources, groups)


@cache
def mix_tables(handle: str) -> MixTables:
    """The tables of a product, from inputs to outputs."""
    product = so2_product_of(handle)
    largest_in, largest_out = [-1] * len(product.irreps_in), [-1] * len(product.irreps_out)
    for path in product.paths:
        top = product.orders(path)[-1]
        largest_in[path.index_in] = max(largest_in[path.index_in], top)
        largest_out[path.index_out] = max(largest_out[path.index_out], top)
    return MixTables(
        _slots(product.irreps_in, largest_in, product.max_order),
        _slots(product.irreps_out, largest_out, product.max_order),
        tuple(
            MixGroup(slot, order, _entries(product, slot, order))
            for slot, largest in enumerate(largest_out)
            for order in range(largest + 1)
        ),
    )


def _slots(irreps: Irreps, largest: Sequence[int], max_order: int) -> tuple[FrameSlot, ...]:
    slots, row = [], 0
    for irrep, part, order in zip(irreps, irreps.slices, largest, strict=True):
        margin = min(irrep.degree, max_order) - max(order, 0)
        matrix = frame_size(irrep.degree - 1, max_order) + margin * irrep.dim
        slots.append(FrameSlot(part.start, irrep.dim, order, row, matrix))
        row += slots[-1].rows
    return tuple(slots)


def _entries(product: SO2Product, slot: int, order: int) -> tuple[MixEntry, ...]:
    """Of all paths to one pair of output rows."""
    entries = []
    for path, part in zip(product.paths, product.weight_slices, strict=True):
        orders = product.orders(path)
        if path.index_out == slot and order in orders:
            weight = part.start + order - orders[0]
            entries.append(MixEntry(path.index_in, -1 if path.odd else 1, weight, path.coefficient))
    return tuple(entries)
