"""Triton kernels of convolutions by rows and of products. Import only where Triton is installed.

For convolutions, rows of nodes and of edges were made before, by matrix products. No atomics: a program owns its
result. Channels are the contiguous axis of every load.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def sum_kernel(  # type: ignore[no-untyped-def]
    out,  # (batch, nodes, rows, channels)
    source,  # (batch or 1, nodes, rows, channels)
    weight,  # (batch or 1, edges, n_weights, channels)
    edge_rows,  # (batch or 1, edges, n_weights, rows)
    offsets,  # edges of a node are order[offsets[node] : offsets[node + 1]]
    order,
    partner,  # node at the other end of each edge
    nodes,
    rows,
    n_weights,
    channels,
    source_stride,
    weight_stride,
    edge_stride,
    ORDERED: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """out[node, r] = sum over the edges of source[partner, r] sum_k w[k] z[k, r]."""
    node = tl.program_id(0).to(tl.int64)
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    blocks = tl.cdiv(channels, BLOCK)
    batch = (tl.program_id(2) // blocks).to(tl.int64)
    channel = (tl.program_id(2) % blocks) * BLOCK + tl.arange(0, BLOCK)
    inside = channel < channels
    wanted = row < rows
    place = row[:, None] * channels + channel[None, :]
    both = wanted[:, None] & inside[None, :]
    total = tl.zeros((ROWS, BLOCK), dtype=out.dtype.element_ty)
    for position in range(tl.load(offsets + node), tl.load(offsets + node + 1)):
        edge = position
        if ORDERED:
            edge = tl.load(order + position)
        w_row = weight + batch * weight_stride + edge * n_weights * channels
        z_row = edge_rows + batch * edge_stride + edge * n_weights * rows
        factor = tl.zeros((ROWS, BLOCK), dtype=out.dtype.element_ty)
        for k in range(0, n_weights):
            w = tl.load(w_row + k * channels + channel, mask=inside, other=0.0)
            z = tl.load(z_row + k * rows + row, mask=wanted, other=0.0)
            factor += z[:, None] * w[None, :]
        node_row = source + batch * source_stride + tl.load(partner + edge) * rows * channels
        total += tl.load(node_row + place, mask=both, other=0.0) * factor
    tl.store(out + (batch * nodes + node) * rows * channels + place, total, mask=both)


@triton.jit
def weight_kernel(  # type: ignore[no-untyped-def]
    grad_weight,  # (batch, edges, n_weights, channels)
    received,  # (batch or 1, nodes, rows, channels)
    sent,
    edge_rows,
    receiver,
    sender,
    edges,
    rows,
    n_weights,
    channels,
    received_stride,
    sent_stride,
    edge_stride,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """grad w[edge, k] = sum over rows of z[k, r] sent[sender, r] received[receiver, r]."""
    edge = tl.program_id(0).to(tl.int64)
    k = tl.program_id(1)
    blocks = tl.cdiv(channels, BLOCK)
    batch = (tl.program_id(2) // blocks).to(tl.int64)
    channel = (tl.program_id(2) % blocks) * BLOCK + tl.arange(0, BLOCK)
    inside = channel < channels
    g = received + batch * received_stride + tl.load(receiver + edge) * rows * channels
    u = sent + batch * sent_stride + tl.load(sender + edge) * rows * channels
    z_row = edge_rows + batch * edge_stride + (edge * n_weights + k) * rows
    total = tl.zeros((BLOCK,), dtype=grad_weight.dtype.element_ty)
    for start in range(0, rows, ROWS):
        row = start + tl.arange(0, ROWS)
        wanted = row < rows
        place = row[:, None] * channels + channel[None, :]
        both = wanted[:, None] & inside[None, :]
        product = tl.load(u + place, mask=both, other=0.0) * tl.load(g + place, mask=both, other=0.0)
        total += tl.sum(product * tl.load(z_row + row, mask=wanted, other=0.0)[:, None], axis=0)
    target = grad_weight + ((batch * edges + edge) * n_weights + k) * channels
    tl.store(target + channel, total, mask=inside)


@triton.jit
def edge_kernel(  # type: ignore[no-untyped-def]
    grad_rows,  # (batch, edges, n_weights, rows)
    received,
    sent,
    weight,
    receiver,
    sender,
    edges,
    rows,
    n_weights,
    channels,
    received_stride,
    sent_stride,
    weight_stride,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """grad z[edge, k, r] = sum over channels of w[k] sent[sender, r] received[receiver, r]."""
    edge = tl.program_id(0).to(tl.int64)
    k = tl.program_id(1)
    blocks = tl.cdiv(rows, ROWS)
    batch = (tl.program_id(2) // blocks).to(tl.int64)
    row = (tl.program_id(2) % blocks) * ROWS + tl.arange(0, ROWS)
    wanted = row < rows
    g = received + batch * received_stride + tl.load(receiver + edge) * rows * channels
    u = sent + batch * sent_stride + tl.load(sender + edge) * rows * channels
    w_row = weight + batch * weight_stride + (edge * n_weights + k) * channels
    total = tl.zeros((ROWS,), dtype=grad_rows.dtype.element_ty)
    for start in range(0, channels, BLOCK):
        channel = start + tl.arange(0, BLOCK)
        inside = channel < channels
        place = row[:, None] * channels + channel[None, :]
        both = wanted[:, None] & inside[None, :]
        product = tl.load(u + place, mask=both, other=0.0) * tl.load(g + place, mask=both, other=0.0)
        total += tl.sum(product * tl.load(w_row + channel, mask=inside, other=0.0)[None, :], axis=1)
    tl.store(grad_rows + ((batch * edges + edge) * n_weights + k) * rows + row, total, mask=wanted)


@triton.jit
def product_kernel(  # type: ignore[no-untyped-def]
    out,  # (rows, components, channels)
    x,  # rows x_step apart, each (components, channels)
    y,
    start,  # couplings of component k are start[k] : start[k + 1]
    first,
    second,
    coefficient,
    components,
    channels,
    x_step,
    y_step,
    BLOCK: tl.constexpr,
):
    """out[row, k] = sum over the couplings of k of coefficient x[row, first] y[row, second]."""
    row = tl.program_id(0).to(tl.int64)
    k = tl.program_id(1)
    channel = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
    inside = channel < channels
    total = tl.zeros((BLOCK,), dtype=out.dtype.element_ty)
    for term in range(tl.load(start + k), tl.load(start + k + 1)):
        a = tl.load(x + row * x_step + tl.load(first + term) * channels + channel, mask=inside, other=0.0)
        b = tl.load(y + row * y_step + tl.load(second + term) * channels + channel, mask=inside, other=0.0)
        total += tl.load(coefficient + term) * a * b
    tl.store(out + (row * components + k) * channels + channel, total, mask=inside)
