"""Convolutions by rows: the reference and the operators of the compiled backends."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from atomsym.core.topology import EdgeTopology
from atomsym.kernels.compiled_convolution import CompiledConvolution
from atomsym.kernels.multilinear_form import MultilinearForm
from atomsym.kernels.native import cpu_extension
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
def _plan_address(handle: str, suffix: str) -> int:
    tables = convolution_tables(handle)
    make = getattr(cpu_extension(), f"pointwise_plan_{suffix}")
    matrix = tables.edge.matrix.mT.flatten().tolist()
    address: int = make(tables.sample.table(), tables.project.table(), tables.edge.table(), matrix, list(tables.widths))
    return address


def _triton_forward(*args: Any) -> Tensor:
    from atomsym.kernels.pointwise import triton_backend  # imports triton, so only when it is asked for

    return triton_backend.forward(*args)


def _triton_gradients(*args: Any) -> tuple[Tensor, ...]:
    from atomsym.kernels.pointwise import triton_backend

    return triton_backend.gradients(*args)


CompiledConvolution(CONVOLUTION, lambda handle, suffix: (_plan_address(handle, suffix),)).define()
CONVOLUTION.define("triton", _triton_forward, _triton_gradients, ("CPU", "CUDA"))
