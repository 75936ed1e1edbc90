"""The channel-wise tensor-product convolution: the front function and its backends."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.core.topology import EdgeTopology
from atomsym.kernels.backends import Backend, Operation, constant_when_compiled
from atomsym.kernels.native import cpu_reason
from atomsym.kernels.tensor_product import (
    native,
    reference,
    triton_backend,  # noqa: F401  registers its operators
)
from atomsym.kernels.tensor_product.operators import CONVOLUTION
from atomsym.kernels.tensor_product.product import ChannelwiseProduct
from atomsym.kernels.triton_support import interpreting, triton_device_types, triton_reason

OPERATION = Operation("tensor_product_convolution")


def tensor_product_convolution(
    node_features: Tensor,
    edge_features: Tensor,
    weights: Tensor,
    topology: EdgeTopology,
    product: ChannelwiseProduct,
    *,
    backend: str = "auto",
) -> Tensor:
    """Couple the features of each edge's sender with the edge, weight them, and sum over the edges of each receiver.

    out[n, k, c] = Σ_{e: receiver n} Σ_p coefficient_p w[e, p, c] Σ_{i,f} C^p[i, f, k] x[sender(e), i, c] Y[e, f].
    Nothing is divided by the number of neighbors. No intermediate per edge and output component is made.

    Args:
        node_features: x, shape (n_nodes, irreps_in.dim, channels), float32 or float64.
        edge_features: Y, shape (n_edges, irreps_edge.dim), same dtype.
        weights: w, shape (n_edges, n_paths, channels), same dtype; usually from a radial network.
        topology: edges sorted by receiver.
        product: which irreps are coupled.
        backend: ``auto``, ``cpp``, ``triton`` or ``reference``.

        Each of x, Y and w may have a leading batch axis, of size 1 or of the batch, on the same topology.

    Returns:
        Shape (n_nodes, irreps_out.dim, channels), or with a leading batch axis if an operand has one.

    Raises:
        InputError: if shapes, dtypes or devices do not fit each other.
        BackendError: if the backend cannot do what is asked.

    Differentiable in x, Y and w to any order by reverse mode, with ``torch.func``, and inside
    ``torch.compile(fullgraph=True)`` with ``torch.autograd.grad`` (see ``kernels.differentiable_operator``).

    Source: Thomas et al. 2018 (tensor field networks); weights per channel and path as NequIP (Batzner et al. 2022).

    Example:
        >>> from atomsym.symmetry import Irreps
        >>> sh = Irreps.spherical_harmonics(1)
        >>> product = ChannelwiseProduct.separate(sh, sh, sh)
        >>> topology = EdgeTopology.from_edge_index(torch.tensor([[0, 1], [1, 0]]), 2)
        >>> x, y, w = torch.ones(2, 4, 8), torch.ones(2, 4), torch.ones(2, product.n_paths, 8)
        >>> tensor_product_convolution(x, y, w, topology, product).shape
        torch.Size([2, 8, 8])
    """
    operands = (node_features, edge_features, weights)
    batched = [operand.ndim - dims for operand, dims in zip(operands, (3, 2, 3), strict=True)]
    _check(operands, batched, topology, product)
    first = operands[0]
    chosen = _select(backend, first.device.type, first.dtype, product.max_degree)
    if chosen == "reference":
        x, y, w = (operand if extra else operand.unsqueeze(0) for operand, extra in zip(operands, batched, strict=True))
        out = reference.convolution(x, y, w, topology, product)
        return out if any(batched) else out.squeeze(0)
    # A batch of 1 is shared by a larger one, as what has no batch axis is.
    sizes = {operand.shape[0] for operand, extra in zip(operands, batched, strict=True) if extra}
    x, y, w = (
        operand.squeeze(0) if extra and operand.shape[0] == 1 and len(sizes) > 1 else operand
        for operand, extra in zip(operands, batched, strict=True)
    )
    return compiled(chosen, x, y, w, topology, product)


def compiled(
    backend: str,
    node_features: Tensor,
    edge_features: Tensor,
    weights: Tensor,
    topology: EdgeTopology,
    product: ChannelwiseProduct,
) -> Tensor:
    """No intermediate per edge and component; operands without a batch axis are shared by the batch."""
    return CONVOLUTION(backend, (node_features, edge_features, weights), topology, product.handle)


def _check(
    operands: tuple[Tensor, ...], batched: list[int], topology: EdgeTopology, product: ChannelwiseProduct
) -> None:
    names = ("node_features", "edge_features", "weights")
    channels = operands[0].shape[-1] if operands[0].ndim else 0
    shapes = (
        (topology.n_nodes, product.in_dim, channels),
        (topology.n_edges, product.edge_dim),
        (topology.n_edges, product.n_paths, channels),
    )
    batch = max([operand.shape[0] for operand, extra in zip(operands, batched, strict=True) if extra == 1], default=1)
    for name, operand, shape, extra in zip(names, operands, shapes, batched, strict=True):
        if extra not in (0, 1) or operand.shape[extra:] != shape or (extra and operand.shape[0] not in (1, batch)):
            raise InputError(
                f"{name} must have the shape {shape} for this topology and product, optionally after a batch axis "
                f"of 1 or {batch}; found {tuple(operand.shape)}"
            )
        if operand.dtype != operands[0].dtype or operand.dtype not in (torch.float32, torch.float64):
            raise InputError(
                f"node_features, edge_features and weights must all be float32 or all float64; "
                f"found {', '.join(str(other.dtype) for other in operands)}"
            )
        if operand.device != topology.receiver.device:
            raise InputError(f"{name} is on {operand.device}, the topology on {topology.receiver.device}")


@constant_when_compiled
def _select(backend: str, device_type: str, dtype: torch.dtype, degree: int) -> str:
    """Name of the backend; a constant for the compiler."""
    return OPERATION.select(backend, device=torch.device(device_type), dtype=dtype, degree=degree).name


OPERATION.register(Backend("reference", reference.convolution))
OPERATION.register(
    Backend(
        "cpp",
        partial(compiled, "cpp"),
        device_types=frozenset({"cpu"}),
        max_degree=native.MAX_DEGREE,
        priority=20,
        unavailable=cpu_reason,
    )
)
OPERATION.register(
    Backend(
        "triton",
        partial(compiled, "triton"),
        device_types=triton_device_types(),
        priority=-10 if interpreting() else 10,  # the interpreter is for tests: never chosen by auto
        unavailable=triton_reason,
    )
)
