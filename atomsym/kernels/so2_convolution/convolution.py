"""The convolution in edge frames: the front function and its backends."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.core.topology import EdgeTopology
from atomsym.kernels.backends import Backend, Operation, constant_when_compiled
from atomsym.kernels.native import cpu_reason
from atomsym.kernels.so2_convolution import (
    native,  # noqa: F401  registers its operators
    reference,
)
from atomsym.kernels.so2_convolution.frames import EdgeFrames
from atomsym.kernels.so2_convolution.operators import CONVOLUTION
from atomsym.kernels.so2_convolution.product import SO2Product
from atomsym.kernels.triton_support import triton_device_types, triton_reason

OPERATION = Operation("so2_convolution")


def so2_convolution(
    node_features: Tensor,
    frames: EdgeFrames,
    weights: Tensor,
    topology: EdgeTopology,
    product: SO2Product,
    *,
    backend: str = "auto",
) -> Tensor:
    """Turn each sender's features into the frame of the edge, mix orders ±m, turn back, and sum over the edges.

    out[n, :, c] = Σ_{e: receiver n} D(e)ᵀ W(w[e, :, c]) D(e) x[sender(e), :, c], with D the frame cut to
    |m| ≤ max_order and W the blocks of ``SO2Path``. Nothing is divided by the number of neighbors.

    With all orders kept this is ``tensor_product_convolution`` with the harmonics of the edges, in other weights
    (``so2_weight_map``); the frame saves the sum over the harmonics: O(L³) products per channel instead of O(L⁶). With
    fewer orders it is a part of it, cheaper and just as equivariant.

    Args:
        node_features: x, shape (n_nodes, irreps_in.dim, channels), float32 or float64.
        frames: of the edges (``edge_frames``), with the ``max_order`` of the product, of its degree or a larger one.
        weights: w, shape (n_edges, product.n_weights, channels), same dtype; usually from a radial network.
        topology: edges sorted by receiver.
        product: which irreps are coupled, and to which order.
        backend: ``auto``, ``cpp``, ``triton`` (a GPU, degrees up to 6) or ``reference``.

    Returns:
        Shape (n_nodes, irreps_out.dim, channels). Differentiable in x, w and (through the frames) the edge vectors, to
        any order by reverse mode; with ``cpp`` and ``triton`` also inside ``torch.compile(fullgraph=True)``, and their
        result and first derivatives keep nothing per edge and component; second ones are made of calls of the first.

    Raises:
        InputError: if shapes, dtypes or devices do not fit each other, or the frames do not fit the product.
        BackendError: if the backend cannot do what is asked.

    Source: Passaro and Zitnick 2023 (eSCN), here with one weight per channel and order, and no random turn.

    Example:
        >>> from atomsym.kernels.so2_convolution import edge_frames
        >>> from atomsym.symmetry import Irreps
        >>> sh = Irreps.spherical_harmonics(1)
        >>> product = SO2Product.merged(sh, sh)
        >>> topology = EdgeTopology.from_edge_index(torch.tensor([[0, 1], [1, 0]]), 2)
        >>> frames = edge_frames(torch.tensor([[0.0, 1.0, 0.0], [0.0, -1.0, 0.0]]), 1)
        >>> x, w = torch.ones(2, 4, 8), torch.ones(2, product.n_weights, 8)
        >>> so2_convolution(x, frames, w, topology, product).shape
        torch.Size([2, 4, 8])
    """
    _check(node_features, frames, weights, topology, product)
    chosen = _select(backend, node_features.device.type, node_features.dtype, product.max_degree)
    values = frames.values
    if values.shape[1] != product.frame_size:
        values = values[:, : product.frame_size]
    return _FUNCTIONS[chosen](node_features, values, weights, topology, product)


def _check(
    node_features: Tensor, frames: EdgeFrames, weights: Tensor, topology: EdgeTopology, product: SO2Product
) -> None:
    channels = node_features.shape[-1] if node_features.ndim else 0
    if frames.max_degree < product.max_degree or min(frames.max_order, product.max_degree) != min(
        product.max_order, product.max_degree
    ):
        raise InputError(
            f"frames of degree {frames.max_degree} with orders up to {frames.max_order} do not fit a product of degree "
            f"{product.max_degree} with orders up to {product.max_order}; "
            f"make them with edge_frames(vectors, {product.max_degree}, {product.max_order})"
        )
    named = {
        "node_features": (node_features, (topology.n_nodes, product.in_dim, channels)),
        "frames.values": (frames.values, (topology.n_edges, frames.values.shape[-1])),
        "weights": (weights, (topology.n_edges, product.n_weights, channels)),
    }
    for name, (operand, shape) in named.items():
        if tuple(operand.shape) != shape:
            raise InputError(
                f"{name} must have the shape {shape} for this topology and product; found {tuple(operand.shape)}"
            )
        if operand.dtype != node_features.dtype or operand.dtype not in (torch.float32, torch.float64):
            raise InputError(
                "node_features, frames and weights must all be float32 or all float64; found "
                + ", ".join(str(other.dtype) for other, _ in named.values())
            )
        if operand.device != topology.receiver.device:
            raise InputError(f"{name} is on {operand.device}, the topology on {topology.receiver.device}")


@constant_when_compiled
def _select(backend: str, device_type: str, dtype: torch.dtype, degree: int) -> str:
    """Name of the backend; a constant for the compiler."""
    return OPERATION.select(backend, device=torch.device(device_type), dtype=dtype, degree=degree).name


def compiled(
    backend: str,
    node_features: Tensor,
    frames: Tensor,
    weights: Tensor,
    topology: EdgeTopology,
    product: SO2Product,
) -> Tensor:
    """Nothing per edge and component; ``frames`` are the values of frames that fit the product exactly."""
    return CONVOLUTION(backend, (node_features, frames, weights, frames), topology, product.handle)


TRITON_MAX_DEGREE = 6
"""Triton's kernels are unrolled: the time to compile one grows with the sixth power of the degree, to half a minute."""

_FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "reference": reference.convolution,
    "cpp": partial(compiled, "cpp"),
    "triton": partial(compiled, "triton"),
}

OPERATION.register(Backend("reference", reference.convolution))
OPERATION.register(
    Backend("cpp", _FUNCTIONS["cpp"], device_types=frozenset({"cpu"}), priority=10, unavailable=cpu_reason)
)
OPERATION.register(
    Backend(
        "triton",
        _FUNCTIONS["triton"],
        device_types=triton_device_types(),
        max_degree=TRITON_MAX_DEGREE,
        priority=5,
        unavailable=triton_reason,
    )
)
