"""Convolutions by rows: the reference and the operators of the compiled backends."""

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
from atomsym.kernels.pointwise.tables import convolution_tables, slot_dims


def _out_shape(operands: Sequence[Tensor], wiring: Sequence[Tensor], handle: str) -> tuple[int, ...]:
    x = operands[0]
    return x.shape[-3], slot_dims(handle)[-1], x.shape[-1]


CONVOLUTION = MultilinearForm("pointwise", {"x": 3, "y": 2, "w": 3}, 3, _out_shape)
"""Operands: node features, edge features, weights of shape (n_edges, n_weights, channels)."""


def reference_convolution(
    node_features: Tensor, edge_features: Tensor, weights: Tensor, topology: EdgeTopology, handle: str
) -> Tensor:
    """Rows of nodes and edges, their weighted sum over edges, and back; see ``ConvolutionTables``."""
    tables = convolution_tables(handle)
    sample, edge, project = (
        table.to(node_features) for table in (tables.sample.matrix, tables.edge.matrix.mT, tables.project.matrix)
    )
    sent = (sample @ node_features)[topology.sender]
    parts = zip(edge_features.split(tables.widths, 1), edge.split(tables.widths, 0), strict=True)
    rows = torch.stack([features @ matrix for features, matrix in parts], 2)
    messages = sent * (rows @ weights)
    summed = messages.new_zeros(topology.n_nodes, sample.shape[0], node_features.shape[2])
    return project.mT @ summed.index_add(0, topology.receiver, messages)


@cache
def _kernel(name: str, dtype: torch.dtype, handle: str) -> tuple[Any, int]:
    """The kernel and the address of the compiled tables."""
    suffix = "float32" if dtype == torch.float32 else "float64"
    kernel = getattr(cpu_extension(), f"pointwise_convolution_{name}_{suffix}")
    return kernel, _plan_address(handle, suffix)


@cache
def _plan_address(handle: str, suffix: str) -> int:
    tables = convolution_tables(handle)
    make = getattr(cpu_extension(), f"pointwise_convolution_plan_{suffix}")
    matrix = tables.edge.matrix.mT.flatten().tolist()
    address: int = make(tables.sample.table(), tables.project.table(), tables.edge.table(), matrix, list(tables.widths))
    return address


def _sizes(x: Tensor, y: Tensor) -> list[int]:
    """Nodes, edges and channels."""
    return [x.shape[-3], y.shape[-2], x.shape[-1]]


def _forward(*args: Any) -> Tensor:
    operands, wiring, handle = [x.contiguous() for x in args[:3]], [index.contiguous() for index in args[3:8]], args[8]
    x, y = operands[:2]
    out = recycled_empty(CONVOLUTION.out_shape(operands, wiring, handle), x.dtype)
    if out.numel():
        batch, strides = CONVOLUTION.batch_strides(operands, forward=True)
        kernel, plan = _kernel("forward", x.dtype, handle)
        kernel(
            plan,
            [index.data_ptr() for index in wiring],
            [batch, *_sizes(x, y)],
            [operand.data_ptr() for operand in operands],
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
    kernel, plan = _kernel("gradients", x.dtype, handle)
    kernel(
        plan,
        [index.data_ptr() for index in wiring],
        sizes,
        [operand.data_ptr() for operand in operands],
        strides,
        [result.data_ptr() if need else 0 for result, need in zip(results, needs, strict=True)],
        n_threads(),
    )
    return results


def _triton_forward(*args: Any) -> Tensor:
    from atomsym.kernels.pointwise import triton_backend  # imports triton, so only when it is asked for

    return triton_backend.forward(*args)


def _triton_gradients(*args: Any) -> tuple[Tensor, ...]:
    from atomsym.kernels.pointwise import triton_backend

    return triton_backend.gradients(*args)


CONVOLUTION.define("cpp", _forward, _gradients, ("CPU",))
CONVOLUTION.define("triton", _triton_forward, _triton_gradients, ("CPU", "CUDA"))
