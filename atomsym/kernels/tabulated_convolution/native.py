"""The C++ backend: hands addresses and sizes to the compiled kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from atomsym.core.topology import EdgeTopology
from atomsym.kernels.memory import recycled_empty
from atomsym.kernels.native import cpu_extension, n_threads
from atomsym.kernels.tabulated_convolution.table import RadialTable
from atomsym.kernels.tensor_product import ChannelwiseProduct
from atomsym.kernels.tensor_product.native import plan_address

MAX_DEGREE = 4
"""Largest output degree the kernels are compiled for."""


def convolution(
    node_features: Tensor | None,
    edge_features: Tensor,
    distance: Tensor,
    tables: Sequence[RadialTable],
    kinds: Tensor | None,
    topology: EdgeTopology,
    product: ChannelwiseProduct,
) -> Tensor:
    """See ``tabulated_convolution``."""
    dtype, channels = edge_features.dtype, tables[0].channels
    x, y, d = _contiguous(node_features, edge_features, distance)
    out = recycled_empty((topology.n_nodes, product.out_dim, channels), dtype)
    if out.numel():
        _kernel("forward", dtype)(
            *_call(tables, kinds, topology, product), _at(x), y.data_ptr(), d.data_ptr(), out.data_ptr(), n_threads()
        )
    return out


def gradients(
    gradient: Tensor,
    node_features: Tensor | None,
    edge_features: Tensor,
    distance: Tensor,
    tables: Sequence[RadialTable],
    kinds: Tensor | None,
    topology: EdgeTopology,
    product: ChannelwiseProduct,
    add_to: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor | None, Tensor, Tensor]:
    """See ``tabulated_convolution_gradients``; the edges' gradients are added to ``add_to`` in place, if given."""
    x, y, d = _contiguous(node_features, edge_features, distance)
    gradient = gradient.contiguous()
    grad_x = None if x is None else recycled_empty(tuple(x.shape), x.dtype)
    if topology.n_edges == 0 or gradient.numel() == 0:
        grad_y, grad_d = (torch.zeros_like(y), torch.zeros_like(d)) if add_to is None else add_to
        return (None if grad_x is None else grad_x.zero_()), grad_y, grad_d
    grad_y, grad_d = (torch.empty_like(y), torch.empty_like(d)) if add_to is None else add_to
    operands = (gradient.data_ptr(), _at(x), y.data_ptr(), d.data_ptr())
    results = (_at(grad_x), grad_y.data_ptr(), grad_d.data_ptr(), add_to is not None)
    _kernel("gradients", y.dtype)(*_call(tables, kinds, topology, product), *operands, *results, n_threads())
    return grad_x, grad_y, grad_d


def _call(
    tables: Sequence[RadialTable], kinds: Tensor | None, topology: EdgeTopology, product: ChannelwiseProduct
) -> tuple[Any, ...]:
    sizes = [1, topology.n_nodes, topology.n_edges, tables[0].channels]
    described = [number for table in tables for number in (table.coefficients.data_ptr(), table.n_intervals)]
    return (
        plan_address(product.handle),
        [index.data_ptr() for index in topology.wiring],
        sizes,
        described,
        _at(kinds),
        tables[0].start,
        tables[0].stop,
    )


def _contiguous(
    node_features: Tensor | None, edge_features: Tensor, distance: Tensor
) -> tuple[Tensor | None, Tensor, Tensor]:
    return (
        None if node_features is None else node_features.contiguous(),
        edge_features.contiguous(),
        distance.contiguous(),
    )


def _at(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _kernel(name: str, dtype: torch.dtype) -> Any:
    return getattr(cpu_extension(), f"tabulated_{name}_{'float32' if dtype == torch.float32 else 'float64'}")
