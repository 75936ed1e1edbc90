"""The C++ backend: hands addresses, strides and sizes to the compiled kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from atomsym.kernels.memory import recycled_empty
from atomsym.kernels.native import cpu_extension, n_threads
from atomsym.kernels.tensor_product.multilinear import define
from atomsym.kernels.tensor_product.product import product_of
from atomsym.kernels.tensor_product.shapes import batch_of, gradient_shapes, out_shape, second_shapes
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


def _strides(operands: Sequence[Tensor | None]) -> list[int]:
    """Elements from one batch entry to the next; zero for an operand that the batch shares."""
    return [0 if operand is None or operand.shape[0] == 1 else math.prod(operand.shape[1:]) for operand in operands]


def _forward(x: Tensor, y: Tensor, w: Tensor, *rest: Any) -> Tensor:
    wiring, product = tuple(index.contiguous() for index in rest[:5]), rest[5]
    operands = (x.contiguous(), y.contiguous(), w.contiguous())
    out = recycled_empty(out_shape(x, y, w, product), x.dtype)
    if out.numel() == 0:
        return out
    sizes = [out.shape[0], x.shape[1], y.shape[1], x.shape[3]]
    _kernel("forward", x.dtype)(
        plan_address(product),
        _addresses(wiring),
        sizes,
        _addresses(operands),
        _strides(operands),
        out.data_ptr(),
        n_threads(),
    )
    return out


def _gradients(g: Tensor, x: Tensor, y: Tensor, w: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    wiring, product, needs = tuple(index.contiguous() for index in rest[:5]), rest[5], rest[6:]
    operands = (g.contiguous(), x.contiguous(), y.contiguous(), w.contiguous())
    shapes = gradient_shapes(g, x, y, w, *needs)
    grad_x, grad_y, grad_w = (recycled_empty(shape, x.dtype) for shape in shapes)
    results = (grad_x, grad_y, grad_w)
    sizes = [batch_of(*operands), x.shape[1], y.shape[1], x.shape[3]]
    if 0 in sizes:
        for result in results:
            result.zero_()
        return results
    targets = [result.data_ptr() if need else 0 for result, need in zip(results, needs, strict=True)]
    _kernel("gradients", x.dtype)(
        plan_address(product),
        _addresses(wiring),
        sizes,
        _addresses(operands),
        _strides(operands),
        *targets,
        n_threads(),
    )
    return results


def _second(*args: Any) -> tuple[Tensor, ...]:
    operands = [None if operand is None else operand.contiguous() for operand in args[:7]]
    wiring, product, needs = tuple(index.contiguous() for index in args[7:12]), args[12], args[13:]
    x, y, along_y = args[1], args[2], args[5]
    results = tuple(recycled_empty(shape, x.dtype) for shape in second_shapes(*args[:7], *needs))
    sizes = [batch_of(*(operand for operand in operands if operand is not None)), x.shape[1], y.shape[1], x.shape[3]]
    if 0 in sizes:
        for result in results:
            result.zero_()
        return results
    if along_y is not None and along_y.numel() == 0:
        operands[5] = None  # no edge components: an empty tensor may have no address
    targets = [result.data_ptr() if need else 0 for result, need in zip(results, needs, strict=True)]
    _kernel("second", x.dtype)(
        plan_address(product), _addresses(wiring), sizes, _addresses(operands), _strides(operands), targets, n_threads()
    )
    return results


define("cpp", _forward, _gradients, ("CPU",), _second)
