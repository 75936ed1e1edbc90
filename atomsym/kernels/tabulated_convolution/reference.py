"""The convolution with tabulated weights in plain torch: weights for all edges, then the ordinary convolution."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from atomsym.core.topology import EdgeTopology
from atomsym.kernels.tabulated_convolution.table import RadialTable
from atomsym.kernels.tensor_product import ChannelwiseProduct
from atomsym.kernels.tensor_product.reference import convolution as plain_convolution


def convolution(
    node_features: Tensor | None,
    edge_features: Tensor,
    distance: Tensor,
    tables: Sequence[RadialTable],
    kinds: Tensor | None,
    topology: EdgeTopology,
    product: ChannelwiseProduct,
) -> Tensor:
    """See ``tabulated_convolution``; differentiable by autograd any number of times."""
    channels = tables[0].channels
    if node_features is None:
        node_features = edge_features.new_ones(topology.n_nodes, product.in_dim, channels)
    if kinds is None:
        weights = tables[0](distance)
    else:
        weights = distance.new_zeros(topology.n_edges, product.n_paths, channels)
        for number, table in enumerate(tables):
            edges = (kinds == number).nonzero().flatten()
            weights = weights.index_add(0, edges, table(distance[edges]))
    x, y, w = node_features.unsqueeze(0), edge_features.unsqueeze(0), weights.unsqueeze(0)
    return plain_convolution(x, y, w, topology, product).squeeze(0)


def gradients(
    gradient: Tensor,
    node_features: Tensor | None,
    edge_features: Tensor,
    distance: Tensor,
    tables: Sequence[RadialTable],
    kinds: Tensor | None,
    topology: EdgeTopology,
    product: ChannelwiseProduct,
) -> tuple[Tensor | None, Tensor, Tensor]:
    """See ``tabulated_convolution_gradients``."""
    with torch.enable_grad():
        features = None if node_features is None else node_features.detach().requires_grad_()
        y, d = edge_features.detach().requires_grad_(), distance.detach().requires_grad_()
        out = convolution(features, y, d, tables, kinds, topology, product)
        inputs = [y, d] if features is None else [y, d, features]
        grad_y, grad_d, *rest = torch.autograd.grad(out, inputs, gradient)
    return (rest[0] if rest else None), grad_y, grad_d
