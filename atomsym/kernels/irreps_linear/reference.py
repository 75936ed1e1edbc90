"""The equivariant linear map in plain torch: one matrix product a block. The oracle."""

from __future__ import annotations

import torch
from torch import Tensor

from atomsym.kernels.irreps_linear.description import IrrepsLinear


def linear(features: Tensor, weights: Tensor, description: IrrepsLinear) -> Tensor:
    """See ``irreps_linear``."""
    slots = [features.new_zeros(features.shape[0], irrep.dim, weights.shape[2]) for irrep in description.irreps_out]
    for matrix, block in zip(weights.unbind(0), description.blocks, strict=True):
        source = features[:, block.first_in : block.first_in + block.components]
        slots[block.index_out] = slots[block.index_out] + source @ matrix
    return torch.cat(slots, 1) if slots else features.new_zeros(features.shape[0], 0, weights.shape[2])
