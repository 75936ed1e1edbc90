"""Features of atoms turned into the frames of edges and mapped there, and rows of edges turned back and summed.

Between the two, features lie by order m: the rows of order 0 are those of degrees 0 … L, then come degrees 1 … L of
+1, those of −1, degrees 2 … L of +2 and so on. A linear map that commutes with turns about the edge is then one of
blocks of columns.
"""

from __future__ import annotations

import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.core.topology import EdgeTopology
from atomsym.kernels.backends import Backend, Operation, constant_when_compiled
from atomsym.kernels.native import cpu_reason
from atomsym.kernels.segments import segment_sum
from atomsym.kernels.so2_convolution import rows_native
from atomsym.kernels.so2_convolution.frames import EdgeFrames
from atomsym.kernels.so2_convolution.linear import reference_linear
from atomsym.kernels.so2_convolution.linear_description import OrderLinear
from atomsym.kernels.so2_convolution.orders import order_frames, rotate_into_frames, rotate_out_of_frames

GATHER = Operation("gather_linear")
SUM = Operation("sum_out_of_frames")


def n_order_rows(max_degree: int, max_order: int) -> int:
    """Rows of features by order: L + 1 of order 0, 2 (L − m + 1) of each other one."""
    return (max_degree + 1) + max_order * (2 * max_degree - max_order + 1)


def n_order_factors(max_degree: int, max_order: int) -> int:
    """Numbers that belong to a degree and an order, whatever its sign: Σ_m (L − m + 1)."""
    return (max_order + 1) * (2 * max_degree - max_order + 2) // 2


def gather_linear(
    features: Tensor,
    frames: EdgeFrames,
    factors: Tensor,
    weights: Tensor,
    topology: EdgeTopology,
    linear: OrderLinear,
    *,
    backend: str = "auto",
) -> Tensor:
    """Turn the features of both ends of each edge into its frame, multiply them with factors, map them within orders.

    out[e] = linear(rows_e),  rows_e[(m, l), :] = w[e, (|m|, l), :] · (D_e [x_sender(e), x_receiver(e)])[(m, l), :],
    the two ends side by side on the channel axis.

    Args:
        features: x, shape (n_nodes, (L + 1)², channels), degrees 0 … L, float32 or float64.
        frames: of the edges, of degree L; their orders are those of the rows.
        factors: w, shape (n_edges, n_order_factors(L, max_order), 2 · channels), same dtype; orders from 0 on, degrees
            m … L of each.
        weights: of the map (``order_linear``), shape (linear.n_weights,).
        topology: edges sorted by receiver.
        linear: sizes of the map; degree and order are those of the frames, channels_in is 2 · channels.
        backend: ``auto``, ``cpp`` or ``reference``.

    Returns:
        Shape (n_edges, linear.out_width). Differentiable any number of times by reverse mode. With ``cpp`` rows exist
        for a block of edges at a time; first derivatives are fused, and second ones but for those along the weights.

    Raises:
        InputError: if shapes, dtypes or devices do not fit each other.
        BackendError: if the backend cannot do what is asked.

    Example:
        >>> from atomsym.kernels.so2_convolution import edge_frames
        >>> topology = EdgeTopology.from_edge_index(torch.tensor([[0, 1], [1, 0]]), 2)
        >>> frames = edge_frames(torch.tensor([[0.0, 1.0, 0.0], [0.0, -1.0, 0.0]]), 2, 1)
        >>> linear = OrderLinear(2, 1, 8, 3, n_scalars=5)
        >>> x, w = torch.ones(2, 9, 4), torch.ones(2, 5, 8)
        >>> gather_linear(x, frames, w, torch.ones(linear.n_weights), topology, linear).shape == (2, 5 + 7 * 3)
        True
    """
    degree, order = frames.max_degree, frames.max_order
    channels = features.shape[-1] if features.ndim else 0
    if (linear.max_degree, linear.max_order, linear.channels_in) != (degree, order, 2 * channels):
        raise InputError(
            f"a map of degree {linear.max_degree}, order {linear.max_order} and {linear.channels_in} channels does not "
            f"fit frames of degree {degree} and order {order} with twice {channels} channels"
        )
    _check(
        frames,
        topology,
        ("features", features, (topology.n_nodes, (degree + 1) ** 2, channels)),
        ("factors", factors, (topology.n_edges, n_order_factors(degree, order), 2 * channels)),
        ("weights", weights, (linear.n_weights,)),
    )
    chosen = _select_gather(backend, features.device.type, features.dtype)
    return GATHER[chosen].function(features, frames, factors, weights, topology, linear)


