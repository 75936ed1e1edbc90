"""The C++ backend: the tables of a product for the compiled kernels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from atomsym.kernels.compiled_convolution import CompiledConvolution
from atomsym.kernels.native import cpu_extension
from atomsym.kernels.so2_convolution.operators import CONVOLUTION
from atomsym.kernels.so2_convolution.product import so2_product_of
from atomsym.kernels.so2_convolution.tables import FrameSlot, MixTables, mix_tables


@cache
def _plan_address(handle: str) -> int:
    """Address of the compiled form of a product's tables."""
    product, tables = so2_product_of(handle), mix_tables(handle)
    in_rows, out_rows = (sum(slot.rows for slot in slots) for slots in (tables.sources, tables.targets))
    sizes = [product.in_dim, product.out_dim, product.n_weights, product.frame_size, in_rows, out_rows]
    lists = (_slots(tables.sources), _slots(tables.targets), *_mix(tables))
    address: int = cpu_extension().so2_plan(sizes, *lists)
    return address


def _slots(slots: Sequence[FrameSlot]) -> list[int]:
    """Rows of the C++ ``FrameSlot``."""
    return [
        number for slot in slots for number in (slot.component, slot.columns, slot.rows, slot.first_row, slot.matrix)
    ]


def _mix(tables: MixTables) -> tuple[list[int], list[int], list[float]]:
    """Rows of the C++ ``MixGroup`` and ``MixEntry``."""
    groups: list[int] = []
    entries: list[int] = []
    factors: list[float] = []
    for slot, order, added in tables.groups:
        first = len(entries) // 3
        for entry in added:
            centre = tables.sources[entry.slot].centre
            entries += [centre + entry.sign * order, centre - entry.sign * order, entry.weight]
            factors += [entry.sign * entry.coefficient, entry.coefficient]
        centre = tables.targets[slot].centre
        groups += [centre + order, centre - order if order else -1, first, len(entries) // 3]
    return groups, entries, factors


CompiledConvolution(CONVOLUTION, lambda handle, _: (_plan_address(handle),)).define()
