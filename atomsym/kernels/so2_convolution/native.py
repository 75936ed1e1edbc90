"""The C++ backend: the form, and the tables of a product for the compiled kernels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from torch import Tensor

from atomsym.core.topology import EdgeTopology
from atomsym.kernels.compiled_convolution import CompiledConvolution
from atomsym.kernels.multilinear_form import MultilinearForm
from atomsym.kernels.native import cpu_extension
from atomsym.kernels.so2_convolution.frames import frame_size
from atomsym.kernels.so2_convolution.product import SO2Product, so2_product_of
from atomsym.symmetry import Irreps


def _out_shape(operands: Sequence[Tensor], wiring: Sequence[Tensor], handle: str) -> tuple[int, ...]:
    x = operands[0]
    return x.shape[-3], so2_product_of(handle).out_dim, x.shape[-1]


# The frame turns features in and messages back: two operands, so that the form is linear in each.
_CONVOLUTION = MultilinearForm("so2", {"x": 3, "frames_in": 2, "w": 3, "frames_out": 2}, 3, _out_shape)


def convolution(
    node_features: Tensor, frames: Tensor, weights: Tensor, topology: EdgeTopology, product: SO2Product
) -> Tensor:
    """See ``so2_convolution``; ``frames`` are the values of frames that fit the product exactly."""
    return _CONVOLUTION("cpp", (node_features, frames, weights, frames), topology, product.handle)


@cache
def _plan_address(handle: str) -> int:
    """Address of the compiled form of a product's tables."""
    product = so2_product_of(handle)
    largest_in, largest_out = [-1] * len(product.irreps_in), [-1] * len(product.irreps_out)
    for path in product.paths:
        top = product.orders(path)[-1]
        largest_in[path.index_in] = max(largest_in[path.index_in], top)
        largest_out[path.index_out] = max(largest_out[path.index_out], top)
    in_table, in_centres, in_rows = _slots(product.irreps_in, largest_in, product.max_order)
    out_table, out_centres, out_rows = _slots(product.irreps_out, largest_out, product.max_order)
    groups, entries, factors = _mix_tables(product, in_centres, out_centres, largest_out)
    sizes = [product.in_dim, product.out_dim, product.n_weights, product.frame_size, in_rows, out_rows]
    address: int = cpu_extension().so2_plan(sizes, in_table, out_table, groups, entries, factors)
    return address


def _slots(irreps: Irreps, largest: Sequence[int], max_order: int) -> tuple[list[int], list[int], int]:
    """Rows of ``FrameSlot``; the row of order 0 of each slot; the number of rows of all slots."""
    table, centres, row = [], [], 0
    for irrep, part, order in zip(irreps, irreps.slices, largest, strict=True):
        rows = 2 * order + 1 if order >= 0 else 0
        margin = min(irrep.degree, max_order) - max(order, 0)
        matrix = frame_size(irrep.degree - 1, max_order) + margin * irrep.dim
        table += [part.start, irrep.dim, rows, row, matrix]
        centres.append(row + max(order, 0))
        row += rows
    return table, centres, row


def _mix_tables(
    product: SO2Product, in_centres: Sequence[int], out_centres: Sequence[int], largest_out: Sequence[int]
) -> tuple[list[int], list[int], list[float]]:
    """``MixGroup`` and ``MixEntry`` rows: all paths to one pair of output rows together."""
    groups: list[int] = []
    entries: list[int] = []
    factors: list[float] = []
    for slot, largest in enumerate(largest_out):
        for order in range(largest + 1):
            first = len(entries) // 3
            for path, part in zip(product.paths, product.weight_slices, strict=True):
                orders = product.orders(path)
                if path.index_out != slot or order not in orders:
                    continue
                centre, sign = in_centres[path.index_in], -1 if path.odd else 1
                entries += [centre + sign * order, centre - sign * order, part.start + order - orders[0]]
                factors += [sign * path.coefficient, path.coefficient]
            centre = out_centres[slot]
            groups += [centre + order, centre - order if order else -1, first, len(entries) // 3]
    return groups, entries, factors


CompiledConvolution(_CONVOLUTION, lambda handle, _: (_plan_address(handle),)).define()
