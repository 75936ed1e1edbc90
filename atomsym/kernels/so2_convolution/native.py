"""The C++ backend: the tables of a product, and addresses, strides and sizes for the compiled kernels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from atomsym.core.topology import EdgeTopology
from atomsym.kernels.memory import recycled_empty
from atomsym.kernels.multilinear_form import MultilinearForm
from atomsym.kernels.native import cpu_extension, n_threads
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


def _kernel(name: str, dtype: torch.dtype) -> Any:
    return getattr(cpu_extension(), f"so2_{name}_{'float32' if dtype == torch.float32 else 'float64'}")


def _sizes(x: Tensor, frames: Tensor) -> list[int]:
    """Nodes, edges and channels."""
    return [x.shape[-3], frames.shape[-2], x.shape[-1]]


def _forward(*args: Any) -> Tensor:
    operands, wiring, handle = [x.contiguous() for x in args[:4]], [index.contiguous() for index in args[4:9]], args[9]
    x, frames = operands[0], operands[1]
    out = recycled_empty(_CONVOLUTION.out_shape(operands, wiring, handle), x.dtype)
    if out.numel() == 0:
        return out
    batch, strides = _CONVOLUTION.batch_strides(operands, forward=True)
    _kernel("forward", x.dtype)(
        _plan_address(handle),
        [index.data_ptr() for index in wiring],
        [batch, *_sizes(x, frames)],
        [operand.data_ptr() for operand in operands],
        strides,
        out.data_ptr(),
        n_threads(),
    )
    return out


def _gradients(*args: Any) -> tuple[Tensor, ...]:
    operands, wiring = [x.contiguous() for x in args[:5]], [index.contiguous() for index in args[5:10]]
    handle, needs = args[10], args[11:]
    x, frames = operands[1], operands[2]
    shapes = _CONVOLUTION.gradient_shapes(operands[0], operands[1:], needs)
    results = tuple(recycled_empty(shape, x.dtype) for shape in shapes)
    batch, strides = _CONVOLUTION.batch_strides(operands)
    sizes = [batch, *_sizes(x, frames)]
    if 0 in sizes:
        for result in results:
            result.zero_()
        return results
    _kernel("gradients", x.dtype)(
        _plan_address(handle),
        [index.data_ptr() for index in wiring],
        sizes,
        [operand.data_ptr() for operand in operands],
        strides,
        [result.data_ptr() if need else 0 for result, need in zip(results, needs, strict=True)],
        n_threads(),
    )
    return results


_CONVOLUTION.define("cpp", _forward, _gradients, ("CPU",))
