"""The channel-wise convolution in plain torch: one einsum a path, any derivative, any device. The oracle."""

from __future__ import annotations

import torch
from torch import Tensor

from atomsym.core.topology import EdgeTopology
from atomsym.kernels.tensor_product.product import ChannelwiseProduct
from atomsym.symmetry import wigner_3j


def convolution(
    node_features: Tensor,
    edge_features: Tensor,
    weights: Tensor,
    topology: EdgeTopology,
    product: ChannelwiseProduct,
) -> Tensor:
    """See ``tensor_product_convolution``; here every operand has a leading batch axis, of size 1 or of the batch."""
    irreps_in, irreps_edge, irreps_out = product.irreps_in, product.irreps_edge, product.irreps_out
    sent = node_features[:, topology.sender]
    batch = max(node_features.shape[0], edge_features.shape[0], weights.shape[0])
    slots = [sent.new_zeros(batch, topology.n_edges, irrep.dim, sent.shape[-1]) for irrep in irreps_out]
    for number, path in enumerate(product.paths):
        coupling = path.coefficient * wigner_3j(
            irreps_in[path.index_in].degree, irreps_edge[path.index_edge].degree, irreps_out[path.index_out].degree
        )
        slots[path.index_out] = slots[path.index_out] + torch.einsum(
            "ifk,beic,bef,bec->bekc",
            coupling.to(sent),
            sent[:, :, irreps_in.slices[path.index_in]],
            edge_features[:, :, irreps_edge.slices[path.index_edge]],
            weights[:, :, number],
        )
    messages = torch.cat(slots, 2) if slots else sent.new_zeros(batch, topology.n_edges, 0, sent.shape[-1])
    out = messages.new_zeros(batch, topology.n_nodes, irreps_out.dim, sent.shape[-1])
    return out.index_add(1, topology.receiver, messages)
