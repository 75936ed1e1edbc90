"""The CP-decomposed product of features, and the convolution over edges that it makes cheap."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from atomsym.core.errors import InputError
from atomsym.core.topology import EdgeTopology
from atomsym.kernels.backends import Backend, Operation, constant_when_compiled
from atomsym.kernels.cp_product.factors import CPProduct, cp_product_of, factors_of
from atomsym.kernels.native import cpu_reason
from atomsym.kernels.pointwise import CONVOLUTION as POINTWISE
from atomsym.kernels.pointwise import (
    ConvolutionTables,
    ProductTables,
    Sampling,
    pointwise_product,
    register_tables,
)
from atomsym.kernels.triton_support import triton_device_types, triton_reason

PRODUCT = Operation("cp_product")
CONVOLUTION = Operation("cp_convolution")


def cp_product(first: Tensor, second: Tensor, product: CPProduct, *, backend: str = "auto") -> Tensor:
    """Couple two features along all paths with one weight in common, by ``rank`` products of numbers a channel.

    Args:
        first: x, shape (n, (degree_first + 1)², channels), float32 or float64.
        second: y, shape (n, (degree_second + 1)², channels or 1), same dtype.
        product: degrees and rank; see ``CPProduct`` for the formula.
        backend: ``auto``, ``cpp``, ``triton`` or ``reference``.

    Returns:
        Shape (n, (degree_out + 1)², channels). Differentiable any number of times. Equivariant to ``fit_error``.

    Raises:
        InputError: if shapes, dtypes or devices do not fit each other.
        BackendError: if the backend cannot do what is asked.

    Source: tensor decomposition networks (arXiv 2507.01131); exact ranks and those that keep the inversion are ours.

    Example:
        >>> product = CPProduct.of(1, 1, 0)
        >>> v = torch.tensor([0.0, 3.0, 0.0, 4.0]).reshape(1, 4, 1)
        >>> (cp_product(v, v, product) * 6**0.5).flatten().round(decimals=4)
        tensor([25.])
    """
    n = first.shape[0] if first.ndim else 0
    channels = first.shape[-1] if first.ndim else 0
    wide = second.shape[-1] if second.ndim == 3 else channels
    _check(
        {
            "first": (first, (n, (product.degree_first + 1) ** 2, channels)),
            "second": (second, (n, (product.degree_second + 1) ** 2, channels if wide != 1 else 1)),
        }
    )
    chosen = _select(PRODUCT, backend, first.device.type, first.dtype)
    return _PRODUCTS[chosen](first, second, product)


def cp_convolution(
    node_features: Tensor,
    edge_features: Tensor,
    weights: Tensor,
    topology: EdgeTopology,
    product: CPProduct,
    *,
    backend: str = "auto",
) -> Tensor:
    """Σ over the edges of each receiver of w[e, c] · cp_product(x[sender], Y[e]).

    The factors of x and of the result are applied to nodes, not to edges: an edge costs ``rank`` products a channel.

    Args:
        node_features: x, shape (n_nodes, (degree_first + 1)², channels), float32 or float64.
        edge_features: Y, shape (n_edges, (degree_second + 1)²), same dtype.
        weights: w, shape (n_edges, channels), same dtype; one weight for all paths.
        topology: edges sorted by receiver.
        product: degrees and rank.
        backend: ``auto``, ``cpp``, ``triton`` or ``reference``.

    Returns:
        Shape (n_nodes, (degree_out + 1)², channels). Differentiable any number of times. The compiled backends keep
        nothing per edge and term; their second derivatives are made of calls of the first ones.

    Raises:
        InputError: if shapes, dtypes or devices do not fit each other.
        BackendError: if the backend cannot do what is asked.
    """
    channels = node_features.shape[-1] if node_features.ndim else 0
    _check(
        {
            "node_features": (node_features, (topology.n_nodes, (product.degree_first + 1) ** 2, channels)),
            "edge_features": (edge_features, (topology.n_edges, (product.degree_second + 1) ** 2)),
            "weights": (weights, (topology.n_edges, channels)),
            "the topology": (topology.receiver, None),
        }
    )
    chosen = _select(CONVOLUTION, backend, node_features.device.type, node_features.dtype)
    return _CONVOLUTIONS[chosen](node_features, edge_features, weights, topology, product)


def reference_product(first: Tensor, second: Tensor, product: CPProduct) -> Tensor:
    """Three matrix products and one of numbers."""
    a, b, c = (factor.to(first) for factor in factors_of(product))
    return c @ ((a.mT @ first) * (b.mT @ second))


def reference_convolution(
    node_features: Tensor, edge_features: Tensor, weights: Tensor, topology: EdgeTopology, product: CPProduct
) -> Tensor:
    """Rank components of nodes and edges, their weighted sum over edges, and back."""
    a, b, c = (factor.to(node_features) for factor in factors_of(product))
    sent = (a.mT @ node_features)[topology.sender]
    messages = sent * (edge_features @ b).unsqueeze(2) * weights.unsqueeze(1)
    summed = messages.new_zeros(topology.n_nodes, product.rank, node_features.shape[2])
    return c @ summed.index_add(0, topology.receiver, messages)


def compiled_product(backend: str, first: Tensor, second: Tensor, product: CPProduct) -> Tensor:
    """Term by term, or coupling by coupling, for a block of channels at a time."""
    return pointwise_product(backend, (first, second), f"cp_product {product.handle}")


def compiled_convolution(
    backend: str,
    node_features: Tensor,
    edge_features: Tensor,
    weights: Tensor,
    topology: EdgeTopology,
    product: CPProduct,
) -> Tensor:
    """Terms of nodes in memory, those of edges in registers."""
    operands = (node_features, edge_features, weights.unsqueeze(1))
    return POINTWISE(backend, operands, topology, f"cp_convolution {product.handle}")


def _product_tables(handle: str) -> ProductTables:
    samplings = tuple(Sampling.dense(factor.mT.contiguous()) for factor in factors_of(cp_product_of(handle)))
    return ProductTables(samplings, samplings)


def _convolution_tables(handle: str) -> ConvolutionTables:
    a, b, c = factors_of(cp_product_of(handle))
    sample, edge, project = (Sampling.dense(factor.mT.contiguous()) for factor in (a, b, c))
    return ConvolutionTables(sample, edge, (len(b),), project)


def _check(operands: dict[str, tuple[Tensor, tuple[int, ...] | None]]) -> None:
    first = next(iter(operands.values()))[0]
    named = {name: operand for name, (operand, shape) in operands.items() if shape is not None}
    for name, (operand, shape) in operands.items():
        if operand.device != first.device:
            raise InputError(f"{name} is on {operand.device}, {next(iter(operands))} on {first.device}")
        if shape is None:
            continue
        if tuple(operand.shape) != shape:
            raise InputError(f"{name} must have the shape {shape} for this product; found {tuple(operand.shape)}")
        if operand.dtype != first.dtype or operand.dtype not in (torch.float32, torch.float64):
            raise InputError(
                f"{', '.join(named)} must all be float32 or all float64; found "
                + ", ".join(str(other.dtype) for other in named.values())
            )


@constant_when_compiled
def _select(operation: Operation, backend: str, device_type: str, dtype: torch.dtype) -> str:
    return operation.select(backend, device=torch.device(device_type), dtype=dtype).name


def _dims(handle: str) -> tuple[int, ...]:
    product = cp_product_of(handle)
    return tuple((degree + 1) ** 2 for degree in (product.degree_first, product.degree_second, product.degree_out))


register_tables("cp_product", _product_tables, _dims)
register_tables("cp_convolution", _convolution_tables, _dims)

_PRODUCTS: dict[str, Callable[..., Tensor]] = {
    "reference": reference_product,
    "cpp": partial(compiled_product, "cpp"),
    "triton": partial(compiled_product, "triton"),
}
_CONVOLUTIONS: dict[str, Callable[..., Tensor]] = {
    "reference": reference_convolution,
    "cpp": partial(compiled_convolution, "cpp"),
    "triton": partial(compiled_convolution, "triton"),
}

for _operation, _functions in ((PRODUCT, _PRODUCTS), (CONVOLUTION, _CONVOLUTIONS)):
    _operation.register(Backend("reference", _functions["reference"]))
    _operation.register(
        Backend("cpp", _functions["cpp"], device_types=frozenset({"cpu"}), priority=10, unavailable=cpu_reason)
    )
    _operation.register(
        Backend(
            "triton",
            _functions["triton"],
            device_types=triton_device_types(),
            priority=5,
            unavailable=triton_reason,
        )
    )