def sum_out_of_frames(
    rows: Tensor, frames: EdgeFrames, weights: Tensor, topology: EdgeTopology, *, backend: str = "auto"
) -> Tensor:
    """Multiply the rows of each edge with its weight, turn them back and sum them at the receiver.

    out[n, :, :] = Σ_{e: receiver n} u_e D_eᵀ rows_e, orders that are not there being zero.

    Args:
        rows: shape (n_edges, n_order_rows(L, order), channels) with an order up to that of the frames.
        frames: of the edges.
        weights: u, shape (n_edges,).
        topology: edges sorted by receiver.
        backend: ``auto``, ``cpp`` or ``reference``.

    Returns:
        Shape (n_nodes, (L + 1)², channels). Differentiable any number of times; ``cpp`` has fused
        first and second derivatives.

    Raises:
        InputError, BackendError: as ``gather_linear``.
    """
    sizes = [n_order_rows(frames.max_degree, order) for order in range(frames.max_order + 1)]
    if rows.ndim != 3 or rows.shape[1] not in sizes:
        raise InputError(
            f"rows must have the shape (n_edges, n, channels) with n one of {sizes} for these frames; "
            f"found {tuple(rows.shape)}"
        )
    _check(
        frames,
        topology,
        ("rows", rows, (topology.n_edges, *rows.shape[1:])),
        ("weights", weights, (topology.n_edges,)),
    )
    chosen = _select_sum(backend, rows.device.type, rows.dtype)
    return SUM[chosen].function(rows, frames, weights, topology, sizes.index(rows.shape[1]))


def _check(frames: EdgeFrames, topology: EdgeTopology, *operands: tuple[str, Tensor, tuple[int, ...]]) -> None:
    dtype = operands[0][1].dtype
    for name, operand, shape in (*operands, ("frames.values", frames.values, (topology.n_edges, frames.size))):
        if tuple(operand.shape) != shape:
            raise InputError(f"{name} must have the shape {shape} for this topology; found {tuple(operand.shape)}")
        if operand.dtype != dtype or operand.dtype not in (torch.float32, torch.float64):
            raise InputError(f"all operands must be float32 or all float64; {name} is {operand.dtype}, others {dtype}")
        if operand.device != topology.receiver.device:
            raise InputError(f"{name} is on {operand.device}, the topology on {topology.receiver.device}")


def reference_gather(
    features: Tensor,
    frames: EdgeFrames,
    factors: Tensor,
    weights: Tensor,
    topology: EdgeTopology,
    linear: OrderLinear,
) -> Tensor:
    """See ``gather_linear``: lookups and matrix products of each edge. The oracle."""
    ends = torch.stack((topology.sender, topology.receiver), 1).flatten()
    # One lookup for both atoms: the gradient of a lookup is several times faster if it comes in one piece.
    both = features.index_select(0, ends).unflatten(0, (-1, 2)).transpose(1, 2).flatten(2)
    sizes = [frames.max_degree - order + 1 for order in range(frames.max_order + 1)]
    parts = rotate_into_frames(both, order_frames(frames))
    pairs = zip(parts, factors.unsqueeze(1).split(sizes, 2), strict=True)
    return reference_linear(torch.cat([(part * factor).flatten(1) for part, factor in pairs], 1), weights, linear)


def reference_sum(rows: Tensor, frames: EdgeFrames, weights: Tensor, topology: EdgeTopology, order: int) -> Tensor:
    """See ``sum_out_of_frames``. The oracle."""
    sizes = [(2 if m else 1) * (frames.max_degree - m + 1) for m in range(order + 1)]
    parts = [part.unflatten(1, (2 if m else 1, -1)) for m, part in enumerate(rows.split(sizes, 1))]
    turned = rotate_out_of_frames(parts, order_frames(frames)) * weights[:, None, None]
    return segment_sum(turned, topology.receiver, topology.n_nodes)


@constant_when_compiled
def _select_gather(backend: str, device_type: str, dtype: torch.dtype) -> str:
    return GATHER.select(backend, device=torch.device(device_type), dtype=dtype).name


@constant_when_compiled
def _select_sum(backend: str, device_type: str, dtype: torch.dtype) -> str:
    return SUM.select(backend, device=torch.device(device_type), dtype=dtype).name


_CPU = frozenset({"cpu"})
GATHER.register(Backend("reference", reference_gather))
GATHER.register(Backend("cpp", rows_native.gather, device_types=_CPU, priority=10, unavailable=cpu_reason))
SUM.register(Backend("reference", reference_sum))
SUM.register(Backend("cpp", rows_native.sum_rows, device_types=_CPU, priority=10, unavailable=cpu_reason))
