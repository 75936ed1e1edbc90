"""The Triton backend of convolutions by rows: rows of nodes and edges by matrix products, the sums over edges fused."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from atomsym.kernels.pointwise.tables import convolution_tables
from atomsym.kernels.triton_support import FUSED

_ROWS, _LARGEST_BLOCK = 16, 128


@cache
def _tables(handle: str, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """S, Pᵀ, and the edge's matrix as (n_weights, edge_dim, rows) with zeros where a component has another weight."""
    tables = convolution_tables(handle)
    matrix = tables.edge.matrix.mT
    edge = torch.zeros(len(tables.widths), *matrix.shape, dtype=torch.float64)
    first = 0
    for k, width in enumerate(tables.widths):
        edge[k, first : first + width] = matrix[first : first + width]
        first += width
    matrices = (tables.sample.matrix, tables.project.matrix.mT.contiguous(), edge)
    sample, project, edge = (matrix.to(device, dtype) for matrix in matrices)
    return sample, project, edge


def _edge_rows(y: Tensor, edge: Tensor) -> Tensor:
    """(batch, edges, edge_dim) → (batch, edges, n_weights, rows)."""
    return torch.einsum("bej,kjr->bekr", y, edge).contiguous()


def _stride(operand: Tensor) -> int:
    return 0 if operand.shape[0] == 1 else operand[0].numel()


def _blocks(rows: int, channels: int) -> tuple[int, int]:
    return min(_ROWS, 1 << (rows - 1).bit_length()), min(_LARGEST_BLOCK, 1 << (channels - 1).bit_length())


def _sum(batch: int, source: Tensor, weight: Tensor, edge_rows: Tensor, walk: tuple[Any, ...]) -> Tensor:
    from atomsym.kernels.pointwise.triton_kernels import sum_kernel

    offsets, order, partner = walk
    _, nodes, rows, channels = source.shape
    out = source.new_zeros(batch, nodes, rows, channels)
    height, width = _blocks(rows, channels)
    sum_kernel[(nodes, -(-rows // height), batch * -(-channels // width))](
        out,
        source,
        weight,
        edge_rows,
        offsets,
        offsets if order is None else order,
        partner,
        nodes,
        rows,
        weight.shape[2],
        channels,
        _stride(source),
        _stride(weight),
        _stride(edge_rows),
        ORDERED=order is not None,
        ROWS=height,
        BLOCK=width,
        **FUSED,
    )
    return out


def _batched(operands: Sequence[Tensor], ranks: Sequence[int]) -> tuple[list[Tensor], int | None]:
    """Operands with a batch axis, of size 1 where there was none, and the size of the batch, if there is any."""
    sizes = [operand.shape[0] for operand, rank in zip(operands, ranks, strict=True) if operand.ndim > rank]
    full = [x if x.ndim > rank else x.unsqueeze(0) for x, rank in zip(operands, ranks, strict=True)]
    return full, sizes[0] if sizes else None


def forward(*args: Any) -> Tensor:
    """(x, y, w, wiring, handle) → result."""
    (x, y, w), size = _batched(args[:3], (3, 2, 3))
    (_, sender, receiver_offsets, _, _), handle = args[3:8], args[8]
    batch = 1 if size is None else size
    sample, project, edge = _tables(handle, x.device, x.dtype)
    if batch and x.shape[1] and x.shape[3] and sender.numel():
        source = (sample @ x).contiguous()
        summed = _sum(batch, source, w.contiguous(), _edge_rows(y, edge), (receiver_offsets, None, sender))
        out = project @ summed
    else:
        out = x.new_zeros(batch, x.shape[1], project.shape[0], x.shape[3])
    return out[0] if size is None else out


def gradients(*args: Any) -> tuple[Tensor, ...]:
    """(g, x, y, w, wiring, handle, which are wanted) → derivatives; empty where not wanted."""
    (g, x, y, w), size = _batched(args[:4], (3, 3, 2, 3))
    (receiver, sender, _, order, offsets), handle, needs = args[4:9], args[9], args[10:]
    batch = 1 if size is None else size
    results = [operand.new_zeros(batch, *operand.shape[1:]) for operand in (x, y, w)]
    if batch and x.shape[3] and sender.numel():
        sample, project, edge = _tables(handle, x.device, x.dtype)
        received, w, edge_rows = (project.mT @ g).contiguous(), w.contiguous(), _edge_rows(y, edge)
        if needs[0]:
            results[0] = sample.mT @ _sum(batch, received, w, edge_rows, (offsets, order, receiver))
        if needs[1] or needs[2]:
            sent = (sample @ x).contiguous()
            results[1:] = _on_edges(batch, received, sent, w, edge_rows, (receiver, sender), edge, results, needs)
    if size is None:
        results = [result[0] for result in results]
    return tuple(result if need else x.new_empty(0) for result, need in zip(results, needs, strict=True))


def _on_edges(
    batch: int,
    received: Tensor,
    sent: Tensor,
    w: Tensor,
    edge_rows: Tensor,
    ends: tuple[Tensor, Tensor],
    edge: Tensor,
    results: list[Tensor],
    needs: tuple[bool, ...],
) -> tuple[Tensor, Tensor]:
    """Derivatives for edge features and weights."""
    from atomsym.kernels.pointwise.triton_kernels import edge_kernel, weight_kernel

    _, grad_y, grad_w = results
    n_edges, n_weights, rows, channels = len(ends[0]), w.shape[2], sent.shape[2], sent.shape[3]
    height, width = _blocks(rows, channels)
    sizes = (n_edges, rows, n_weights, channels, _stride(received), _stride(sent))
    if needs[1]:
        grad_rows = sent.new_empty(batch, n_edges, n_weights, rows)
        edge_kernel[(n_edges, n_weights, batch * -(-rows // height))](
            grad_rows, received, sent, w, *ends, *sizes, _stride(w), ROWS=height, BLOCK=width, **FUSED
        )
        grad_y = torch.einsum("bekr,kjr->bej", grad_rows, edge)
    if needs[2]:
        weight_kernel[(n_edges, n_weights, batch * -(-channels // width))](
            grad_w, received, sent, edge_rows, *ends, *sizes, _stride(edge_rows), ROWS=height, BLOCK=width, **FUSED
        )
    return grad_y, grad_w
