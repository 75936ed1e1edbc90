"""The convolution in edge frames in plain torch: rotate, mix order by order, rotate back, sum. The oracle."""

from __future__ import annotations

import torch
from torch import Tensor

from atomsym.core.topology import EdgeTopology
from atomsym.kernels.so2_convolution.frames import frame_blocks
from atomsym.kernels.so2_convolution.product import SO2Path, SO2Product


def convolution(
    node_features: Tensor, frames: Tensor, weights: Tensor, topology: EdgeTopology, product: SO2Product
) -> Tensor:
    """See ``so2_convolution``; ``frames`` are the values of frames that fit the product exactly."""
    blocks = frame_blocks(frames, product.max_degree, product.max_order)
    sent = node_features[topology.sender]
    rotated = [
        blocks[irrep.degree] @ sent[:, part]
        for irrep, part in zip(product.irreps_in, product.irreps_in.slices, strict=True)
    ]
    mixed = [
        sent.new_zeros(topology.n_edges, blocks[irrep.degree].shape[1], sent.shape[2]) for irrep in product.irreps_out
    ]
    for path, part in zip(product.paths, product.weight_slices, strict=True):
        message = _mix(rotated[path.index_in], path.coefficient * weights[:, part], product, path)
        margin = (mixed[path.index_out].shape[1] - message.shape[1]) // 2
        padded = torch.nn.functional.pad(message, (0, 0, margin, margin))
        mixed[path.index_out] = mixed[path.index_out] + padded
    back = [blocks[irrep.degree].mT @ message for irrep, message in zip(product.irreps_out, mixed, strict=True)]
    messages = torch.cat(back, 1) if back else sent.new_zeros(topology.n_edges, 0, sent.shape[2])
    out = messages.new_zeros(topology.n_nodes, product.out_dim, sent.shape[2])
    return out.index_add(0, topology.receiver, messages)


def _mix(rotated: Tensor, weights: Tensor, product: SO2Product, path: SO2Path) -> Tensor:
    """Rows m = −M … M of the output slot, M the largest order of the path."""
    largest = product.orders(path)[-1]
    centre = rotated.shape[1] // 2
    rows = rotated[:, centre - largest : centre + largest + 1]
    if not path.odd:
        return torch.cat([weights.flip(1)[:, :largest], weights], 1) * rows
    zero = torch.zeros_like(weights[:, :1])
    return torch.cat([weights.flip(1), zero, -weights], 1) * rows.flip(1)
