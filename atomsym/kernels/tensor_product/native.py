"""The C++ backend: hands addresses, strides and sizes to the compiled kernels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from atomsym.kernels.memory import recycled_empty
from atomsym.kernels.native import cpu_extension, n_threads
from atomsym.kernels.tensor_product.operators import CONVOLUTION
from atomsym.kernels.tensor_product.product import product_of
from atomsym.kernels.tensor_product.tables import tables_of

MAX_DEGREE = 6
"""Largest output degree the kernels are compiled for; degrees of inputs are bounded with it for simplicity."""


@cache
def plan_address(handle: str) -> int:
    """Address of the compiled form of a product's tables."""
    product = product_of(handle)
    tables = tables_of(product)
    rows = [
        int(value)
        for path in tables.paths
        for value in (
            path.first_in,
            path.first_out,
            path.rows,
            path.columns,
            path.weight,
            path.matrix,
            path.diagonal,
        )
    ]
    address: int = cpu_extension().channelwise_plan(
        product.irreps_in.dim,
        product.irreps_edge.dim,
        product.irreps_out.dim,
        product.n_paths,
        tables.n_matrix,
        rows,
        tables.element,
        tables.component,
        tables.coefficient,
    )
    return address


def _kernel(name: str, dtype: torch.dtype) -> Any:
    return getattr(cpu_extension(), f"channelwise_{name}_{'float32' if dtype == torch.float32 else 'float64'}")


def _addresses(tensors: Sequence[Tensor | None]) -> list[int]:
    return [0 if tensor is None else tensor.data_ptr() for tensor in tensors]


def _sizes(x: Tensor, y: Tensor) -> list[int]:
    """Nodes, edges and channels."""
    return [x.shape[-3], y.shape[-2], x.shape[-1]]


def _forward(*args: Any) -> Tensor:
    operands, wiring, handle = [x.contiguous() for x in args[:3]], [index.contiguous() for index in args[3:8]], args[8]
    x, y = operands[:2]
    out = recycled_empty(CONVOLUTION.out_shape(operands, wiring, handle), x.dtype)
    if out.numel():
        batch, strides = CONVOLUTION.batch_strides(operands, forward=True)
        _kernel("forward", x.dtype)(
            plan_address(handle),
            _addresses(wiring),
            [batch, *_sizes(x, y)],
            _addresses(operands),
            strides,
            out.data_ptr(),
            n_threads(),
        )
    return out


def _gradients(*args: Any) -> tuple[Tensor, ...]:
    operands, wiring = [x.contiguous() for x in args[:4]], [index.contiguous() for index in args[4:9]]
    handle, needs = args[9], args[10:]
    x, y = operands[1:3]
    shapes = CONVOLUTION.gradient_shapes(operands[0], operands[1:], needs)
    results = tuple(recycled_empty(shape, x.dtype) for shape in shapes)
    batch, strides = CONVOLUTION.batch_strides(operands)
    sizes = [batch, *_sizes(x, y)]
    if 0 in sizes:
        for result in results:
            result.zero_()
        return results
    _kernel("gradients", x.dtype)(
        plan_address(handle),
        _addresses(wiring),
        sizes,
        _addresses(operands),
        strides,
        *_targets(results, needs),
        n_threads(),
    )
    return results


def _second(*args: Any) -> tuple[Tensor, ...]:
    operands = [None if operand is None else operand.contiguous() for operand in args[:7]]
    wiring, handle, needs = [index.contiguous() for index in args[7:12]], args[12], args[13:]
    x, y, along_y = args[1], args[2], args[5]
    results = tuple(recycled_empty(shape, x.dtype) for shape in CONVOLUTION.second_shapes(operands, needs))
    batch, strides = CONVOLUTION.batch_strides(operands)
    sizes = [batch, *_sizes(x, y)]
    if 0 in sizes:
        for result in results:
            result.zero_()
        return results
    if along_y is not None and along_y.numel() == 0:
        operands[5] = None  # no edge components: an empty tensor may have no address
    _kernel("second", x.dtype)(
        plan_address(handle),
        _addresses(wiring),
        sizes,
        _addresses(operands),
        strides,
        _targets(results, needs),
        n_threads(),
    )
    return results


def _targets(results: Sequence[Tensor], needs: Sequence[bool]) -> list[int]:
    """Addresses of the wanted results, 0 for others."""
    return [result.data_ptr() if need else 0 for result, need in zip(results, needs, strict=True)]


CONVOLUTION.define("cpp", _forward, _gradients, ("CPU",), _second)
