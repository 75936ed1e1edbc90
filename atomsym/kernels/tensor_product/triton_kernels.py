"""Triton kernels of the channel-wise convolution. Import only where Triton is installed.

All work on the per-edge matrices A[i, k], made before by one matrix product of the edge features with the couplings.
No atomics: a program owns its result. Channels are the contiguous axis of every load. A few registers of a thread may
be spilled, up to seven where ``ptxas`` 12.9 or 13.4 makes code for sm_80 and sm_90 from what Triton 3.9 gives it.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def contract_kernel(  # type: ignore[no-untyped-def]
    out,  # (batch, nodes, out_dim, channels)
    source,  # (batch or 1, nodes, source_dim, channels)
    weight,  # (batch or 1, edges, n_weights, channels)
    matrix,  # (batch or 1, edges, n_matrix)
    offsets,  # edges of a node are order[offsets[node] : offsets[node + 1]]
    order,
    partner,  # node at the other end of each edge
    slots,  # rows: first target component, components, first path, last path + 1
    paths,  # rows: first source component, components, weight, element of A, strides of A: target, source
    nodes,
    edges,
    channels,
    out_dim,
    source_dim,
    n_weights,
    n_matrix,
    source_stride,
    weight_stride,
    matrix_stride,
    ORDERED: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """out[node, t] = sum over edges, paths and s of A[t, s] w source[partner, s], for one slot of components t."""
    node = tl.program_id(0).to(tl.int64)
    slot = tl.program_id(1)
    blocks = tl.cdiv(channels, BLOCK)
    batch = (tl.program_id(2) // blocks).to(tl.int64)
    channel = (tl.program_id(2) % blocks) * BLOCK + tl.arange(0, BLOCK)
    inside = channel < channels
    row = tl.arange(0, ROWS)
    first = tl.load(slots + 4 * slot)
    wanted = row < tl.load(slots + 4 * slot + 1)
    path_begin = tl.load(slots + 4 * slot + 2)
    path_end = tl.load(slots + 4 * slot + 3)
    total = tl.zeros((ROWS, BLOCK), dtype=out.dtype.element_ty)
    for position in range(tl.load(offsets + node), tl.load(offsets + node + 1)):
        edge = position
        if ORDERED:
            edge = tl.load(order + position)
        source_row = source + batch * source_stride + tl.load(partner + edge) * source_dim * channels
        weight_row = weight + batch * weight_stride + edge * n_weights * channels
        matrix_row = matrix + batch * matrix_stride + edge * n_matrix
        for path in range(path_begin, path_end):
            table = paths + 6 * path
            w = tl.load(weight_row + tl.load(table + 2) * channels + channel, mask=inside, other=0.0)
            element = matrix_row + tl.load(table + 3) + row * tl.load(table + 4)
            stride = tl.load(table + 5)
            component = tl.load(table)
            for s in range(0, tl.load(table + 1)):
                a = tl.load(element + s * stride, mask=wanted, other=0.0)
                x = tl.load(source_row + (component + s) * channels + channel, mask=inside, other=0.0)
                total += a[:, None] * (w * x)[None, :]
    target = out + (batch * nodes + node) * out_dim * channels + (first + row)[:, None] * channels + channel[None, :]
    tl.store(target, total, mask=wanted[:, None] & inside[None, :])


@triton.jit
def weight_kernel(  # type: ignore[no-untyped-def]
    grad_weight,  # (batch, edges, n_weights, channels)
    g,
    x,
    matrix,
    receiver,
    sender,
    paths,  # rows: first x component, components, weight, element of A, first g component, components
    edges,
    channels,
    out_dim,
    in_dim,
    n_weights,
    n_matrix,
    g_stride,
    x_stride,
    matrix_stride,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """grad w[edge, path] = sum over i and k of A[i, k] x[i] g[k]."""
    edge = tl.program_id(0).to(tl.int64)
    table = paths + 6 * tl.program_id(1)
    blocks = tl.cdiv(channels, BLOCK)
    batch = (tl.program_id(2) // blocks).to(tl.int64)
    channel = (tl.program_id(2) % blocks) * BLOCK + tl.arange(0, BLOCK)
    inside = channel < channels
    row = tl.arange(0, ROWS)
    columns = tl.load(table + 5)
    wanted = row < columns
    g_row = g + batch * g_stride + tl.load(receiver + edge) * out_dim * channels + tl.load(table + 4) * channels
    g_tile = tl.load(
        g_row + row[:, None] * channels + channel[None, :], mask=wanted[:, None] & inside[None, :], other=0.0
    )
    x_row = x + batch * x_stride + tl.load(sender + edge) * in_dim * channels + tl.load(table) * channels
    element = matrix + batch * matrix_stride + edge * n_matrix + tl.load(table + 3) + row
    total = tl.zeros((BLOCK,), dtype=grad_weight.dtype.element_ty)
    for i in range(0, tl.load(table + 1)):
        a = tl.load(element + i * columns, mask=wanted, other=0.0)
        total += tl.sum(a[:, None] * g_tile, axis=0) * tl.load(x_row + i * channels + channel, mask=inside, other=0.0)
    target = grad_weight + ((batch * edges + edge) * n_weights + tl.load(table + 2)) * channels
    tl.store(target + channel, total, mask=inside)


@triton.jit
def matrix_kernel(  # type: ignore[no-untyped-def]
    grad_matrix,  # (batch, edges, n_matrix)
    g,
    x,
    weight,
    receiver,
    sender,
    paths,  # as in weight_kernel
    edges,
    channels,
    out_dim,
    in_dim,
    n_weights,
    n_matrix,
    g_stride,
    x_stride,
    weight_stride,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """grad A[edge, i, k] = sum over channels of w x[i] g[k]."""
    edge = tl.program_id(0).to(tl.int64)
    table = paths + 6 * tl.program_id(1)
    batch = tl.program_id(2).to(tl.int64)
    row = tl.arange(0, ROWS)
    columns = tl.load(table + 5)
    wanted = row < columns
    g_row = g + batch * g_stride + tl.load(receiver + edge) * out_dim * channels + tl.load(table + 4) * channels
    x_row = x + batch * x_stride + tl.load(sender + edge) * in_dim * channels + tl.load(table) * channels
    w_row = weight + batch * weight_stride + (edge * n_weights + tl.load(table + 2)) * channels
    target = grad_matrix + (batch * edges + edge) * n_matrix + tl.load(table + 3) + row
    for i in range(0, tl.load(table + 1)):
        total = tl.zeros((ROWS,), dtype=grad_matrix.dtype.element_ty)
        for start in range(0, channels, BLOCK):
            channel = start + tl.arange(0, BLOCK)
            inside = channel < channels
            tile = tl.load(
                g_row + row[:, None] * channels + channel[None, :], mask=wanted[:, None] & inside[None, :], other=0.0
            )
            w = tl.load(w_row + channel, mask=inside, other=0.0)
            x_i = tl.load(x_row + i * channels + channel, mask=inside, other=0.0)
            total += tl.sum(tile * (w * x_i)[None, :], axis=1)
        tl.store(target + i * columns, total, mask=wanted)
