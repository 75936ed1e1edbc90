"""Triton kernels of the convolution in edge frames. Import only where Triton is installed.

All loops over slots, orders and components are unrolled at compile time, with the tables of a product as constants: a
row of a slot is one register of a thread for each of its channels, an element of a frame a number that all threads
share. A tile of rows and channels would waste most of its products, as frames are block-diagonal and blocks odd-sized.
No atomics: a program owns its result. Channels are the contiguous axis of every load.

Tables, as nested tuples:

- ``SOURCES``: (first component, components, U, first element of the frame) of each slot whose rows are read.
- ``TARGETS``: the same of each slot whose rows are made, then the number of its first group (one a pair of rows ±m,
  m = 0 … U) and of its first component among those of all targets.
- ``MIX``: ``MIX[source][group]`` has (row, other row, sign, weight, coefficient) for each path between the two:
  sign · coefficient · w · row goes to +m and coefficient · w · other row to −m; at m = 0 there is no other one, but −1.
- ``SIZES``: components of the source, components of the target, weights, numbers in a frame, channels.

``source_nodes``, ``from_edges`` and the like are the nodes or edges of a member of the batch, zero for operands that
all share. They and the sizes of a graph do not make another kernel.
"""

# Tuples grow while loops are unrolled, by what Triton knows of Python's ways to do that.
# ruff: noqa: RUF005
# mypy: disable-error-code="assignment, var-annotated"

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def components(features, inside, SLOT: tl.constexpr, CHANNELS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Components of a slot, a tuple of blocks of channels."""
    values = ()
    for i in tl.static_range(SLOT[1]):
        values = values + (tl.load(features + (SLOT[0] + i) * CHANNELS, mask=inside, other=0.0),)
    return values


@triton.jit
def rows_in_frame(features, frame, inside, SLOT: tl.constexpr, CHANNELS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Rows m = -U ... U of a slot: D x."""
    x = components(features, inside, SLOT, CHANNELS)
    rows = ()
    for r in tl.static_range(2 * SLOT[2] + 1):
        row = tl.load(frame + SLOT[3] + r * SLOT[1]) * x[0]
        for i in tl.static_range(1, SLOT[1]):
            row = tl.fma(tl.load(frame + SLOT[3] + r * SLOT[1] + i), x[i], row)
        rows = rows + (row,)
    return rows


@triton.jit
def mixed_rows(  # type: ignore[no-untyped-def]
    features,
    frame,
    weight,
    zero,
    inside,
    SOURCES: tl.constexpr,
    MIX: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """Rows of all targets of one edge, those of +m and those of -m of each group; sources come one after the other."""
    plus = ()
    minus = ()
    for _ in tl.static_range(len(MIX[0])):
        plus = plus + (zero,)
        minus = minus + (zero,)
    for s in tl.static_range(len(SOURCES)):
        z = rows_in_frame(features, frame, inside, SOURCES[s], CHANNELS)
        next_plus = ()
        next_minus = ()
        for group in tl.static_range(len(MIX[s])):
            first = plus[group]
            second = minus[group]
            for path in tl.static_range(len(MIX[s][group])):
                w = tl.load(weight + MIX[s][group][path][3] * CHANNELS, mask=inside, other=0.0)
                w = MIX[s][group][path][4] * w
                if MIX[s][group][path][1] >= 0:
                    second = tl.fma(w, z[MIX[s][group][path][1]], second)
                if MIX[s][group][path][2] < 0:
                    w = -w
                first = tl.fma(w, z[MIX[s][group][path][0]], first)
            next_plus = next_plus + (first,)
            next_minus = next_minus + (second,)
        plus = next_plus
        minus = next_minus
    return plus, minus


@triton.jit
def turned_back(total, plus, minus, frame, TARGETS: tl.constexpr):  # type: ignore[no-untyped-def]
    """total + D^T y for the components of all targets."""
    turned = ()
    for t in tl.static_range(len(TARGETS)):
        for k in tl.static_range(TARGETS[t][1]):
            value = total[TARGETS[t][5] + k]
            centre = frame + TARGETS[t][3] + TARGETS[t][2] * TARGETS[t][1] + k
            value = tl.fma(tl.load(centre), plus[TARGETS[t][4]], value)
            for m in tl.static_range(1, TARGETS[t][2] + 1):
                value = tl.fma(tl.load(centre + m * TARGETS[t][1]), plus[TARGETS[t][4] + m], value)
                value = tl.fma(tl.load(centre - m * TARGETS[t][1]), minus[TARGETS[t][4] + m], value)
            turned = turned + (value,)
    return turned


@triton.jit(do_not_specialize=["nodes", "source_nodes", "from_edges", "weight_edges", "to_edges"])
def convolution_kernel(  # type: ignore[no-untyped-def]
    out,  # (batch, nodes, target dim, channels)
    source,  # (batch or 1, nodes, source dim, channels)
    frame_from,  # (batch or 1, edges, numbers)
    weight,  # (batch or 1, edges, weights, channels)
    frame_to,
    offsets,  # edges of a node are order[offsets[node] : offsets[node + 1]]
    order,
    partner,  # node at the other end of each edge
    nodes,
    source_nodes,
    from_edges,
    weight_edges,
    to_edges,
    SIZES: tl.constexpr,
    SOURCES: tl.constexpr,
    TARGETS: tl.constexpr,
    MIX: tl.constexpr,
    ORDERED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """out[node, targets] = sum over the edges of D_to^T W D_from source[partner], for a block of channels."""
    node = tl.program_id(0).to(tl.int64)
    batch = tl.program_id(2).to(tl.int64)
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = channel < SIZES[4]
    zero = tl.zeros((BLOCK,), dtype=out.dtype.element_ty)
    total = ()
    for t in tl.static_range(len(TARGETS)):
        for _ in tl.static_range(TARGETS[t][1]):
            total = total + (zero,)
    for position in range(tl.load(offsets + node), tl.load(offsets + node + 1)):
        edge = position
        if ORDERED:
            edge = tl.load(order + position)
        plus, minus = mixed_rows(
            source + (batch * source_nodes + tl.load(partner + edge)) * (SIZES[0] * SIZES[4]) + channel,
            frame_from + (batch * from_edges + edge) * SIZES[3],
            weight + (batch * weight_edges + edge) * (SIZES[2] * SIZES[4]) + channel,
            zero,
            inside,
            SOURCES,
            MIX,
            SIZES[4],
        )
        total = turned_back(total, plus, minus, frame_to + (batch * to_edges + edge) * SIZES[3], TARGETS)
    target = out + (batch * nodes + node) * (SIZES[1] * SIZES[4]) + channel
    for t in tl.static_range(len(TARGETS)):
        for k in tl.static_range(TARGETS[t][1]):
            tl.store(target + (TARGETS[t][0] + k) * SIZES[4], total[TARGETS[t][5] + k], mask=inside)


@triton.jit(do_not_specialize=["edges", "source_nodes", "from_edges", "target_nodes", "to_edges"])
def weight_kernel(  # type: ignore[no-untyped-def]
    grad_weight,  # (batch, edges, weights, channels)
    source,
    frame_from,
    target,  # (batch or 1, nodes, target dim, channels)
    frame_to,
    source_of_edge,
    target_of_edge,
    edges,
    source_nodes,
    from_edges,
    target_nodes,
    to_edges,
    SIZES: tl.constexpr,
    SOURCES: tl.constexpr,
    TARGETS: tl.constexpr,
    MIX: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """grad w[edge] = products of the rows D_from source and D_to target, for the weights of paths to the targets."""
    edge = tl.program_id(0).to(tl.int64)
    batch = tl.program_id(2).to(tl.int64)
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = channel < SIZES[4]
    x = source + (batch * source_nodes + tl.load(source_of_edge + edge)) * (SIZES[0] * SIZES[4]) + channel
    g = target + (batch * target_nodes + tl.load(target_of_edge + edge)) * (SIZES[1] * SIZES[4]) + channel
    plus = ()
    minus = ()
    for t in tl.static_range(len(TARGETS)):
        frame = frame_to + (batch * to_edges + edge) * SIZES[3]
        rows = rows_in_frame(g, frame, inside, TARGETS[t], SIZES[4])
        for m in tl.static_range(TARGETS[t][2] + 1):
            plus = plus + (rows[TARGETS[t][2] + m],)
            minus = minus + (rows[TARGETS[t][2] - m],)
    result = grad_weight + (batch * edges + edge) * (SIZES[2] * SIZES[4]) + channel
    for s in tl.static_range(len(SOURCES)):
        frame = frame_from + (batch * from_edges + edge) * SIZES[3]
        z = rows_in_frame(x, frame, inside, SOURCES[s], SIZES[4])
        for group in tl.static_range(len(MIX[s])):
            for path in tl.static_range(len(MIX[s][group])):
                value = z[MIX[s][group][path][0]] * plus[group]
                if MIX[s][group][path][2] < 0:
                    value = -value
                if MIX[s][group][path][1] >= 0:
                    value = tl.fma(z[MIX[s][group][path][1]], minus[group], value)
                value = MIX[s][group][path][4] * value
                tl.store(result + MIX[s][group][path][3] * SIZES[4], value, mask=inside)


@triton.jit(do_not_specialize=["edges", "source_nodes", "from_edges", "weight_edges", "target_nodes"])
def frame_kernel(  # type: ignore[no-untyped-def]
    grad_frame,  # (batch, blocks, edges, elements): rows -U ... U of all targets, one after the other
    source,
    frame_from,
    weight,
    target,
    source_of_edge,
    target_of_edge,
    edges,
    source_nodes,
    from_edges,
    weight_edges,
    target_nodes,
    SIZES: tl.constexpr,
    SOURCES: tl.constexpr,
    TARGETS: tl.constexpr,
    MIX: tl.constexpr,
    ELEMENTS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """grad D_to[edge] = sum over a block of channels of the rows W D_from source times the components of target."""
    edge = tl.program_id(0).to(tl.int64)
    batch = tl.program_id(2).to(tl.int64)
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = channel < SIZES[4]
    plus, minus = mixed_rows(
        source + (batch * source_nodes + tl.load(source_of_edge + edge)) * (SIZES[0] * SIZES[4]) + channel,
        frame_from + (batch * from_edges + edge) * SIZES[3],
        weight + (batch * weight_edges + edge) * (SIZES[2] * SIZES[4]) + channel,
        tl.zeros((BLOCK,), dtype=grad_frame.dtype.element_ty),
        inside,
        SOURCES,
        MIX,
        SIZES[4],
    )
    g = target + (batch * target_nodes + tl.load(target_of_edge + edge)) * (SIZES[1] * SIZES[4]) + channel
    place = grad_frame + ((batch * tl.num_programs(1) + tl.program_id(1)) * edges + edge) * ELEMENTS
    for t in tl.static_range(len(TARGETS)):
        values = components(g, inside, TARGETS[t], SIZES[4])
        for k in tl.static_range(TARGETS[t][1]):
            centre = place + TARGETS[t][2] * TARGETS[t][1] + k
            tl.store(centre, tl.sum(plus[TARGETS[t][4]] * values[k], axis=0))
            for m in tl.static_range(1, TARGETS[t][2] + 1):
                tl.store(centre + m * TARGETS[t][1], tl.sum(plus[TARGETS[t][4] + m] * values[k], axis=0))
                tl.store(centre - m * TARGETS[t][1], tl.sum(minus[TARGETS[t][4] + m] * values[k], axis=0))
        place += (2 * TARGETS[t][2] + 1) * TARGETS[t][1]
